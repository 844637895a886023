package unix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/transports/wire"
	"golang.org/x/sys/unix"
)

// listener is a listening socket that knows its own file.
type listener struct {
	*net.UnixListener
	path string
	file os.FileInfo
}

// listen makes a socket of mode 0600 at path. It is bound under another name and renamed, so that path is never a socket
// on which nobody listens and the socket of a dead daemon is replaced in one step.
func listen(ctx context.Context, path string, owner int) (*listener, error) {
	if err := wire.CheckSocketPath(path); err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	if err := private(filepath.Clean(dir), owner); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fault.New(fault.Conflict, "%s is in the way: it is no socket", path).
			WithReason("socket_path_taken").WithHint("move it away")
	}
	temp := filepath.Join(dir, "."+base[1:]) // as long as path, so it fits where path does
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	lc := net.ListenConfig{Control: narrow}
	l, err := lc.Listen(ctx, "unix", temp)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false)
	info, err := os.Lstat(temp)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = ul.Close()
		_ = os.Remove(temp)
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return &listener{UnixListener: ul, path: path, file: info}, nil
}

// narrow sets the mode of the socket before it is bound: the kernel creates the file with it, so there is no moment in
// which it is wider, and no umask, which all threads share, has to change.
func narrow(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
		return e
	}
	return err
}

// remove takes the socket's file away, if it is still ours.
func (l *listener) remove() {
	if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.file) {
		_ = os.Remove(l.path)
	}
}

// private refuses a directory into which others can reach.
func private(dir string, owner int) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("cannot look at the home directory: %w", err)
	}
	parent, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return fmt.Errorf("cannot look at the home directory: %w", err)
	}
	why, hint := "", "chmod 700 "+dir
	switch st, _ := info.Sys().(*syscall.Stat_t); {
	case !info.IsDir():
		why = "is no directory"
	case int(st.Uid) != owner:
		why, hint = fmt.Sprintf("belongs to uid %d, not to %d", st.Uid, owner), "set OMNITRON_HOME to a directory of your own"
	case info.Mode().Perm()&0o077 != 0:
		why = fmt.Sprintf("is open to others (mode %04o)", info.Mode().Perm())
	case parent.Mode().Perm()&0o002 != 0 && parent.Mode()&fs.ModeSticky == 0:
		why, hint = "lies in a directory that everybody may write to", "chmod o-w "+filepath.Dir(dir)
	default:
		return nil
	}
	return fault.New(fault.Denied, "the home %s %s", dir, why).WithReason("home_not_private").WithHint("%s", hint)
}
