package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	daemonservice "github.com/omnitron-dev/omnitron/core/services/daemon"
)

// Home gives the absolute path of a home; "" is the usual one.
func Home(home string) (string, error) {
	if home == "" {
		home = config.Home(os.Getenv)
	}
	if home == "" {
		return "", fault.New(fault.Invalid, "there is no home: neither HOME nor OMNITRON_HOME is set").WithReason("no_home").WithHint("OMNITRON_HOME=/path omnitron …")
	}
	abs, err := filepath.Abs(home)
	if err != nil {
		return "", fmt.Errorf("cannot find %s: %w", home, err)
	}
	return abs, nil
}

// Prepare makes the home private, and refuses one that is somebody else's, or that holds something else.
func Prepare(home string) error {
	if err := daemonservice.CheckHome(home); err != nil {
		return err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fault.Wrap(err, fault.Conflict, "cannot make the home %s: %v", home, err).WithReason("home_not_made")
	}
	st, err := os.Stat(home)
	if err != nil {
		return fault.Wrap(err, fault.Conflict, "cannot look at the home %s: %v", home, err).WithReason("home_not_made")
	}
	if st.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(home, 0o700); err != nil {
			return fault.Wrap(err, fault.Denied, "cannot make the home %s private: %v", home, err).WithReason("home_not_private")
		}
	}
	for _, dir := range []string{"logs", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			return fault.Wrap(err, fault.Conflict, "cannot make %s: %v", filepath.Join(home, dir), err).WithReason("home_not_made")
		}
	}
	return nil
}

// pidFile is the content of daemon.pid.
type pidFile struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Boot    string    `json:"boot"`
}

// Lock is a home that is ours: an flock on daemon.pid, held for life. The kernel lets go of it when we die, however.
type Lock struct{ f *os.File }

// lockTime is how long a home that is taken is asked for: whoever only looks whether it is holds the lock for a moment.
const lockTime = 250 * time.Millisecond

// Take takes the home, or says who has it. Faults: conflict (home_taken), internal (state_not_durable).
func Take(home string) (*Lock, error) {
	path := filepath.Join(home, "daemon.pid")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Conflict, "cannot open %s: %v", path, err).WithReason("home_not_made")
	}
	within, cancel := context.WithTimeout(context.Background(), lockTime)
	defer cancel()
	if until(within, 5*time.Millisecond, func() bool { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil }) != nil {
		f.Close()
		who, _ := readPID(home)
		return nil, fault.New(fault.Conflict, "another daemon (pid %d) owns %s", who.PID, home).WithReason("home_taken").WithHint("omnitron status")
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	text, err := json.Marshal(pidFile{PID: os.Getpid(), Started: time.Now(), Boot: strings.TrimSpace(string(boot))})
	text = append(text, '\n')
	if err == nil {
		_, err = f.WriteAt(text, 0) // over what was there: a full disk has no room for more
	}
	if err == nil {
		err = f.Truncate(int64(len(text)))
	}
	if err != nil {
		f.Close()
		return nil, fault.Wrap(err, fault.Internal, "cannot write %s: %v", path, err).WithReason("state_not_durable")
	}
	return &Lock{f}, nil
}

// Release empties the file and lets go of it. The file stays: removing it would take the lock of whoever came next.
func (l *Lock) Release() {
	_ = l.f.Truncate(0) // the lock, not the text, says who owns the home
	l.f.Close()
}

// readPID reads daemon.pid.
func readPID(home string) (pidFile, error) {
	var p pidFile
	data, err := os.ReadFile(filepath.Join(home, "daemon.pid"))
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(data, &p)
}

// owned reports whether a daemon holds the home's lock, and its pid as it says itself: 0 while it has not said it yet, or
// not any more.
func owned(home string) (pid int, held bool, err error) {
	f, err := os.OpenFile(filepath.Join(home, "daemon.pid"), os.O_RDWR|syscall.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil { // shared: those who look do not see each other
		return 0, false, nil
	}
	p, _ := readPID(home) // the lock is what counts
	return p.PID, true, nil
}

// until looks again and again until ok says so or ctx ends.
func until(ctx context.Context, every time.Duration, ok func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// Owner is the name of the user that we run as, or the number where there is no name.
func Owner() string {
	uid := os.Geteuid()
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}
