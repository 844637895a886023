// Package events tells what happens inside the daemon.
package events

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store/records"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("events", "What happens inside the daemon.",
	op.Stream("follow", op.Viewer, op.Reads, (*Service).Follow, "Follow events as they happen.",
		op.Top("events"), op.Global(), op.AnyScope(), op.Keywords("watch live stream subscribe notifications"), op.Shows("changes of apps", `{"topics":["apps"],"replay":1}`), op.Fails("a cursor of something else", `{"since":"x"}`, "invalid")),
	op.Unary("list", op.Viewer, op.Reads, (*Service).List, "List past events, newest first.",
		op.Top("since"), op.Core(), op.Global(), op.AnyScope(), op.Resource("omnitron://events", "events"), op.Keywords("what happened past timeline history since"), op.Shows("the last ones", `{"limit":5}`), op.Fails("a cursor of something else", `{"cursor":"x"}`, "invalid")),
	op.Unary("publish", op.Admin, op.Adds, (*Service).Publish, "Publish an event of your own, for people and programs that follow.",
		op.Global(), op.Planned((*Service).PlanPublish), op.Keywords("emit note mark annotate"), op.Shows("a note", `{"type":"note","text":"maintenance begins"}`), op.Fails("no type", `{"text":"x"}`, "invalid")),
	op.Unary("stats", op.Viewer, op.Reads, (*Service).Stats, "Show how many events there were and how many followers lost some.",
		op.Global(), op.Keywords("counters dropped subscribers"), op.Shows("the counters", `{}`)),
)

// Service implements Methods.
type Service struct {
	bus   *bus.Bus
	store *records.Events
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) { return &Service{bus: h.Bus, store: h.Events}, nil }

// Nothing is an empty input.
type Nothing struct{}

// Following says which events to follow.
type Following struct {
	Topics []string `json:"topics,omitempty" jsonschema:"only these: apps, health, logs, daemon, agents, approvals, custom"`
	Apps   []string `json:"apps,omitempty" complete:"apps" jsonschema:"only of these apps, by project/stack/app"`
	Replay int      `json:"replay,omitempty" min:"0" max:"1000" jsonschema:"how many past events to begin with"`
	Since  string   `json:"since,omitempty" jsonschema:"cursor of the last event seen"`
}

// room is how many events a follower may be behind: all that the bus remembers, and as many again.
const room = 8192

// Follow gives events as they happen until the caller leaves. What a slow caller misses is an item of type gap with the
// exact number. Faults: invalid (bad_cursor), internal (the past cannot be read).
func (s *Service) Follow(ctx context.Context, in Following) iter.Seq2[bus.Event, error] {
	return func(yield func(bus.Event, error) bool) {
		f := follower{s: s, filter: bus.Filter{Topics: in.Topics, Keys: in.Apps}, scope: op.CallerOf(ctx).Scope, yield: yield}
		sub, err := f.begin(ctx, in)
		if sub != nil {
			defer sub.Close()
		}
		for err == nil && !f.left {
			var ev bus.Event
			var dropped int64
			if ev, dropped, err = sub.Next(ctx); err != nil {
				break
			}
			if dropped > 0 {
				f.gap(fmt.Sprintf("%d events were lost because this reader was slow", dropped), map[string]any{"dropped": dropped})
			}
			f.give(ev)
		}
		if err != nil && !f.left {
			yield(bus.Event{}, err)
		}
	}
}

// follower is one call of Follow.
type follower struct {
	s      *Service
	filter bus.Filter
	scope  op.Scope // of the caller
	yield  func(bus.Event, error) bool
	last   uint64 // number of the last event that was given
	left   bool   // the caller wants no more
}

// give hands an event over, unless the caller has it already, or may not see it.
func (f *follower) give(ev bus.Event) {
	if ev.Seq <= f.last || f.left {
		return
	}
	if f.last = ev.Seq; f.scope.CoversKey(ev.Key) {
		f.left = !f.yield(ev, nil)
	}
}

// gap says that something is missing. Its number is that of the last event before, so that it can serve as a cursor.
func (f *follower) gap(text string, data map[string]any) {
	f.left = f.left || !f.yield(bus.Event{Seq: f.last, At: time.Now(), Topic: "events", Type: "gap", Text: text, Data: data}, nil)
}

// begin gives the past that was asked for and the subscription that goes on after it.
func (f *follower) begin(ctx context.Context, in Following) (*bus.Sub, error) {
	after, err := cursor(in.Since)
	switch newest := f.s.bus.Stats().Published; {
	case err != nil:
		return nil, err
	case after > newest:
		f.last = newest
		f.gap(fmt.Sprintf("there is no event %d yet: the record of events was lost since that cursor was given", after), map[string]any{"newest": newest})
		return f.s.bus.Subscribe(f.filter, room), nil
	case after > 0:
		f.last = after
		return f.resume(ctx)
	}
	sub := f.s.bus.Subscribe(f.filter, room) // before the past is looked at: what comes between is in both
	if in.Replay > 0 {
		past, _, err := f.s.store.List(ctx, records.EventFilter{Topics: f.filter.Topics, Keys: f.filter.Keys, Scope: f.scope, Limit: in.Replay})
		if err != nil {
			return sub, err
		}
		for _, ev := range slices.Backward(past) {
			f.give(ev)
		}
	}
	return sub, nil
}

// resume goes on after the last event: from the disk for as long as the bus does not remember that far back, then from
// there, without a hole between the two.
func (f *follower) resume(ctx context.Context) (*bus.Sub, error) {
	for after := f.last; ; {
		sub, oldest := f.s.bus.Resume(f.filter, room, after)
		if after+1 >= oldest || f.left {
			return sub, nil
		}
		sub.Close()
		for more := true; more && !f.left; {
			var past []bus.Event
			var err error
			past, more, err = f.s.store.List(ctx, records.EventFilter{Topics: f.filter.Topics, Keys: f.filter.Keys, Scope: f.scope, After: f.last, Limit: 1000})
			if err != nil {
				return nil, err
			}
			for _, ev := range past {
				f.give(ev)
			}
		}
		after = max(f.last, oldest-1) // the bus had forgotten what comes before: it was on disk, or nowhere
	}
}

func cursor(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Invalid, "%q is no cursor of an event: its seq is", text).WithReason("bad_cursor").WithHint("leave it out to begin now")
	}
	return n, nil
}

// Past says which past events to list.
type Past struct {
	op.Page
	Since  time.Time `json:"since,omitzero" cli:"arg?" jsonschema:"only later; RFC 3339; on the command line also 10m, 1h, 2d ago"`
	Topics []string  `json:"topics,omitempty" jsonschema:"only these: apps, health, logs, daemon, agents, approvals, custom"`
	Apps   []string  `json:"apps,omitempty" complete:"apps" jsonschema:"only of these apps, by project/stack/app"`
}

// List gives past events, newest first. Faults: invalid (bad_cursor).
func (s *Service) List(ctx context.Context, in Past) (op.List[bus.Event], error) {
	out := op.List[bus.Event]{Items: []bus.Event{}}
	before, err := cursor(in.Cursor)
	if err != nil {
		return out, err
	}
	limit := in.Limit
	if limit == 0 {
		limit = 50
	}
	evs, more, err := s.store.List(ctx, records.EventFilter{Topics: in.Topics, Keys: in.Apps, Scope: op.CallerOf(ctx).Scope, Since: in.Since, Before: before, Limit: limit})
	if err != nil {
		return out, err
	}
	out.Items = append(out.Items, evs...)
	if out.Truncated = more; more {
		out.NextCursor = strconv.FormatUint(out.Items[len(out.Items)-1].Seq, 10)
	}
	return out, nil
}

// Note is an event to publish.
type Note struct {
	Type string            `json:"type" jsonschema:"what happened, a word"`
	Text string            `json:"text,omitempty" jsonschema:"one sentence"`
	App  string            `json:"app,omitempty" complete:"apps" jsonschema:"project/stack/app"`
	Data map[string]string `json:"data,omitempty" jsonschema:"details"`
}

// Published is the event that was published.
type Published struct {
	Seq uint64 `json:"seq" table:"1" jsonschema:"its number"`
}

// Publish adds an event of the topic custom.
func (s *Service) Publish(ctx context.Context, in Note) (Published, error) {
	data := map[string]any{"by": op.CallerOf(ctx).Principal()}
	for k, v := range in.Data {
		if _, ours := data[k]; !ours {
			data[k] = v
		}
	}
	ev := s.bus.Publish(bus.Event{Topic: "custom", Type: in.Type, Text: in.Text, Key: in.App, Data: data})
	return Published{ev.Seq}, nil
}

// PlanPublish says what would be published.
func (s *Service) PlanPublish(_ context.Context, in Note) (*op.Plan, error) {
	return &op.Plan{Items: []op.Item{{Target: "events", To: "custom " + in.Type}}}, nil
}

// Counters tells about the bus.
type Counters struct {
	Published   uint64 `json:"published" table:"1" jsonschema:"number of the newest event"`
	Subscribers int    `json:"subscribers" table:"1" jsonschema:"how many follow"`
	Lost        int64  `json:"lost" table:"1" jsonschema:"events that slow followers lost since the daemon was started"`
}

// Stats gives the counters of the bus.
func (s *Service) Stats(context.Context, Nothing) (Counters, error) {
	st := s.bus.Stats()
	return Counters{Published: st.Published, Subscribers: st.Subscribers, Lost: st.Dropped}, nil
}
