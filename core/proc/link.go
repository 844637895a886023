package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// errUnsendable marks a message that no connection could carry.
var errUnsendable = errors.New("message cannot be sent")

// link is one connection to one keeper.
type link struct {
	conn *net.UnixConn
	dec  protocol.Decoder
	buf  []byte
	oob  []byte
	mu   sync.Mutex // a frame is written whole
}

func newLink(c *net.UnixConn) *link {
	return &link{conn: c, buf: make([]byte, 64<<10), oob: make([]byte, 4096)}
}

func dial(ctx context.Context, path string) (*link, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return newLink(c.(*net.UnixConn)), nil
}

// pair gives a link and the other end of it, for a keeper that is about to be started.
func pair() (*link, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "keeper")
	defer ours.Close() // FileConn duplicates
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("cannot use a socket pair: %w", err)
	}
	return newLink(c.(*net.UnixConn)), theirs, nil
}

func (l *link) close() { l.conn.Close() }

// send writes a frame; fds stay the caller's.
func (l *link) send(f protocol.Frame, body any, fds []int) error {
	f.FDs = len(fds)
	p, err := protocol.Encode(f, body)
	if err != nil {
		return fmt.Errorf("%w: %v", errUnsendable, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	n, _, err := l.conn.WriteMsgUnix(p, oob, nil)
	if err == nil && n < len(p) {
		_, err = l.conn.Write(p[n:])
	}
	return err
}

// next reads the next frame. Only one goroutine may read.
func (l *link) next() (protocol.Frame, []int, error) {
	for {
		if f, fds, ok, err := l.dec.Next(); ok || err != nil {
			return f, fds, err
		}
		n, m, _, _, err := l.conn.ReadMsgUnix(l.buf, l.oob)
		if err != nil {
			return protocol.Frame{}, nil, err
		}
		if n == 0 && m == 0 {
			return protocol.Frame{}, nil, net.ErrClosed
		}
		l.dec.Feed(l.buf[:n], protocol.Rights(l.oob[:m]))
	}
}
