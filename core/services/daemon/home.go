package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// marks are files that only a home has; lonely are names that a home may have before the first of them is written, which
// are those of many other folders as well.
var (
	marks  = []string{"daemon.pid", "keeper.lock", "keeper.json", "state.json", "omnitron.db"}
	lonely = map[string]bool{"bin": true, "logs": true, "tmp": true, "remotes": true, "config.yaml": true, "lost+found": true}
)

// CheckHome refuses a path that cannot be a home of ours, and touches nothing. One that is not there yet is good where it
// can be made. Faults: conflict (home_not_made), denied (home_not_ours), invalid (home_foreign).
func CheckHome(home string) error {
	st, err := os.Stat(home)
	if errors.Is(err, fs.ErrNotExist) {
		above := existing(home)
		if err := unix.Access(above, unix.W_OK|unix.X_OK); err != nil {
			return notMade("cannot make the home %s: nothing can be made in %s: %v", home, above, err)
		}
		return nil
	}
	if err != nil {
		return notMade("cannot look at the home %s: %v", home, err)
	}
	if !st.IsDir() {
		return notMade("cannot make the home %s: it is a file", home)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
		return fault.New(fault.Denied, "the home %s belongs to another user (uid %d)", home, sys.Uid).WithReason("home_not_ours").WithHint(elsewhere)
	}
	if err := unix.Access(home, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return notMade("nothing can be written in the home %s: %v", home, err)
	}
	list, err := os.ReadDir(home)
	if err != nil {
		return notMade("cannot look at the home %s: %v", home, err)
	}
	stranger := ""
	for _, e := range list {
		if !lonely[e.Name()] {
			stranger = e.Name()
		}
	}
	if stranger == "" {
		return nil
	}
	for _, name := range marks {
		if _, err := os.Lstat(filepath.Join(home, name)); err == nil {
			return nil
		}
	}
	return fault.New(fault.Invalid, "%s is no home: it holds what is not ours, such as %s", home, stranger).WithReason("home_foreign").
		WithHint("omnitron --home %s up        a folder of its own, which is made", filepath.Join(home, ".omnitron"))
}

// elsewhere is what helps where a home cannot be used.
const elsewhere = "OMNITRON_HOME=/path omnitron up"

func notMade(format string, args ...any) error {
	return fault.New(fault.Conflict, format, args...).WithReason("home_not_made").WithHint(elsewhere)
}

// existing gives the nearest folder or file above a path that is there, or the path itself.
func existing(path string) string {
	for path != filepath.Dir(path) {
		if _, err := os.Stat(path); err == nil {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}
