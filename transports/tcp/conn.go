package tcp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// perSecond is how many bytes of a message are waited for a second longer.
const perSecond = 64 << 10

// conn is a connection after its handshake. What it has begun to read has to arrive in time: between messages it may be
// silent for as long as it likes.
type conn struct {
	*tls.Conn
	raw   net.Conn
	rest  []byte        // read already
	stall time.Duration // for a message; 0: whoever reads has set a deadline

	since time.Time // when the first byte of an unfinished message came; zero between messages
	got   int       // bytes of it
	armed bool
}

// Read is called by one goroutine.
func (c *conn) Read(b []byte) (n int, err error) {
	if len(c.rest) > 0 {
		n = copy(b, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		c.count(b[:n])
		return n, nil
	}
	if c.stall > 0 {
		switch {
		case !c.since.IsZero():
			c.armed = true
			err = c.SetReadDeadline(c.since.Add(c.stall + time.Duration(c.got/perSecond)*time.Second))
		case c.armed:
			c.armed = false
			err = c.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return 0, err
		}
	}
	n, err = c.Conn.Read(b)
	c.count(b[:n])
	return n, err
}

// count notes how much of an unfinished message there is.
func (c *conn) count(b []byte) {
	if len(b) == 0 {
		return
	}
	at := bytes.LastIndexByte(b, '\n')
	switch {
	case at == len(b)-1:
		c.since, c.got = time.Time{}, 0
	case at >= 0 || c.since.IsZero():
		c.since, c.got = time.Now(), len(b)-1-at
	default:
		c.got += len(b)
	}
}

// SyscallConn gives the socket below, which tells of a peer that has said that it sends nothing more whether it is still there.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.raw.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return s.SyscallConn()
}

// HangsUp is the event of a socket whose peer has ended it: to end only its half is said within TLS.
func (c *conn) HangsUp() int16 { return unix.POLLRDHUP }

// farewell is how long the end of a connection may take to be said.
const farewell = 250 * time.Millisecond

// Close ends the connection although its peer may not read any more.
func (c *conn) Close() error {
	t := time.AfterFunc(farewell, func() { _ = c.raw.Close() })
	defer t.Stop()
	return c.Conn.Close()
}
