package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// errCut is why a connection ends whose other end does not read.
var errCut = errors.New("the other end did not read its answers in time")

const (
	highWater = 128 << 10 // bytes waiting to be written from which on senders wait too
	piece     = 64 << 10  // bytes that have to go through within the time limit
)

// sender writes whole messages of many goroutines in the order in which they came. Whoever finds nobody writing writes,
// for the others too, so that answers that are ready together cost one system call.
type sender struct {
	conn   io.WriteCloser
	limit  time.Duration
	broken func() // called, if there is one, when a write has failed

	mu    sync.Mutex
	out   []byte // not yet handed to the writer
	spare []byte
	busy  bool
	err   error
	room  chan struct{} // closed when the writer has taken out; nil when nobody waits

	armed time.Time // when the deadline was set; the writer's own
}

// send queues msg, and blocks while too much is queued. It fails when ctx ends first, and once the connection is broken.
func (s *sender) send(ctx context.Context, msg []byte) error {
	s.mu.Lock()
	for s.err == nil && s.busy && len(s.out) >= highWater {
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s.mu.Lock()
	}
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	s.out = append(s.out, msg...)
	if s.busy {
		s.mu.Unlock()
		return nil
	}
	s.busy = true
	s.mu.Unlock()
	runtime.Gosched() // those who are ready now join in: half as many system calls under load, nothing lost without
	s.mu.Lock()
	err := s.drain()
	s.busy = false
	s.mu.Unlock()
	return err
}

// flush returns when everything that was sent is written or cannot be.
func (s *sender) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy && s.err == nil {
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		<-room // the writer closes it each time it takes out, and at its end
		s.mu.Lock()
	}
}

// drain writes until nothing is queued. It is called, and returns, with the lock held.
func (s *sender) drain() error {
	for len(s.out) > 0 && s.err == nil {
		out := s.out
		s.out, s.spare = s.spare[:0], nil
		if s.room != nil {
			close(s.room)
			s.room = nil
		}
		s.mu.Unlock()
		err := s.write(out)
		s.mu.Lock()
		if err != nil && s.err == nil {
			s.err = err
			if errors.Is(err, errCut) {
				_ = s.conn.Close() // the other end may hold half a message: nothing more can be said
			}
			if s.broken != nil {
				s.broken()
			}
		}
		if cap(out) <= 2*highWater {
			s.spare = out[:0]
		}
	}
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	return s.err
}

// failure is why nothing can be sent any more, or nil.
func (s *sender) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail makes all senders fail from now on.
func (s *sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// write sends b in pieces, each within the time limit. Without deadlines of the connection's own, closing it is what
// ends a write that does not.
func (s *sender) write(b []byte) error {
	for len(b) > 0 {
		n := min(piece, len(b))
		disarm, err := s.arm()
		if err == nil {
			_, err = s.conn.Write(b[:n])
		}
		late := disarm != nil && !disarm()
		if err != nil || late {
			if late || isTimeout(err) {
				err = errCut
			}
			return fmt.Errorf("cannot write: %w", err)
		}
		b = b[n:]
	}
	return nil
}

func (s *sender) arm() (disarm func() bool, err error) {
	d, ok := s.conn.(interface{ SetWriteDeadline(time.Time) error })
	if !ok {
		return time.AfterFunc(s.limit, func() {
			s.fail(fmt.Errorf("cannot write: %w", errCut))
			_ = s.conn.Close()
		}).Stop, nil
	}
	if now := time.Now(); now.Sub(s.armed) > s.limit/8 {
		s.armed = now
		return nil, d.SetWriteDeadline(now.Add(s.limit))
	}
	return nil, nil
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
