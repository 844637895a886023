package session

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Connect gives the connection to the daemon, made once and again when it was lost. A daemon that is just coming back, of
// which the keeper tells, is waited for; one that was killed for good is not. Fault: unavailable.
func (s *Session) Connect(ctx context.Context) (Client, error) {
	c, err := s.connect(ctx)
	if s.Gone == nil || reason(err) != "not_running" {
		return c, err
	}
	within, cancel := context.WithTimeout(ctx, comesBack)
	defer cancel()
	t := time.NewTicker(again / 4)
	defer t.Stop()
	for !s.gone(within) {
		if s.Held != nil && s.Held(within, s.Home) {
			return nil, fault.Wrap(err, fault.Unavailable, "the daemon was killed; apps live on without it").WithReason("daemon_killed").WithHint("omnitron up")
		}
		select {
		case <-within.Done():
			return nil, err
		case <-t.C:
		}
		if c, err := s.connect(ctx); reason(err) != "not_running" {
			return c, err
		}
	}
	return nil, err
}

// comesBack is how long the first call waits for a daemon while the keeper lives, which starts one within a second.
const comesBack = 3 * time.Second

// gone reports whether nothing of the home runs any more, the keeper neither.
func (s *Session) gone(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, again/2)
	defer cancel()
	return s.Gone(ctx, s.Home) == nil
}

func (s *Session) connect(ctx context.Context) (Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	c, err := s.dial(ctx)
	if err = unreachable(ctx, err); s.had && fault.Is(err, fault.Unavailable) { // whoever calls next finds what the one before lost
		return nil, fault.Wrap(err, fault.Unavailable, "the daemon went away").WithReason("connection_lost").WithHint("omnitron status")
	}
	if err != nil {
		return nil, err
	}
	s.client, s.had, s.told = c, true, false
	return c, nil
}

// Use makes the session speak over c from now on; a former connection is closed.
func (s *Session) Use(c Client) {
	s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = c
}

// Close ends the connection, if there is one.
func (s *Session) Close() {
	s.mu.Lock()
	c := s.client
	s.client = nil
	s.mu.Unlock()
	if c != nil {
		c.Close() // nothing is in flight any more: a failure to close changes nothing
	}
}

// drop closes a connection whose daemon went away, unless there is a newer one already.
func (s *Session) drop(c Client) {
	s.mu.Lock()
	if s.client == c {
		s.client = nil
	}
	s.mu.Unlock()
	c.Close() // it is lost
}

func unreachable(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	return fault.Wrap(err, fault.Unavailable, "the daemon is not reachable: %v", err).WithReason("no_daemon").
		WithHint("omnitron up        start it with the project in this folder\nomnitron doctor        find out what is wrong")
}

// Bounded gives ctx the patience of --timeout.
func (s *Session) Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.patience <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, s.patience, impatient(s.patience))
}

// impatient is why a wait ended: the time for it was over.
type impatient time.Duration

func (d impatient) Error() string { return "no answer within " + render.Span(time.Duration(d)) }

// Patience is --timeout, or other when it was not given.
func (s *Session) Patience(other time.Duration) time.Duration {
	if s.patience > 0 {
		return s.patience
	}
	return other
}

// Call calls a method. Faults: those of the method; unavailable, when there is no daemon; deadline and cancelled.
func (s *Session) Call(ctx context.Context, method string, in map[string]any) (json.RawMessage, error) {
	ctx, cancel := s.Bounded(ctx)
	defer cancel()
	ctx, done := s.guarded(ctx)
	defer done()
	c, err := s.Connect(ctx)
	if err != nil {
		return nil, s.late(ctx, err)
	}
	raw, err := c.Call(ctx, method, in)
	if over(err) {
		s.drop(c)
	}
	if hangs(err) {
		err = unanswered{err}
	}
	return raw, s.late(ctx, err)
}

// Read calls a method that changes nothing: when the daemon dies meanwhile and comes back, it is asked again. Faults as
// in Call.
func (s *Session) Read(ctx context.Context, method string, in map[string]any) (json.RawMessage, error) {
	ctx, cancel := s.Bounded(ctx)
	defer cancel()
	for {
		raw, err := s.Call(ctx, method, in)
		if !Lost(err) {
			return raw, err
		}
		if err := s.back(ctx, err); err != nil {
			return nil, s.late(ctx, err)
		}
	}
}

// Stream gives the items of a method. Faults as in Call.
func (s *Session) Stream(ctx context.Context, method string, in map[string]any) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		ctx, cancel := s.Bounded(ctx)
		defer cancel()
		s.stream(ctx, method, in)(yield)
	}
}

// stream is Stream without --timeout.
func (s *Session) stream(ctx context.Context, method string, in map[string]any) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		ctx, done := s.guarded(ctx)
		defer done()
		c, err := s.Connect(ctx)
		if err != nil {
			yield(nil, s.late(ctx, err))
			return
		}
		for raw, err := range c.Stream(ctx, method, in) {
			if over(err) {
				s.drop(c)
			}
			if !yield(raw, s.late(ctx, err)) || err != nil {
				return
			}
		}
	}
}

// again is how often a daemon that is away is looked for.
const again = 200 * time.Millisecond

// longAway is how long a call waits for a daemon that went away while it ran. The keeper starts one within a second.
const longAway = 30 * time.Second

// Lost reports whether a call ended because the daemon did.
func Lost(err error) bool {
	return fault.Is(err, fault.Unavailable) && (reason(err) == "connection_lost" || reason(err) == "shutting_down")
}

// over reports whether a call ended because its connection did: what hangs is not waited for, but not spoken to again either.
func over(err error) bool { return Lost(err) || hangs(err) }

// unanswered is the end of a call that was made, unlike one whose daemon did not even let it in.
type unanswered struct{ error }

func (u unanswered) Unwrap() error { return u.error }

// hangs reports whether a call ended because its daemon, on another machine, did not answer any more.
func hangs(err error) bool { return reason(err) == "remote_hung" }

func reason(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Reason
	}
	return ""
}

// back is Reconnect for a call: it does not wait for ever.
func (s *Session) back(ctx context.Context, err error) error {
	within, cancel := context.WithTimeout(ctx, longAway)
	defer cancel()
	if s.Reconnect(within, err) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f := *Fault(err)
	f.Message = "the daemon went away while the call ran, and did not come back"
	return f.WithHint("omnitron doctor\nomnitron up        start it again")
}

// Reconnect waits for the daemon after a call that ended with err, and returns nil when the call may be made again. While
// the home has a keeper that is worth waiting for; else, and when the connection was not what was lost, it returns err. One that
// hangs is waited for like one that is away: a stream goes on where it was.
func (s *Session) Reconnect(ctx context.Context, err error) error {
	if !over(err) || s.Gone == nil {
		return err
	}
	if hangs(err) {
		s.tellAway(err)
	}
	t := time.NewTicker(again)
	defer t.Stop()
	ending := reason(err) == "shutting_down" // it can still be reached, and says the same again
	for {
		if !ending {
			switch _, cerr := s.Connect(ctx); {
			case cerr == nil:
				return nil
			case ctx.Err() == nil && !fault.Is(cerr, fault.Unavailable): // it is there, and does not let us in
				return cerr
			}
		}
		ending = false
		if s.gone(ctx) {
			return err
		}
		s.tellAway(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// tellAway tells a person why nothing happens: once, however many parts wait.
func (s *Session) tellAway(err error) {
	s.mu.Lock()
	told := s.told
	s.told = true
	s.mu.Unlock()
	if told {
		return
	}
	if s.OnAway != nil {
		s.OnAway()
		return
	}
	if hangs(err) {
		s.Note("%s; this goes on when it does", Fault(err).Message)
		return
	}
	s.Note("%s", Away)
}

// Away is what is said while the daemon is away.
const Away = "the daemon is away; this goes on when it is back"

// A call that takes long is no sign of anything. A daemon that does not even answer to a ping beside it is: quiet is how
// long a call runs before that is looked at, seldom how often it is looked at in the end.
const (
	quiet  = 2 * time.Second
	seldom = 30 * time.Second
)

// guarded ends a call whose daemon hangs; the function that it gives is to be called when the call is over.
func (s *Session) guarded(ctx context.Context) (context.Context, func()) {
	if s.Hung == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	looked := make(chan struct{})
	t := time.AfterFunc(quiet, func() {
		defer close(looked)
		for wait := quiet; ctx.Err() == nil; wait = min(2*wait, seldom) {
			if err := s.Hung(ctx, s.Home); err != nil && ctx.Err() == nil {
				cancel(err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		if !t.Stop() {
			<-looked
		}
	}
}

// late says that it was our own patience that ended, or that the daemon hangs.
func (s *Session) late(ctx context.Context, err error) error {
	if f, ok := errors.AsType[*fault.Error](context.Cause(ctx)); ok && err != nil {
		return f
	}
	if d, ok := errors.AsType[impatient](context.Cause(ctx)); ok && err != nil {
		return fault.Wrap(err, fault.Deadline, "%v; what was begun goes on", d).WithReason("timeout")
	}
	return err
}
