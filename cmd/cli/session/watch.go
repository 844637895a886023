package session

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/life"
)

// calm is the least time between two looks, however much happens.
const calm = 100 * time.Millisecond

// Watch looks at once, again whenever something happens that has one of the topics (none: anything), and after tick for
// what no event tells. It ends when a look says so or fails, or ctx ends.
func (s *Session) Watch(ctx context.Context, topics []string, tick time.Duration, look func(context.Context) (over bool, err error)) error {
	wake := make(chan struct{}, 1)
	follow := func(within context.Context) error {
		in := s.Fit("events.follow", map[string]any{"topics": topics})
		s.Events(within, in, func(json.RawMessage) {
			select {
			case wake <- struct{}{}:
			default: // a look is due already
			}
		})
		return nil // without events the tick has to do
	}
	looks := func(context.Context) error {
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			if over, err := look(ctx); over || err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-wake:
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(calm): // one look for all that happens together
				}
				select {
				case <-wake:
				default:
				}
				t.Reset(tick)
			case <-t.C:
			}
		}
	}
	return Together(ctx, looks, follow)
}

// Events gives take each event until ctx ends, across daemons that die and come back. It returns early when there are
// none to be had.
func (s *Session) Events(ctx context.Context, in map[string]any, take func(json.RawMessage)) {
	if _, ok := s.Spec("events.follow"); !ok {
		return
	}
	for {
		err := s.events(ctx, in, take)
		if err == nil || s.Reconnect(ctx, err) != nil {
			return
		}
	}
}

// events follows until the stream ends, and notes in its input where to go on.
func (s *Session) events(ctx context.Context, in map[string]any, take func(json.RawMessage)) error {
	for raw, err := range s.stream(ctx, "events.follow", in) {
		if err != nil {
			return err
		}
		take(raw)
		var at struct {
			Seq uint64 `json:"seq"`
		}
		if json.Unmarshal(raw, &at) == nil && at.Seq > 0 {
			delete(in, "replay")
			in["since"] = strconv.FormatUint(at.Seq, 10)
		}
	}
	return nil
}

// Together makes a call and runs the others beside it until it has returned.
func Together(ctx context.Context, call func(context.Context) error, beside ...func(context.Context) error) error {
	ctx, over := context.WithCancel(ctx)
	defer over()
	err := context.Canceled // what it is when the call is not even begun
	g := life.New(slog.New(slog.DiscardHandler))
	for _, run := range beside {
		g.Add(life.Component{Name: "beside", Run: run})
	}
	g.Add(life.Component{Name: "call", StopTimeout: time.Hour, Run: func(ctx context.Context) error {
		defer over()
		err = call(ctx)
		return nil
	}})
	if stuck := g.Run(ctx, nil); stuck != nil {
		return fmt.Errorf("cannot wait for the call: %w", stuck)
	}
	return err
}
