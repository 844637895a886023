package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// MaxSocketPath is how long the path of a unix socket may be: the kernel's address has room for no more.
const MaxSocketPath = 107

// CheckSocketPath refuses a path that no socket can have. The fault is invalid, reason socket_path_too_long.
func CheckSocketPath(path string) error {
	if len(path) <= MaxSocketPath {
		return nil
	}
	return fault.New(fault.Invalid, "the socket path %s is %d bytes long, and a unix socket's may have %d at most",
		Quote(path, 256), len(path), MaxSocketPath).
		WithReason("socket_path_too_long").WithHint("set OMNITRON_HOME to a shorter path")
}

// Client makes calls over one connection, any number at once.
//
// The items of a stream wait for their reader up to a bound; then the connection is not read any more, so that the
// daemon waits too. While unary calls of the same connection are open they go on being read, up to a higher bound, at
// which the slow stream ends as limited.
type Client struct {
	conn io.ReadWriteCloser
	out  sender
	done chan struct{} // closed when the read loop has ended

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*waiter
	unary   int           // of waiting
	moved   chan struct{} // tells the read loop that a stream was read or that waiting has changed
	err     error         // why the connection is over

	heard   atomic.Uint64 // reads that gave something
	held    atomic.Bool   // a stream is read slowly, and the connection not at all meanwhile
	watched chan struct{} // closed when nobody watches any more; nil: nobody does
}

// Dial connects to a daemon. The fault is unavailable when nobody listens, denied when the socket may not be opened,
// invalid when its path is too long.
func Dial(ctx context.Context, network, addr string) (*Client, error) {
	if network == "unix" {
		if err := CheckSocketPath(addr); err != nil {
			return nil, err
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	switch {
	case err == nil:
		return NewClient(conn), nil
	case ctx.Err() != nil:
		return nil, ended(ctx)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return nil, fault.Wrap(err, fault.Denied, "the socket %s may not be opened by this user", addr).WithReason("socket_permission")
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, fault.Wrap(err, fault.Unavailable, "no daemon is running at %s", addr).WithReason("not_running").WithHint("omnitron up")
	}
	return nil, fault.Wrap(err, fault.Unavailable, "cannot reach the daemon at %s: %v", addr, err).WithReason("unreachable").WithHint("%s", fault.Do("daemon.doctor"))
}

// NewClient makes calls over a connection that is there already. It owns conn from now on and reads it until Close.
func NewClient(conn io.ReadWriteCloser) *Client {
	c := &Client{
		conn: conn, waiting: map[uint64]*waiter{}, done: make(chan struct{}), moved: make(chan struct{}, 1),
		out: sender{conn: conn, limit: 30 * time.Second},
	}
	go c.read()
	return c
}

// Close ends the connection; calls in flight fail as unavailable. It returns when nothing of the client runs any more.
func (c *Client) Close() error {
	c.end(lost(net.ErrClosed))
	err := c.conn.Close()
	<-c.done
	if c.watched != nil {
		<-c.watched
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Done is closed when the connection is over.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the connection is over; nil while it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Call makes a call and decodes its answer into out, unless that is nil. The error is the fault that the daemon gave;
// unavailable when the connection is lost; cancelled or deadline when ctx ends first, and the daemon is told to stop.
func (c *Client) Call(ctx context.Context, method string, params, out any) error {
	w := newWaiter(false)
	id, err := c.start(ctx, w, method, params)
	if err != nil {
		return err
	}
	select {
	case <-w.answered:
	case <-ctx.Done():
		c.abandon(id)
		return ended(ctx)
	}
	if w.err != nil {
		return w.err
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = w.result
		return nil
	}
	if out != nil {
		if err := json.Unmarshal(w.result, out); err != nil {
			return fault.Wrap(err, fault.Internal, "the daemon's answer to %s cannot be read: %v", method, err).
				WithReason("bad_answer").WithHint("omnitron version")
		}
	}
	return nil
}

// start sends a call and registers who waits for its answer.
func (c *Client) start(ctx context.Context, w *waiter, method string, params any) (uint64, error) {
	if ctx.Err() != nil {
		return 0, ended(ctx)
	}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, c.err
	}
	c.last++
	id := c.last
	c.waiting[id] = w
	if !w.stream {
		c.unary++
	}
	c.mu.Unlock()
	signal(c.moved)

	f := newFrame()
	defer f.free()
	err := f.request(strconv.AppendUint(nil, id, 10), method, params)
	if err != nil {
		err = fault.Wrap(err, fault.Invalid, "the input of %s cannot be sent: %v", method, err)
	} else if err = c.write(ctx, f.bytes()); err != nil {
		err = c.broken(ctx)
	}
	if err != nil && !c.answered(id, w) {
		return 0, err
	}
	return id, nil
}

// answered takes back a call that could not be sent. It reports true when its answer was faster than the end of our own
// writing, which the end of the connection is not.
func (c *Client) answered(id uint64, w *waiter) bool {
	if c.take(id) != nil {
		return false
	}
	<-w.answered // whoever took it finishes it
	c.mu.Lock()
	defer c.mu.Unlock()
	return w.err == nil || w.err != c.err
}

// write sends a message. Should it be one that may not go out at once, ctx can end the wait: then the connection is
// lost, since half of the message may be gone already.
func (c *Client) write(ctx context.Context, msg []byte) error {
	if len(msg) > piece && ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
		defer stop()
	}
	return c.out.send(ctx, msg)
}

// broken says why a message could not be sent. A daemon that refuses the connection has said so before it closed it, so
// the read loop may know more than the write's error.
func (c *Client) broken(ctx context.Context) error {
	if c.out.failure() == nil {
		return ended(ctx)
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		_ = c.conn.Close()
		<-c.done
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// abandon gives up a call and tells the daemon that nobody waits any more. It gives the waiter, or nil when the answer
// was faster.
func (c *Client) abandon(id uint64) *waiter {
	w := c.take(id)
	if w == nil {
		return nil
	}
	f := newFrame()
	defer f.free()
	if f.request(nil, "$/cancel", cancelParams{ID: id}) == nil {
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_ = c.out.send(ctx, f.bytes()) // best effort: a lost connection cancels too
	}
	return w
}

type cancelParams struct {
	ID uint64 `json:"id"`
}

// take removes and gives the waiter of a call, or nil.
func (c *Client) take(id uint64) *waiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting[id]
	if w != nil {
		delete(c.waiting, id)
		if !w.stream {
			c.unary--
		}
		signal(c.moved)
	}
	return w
}

// read takes lines until the connection ends and hands them to those who wait.
func (c *Client) read() {
	defer close(c.done)
	r := NewReader(heard{c}, MaxAnswer)
	defer r.Release()
	var p Parser
	for {
		line, err := r.Next()
		if err != nil {
			c.end(lost(err))
			break
		}
		m, bad := p.Parse(line)
		if bad != nil {
			c.end(fault.Wrap(bad, fault.Unavailable, "the daemon sent what is no message: %s", bad.Message).WithReason("bad_answer"))
			break
		}
		if !c.message(&p, m) {
			break
		}
	}
	_ = c.conn.Close() // may be closed already
}

// heard notes that the other end has sent something.
type heard struct{ c *Client }

func (h heard) Read(b []byte) (int, error) {
	n, err := h.c.conn.Read(b)
	if n > 0 {
		h.c.heard.Add(1)
	}
	return n, err
}

// Watch says how a daemon is known to hang.
type Watch struct {
	Every  time.Duration // between two questions
	Misses int           // questions in a row without a sign from the other end, after which the connection is over
	Unsent func() int    // bytes that the other machine has not confirmed: while there are some the network is to blame; nil: none
	Hung   *fault.Error  // why the connection is over then
}

// Watch asks the daemon again and again whether it is there, and ends the connection when it is not. The question is answered
// by who reads its end of the connection, so that calls may take as long as they like; one that has never said that it answers
// is not to be watched. It is called once, before Close.
func (c *Client) Watch(w Watch) {
	c.watched = make(chan struct{})
	go c.watch(w)
}

func (c *Client) watch(w Watch) {
	defer close(c.watched)
	t := time.NewTicker(w.Every)
	defer t.Stop()
	f := newFrame()
	defer f.free()
	if f.request(nil, ping, nil) != nil {
		return // it has nothing that could not be written
	}
	for seen, missed := c.heard.Load(), 0; ; {
		select {
		case <-c.done:
			return
		case <-t.C:
		}
		now := c.heard.Load()
		if now != seen || c.held.Load() || w.Unsent != nil && w.Unsent() > 0 {
			missed = 0
		} else {
			missed++ // in ticks, not in time: whoever was suspended is not to blame the other end
		}
		if seen = now; missed > w.Misses {
			c.end(w.Hung)
			_ = c.conn.Close()
			return
		}
		ctx, stop := context.WithTimeout(context.Background(), w.Every)
		_ = c.out.send(ctx, f.bytes()) // a broken connection is the read loop's matter
		stop()
	}
}

// message takes one message; it reports false when the connection is over.
func (c *Client) message(p *Parser, m Message) bool {
	if m.Method == "$/item" {
		id, item := p.item(m.Params)
		return c.item(id, item)
	}
	if m.Method != "" {
		return true // a notification of a later version
	}
	id, err := strconv.ParseUint(string(m.ID), 10, 64)
	if err != nil && m.Error != nil { // the daemon refuses the connection as such
		c.end(decode(m.Error))
		return false
	}
	if w := c.take(id); w != nil {
		if m.Error != nil {
			w.finish(nil, decode(m.Error))
		} else {
			w.finish(append(json.RawMessage(nil), m.Result...), nil)
		}
	}
	return true
}

// end fails everything that waits.
func (c *Client) end(why *fault.Error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = why
	}
	waiting, err := c.waiting, c.err
	c.waiting, c.unary = map[uint64]*waiter{}, 0
	c.mu.Unlock()
	c.out.fail(err)
	signal(c.moved)
	for _, w := range waiting {
		w.finish(nil, err)
	}
}

func decode(raw json.RawMessage) *fault.Error {
	e := &Error{}
	if err := json.Unmarshal(raw, e); err != nil {
		return fault.Wrap(err, fault.Internal, "the daemon's error cannot be read").WithReason("bad_answer")
	}
	return e.Fault()
}

func lost(err error) *fault.Error {
	what := "the connection to the daemon was lost"
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		what = fmt.Sprintf("%s: %v", what, err)
	}
	return fault.Wrap(err, fault.Unavailable, "%s", what).WithReason("connection_lost").WithHint("%s", fault.Do("daemon.status"))
}

// ended is the fault of a context that has ended.
func ended(ctx context.Context) *fault.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(ctx.Err(), fault.Deadline, "no answer in time; the work may go on").WithHint("%s", fault.Do("daemon.status"))
	}
	return fault.Wrap(ctx.Err(), fault.Cancelled, "the call was cancelled")
}
