// Package door is what planes that take in connections share: an accept loop that goes on when descriptors run out, a
// reserve of descriptors that clients may not use up, and a log that whoever knocks cannot flood.
package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ReserveFDs are descriptors that clients may not use up: supervision needs them.
const ReserveFDs = 16

// Accept hands every connection of l to take, which must not wait, until ctx has ended or l was closed after over reports
// true; over may be nil. Errors after which another accept may succeed only pause it.
func Accept(ctx context.Context, l net.Listener, q *Quiet, log *slog.Logger, over func() bool, take func(net.Conn)) error {
	wait := time.Duration(0)
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if c != nil {
				_ = c.Close()
			}
			return nil
		case err == nil:
			wait = 0
			take(c)
		case over != nil && over() && errors.Is(err, net.ErrClosed):
			return nil
		case transient(err):
			wait = min(max(2*wait, 10*time.Millisecond), 500*time.Millisecond)
			q.Log(log, "cannot accept connections for now", "err", err)
			if !pause(ctx, wait) {
				return nil
			}
		default:
			return fmt.Errorf("cannot accept connections on %s: %w", l.Addr(), err)
		}
	}
}

// transient reports errors after which another accept may succeed.
func transient(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EAGAIN, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Scarce reports whether so many descriptors are in use that only the reserve is left. The kernel gives the lowest free
// number, so the number of the newest tells.
func Scarce(c syscall.Conn) bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return false
	}
	number := uint64(0)
	raw, err := c.SyscallConn()
	if err != nil || raw.Control(func(fd uintptr) { number = uint64(fd) }) != nil {
		return false
	}
	return number+ReserveFDs >= limit.Cur
}

// Quiet is a log line that whoever causes it cannot turn into a flood.
type Quiet struct {
	mu      sync.Mutex
	last    time.Time
	swallow int
}

// For is how long a line that was told is not told again.
const For = 5 * time.Second

// Log tells a warning, and how often it was not told since.
func (q *Quiet) Log(log *slog.Logger, msg string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); now.Sub(q.last) >= For {
		log.Warn(msg, append(args, "more", q.swallow)...)
		q.last, q.swallow = now, 0
		return
	}
	q.swallow++
}
