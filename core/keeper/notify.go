package keeper

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// maxSocketPath is what fits into an address of a unix socket.
const maxSocketPath = 107

// runDirs are the directories for the sockets of apps, best first.
func (k *keeper) runDirs() []string {
	return []string{"/run/omnitron-" + k.homeID, k.path("run")}
}

// runDir makes the directory for the sockets of apps.
func (k *keeper) runDir() (string, error) {
	var failed error
	for _, dir := range k.runDirs() {
		err := os.Mkdir(dir, 0o711)
		if err == nil {
			err = os.Chmod(dir, 0o711) // whatever the umask was
		}
		if err == nil || os.IsExist(err) {
			var st unix.Stat_t
			if err = unix.Lstat(dir, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == os.Geteuid() {
				return dir, nil
			}
			if err == nil {
				err = &os.PathError{Op: "use", Path: dir, Err: unix.EPERM} // somebody else's
			}
		}
		failed = err
	}
	return "", failed
}

// makeNotify makes the notify socket of a generation, reachable by the user it runs as.
func (k *keeper) makeNotify(g *gen, owner int) *protocol.Error {
	dir, err := k.runDir()
	if err != nil {
		return refusal("internal", "no_socket_dir", "cannot make a directory for notify sockets: %v", err)
	}
	sum := sha256.Sum256([]byte(g.rec.ID))
	path := filepath.Join(dir, "n-"+hex.EncodeToString(sum[:6]))
	if len(path) > maxSocketPath {
		return refusal("invalid", "path_too_long", "the notify socket %s has more than %d bytes: set OMNITRON_HOME to a shorter path", path, maxSocketPath)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return refusal("limited", "no_resources", "cannot make a notify socket: %v", err)
	}
	g.notify, g.rec.NotifyPath = fd, path
	_ = unix.Unlink(path) // of an earlier life of the same id
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return refusal("internal", "notify_failed", "cannot make a notify socket: %v", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return refusal("internal", "notify_failed", "cannot bind the notify socket %s: %v", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return refusal("internal", "notify_failed", "cannot set the mode of %s: %v", path, err)
	}
	if owner >= 0 && owner != os.Geteuid() {
		if err := os.Chown(path, owner, -1); err != nil {
			return refusal("denied", "not_permitted", "cannot give the notify socket to uid %d: %v", owner, err)
		}
	}
	return nil
}

func (k *keeper) dropNotify(g *gen) {
	k.drop(&g.notify)
	if g.rec.NotifyPath != "" {
		_ = unix.Unlink(g.rec.NotifyPath) // a name without a socket harms nobody
		g.rec.NotifyPath = ""
	}
}

func (k *keeper) watchNotify(g *gen) {
	if g.notify >= 0 {
		k.watch(g.notify, unix.EPOLLIN, func(uint32) { k.hear(g) })
	}
}

// maxNotice is how much of a message on a notify socket is read, in bytes.
const maxNotice = 4096

// hear reads what is there, up to a bound, so that a talkative program does not keep the others waiting. A message leaves
// the socket after it has been told: we may be killed in between, and a program says only once that it is ready. Whoever
// comes after us then reads it again, which changes nothing.
func (k *keeper) hear(g *gen) {
	for range 32 {
		text, sender, err := k.peek(g)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		if k.owns(g, sender) {
			k.note(g, sender, text)
		} else if k.now.Sub(g.refused) > time.Second { // a stranger must not fill our log
			g.refused = k.now
			k.log("warn", "refused a notice of a stranger", "id", g.rec.ID, "sender", sender)
		}
		for err = unix.EINTR; err == unix.EINTR; { // descriptors in it are closed, which answers BARRIER=1
			_, _, _, _, err = unix.Recvmsg(g.notify, nil, nil, unix.MSG_DONTWAIT)
		}
	}
}

// peek gives the first message of a notify socket, and its sender, and leaves it there.
func (k *keeper) peek(g *gen) (text string, sender int, err error) {
	buf, oob := k.in[:maxNotice], k.oob
	n, m, _, _, err := unix.Recvmsg(g.notify, buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT|unix.MSG_PEEK)
	if err != nil {
		return "", 0, err
	}
	defer protocol.CloseAll(protocol.Rights(oob[:m])) // nothing of what is passed is wanted
	ms, err := unix.ParseSocketControlMessage(oob[:m])
	if err != nil {
		k.log("warn", "cannot read the sender of a notice", "id", g.rec.ID, "err", err.Error())
	}
	for _, c := range ms {
		if cred, err := unix.ParseUnixCredentials(&c); err == nil {
			sender = int(cred.Pid)
		}
	}
	return string(buf[:n]), sender, nil
}

// owns reports whether a pid is a process of the generation.
func (k *keeper) owns(g *gen, pid int) bool {
	switch {
	case pid <= 0:
		return false
	case pid == g.rec.PID && g.rec.Exit == nil:
		return true
	case g.rec.Cgroup != "":
		return cage.Holds(g.rec.Cgroup, pid)
	}
	for range 256 { // no tree is that deep
		s, err := ident.Read(pid)
		if err != nil || s.PPID <= 1 {
			return false
		}
		if s.PPID == g.rec.StubPID && g.stub != nil && g.stub.fd >= 0 || s.PPID == g.rec.PID && g.rec.Exit == nil {
			return true
		}
		pid = s.PPID
	}
	return false
}

// note understands one message and keeps the state that it makes.
func (k *keeper) note(g *gen, sender int, text string) {
	n := protocol.Notice{At: k.now, PID: sender}
	said := false
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, "=")
		known := true
		switch name {
		case "READY":
			n.Ready = value == "1"
		case "STOPPING":
			n.Stopping = value == "1"
		case "RELOADING":
			n.Reloading = value == "1"
		case "WATCHDOG":
			n.Watchdog = value == "1"
		case "STATUS":
			n.Status = strings.ToValidUTF8(value, "\ufffd")
		case "MAINPID":
			if pid, err := strconv.Atoi(value); err == nil && k.owns(g, pid) {
				n.MainPID = pid
			}
		default:
			known = false
		}
		said = said || known
	}
	if !said {
		return
	}
	if g.rec.Notice == nil {
		g.rec.Notice = &protocol.Notice{}
	}
	g.rec.Notice.Merge(n)
	if g.unsent == nil {
		g.unsent = &protocol.Notice{}
		k.talkers = append(k.talkers, g)
	}
	g.unsent.Merge(n)
	if !n.Watchdog || n.Ready || n.Stopping || n.Status != "" {
		k.save()
	}
	if n.Ready || n.Stopping || n.Reloading || n.MainPID != 0 { // said once: the daemon knows of it before it leaves the socket
		k.sendNotices()
	}
}

// sendNotices tells the daemon what it was not told yet, merged; at the latest at the end of a turn of the loop.
func (k *keeper) sendNotices() {
	for _, g := range k.talkers {
		k.tell(protocol.Noticed, protocol.NoticeBody{ID: g.rec.ID, Notice: *g.unsent})
		g.unsent = nil
	}
	k.talkers = k.talkers[:0]
}
