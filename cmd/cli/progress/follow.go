package progress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Modes are the ways of showing progress.
var Modes = []string{"auto", "tty", "plain", "json", "none"}

// redraw is how often elapsed times move on.
const redraw = 500 * time.Millisecond

// replay is how many past events are asked for: those between the beginning of the call and that of the stream are
// among them, and older ones are told by their time.
const replay = 200

// Follow makes a call that starts apps and shows meanwhile how they come up. in are the call's names, project and
// stack. When it ends the last lines of every app that failed follow. The error is the call's.
func Follow(ctx context.Context, s *session.Session, mode string, in map[string]any, call func(context.Context) error) error {
	b := newBoard(s.Now)
	b.names = session.Names(in)
	p := painterOf(s, mode, b)
	if _, ok := s.Spec("events.follow"); !ok {
		p = nil
	}
	var err error
	if p == nil {
		err = call(ctx)
	} else {
		err = watched(ctx, s, b, p, in, call)
	}
	if ctx.Err() != nil {
		s.Note("stopped waiting; what was begun goes on: omnitron ls")
		return err
	}
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.Unavailable && f.Items == nil {
		if seen := b.standing(); len(seen) > 0 { // the only one who knows is gone
			told := *f
			return told.WithItems(seen)
		}
	}
	if err != nil {
		lastLines(ctx, s, failures(err, b), b.began)
	}
	return err
}

// Draws reports whether a mode shows the apps on the terminal, so that how they stand at the end is there to see.
func Draws(s *session.Session, mode string) bool {
	_, draws := painterOf(s, mode, nil).(*tree)
	return draws
}

func painterOf(s *session.Session, mode string, b *board) painter {
	o := s.ErrOptions()
	switch {
	case mode == "json":
		return &documents{w: s.Stderr}
	case mode == "none" || s.Quiet || s.Machine() && mode != "plain" && mode != "tty":
		return nil
	case mode == "tty" || mode != "plain" && s.Lively():
		return &tree{w: s.Stderr, board: b, style: o.Style, size: s.Size}
	}
	return &lines{w: s.Stderr, board: b, style: o.Style, last: s.Now()}
}

func watched(ctx context.Context, s *session.Session, b *board, p painter, in map[string]any, call func(context.Context) error) error {
	scope := map[string]any{}
	for _, key := range []string{"project", "stack"} {
		if v, ok := in[key]; ok {
			scope[key] = v
		}
	}
	if _, err := s.Connect(ctx); err != nil {
		return err
	}
	list := func(ctx context.Context, before bool) {
		// What cannot be listed is not drawn; the call itself says what is wrong.
		if raw, err := s.Call(ctx, "apps.list", s.Fit("apps.list", scope)); err == nil {
			b.load(raw, before)
		}
	}
	list(ctx, true)
	s.OnAway = func() { p.note(session.Away) }
	defer func() { s.OnAway = nil }()
	follow := func(ctx context.Context) error {
		s.Events(ctx, s.Fit("events.follow", map[string]any{"topics": []any{"apps"}, "replay": replay}), func(raw json.RawMessage) {
			if c, ok := b.take(raw); ok {
				p.changed(c)
			}
		})
		return nil // the picture stands still; the call says what is wrong
	}
	tick := func(ctx context.Context) error {
		t := time.NewTicker(redraw)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
				p.tick()
			}
		}
	}
	err := session.Together(ctx, call, follow, tick)
	if ctx.Err() == nil {
		list(ctx, false)
	}
	p.close()
	return err
}

// failure is an app that did not do what was asked, with what it printed last where the answer says it.
type failure struct {
	Key   string   `json:"key"`
	State string   `json:"state"`
	OK    bool     `json:"ok"`
	Lines []string `json:"lines"`
}

// failures gives the apps of a fault that did not do what was asked.
func failures(err error, b *board) []failure {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Failed && f.Code != fault.Deadline {
		return nil
	}
	var items, bad []failure
	if raw, err := json.Marshal(f.Items); err == nil && json.Unmarshal(raw, &items) == nil {
		for _, it := range items {
			if !it.OK && it.Key != "" {
				bad = append(bad, it)
			}
		}
	}
	if len(items) == 0 {
		for _, key := range b.failed() {
			bad = append(bad, failure{Key: key})
		}
	}
	return bad
}

// tail is how many last lines of a failed app are shown.
const tail = 20

// lastLines shows what failed apps printed last, since a moment: an app that could not even be started has printed
// nothing, whatever there is of earlier runs. Somebody who reads JSON has it in the answer.
func lastLines(ctx context.Context, s *session.Session, failed []failure, since time.Time) {
	if s.Machine() || s.Quiet {
		return
	}
	o := s.ErrOptions()
	for _, f := range failed {
		lines := f.Lines
		if lines == nil {
			lines = printed(ctx, s, f.Key, since)
		}
		if len(lines) == 0 {
			continue
		}
		lines = lines[max(0, len(lines)-tail):]
		fmt.Fprintln(s.Stderr, o.Style.Paint(render.Dim, "─ last lines of "+render.Escape(f.Key)))
		for _, line := range lines {
			fmt.Fprintln(s.Stderr, "  "+render.Escape(strings.TrimRight(line, "\n")))
		}
	}
}

// printed asks for the last lines of an app. What cannot be had is not shown: the failure itself is.
func printed(ctx context.Context, s *session.Session, key string, since time.Time) []string {
	raw, err := s.Call(ctx, "logs.query", s.Fit("logs.query", map[string]any{"names": []any{key}, "limit": tail, "since": since.Format(time.RFC3339Nano)}))
	var list struct {
		Items []struct {
			Text string `json:"text"`
		} `json:"items"`
	}
	if err != nil || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	lines := make([]string, len(list.Items))
	for i, it := range list.Items {
		lines[i] = it.Text
	}
	return lines
}
