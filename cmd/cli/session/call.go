package session

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Connect gives the connection to the daemon, made once. Fault: unavailable.
func (s *Session) Connect(ctx context.Context) (Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	c, err := s.Dial(ctx, s.Home)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	s.client = c
	return c, nil
}

// Use makes the session speak over c from now on; a former connection is closed.
func (s *Session) Use(c Client) {
	s.Close()
	s.client = c
}

// Close ends the connection, if there is one.
func (s *Session) Close() {
	if s.client != nil {
		s.client.Close() // nothing is in flight any more: a failure to close changes nothing
		s.client = nil
	}
}

func unreachable(ctx context.Context, err error) error {
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
	return context.WithTimeoutCause(ctx, s.patience, errPatience)
}

var errPatience = errors.New("patience ended")

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
	c, err := s.Connect(ctx)
	if err != nil {
		return nil, s.late(ctx, err)
	}
	raw, err := c.Call(ctx, method, in)
	return raw, s.late(ctx, err)
}

// Stream gives the items of a method. Faults as in Call.
func (s *Session) Stream(ctx context.Context, method string, in map[string]any) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		ctx, cancel := s.Bounded(ctx)
		defer cancel()
		c, err := s.Connect(ctx)
		if err != nil {
			yield(nil, s.late(ctx, err))
			return
		}
		for raw, err := range c.Stream(ctx, method, in) {
			if !yield(raw, s.late(ctx, err)) || err != nil {
				return
			}
		}
	}
}

// again is how often a daemon that is away is looked for.
const again = 200 * time.Millisecond

// Reconnect waits for the daemon after a call that ended with err, and returns nil when the call may be made again. While
// the home has a keeper that is worth waiting for; else, and when the connection was not what was lost, it returns err.
func (s *Session) Reconnect(ctx context.Context, err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Unavailable || f.Reason != "connection_lost" && f.Reason != "shutting_down" || s.Gone == nil {
		return err
	}
	s.Close()
	t := time.NewTicker(again)
	defer t.Stop()
	for told := false; ; told = true {
		if _, cerr := s.Connect(ctx); cerr == nil {
			return nil
		}
		within, cancel := context.WithTimeout(ctx, again/2)
		gone := s.Gone(within, s.Home) == nil
		cancel()
		if gone {
			return err
		}
		if !told {
			s.Note("the daemon is away; this goes on when it is back")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// late says that it was our own patience that ended.
func (s *Session) late(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errPatience) {
		return fault.Wrap(err, fault.Deadline, "no answer within %s; what was begun goes on", s.timeout).WithReason("timeout")
	}
	return err
}
