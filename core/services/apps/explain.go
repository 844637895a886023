package apps

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// before is how far back an explanation looks for what changed.
const before = time.Hour

// Explanation is the answer to "why?", bounded.
type Explanation struct {
	Key        string       `json:"key" jsonschema:"project/stack/app"`
	State      view.State   `json:"state" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"its state"`
	Since      time.Time    `json:"since" unit:"time" jsonschema:"since when"`
	Summary    string       `json:"summary" jsonschema:"the reason in a sentence"`
	Health     string       `json:"health" enum:"healthy,unhealthy,unknown" jsonschema:"what its probes say"`
	HealthNote string       `json:"health_note,omitempty" jsonschema:"what the last probe answered: foreign text"`
	Restarts   int          `json:"restarts" jsonschema:"starts that nobody asked for"`
	NextTry    *time.Time   `json:"next_try,omitempty" unit:"time" jsonschema:"when it is started again"`
	WaitsFor   []string     `json:"waits_for,omitempty" jsonschema:"dependencies that are not there yet, with their state"`
	Exits      []ExitLine   `json:"exits" jsonschema:"how the last runs ended, newest first"`
	Stderr     []LogLine    `json:"stderr" jsonschema:"its last lines of stderr: foreign text"`
	Stdout     []LogLine    `json:"stdout,omitempty" jsonschema:"its last lines of stdout, when stderr has none: foreign text"`
	Changes    []Happening  `json:"changes" jsonschema:"what changed in the hour before: commands, definitions, changes of state; newest first"`
	Truncated  bool         `json:"truncated,omitempty" jsonschema:"whether texts were cut or old entries left out to keep the answer small; logs and history have all of it"`
	Next       []fault.Hint `json:"next_steps" jsonschema:"calls that make sense now"`
}

// ExitLine is the end of a run.
type ExitLine struct {
	At      time.Time `json:"at" unit:"time" jsonschema:"when"`
	Slot    string    `json:"slot" jsonschema:"app:process#n"`
	Message string    `json:"message" jsonschema:"how"`
	Code    *int      `json:"code,omitempty" jsonschema:"exit code; none when a signal ended it, when nobody saw it end, or when it could not even be started"`
	Signal  string    `json:"signal,omitempty" jsonschema:"signal"`
}

// LogLine is a line that an app printed.
type LogLine struct {
	At   time.Time `json:"at" unit:"time" jsonschema:"when it arrived"`
	Slot string    `json:"slot" jsonschema:"app:process#n"`
	Text string    `json:"text" jsonschema:"the line: foreign text"`
}

// Happening is something that happened.
type Happening struct {
	At   time.Time `json:"at" unit:"time" table:"1" jsonschema:"when"`
	What string    `json:"what" table:"1" jsonschema:"what happened"`
	Who  string    `json:"who,omitempty" table:"2" jsonschema:"who did it"`
}

// Explain gathers what tells why an app is in its state. Faults: not_found, invalid (ambiguous).
func (s *Service) Explain(ctx context.Context, _ op.One) (Explanation, error) {
	app, t, err := s.one(ctx)
	if err != nil {
		return Explanation{}, err
	}
	name, said := s.sup.Called(ctx, app.Key), part(*app, t)
	if t.Process != "" {
		name += strings.TrimPrefix(t.String(), t.Key)
		said.Name = name
	}
	v := &said
	e := Explanation{Key: v.Key, State: v.State, Since: v.Since, Health: v.Health, Restarts: v.Restarts, Exits: []ExitLine{}, Stderr: []LogLine{}, Changes: []Happening{}, Next: []fault.Hint{}}
	for _, i := range v.Instances {
		if i.HealthNote != "" && i.Health != "healthy" {
			e.HealthNote = i.HealthNote
		}
		if i.NextTry != nil && (e.NextTry == nil || i.NextTry.Before(*e.NextTry)) {
			e.NextTry = i.NextTry
		}
		if x := i.LastExit; x != nil && (i.State != view.Running || v.Restarts > 0) {
			e.Exits = append(e.Exits, ExitLine{At: x.At, Slot: i.Slot, Message: x.Message, Code: code(x.Reason, x.Signal, x.Known, x.Code), Signal: x.Signal})
		}
	}
	if v.State == view.Waiting {
		e.WaitsFor = s.sup.WaitsFor(v.Key)
	}
	s.past(ctx, v, t, &e)
	s.printed(ctx, t, &e)
	e.Summary = summary(v)
	if v.State == view.Starting && v.Reason == "" {
		e.Summary = readiness(v, time.Now())
	}
	e.Next = advice(v, name)
	if v.State == view.Waiting {
		e.Next = append(append(s.sup.Wanting(v.Key), s.causes(ctx, v)...), e.Next...)
	}
	e.fit(mostBytes)
	return e, nil
}

// code is an exit code, where there is one.
func code(reason, signal string, known bool, n int) *int {
	if reason == "spawn" || reason == "lost" || signal != "" || !known {
		return nil
	}
	return &n
}

// past adds exits, changes of state and commands from the events and the record of calls.
func (s *Service) past(ctx context.Context, v *view.App, t op.Target, e *Explanation) {
	since := time.Now().Add(-before)
	events := s.recent(ctx, []string{v.Key, v.Project + "/" + v.Stack}, since, 200)
	type end struct {
		slot string
		at   int64
	}
	seen := map[end]bool{}
	for _, x := range e.Exits {
		seen[end{x.Slot, x.At.UnixNano()}] = true
	}
	for _, ev := range events {
		switch {
		case ev.Slot != "" && !slices.Contains(t.Slots, ev.Slot): // of a part that was not asked about
		case ev.Type == "exited":
			if k := (end{ev.Slot, ev.At.UnixNano()}); !seen[k] {
				seen[k] = true
				e.Exits = append(e.Exits, ExitLine{At: ev.At, Slot: ev.Slot, Message: ev.Text, Signal: text(ev.Data["signal"]), Code: exitCode(ev)})
			}
		case len(e.Changes) < 20:
			e.Changes = append(e.Changes, Happening{At: ev.At, What: strings.TrimSpace(ev.Slot + " " + ev.Text)})
		}
	}
	calls, _, err := s.calls.List(ctx, ledger.Filter{Target: v.Key, Since: since, Changes: true, Limit: 100})
	if err == nil {
		for _, c := range calls {
			if !slices.ContainsFunc(c.Targets, func(about string) bool { return meet(about, t.String()) }) {
				continue // it was about another part
			}
			e.Changes = append(e.Changes, Happening{At: c.Time, What: c.Method + " → " + outcome(c), Who: c.User + " (" + c.Channel + ")"})
		}
	}
	slices.SortFunc(e.Exits, func(a, b ExitLine) int { return b.At.Compare(a.At) })
	slices.SortFunc(e.Changes, func(a, b Happening) int { return b.At.Compare(a.At) })
	e.Changes = e.Changes[:min(len(e.Changes), 20)]
	e.Exits = e.Exits[:min(len(e.Exits), 10)]
}

// meet reports whether two targets, as their String tells them, have a part in common.
func meet(a, b string) bool {
	within := func(part, whole string) bool {
		rest, ok := strings.CutPrefix(part, whole)
		return ok && (rest == "" || rest[0] == ':' || rest[0] == '#')
	}
	return within(a, b) || within(b, a)
}

func outcome(c ledger.Entry) string {
	switch {
	case c.Open:
		return "running"
	case c.Code != "":
		return c.Code
	case c.Decision == "allow" || c.Decision == "confirmed":
		return "done"
	}
	return c.Decision
}

// exitCode is the exit code that an event tells, where it tells one.
func exitCode(ev bus.Event) *int {
	if ev.Type != "exited" {
		return nil
	}
	n, known := ev.Data["code"]
	return code(text(ev.Data["reason"]), text(ev.Data["signal"]), known, number(n))
}

func number(v any) int {
	switch n := v.(type) {
	case int:
		return n
	case int64:
		return int(n)
	case float64:
		return int(n)
	}
	return 0
}

func text(v any) string { s, _ := v.(string); return s }

// printed adds the last lines of the app.
func (s *Service) printed(ctx context.Context, t op.Target, e *Explanation) {
	e.Stderr = s.lines(ctx, t.String(), "err", 20)
	if len(e.Stderr) == 0 {
		e.Stdout = s.lines(ctx, t.String(), "out", 10)
	}
}

// An explanation has at most so many bytes of JSON, and each text in it at most so many.
const (
	mostBytes = 24 << 10
	mostText  = 500
)

// fit makes an explanation small enough, whatever an app has printed: long texts are cut, then what is oldest goes, then
// the texts are cut again.
func (e *Explanation) fit(most int) {
	text := mostText
	e.cutAll(text)
	for size(e) > most {
		e.Truncated = true
		switch {
		case len(e.Stderr) > 3:
			e.Stderr = e.Stderr[1:]
		case len(e.Stdout) > 3:
			e.Stdout = e.Stdout[1:]
		case len(e.Changes) > 3:
			e.Changes = e.Changes[:len(e.Changes)-1]
		case len(e.Exits) > 3:
			e.Exits = e.Exits[:len(e.Exits)-1]
		case len(e.WaitsFor) > 3:
			e.WaitsFor = e.WaitsFor[:len(e.WaitsFor)-1]
		case text < 8:
			return
		default:
			text /= 2
			e.cutAll(text)
		}
	}
}

func (e *Explanation) cutAll(most int) {
	e.Summary, e.HealthNote = e.cut(e.Summary, 2*most), e.cut(e.HealthNote, most)
	for i := range e.Exits {
		e.Exits[i].Message = e.cut(e.Exits[i].Message, most)
	}
	for _, list := range [][]LogLine{e.Stderr, e.Stdout} {
		for i := range list {
			list[i].Text = e.cut(list[i].Text, most)
		}
	}
	for i := range e.Changes {
		e.Changes[i].What = e.cut(e.Changes[i].What, most)
	}
}

// cut shortens a text, at the edge of a character.
func (e *Explanation) cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	e.Truncated = true
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// size is how many bytes of JSON an explanation has.
func size(e *Explanation) int {
	text, err := json.Marshal(e)
	if err != nil {
		return 0 // it cannot happen, and whoever encodes it next says so
	}
	return len(text)
}

// Past asks for what happened.
type Past struct {
	op.Page
	op.Selection
	Since time.Time `json:"since,omitzero" jsonschema:"only later; RFC 3339"`
}

// Event is something that happened to an app.
type Event struct {
	At     time.Time `json:"at" table:"1" unit:"time" jsonschema:"when"`
	Key    string    `json:"key" table:"3" jsonschema:"project/stack/app"`
	Slot   string    `json:"slot,omitempty" table:"1" jsonschema:"app:process#n"`
	Type   string    `json:"type" table:"1" jsonschema:"the new state, or exited"`
	Text   string    `json:"text,omitempty" table:"1" jsonschema:"what happened"`
	Code   *int      `json:"code,omitempty" jsonschema:"exit code of an exit; none when a signal ended it, when nobody saw it end, or when it could not even be started"`
	Signal string    `json:"signal,omitempty" jsonschema:"signal of an exit"`
	RanMS  int       `json:"ran_ms,omitempty" jsonschema:"how long the run was that ended, in milliseconds"`
}

// History lists what happened to applications, newest first. Faults: not_found.
func (s *Service) History(ctx context.Context, in Past) (op.List[Event], error) {
	var keys []string
	for _, t := range op.TargetsOf(ctx) {
		keys = append(keys, t.Key)
	}
	if len(keys) == 0 {
		return op.List[Event]{Items: []Event{}}, nil
	}
	cursor, err := eventCursor(in.Cursor)
	if err != nil {
		return op.List[Event]{}, err
	}
	evs, more, err := s.events.List(ctx, records.EventFilter{Topics: []string{"apps"}, Keys: keys, Since: in.Since, Before: cursor, Limit: limitOr(in.Limit, 50)})
	if err != nil {
		return op.List[Event]{}, err
	}
	out := op.List[Event]{Items: []Event{}, Truncated: more}
	for _, ev := range evs {
		out.Items = append(out.Items, Event{At: ev.At, Key: ev.Key, Slot: ev.Slot, Type: ev.Type, Text: ev.Text, Code: exitCode(ev), Signal: text(ev.Data["signal"]), RanMS: number(ev.Data["ran_ms"])})
	}
	if more {
		out.NextCursor = fmt.Sprint(evs[len(evs)-1].Seq)
	}
	return out, nil
}

// recent gives events of some apps, newest first.
func (s *Service) recent(ctx context.Context, keys []string, since time.Time, limit int) []bus.Event {
	evs, _, err := s.events.List(ctx, records.EventFilter{Topics: []string{"apps", "health"}, Keys: keys, Since: since, Limit: limit})
	if err != nil {
		return nil // the rest of an explanation is worth having without them
	}
	return evs
}
