package stay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// commitTime is how long the new daemon may take to answer; then the old one is put back.
const commitTime = 15 * time.Second

// Daemon is what an upgrade asks of the daemon of a home.
type Daemon interface {
	// PID gives the process of the daemon that answers now. Fault: unavailable when none does.
	PID(ctx context.Context, home string) (int, error)
	// Restart has the keeper start a new daemon in the place of this one.
	Restart(ctx context.Context, home string) error
	// Hold ends the daemon, whatever it does, and has it stay down.
	Hold(ctx context.Context, home string) error
	// Start has a held one come up, and returns when it answers.
	Start(ctx context.Context, home string) error
	// Words is why a daemon that was started since a moment is not up.
	Words(home string, since time.Time) string
}

// Upgrade puts another program in the place of the installed one, and a daemon of it in the place of the one that runs; the
// apps live on. If the new daemon does not answer within 15 seconds, program, database and daemon are those of before.
//
// Faults: invalid (no_checksum, bad_checksum, bad_binary, bad_value), conflict (packaged: dpkg owns the installed program;
// not_written), failed (upgrade_undone: the old one is back; upgrade_stuck: it is not).
func (m Machine) Upgrade(ctx context.Context, home string, d Daemon, o session.UpgradeOptions) (session.Upgraded, error) {
	u := &upgrade{Machine: m, d: d, home: home}
	if err := u.choose(ctx, o); err != nil {
		return session.Upgraded{}, err
	}
	defer u.tidy()
	if err := u.prepare(ctx, o); err != nil || o.DryRun {
		return u.out, err
	}
	return u.out, u.carryOut(ctx)
}

type upgrade struct {
	Machine
	d    Daemon
	home string
	pid  int    // of the daemon that runs, 0: none
	from string // file
	tmp  string // the new program, beside the old one
	out  session.Upgraded
}

// choose finds out what is to replace what.
func (u *upgrade) choose(ctx context.Context, o session.UpgradeOptions) (err error) {
	if u.pid, err = u.d.PID(ctx, u.home); err != nil && !fault.Is(err, fault.Unavailable) {
		return err
	}
	u.from, u.out.Path, u.out.Daemon, u.out.DryRun = o.From, o.To, "none", o.DryRun
	if u.from == "" {
		u.from = u.Executable
	}
	if u.out.Path == "" && u.pid != 0 {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", u.pid))
		if err != nil {
			return fault.Wrap(err, fault.Failed, "cannot find the daemon's program: %v", err).WithReason("command_failed").WithHint("omnitron upgrade --to PATH")
		}
		u.out.Path = strings.TrimSuffix(exe, " (deleted)")
	}
	if u.out.Path == "" {
		u.out.Path = u.Executable
	}
	if u.from, err = filepath.Abs(u.from); err != nil {
		return err
	}
	if u.out.Path, err = filepath.Abs(u.out.Path); err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(u.out.Path); err == nil {
		u.out.Path = real
	}
	if u.Find("dpkg") {
		if _, err := u.Run(ctx, "", "dpkg", "-S", u.out.Path); err == nil {
			return fault.New(fault.Conflict, "%s belongs to a package, which would not know of the change", u.out.Path).WithReason("packaged").
				WithHint("apt install ./omnitron_VERSION_amd64.deb")
		}
	}
	return nil
}

// prepare puts the new program beside the old one, and sees that it is what it should be and runs.
func (u *upgrade) prepare(ctx context.Context, o session.UpgradeOptions) error {
	want := strings.ToLower(o.SHA256)
	if want == "" && o.From != "" {
		text, err := os.ReadFile(u.from + ".sha256")
		if err != nil {
			return fault.New(fault.Invalid, "there is no checksum for %s", o.From).WithReason("no_checksum").
				WithHint("omnitron upgrade --from %s --sha256 HEX        as whoever built it has published it", o.From)
		}
		if f := strings.Fields(string(text)); len(f) > 0 {
			want = strings.ToLower(f[0])
		}
	}
	in, err := os.Open(u.from)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "cannot read %s: %v", u.from, err).WithReason("bad_binary")
	}
	defer in.Close()
	if u.tmp, err = copyBeside(u.out.Path, in); err != nil {
		return fault.Wrap(err, fault.Conflict, "cannot write beside %s: %v", u.out.Path, err).WithReason("not_written")
	}
	sum, err := sumOf(u.tmp)
	if err != nil {
		return err
	}
	if u.out.SHA256 = sum; want != sum && (want != "" || o.From != "") {
		return fault.New(fault.Invalid, "%s is not what the checksum says: it has %s, not %q", u.from, sum, want).WithReason("bad_checksum")
	}
	if u.out.To, err = u.version(ctx, u.tmp); err != nil {
		return fault.Wrap(err, fault.Invalid, "%s does not run here: %v", u.from, err).WithReason("bad_binary")
	}
	if u.out.From, err = u.version(ctx, u.out.Path); err != nil {
		u.out.From = "" // there was none, or it is broken: all the better
	}
	old, err := sumOf(u.out.Path)
	u.out.Changed = err != nil || old != sum
	return nil
}

// version is what a program says that it is.
func (u *upgrade) version(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := u.Run(ctx, "", path, "version", "-o", "json")
	if err != nil {
		return "", err
	}
	var v session.Version
	if err := json.Unmarshal([]byte(text), &v); err != nil || v.Version == "" {
		return "", errors.New("it does not say its version")
	}
	return v.Version, nil
}

// carryOut does it, and takes it back if nothing good came of it.
func (u *upgrade) carryOut(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // half of it would be worse than all of it
	old := u.out.Path + ".old"
	if u.out.Changed {
		if err := swap(u.tmp, u.out.Path, old); err != nil {
			return fault.Wrap(err, fault.Conflict, "cannot replace %s: %v", u.out.Path, err).WithReason("not_written")
		}
	}
	if u.pid != 0 && !u.runs(u.pid) {
		began := time.Now()
		if err := u.renew(ctx); err != nil {
			if !u.out.Changed {
				return err
			}
			return u.undo(ctx, old, began, err)
		}
		u.out.Daemon = "replaced"
	} else if u.pid != 0 {
		u.out.Daemon, u.out.PID = "unchanged", u.pid
	}
	if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(err, fault.Failed, "all is done, but %s stays: %v", old, err).WithReason("not_written")
	}
	return nil
}

// runs reports whether a process runs the program that is installed now.
func (u *upgrade) runs(pid int) bool {
	is, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	want, werr := os.Stat(u.out.Path)
	return err == nil && werr == nil && os.SameFile(is, want)
}

// renew replaces the daemon and waits for the new one.
func (u *upgrade) renew(ctx context.Context) error {
	if err := u.d.Restart(ctx, u.home); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		within, cancel := context.WithTimeout(ctx, time.Second) // one that hangs is asked again
		pid, err := u.d.PID(within, u.home)
		cancel()
		if err == nil && pid != u.pid && u.runs(pid) {
			u.out.PID = pid
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the new daemon did not answer within %s", commitTime)
		case <-tick.C:
		}
	}
}

// undo brings back program, database and daemon.
func (u *upgrade) undo(ctx context.Context, old string, began time.Time, why error) error {
	words := u.d.Words(u.home, began)
	err := u.d.Hold(ctx, u.home)
	if err == nil {
		err = os.Rename(old, u.out.Path)
	}
	if err == nil {
		err = restore(u.home, began)
	}
	if err == nil {
		err = u.d.Start(ctx, u.home)
	}
	if err != nil {
		return fault.Wrap(err, fault.Failed, "%v (%s), and the old one does not come up: %v", why, words, err).WithReason("upgrade_stuck").
			WithHint("mv %s %s        if it is still there\nomnitron up", old, u.out.Path)
	}
	return fault.New(fault.Failed, "%v (%s); the old one is back, and the apps have lived on", why, words).WithReason("upgrade_undone").WithHint("tail %s", filepath.Join(u.home, "logs", "daemon.log"))
}

// restore puts the database back that a migration has copied since a moment: the program of before cannot read the new one.
func restore(home string, since time.Time) error {
	db := filepath.Join(home, "omnitron.db")
	copies, err := filepath.Glob(db + ".v*")
	if err != nil {
		return err
	}
	for _, c := range copies {
		st, err := os.Stat(c)
		if err != nil || st.ModTime().Before(since.Truncate(time.Second)) || strings.HasSuffix(c, ".tmp") {
			continue
		}
		for _, side := range []string{"-wal", "-shm"} {
			if err := os.Remove(db + side); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return errors.Join(os.Rename(c, db), syncDir(home))
	}
	return nil
}

// swap puts tmp in the place of path, and keeps what was there as old.
func swap(tmp, path, old string) error {
	if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func (u *upgrade) tidy() {
	if u.tmp != "" {
		_ = os.Remove(u.tmp) // it may have been renamed
	}
}

// copyBeside writes a program into a new file of the folder of path, and gives its name.
func copyBeside(path string, in io.Reader) (string, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".omnitron-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(tmp, in)
	if err == nil {
		err = tmp.Chmod(0o755)
	}
	if err == nil {
		err = tmp.Sync()
	}
	return tmp.Name(), errors.Join(err, tmp.Close())
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
