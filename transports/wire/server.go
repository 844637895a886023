package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"golang.org/x/sys/unix"
)

// Why a call's context ends before its handler does.
var (
	errCancelled = fault.New(fault.Cancelled, "the caller cancelled the call")
	errGone      = fault.New(fault.Cancelled, "the caller went away")
	errDraining  = fault.New(fault.Unavailable, "the daemon is shutting down").WithReason("shutting_down").WithHint("%s", fault.Do("daemon.status"))
)

// Serve answers the calls of one connection, which it closes at the end. The first line has been read already, or is
// nil. It returns when the other end is gone, has sent a line that is too long, or has not read for too long; and when
// ctx ends: then streams end, unary calls get Options.Drain to finish, and what is new is refused as unavailable. A ctx
// that ends with a fault as its cause is a cut: every call's context ends with that fault at once, what is new is refused
// with it, and the connection is closed within lastWords. All handlers have returned when Serve does. Only a failure of the
// connection is an error.
func Serve(ctx context.Context, conn io.ReadWriteCloser, first []byte, h Handler, o Options) error {
	o = o.withDefaults()
	if IsReserved(ctx) {
		o.InFlight = 0
	}
	base, end := context.WithCancelCause(context.WithoutCancel(ctx))
	s := &server{
		o: o, conn: conn, handle: h, base: base, end: end, log: o.Log,
		out:   sender{conn: conn, limit: o.WriteTimeout},
		calls: map[string]*call{},
		freed: make(chan struct{}, 1),
		empty: make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	s.out.broken = func() { _ = conn.Close() } // calls whose answers cannot be given are not worth taking
	stop := context.AfterFunc(ctx, func() { s.drain(context.Cause(ctx)) })
	err := s.read(first)
	if ctx.Err() != nil { // then it is we who go, and reading may have ended because of that
		end(errDraining)
	}
	end(errGone)
	if !stop() {
		<-s.done
	}
	s.group.Wait()
	_ = conn.Close() // may be closed already
	return err
}

type server struct {
	o      Options
	conn   io.ReadWriteCloser
	handle Handler
	base   context.Context // of all calls; it ends with the connection
	end    context.CancelCauseFunc
	log    *slog.Logger
	out    sender
	parser Parser
	group  Group

	mu       sync.Mutex
	calls    map[string]*call // in flight, by raw id
	alive    int              // goroutines of calls, those included that only wait for their answer to be written
	draining *fault.Error     // why nothing new is taken any more
	half     bool             // the other end sends nothing more
	done     chan struct{}    // closed when draining is over
	freed    chan struct{}    // a goroutine of a call has ended
	empty    chan struct{}    // the last call in flight has been answered
}

// read takes lines until the connection ends.
func (s *server) read(first []byte) error {
	if first != nil {
		if err := s.line(first); err != nil {
			return err
		}
	}
	r := NewReader(s.conn, s.o.MaxLine)
	defer r.Release()
	for {
		line, err := r.Next()
		switch {
		case err == nil:
			err = s.line(line)
		case errors.Is(err, ErrTooLong):
			r.Release() // before the answer, after which the next of its kind may come
			s.refuse(nil, CodeInvalidRequest, fmt.Sprintf("the message is longer than %d bytes", s.o.MaxLine))
			s.out.flush() // another answer may be on its way, and this one behind it
			s.end(errGone)
			Linger(s.conn)
			return nil
		case errors.Is(err, io.EOF):
			s.halfClosed()
			return nil
		}
		if err != nil {
			return s.cause(err)
		}
	}
}

// cause keeps quiet about endings that are nobody's fault.
func (s *server) cause(err error) error {
	s.mu.Lock()
	draining := s.draining != nil
	s.mu.Unlock()
	if unwritten := s.out.failure(); unwritten != nil {
		err = unwritten
	}
	if draining || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("connection failed: %w", err)
}

// line takes one message. An error ends the connection.
func (s *server) line(line []byte) error {
	m, bad := s.parser.Parse(line)
	switch {
	case bad != nil:
		return s.refuse(m.ID, bad.Code, bad.Message)
	case m.Request():
		return s.request(m)
	case m.Method == "$/cancel":
		s.cancel(m.Params)
		return nil
	case m.Method == ping:
		return s.pong()
	case m.Notification() && len(m.Method) > 2 && m.Method[:2] == "$/":
		return nil // one of a later version
	case m.Notification():
		return s.refuse(nil, CodeInvalidRequest, "a call needs an id")
	}
	return s.refuse(nil, CodeInvalidRequest, "nothing was asked, so there is nothing to answer")
}

// pong answers a question whether anybody is there. Older clients never ask, older daemons never answer.
func (s *server) pong() error {
	f := newFrame()
	defer f.free()
	if err := f.request(nil, "$/pong", nil); err != nil {
		return err
	}
	return s.out.send(context.Background(), f.bytes())
}

func (s *server) refuse(id json.RawMessage, code int, why string) error {
	return s.fault(id, &Error{Code: code, Message: why, Data: FromFault(fault.New(FaultCodeOf(code), "%s", why).WithReason("protocol")).Data})
}

func (s *server) fault(id json.RawMessage, e *Error) error {
	f := newFrame()
	defer f.free()
	f.error(id, e)
	return s.out.send(context.Background(), f.bytes())
}

// request starts a call, or says at once why not.
func (s *server) request(m Message) error {
	switch {
	case len(m.Method) > MaxMethod:
		return s.fault(m.ID, FromFault(fault.New(fault.NotFound, "no method has a name of more than %d bytes", MaxMethod).WithReason(UnknownMethod)))
	case m.Params != nil && m.Params[0] != '{' && string(m.Params) != "null":
		return s.fault(m.ID, FromFault(fault.New(fault.Invalid, "params must be an object").WithReason("params_not_an_object")))
	}
	if err := s.room(); err != nil {
		return err
	}
	s.mu.Lock()
	switch limit := s.o.InFlight; {
	case s.draining != nil:
		why := s.draining
		s.mu.Unlock()
		return s.fault(m.ID, FromFault(why))
	case s.calls[string(m.ID)] != nil:
		s.mu.Unlock()
		return s.refuse(nil, CodeInvalidRequest, "the id is that of a call in flight")
	case len(s.calls) >= limit && !(len(s.calls) < limit+s.o.Reserve && s.o.Priority(m.Method)):
		s.mu.Unlock()
		return s.fault(m.ID, FromFault(tooMany(limit)))
	}
	ctx, stop := context.WithCancelCause(s.base)
	c := &call{s: s, id: string(m.ID), method: m.Method, params: bytes.Clone(m.Params), stop: stop}
	s.calls[c.id] = c
	s.alive++
	s.mu.Unlock()
	s.group.Go(func() { c.run(ctx) })
	return nil
}

func tooMany(limit int) *fault.Error {
	if limit == 0 {
		return fault.New(fault.Limited, "too many connections are open: this one may only look at the daemon's status").
			WithReason("connections").WithHint("close some connections, then try again").WithRetryAfter(1)
	}
	return fault.New(fault.Limited, "%d calls are in flight on this connection", limit).
		WithReason("in_flight").WithHint("wait for an answer before the next call").WithRetryAfter(0.1)
}

// room waits while too many answers wait to be written: a client that does not read gets no more calls started.
func (s *server) room() error {
	for {
		s.mu.Lock()
		full := s.alive >= 2*(s.o.InFlight+s.o.Reserve)
		s.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-s.freed:
		case <-s.base.Done():
			return context.Cause(s.base)
		}
	}
}

func (s *server) cancel(params json.RawMessage) {
	var p struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(params, &p) != nil {
		return
	}
	s.mu.Lock()
	c := s.calls[string(p.ID)]
	s.mu.Unlock()
	if c != nil {
		c.stop(errCancelled)
	}
}

// answered takes a call off the list: from now on its id may be used again.
func (s *server) answered(c *call) {
	s.mu.Lock()
	delete(s.calls, c.id)
	s.mu.Unlock()
}

// ended is said by a call's goroutine when its answer has been written.
func (s *server) ended() {
	s.mu.Lock()
	s.alive--
	last := s.alive == 0
	half := s.half
	s.mu.Unlock()
	signal(s.freed)
	if last {
		signal(s.empty)
		if half {
			wake(s.conn)
		}
	}
}

// lastWords is how long the answers of calls that were cut may take to be written; half of it is for those that do not end.
const lastWords = 500 * time.Millisecond

// drain ends the connection in an orderly way: streams at once, since they would never end, the other calls when they
// are done or out of time. A fault cuts all of them.
func (s *server) drain(cause error) {
	defer close(s.done)
	if why, is := errors.AsType[*fault.Error](cause); is {
		s.mu.Lock()
		s.draining = why
		s.mu.Unlock()
		s.end(why)
		late := time.AfterFunc(lastWords, func() { _ = s.conn.Close() }) // whoever does not read hears nothing
		defer late.Stop()
		s.settle(lastWords / 2)
		_ = s.fault(nil, FromFault(why)) // also to whoever has asked nothing
		_ = s.conn.Close()               // ends the read loop
		return
	}
	s.mu.Lock()
	s.draining = errDraining
	var streams []*call
	for _, c := range s.calls {
		if c.items.Load() > 0 {
			streams = append(streams, c)
		}
	}
	s.mu.Unlock()
	for _, c := range streams {
		c.stop(errDraining)
	}
	s.settle(s.o.Drain)
	s.end(errDraining)
	s.settle(s.o.Drain)
	_ = s.conn.Close() // ends the read loop
}

// settle waits until no call is in flight, at most as long as given.
func (s *server) settle(atMost time.Duration) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	for {
		s.mu.Lock()
		idle := s.alive == 0
		s.mu.Unlock()
		if idle {
			return
		}
		select {
		case <-s.empty:
		case <-timer.C:
			return
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// halfClosed goes on after the other end has said that it sends nothing more: calls in flight are answered, unless it
// is gone altogether. Only a socket can tell the two apart; on other streams the end of input is the end. On TLS the end of
// input is said in a message, and the end of the connection is that of the socket's input: HangsUp names that event.
func (s *server) halfClosed() {
	s.mu.Lock()
	s.half = true
	idle := s.alive == 0
	s.mu.Unlock()
	sc, ok := s.conn.(syscall.Conn)
	if idle || !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	over := int16(unix.POLLHUP | unix.POLLERR)
	if c, ok := s.conn.(interface{ HangsUp() int16 }); ok {
		over |= c.HangsUp()
	}
	_ = raw.Read(func(fd uintptr) bool { // until hung up, or woken by a deadline when the last answer is out
		p := []unix.PollFd{{Fd: int32(fd), Events: over}}
		_, err := unix.Poll(p, 0)
		return err == nil && p[0].Revents&over != 0
	})
}

func wake(conn io.ReadWriteCloser) {
	if d, ok := conn.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = d.SetReadDeadline(time.Unix(1, 0))
	}
}

// Linger ends the writing half of a connection and takes in what is still coming, for a second and without keeping it:
// closing a socket with unread bytes resets it, and the answer that says why could be lost with them.
func Linger(conn io.ReadWriteCloser) {
	d, ok := conn.(interface{ SetReadDeadline(time.Time) error })
	if !ok || d.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, 256<<20))
}
