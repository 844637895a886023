package keeper

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/keeper/sockets"
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

// maxExtend is the longest time that a program can ask for, in microseconds; the daemon allows less.
const maxExtend = int64(365 * 24 * time.Hour / time.Microsecond)

// maxNotice is how much of a message on a notify socket is read, in bytes.
const maxNotice = 4096

// heard is a message that was understood and still lies in its socket.
type heard struct {
	g      *gen
	notice *protocol.Notice // nil: nothing that the daemon has to know
}

// hear takes in the first message that waits, and reports whether there was one. It stays in the socket until the daemon
// has been told, see sendNotices: whoever says READY=1 says it once, and we may be killed at any point. One message a turn of
// the loop also keeps a talkative program from making the others wait.
func (k *keeper) hear(g *gen) bool {
	n, m, err := receive(g.notify, k.in[:maxNotice], k.oob, unix.MSG_PEEK)
	if err != nil {
		return false
	}
	sender := 0
	ms, err := unix.ParseSocketControlMessage(k.oob[:m])
	if err != nil {
		k.log("warn", "cannot read the sender of a notice", "id", g.rec.ID, "err", err.Error())
	}
	for _, c := range ms {
		if cred, err := unix.ParseUnixCredentials(&c); err == nil {
			sender = int(cred.Pid)
		}
	}
	h := heard{g: g}
	if k.owns(g, sender) {
		h.notice = k.note(g, sender, string(k.in[:n]))
	} else if k.now.Sub(g.refused) > time.Second { // a stranger must not fill our log
		g.refused = k.now
		k.log("warn", "refused a notice of a stranger", "id", g.rec.ID, "sender", sender)
	}
	protocol.CloseAll(protocol.Rights(k.oob[:m])) // copies: those of the message itself are still in it
	k.heard = append(k.heard, h)
	return true
}

func receive(fd int, buf, oob []byte, flags int) (n, m int, err error) {
	for {
		n, m, _, _, err = unix.Recvmsg(fd, buf, oob, flags|unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return n, m, err
		}
	}
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

// note understands one message and keeps the state that it makes. It gives nil for one that says nothing.
func (k *keeper) note(g *gen, sender int, text string) *protocol.Notice {
	n := &protocol.Notice{At: k.now, PID: sender}
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
		case "EXTEND_TIMEOUT_USEC":
			if us, err := strconv.ParseInt(value, 10, 64); err == nil && us > 0 && us <= maxExtend {
				n.Extend = us
			}
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
		return nil
	}
	if g.rec.Notice == nil {
		g.rec.Notice = &protocol.Notice{}
	}
	g.rec.Notice.Merge(*n)
	if !n.Watchdog || n.Ready || n.Stopping || n.Status != "" {
		k.save()
	}
	return n
}

// sendNotices tells the daemon what was heard, and only then takes it out of the sockets.
func (k *keeper) sendNotices() {
	for _, h := range k.heard {
		if h.notice != nil {
			k.tell(protocol.Noticed, protocol.NoticeBody{ID: h.g.rec.ID, Notice: *h.notice})
		}
	}
	for _, h := range k.heard {
		if h.g.notify < 0 { // closed meanwhile
			continue
		}
		if _, m, err := receive(h.g.notify, k.in[:1], k.oob, 0); err == nil {
			protocol.CloseAll(protocol.Rights(k.oob[:m])) // closing answers BARRIER=1, and nothing else is wanted
		}
	}
	k.heard = k.heard[:0]
}

// passed finds the sockets that a program is given.
func (k *keeper) passed(s protocol.Spec) ([]int, *protocol.Error) {
	fds := make([]int, 0, len(s.Sockets))
	for _, id := range s.Sockets {
		open := k.sockets[id]
		if open == nil {
			return nil, refusal("unavailable", "socket_closed", "the socket %s is not open", id)
		}
		fds = append(fds, open.FD)
	}
	if len(fds) != len(s.Passed) {
		return nil, refusal("invalid", "bad_spec", "%d names for %d sockets", len(s.Passed), len(fds))
	}
	return fds, nil
}

// serveSocket opens a socket or closes it. One that is open is given as it is, so that a daemon may ask again.
func (k *keeper) serveSocket(c *conn, f protocol.Frame) {
	var b protocol.SocketBody
	if !c.body(f, &b) {
		return
	}
	s := k.sockets[b.ID]
	if s != nil && (f.Type == protocol.Unlisten || s.Broken) {
		k.unwatch(s.FD)
		s.Close()
		delete(k.sockets, b.ID)
	}
	if f.Type == protocol.Unlisten {
		return
	}
	if s == nil || s.FD < 0 {
		var e *protocol.Error
		if s, e = sockets.Open(b); e != nil {
			c.refuse(f, e)
			return
		}
		k.keepSocket(s)
	}
	c.reply(f, s.SocketBody, []int{s.FD})
}

// keepSocket takes a socket in and looks for programs that shut it down: shutdown(2) in one of them is meant for all.
func (k *keeper) keepSocket(s *sockets.Socket) {
	if k.sockets[s.ID] != nil {
		unix.Close(s.FD)
		return
	}
	k.sockets[s.ID] = s
	k.watchSocket(s)
}

func (k *keeper) watchSocket(s *sockets.Socket) {
	if s.Broken {
		return
	}
	k.watch(s.FD, unix.EPOLLRDHUP, func(uint32) { // and EPOLLHUP, which need not be asked for
		if !s.Heal() {
			k.unwatch(s.FD)
		}
		k.log("warn", "a program has shut down a socket that all share", "socket", s.ID, "listens", !s.Broken)
		k.tell(protocol.Socket, s.SocketBody)
	})
}

// sendSockets tells a daemon, or another keeper, of the sockets that are open.
func (k *keeper) sendSockets(c *conn) {
	for _, s := range k.sockets {
		c.send(protocol.Frame{Type: protocol.Socket}, s.SocketBody, []int{s.FD})
	}
}

// takeSocket takes over a socket that somebody else has kept open.
func (k *keeper) takeSocket(f protocol.Frame, fds []int) {
	var b protocol.SocketBody
	if len(fds) != 1 || json.Unmarshal(f.Body, &b) != nil || b.ID == "" {
		protocol.CloseAll(fds)
		return
	}
	k.keepSocket(&sockets.Socket{SocketBody: b, FD: fds[0]})
}
