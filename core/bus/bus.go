// Package bus carries what happens inside the daemon to whoever listens. A publisher never waits: each subscriber has a
// bounded ring, and one that is too slow loses its oldest events and is told how many. Events are for telling, not for
// storing: after a restart the state comes from the store.
package bus

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Event is one thing that happened.
type Event struct {
	Seq   uint64         `json:"seq" jsonschema:"number of the event, growing; also its cursor"`
	At    time.Time      `json:"at" table:"1" unit:"time" jsonschema:"when it happened"`
	Topic string         `json:"topic" table:"2" jsonschema:"what it is about: apps, health, logs, daemon, agents, approvals, …"`
	Type  string         `json:"type" table:"3" jsonschema:"what happened, within the topic"`
	Key   string         `json:"key,omitempty" table:"4" jsonschema:"app that it concerns, project/stack/app"`
	Slot  string         `json:"slot,omitempty" jsonschema:"instance that it concerns, app:process#n"`
	Text  string         `json:"text,omitempty" table:"5" jsonschema:"one sentence for people"`
	Data  map[string]any `json:"data,omitempty" schema:"any" jsonschema:"details"`
}

// Filter says which events are wanted; an empty list does not restrict.
type Filter struct {
	Topics []string
	Types  []string
	Keys   []string
	Sees   func(Event) bool // what else it depends on; nil: nothing. It is called while an event is published, and waits for nothing
}

// Match reports whether ev is wanted.
func (f Filter) Match(ev Event) bool {
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return in(f.Topics, ev.Topic) && in(f.Types, ev.Type) && in(f.Keys, ev.Key) && (f.Sees == nil || f.Sees(ev))
}

// ErrClosed is what Next answers after Close.
var ErrClosed = errors.New("the subscription is closed")

// Bus is safe for concurrent use.
type Bus struct {
	Redact func(string) string // takes secrets out of texts, nil for none; it must be set before the first event

	mu     sync.Mutex
	next   uint64
	recent ring
	subs   map[*Sub]struct{}
	lost   int64
}

// New makes a bus whose first event has the number first and which remembers the last recent events.
func New(first uint64, recent int) *Bus {
	return &Bus{next: first, recent: ring{room: recent}, subs: map[*Sub]struct{}{}}
}

// Publish gives ev its number and, if it has none, its time, and hands it to everyone who wants it. It never blocks.
// Whoever publishes must not change Data afterwards.
func (b *Bus) Publish(ev Event) Event {
	if ev.At.IsZero() {
		ev.At = time.Now()
	}
	if b.Redact != nil {
		ev = b.redacted(ev)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ev.Seq = b.next
	b.next++
	b.recent.push(ev)
	for s := range b.subs {
		if s.filter.Match(ev) {
			b.lost += s.push(ev)
		}
	}
	return ev
}

// redacted gives the event with the secrets taken out of its texts; what of Data has some is copied.
func (b *Bus) redacted(ev Event) Event {
	ev.Text = b.Redact(ev.Text)
	if data, hit := b.clean(ev.Data); hit {
		ev.Data = data.(map[string]any)
	}
	return ev
}

// clean gives a value without the secrets in its texts, and whether there were any.
func (b *Bus) clean(v any) (clean any, hit bool) {
	switch v := v.(type) {
	case string:
		text := b.Redact(v)
		return text, text != v
	case []string:
		return cleanList(b, v)
	case []any:
		return cleanList(b, v)
	case map[string]any:
		out := maps.Clone(v)
		for k, e := range v {
			c, found := b.clean(e)
			out[k], hit = c, hit || found
		}
		return out, hit
	}
	return v, false
}

func cleanList[T any](b *Bus, list []T) (any, bool) {
	out, hit := slices.Clone(list), false
	for i, e := range list {
		c, found := b.clean(e)
		if found {
			out[i], hit = c.(T), true
		}
	}
	return out, hit
}

// Recent gives the newest events that match, at most limit of them, oldest first; those after the number after only.
func (b *Bus) Recent(f Filter, after uint64, limit int) []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []Event
	for i := b.recent.len() - 1; i >= 0 && len(found) < limit; i-- {
		ev := b.recent.at(i)
		if ev.Seq <= after {
			break
		}
		if f.Match(ev) {
			found = append(found, ev)
		}
	}
	slices.Reverse(found)
	return found
}

// Stats is how the bus is doing.
type Stats struct {
	Published   uint64 `json:"published" jsonschema:"number of the last event"`
	Subscribers int    `json:"subscribers" jsonschema:"who listens now"`
	Dropped     int64  `json:"dropped" jsonschema:"events that slow subscribers lost"`
}

// Stats says how the bus is doing.
func (b *Bus) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{Published: b.next - 1, Subscribers: len(b.subs), Dropped: b.lost}
}

// Subscribe listens from now on, with room for size events that were not read yet.
func (b *Bus) Subscribe(f Filter, size int) *Sub {
	s := &Sub{bus: b, filter: f, ring: ring{room: size}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[s] = struct{}{}
	return s
}

// handy is how many events are remembered although they are kept elsewhere, for those who come back after a moment.
const handy = 256

// Kept says that the events up to the number last are kept elsewhere: the bus remembers only the last few of them. Most
// of what it holds in memory would be those.
func (b *Bus) Kept(last uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.recent.len() > handy && b.recent.at(0).Seq <= last {
		b.recent.pop()
	}
}

// Resume listens as Subscribe does, and first gives what is remembered after the number after. Nothing lies between the
// two. What is older than the number oldest is not remembered: if after+1 < oldest, something is missing before.
func (b *Bus) Resume(f Filter, size int, after uint64) (s *Sub, oldest uint64) {
	s = &Sub{bus: b, filter: f, ring: ring{room: size}, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[s] = struct{}{}
	oldest = b.next
	for i := range b.recent.len() {
		ev := b.recent.at(i)
		oldest = min(oldest, ev.Seq)
		if ev.Seq > after && f.Match(ev) {
			b.lost += s.push(ev)
		}
	}
	return s, oldest
}

// Sub is one listener. Next is for one goroutine at a time.
type Sub struct {
	bus    *Bus
	filter Filter
	wake   chan struct{} // capacity 1
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	ring    ring
	dropped int64
}

// push is called with the bus locked; it gives how many events were lost.
func (s *Sub) push(ev Event) (lost int64) {
	s.mu.Lock()
	if s.ring.push(ev) {
		s.dropped++
		lost = 1
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return lost
}

// Next gives the oldest event that was not read yet and how many were lost just before it. It waits until there is one,
// ctx ends or the subscription is closed. What is there is given even after the end of ctx.
func (s *Sub) Next(ctx context.Context) (ev Event, dropped int64, err error) {
	for {
		s.mu.Lock()
		if s.ring.len() > 0 {
			ev, dropped = s.ring.pop(), s.dropped
			s.dropped = 0
			s.mu.Unlock()
			return ev, dropped, nil
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-s.closed:
			return Event{}, 0, ErrClosed
		case <-ctx.Done():
			return Event{}, 0, ctx.Err()
		}
	}
}

// Close stops listening; a Next that waits answers ErrClosed.
func (s *Sub) Close() {
	s.once.Do(func() {
		s.bus.mu.Lock()
		delete(s.bus.subs, s)
		s.bus.mu.Unlock()
		close(s.closed)
	})
}

// ring holds the last room events; its memory grows with use.
type ring struct {
	room   int
	events []Event
	head   int // index of the oldest, once events is full
	count  int
}

func (r *ring) len() int { return r.count }

func (r *ring) at(i int) Event { return r.events[(r.head+i)%len(r.events)] }

// push adds ev and reports whether the oldest had to go.
func (r *ring) push(ev Event) (lost bool) {
	if r.room < 1 {
		return true
	}
	if r.count == len(r.events) && r.count < r.room {
		r.grow()
	}
	if r.count < len(r.events) {
		r.events[(r.head+r.count)%len(r.events)] = ev
		r.count++
		return false
	}
	r.events[r.head] = ev
	r.head = (r.head + 1) % len(r.events)
	return true
}

func (r *ring) pop() Event {
	ev := r.events[r.head]
	r.events[r.head] = Event{} // let go of its data
	r.head = (r.head + 1) % len(r.events)
	r.count--
	return ev
}

func (r *ring) grow() {
	bigger := make([]Event, min(r.room, max(16, 2*len(r.events))))
	for i := range r.count {
		bigger[i] = r.at(i)
	}
	r.events, r.head = bigger, 0
}
