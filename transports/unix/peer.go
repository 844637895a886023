package unix

import (
	"fmt"
	"net"
	"os/user"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// credentials are those that the peer had when it connected; it cannot choose them.
func credentials(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	return cred, nil
}

// conn is a connection whose first bytes have been read already. Its Read is plain read(2): descriptors that a peer
// passes along are closed by the kernel, never received.
type conn struct {
	net.Conn
	unixConn *net.UnixConn
	rest     []byte
}

func (c *conn) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// SyscallConn lets the planes see a hang-up.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.unixConn.SyscallConn() }

// CloseWrite ends the writing half.
func (c *conn) CloseWrite() error { return c.unixConn.CloseWrite() }

// users remembers the names of the few uids that get in.
type users struct {
	mu    sync.Mutex
	names map[int]string
}

func (u *users) name(uid int) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n, ok := u.names[uid]; ok {
		return n
	}
	n := strconv.Itoa(uid)
	if found, err := user.LookupId(n); err == nil {
		n = found.Username
	}
	if u.names == nil {
		u.names = map[int]string{}
	}
	u.names[uid] = n
	return n
}
