// Package lines writes whole messages, one a line, to a stream that may be slow: in order, in few system calls, within
// bounds, and with an end to waiting for a peer that does not read.
package lines

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// ErrStalled says that the peer took nothing for longer than it may.
var ErrStalled = errors.New("the peer does not read")

// Keep is the largest buffer in bytes that whatever is idle may hold on to.
const Keep = 64 << 10

// Writer writes whole lines from any number of goroutines in the order in which they were handed over. Whoever finds the
// stream free writes, for the others too, so that a burst costs few system calls.
type Writer struct {
	w        io.Writer
	deadline func(time.Time) error // of the stream's own; nil when it has none
	cut      func()
	stall    time.Duration
	limit    int

	armed time.Time // when the deadline was set; of whoever writes

	mu      sync.Mutex
	room    sync.Cond
	buf     []byte
	spare   []byte
	writing bool
	err     error
}

// NewWriter makes a writer that calls cut, once, when one write takes longer than stall; at most limit bytes wait, then
// those who write wait too.
func NewWriter(w io.Writer, limit int, stall time.Duration, cut func()) *Writer {
	out := &Writer{w: w, cut: sync.OnceFunc(cut), stall: stall, limit: limit}
	out.room.L = &out.mu
	if d, ok := w.(interface{ SetWriteDeadline(time.Time) error }); ok {
		out.deadline = d.SetWriteDeadline
	}
	return out
}

// Write hands over one line without its newline. It returns when the line is written or when somebody else is writing
// it, and fails once the stream has failed.
func (w *Writer) Write(msg []byte) error {
	lead, err := w.put(msg)
	if lead {
		return w.flush()
	}
	return err
}

// Post is Write for a reading loop: it never does the writing itself, so that reading goes on while the peer is slow. It
// waits only when the buffer is full.
func (w *Writer) Post(msg []byte) {
	if lead, _ := w.put(msg); lead {
		go w.flush()
	}
}

func (w *Writer) put(msg []byte) (lead bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buf) > w.limit && w.err == nil {
		w.room.Wait()
	}
	if w.err != nil {
		return false, w.err
	}
	w.buf = append(append(w.buf, msg...), '\n')
	lead = !w.writing
	w.writing = true
	return lead, nil
}

func (w *Writer) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buf) > 0 && w.err == nil {
		out := w.buf
		w.buf, w.spare = w.spare[:0], nil
		w.mu.Unlock()
		err := w.write(out)
		w.mu.Lock()
		if cap(out) <= Keep {
			w.spare = out
		}
		if err != nil {
			w.err = err
		}
		w.room.Broadcast()
	}
	w.writing = false
	w.room.Broadcast()
	return w.err
}

// write writes within the time limit, by a deadline that is moved now and then: a timer for each write would wake another
// thread each time.
func (w *Writer) write(out []byte) error {
	if w.deadline != nil {
		if now := time.Now(); now.Sub(w.armed) > w.stall/8 {
			if w.armed = now; w.deadline(now.Add(w.stall)) != nil {
				w.deadline = nil
			}
		}
	}
	if w.deadline == nil {
		slow := time.AfterFunc(w.stall, w.cut)
		_, err := w.w.Write(out)
		if !slow.Stop() && err != nil {
			err = ErrStalled
		}
		return err
	}
	_, err := w.w.Write(out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.cut()
		err = ErrStalled
	}
	return err
}

// Drain waits until everything handed over is written or the stream has failed.
func (w *Writer) Drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.writing {
		w.room.Wait()
	}
}
