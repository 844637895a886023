package mcp

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/mcp/tool"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

const (
	maxSubscriptions = 200                    // addresses of one connection
	settleFor        = 200 * time.Millisecond // an address is told of at most this often
	eventRoom        = 256                    // events that wait while a client is slow; then it is told that anything may have changed
)

// subscription is one address that a client wants to hear of.
type subscription struct {
	uri    string
	name   string
	topics []string
	stream string // the id of the request that listens as it was written, "" in the era with a handshake
	out    Out    // where it is told
}

// concerns reports whether an event makes the resource stale.
func (s subscription) concerns(ev bus.Event) bool {
	if !slices.Contains(s.topics, ev.Topic) {
		return false
	}
	if s.name == "" || ev.Key == s.name || strings.Count(ev.Key, "/") < 2 { // about all, about it, about a whole stack
		return true
	}
	return strings.HasSuffix(ev.Key, "/"+s.name)
}

// subscriptions of one connection. The watching begins with the first and lasts as long as the connection.
type subscriptions struct {
	mu      sync.Mutex
	active  []subscription
	watched bool
}

// add takes subscriptions in, unless there are too many, and reports whether the watching has to begin.
func (s *subscriptions) add(subs ...subscription) (begin, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range subs {
		if sub.stream == "" && slices.ContainsFunc(s.active, func(a subscription) bool { return a.stream == "" && a.uri == sub.uri }) {
			continue
		}
		if len(s.active) >= maxSubscriptions {
			return false, false
		}
		s.active = append(s.active, sub)
	}
	begin = !s.watched && len(s.active) > 0
	s.watched = s.watched || begin
	return begin, true
}

// remove drops the subscription of an address in the era with a handshake.
func (s *subscriptions) remove(uri string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = slices.DeleteFunc(s.active, func(a subscription) bool { return a.stream == "" && a.uri == uri })
}

// end drops all subscriptions of a request that listened, by the key of its id.
func (s *subscriptions) end(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = slices.DeleteFunc(s.active, func(a subscription) bool { return a.stream != "" && idKey(json.RawMessage(a.stream)) == key })
}

// stale are the subscriptions that an event concerns; all of them after a loss.
func (s *subscriptions) stale(ev bus.Event, lost bool) []subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit []subscription
	for _, a := range s.active {
		if lost || a.concerns(ev) {
			hit = append(hit, a)
		}
	}
	return hit
}

func (c *conn) subscriptionOf(uri, stream string, out Out) (subscription, bool) {
	r, name, ok := tool.Find(c.surface.resources, uri)
	if !ok {
		return subscription{}, false
	}
	return subscription{uri: uri, name: name, topics: r.Topics, stream: stream, out: out}, true
}

var errManySubscriptions = &wire.Error{Code: wire.CodeOf(fault.Limited), Message: "this connection has subscribed to 200 addresses, and no more are taken"}

// subscribe answers resources/subscribe of the era with a handshake.
func (c *conn) subscribe(ctx context.Context, r *request, line []byte) ([]byte, *wire.Error) {
	uri := object.String(r.Params, "uri")
	sub, ok := c.subscriptionOf(uri, "", c.events)
	if !ok && c.srv.o.Extra != nil {
		return append(line, "{}"...), nil // of something that does not change
	}
	if !ok {
		e := wire.FromFault(noResource(uri))
		e.Code = codeNoResource
		return nil, e
	}
	begin, ok := c.subs.add(sub)
	if !ok {
		return nil, errManySubscriptions
	}
	c.watch(begin)
	return append(line, "{}"...), nil
}

// listen answers subscriptions/listen: it tells what was established and stays in flight until it is cancelled.
func (c *conn) listen(ctx context.Context, r *request, line []byte) ([]byte, *wire.Error) {
	wanted := object.Get(object.Get(r.Params, "notifications"), "resourceSubscriptions")
	var uris []string
	if wanted != nil && json.Unmarshal(wanted, &uris) != nil {
		return nil, invalidParams("resourceSubscriptions must be a list of addresses")
	}
	stream := string(r.ID)
	subs := []subscription{}
	established := []string{}
	for _, uri := range uris {
		if sub, ok := c.subscriptionOf(uri, stream, r.out); ok {
			subs, established = append(subs, sub), append(established, uri)
		}
	}
	begin, ok := c.subs.add(subs...)
	defer c.subs.end(idKey(r.ID))
	if !ok {
		return nil, errManySubscriptions
	}
	if ctx.Err() != nil {
		return line, nil // cancelled already: nobody is told anything
	}
	c.watch(begin)
	notifications := []byte("{}")
	if len(established) > 0 {
		list, _ := json.Marshal(established) // strings
		notifications = object.Set(notifications, "resourceSubscriptions", list)
	}
	ack := append([]byte(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"`+metaStream+`":`), r.ID...)
	ack = append(append(ack, `},"notifications":`...), notifications...)
	if err := r.out.Write(append(ack, "}}"...)); err != nil {
		return nil, invalidParams("the client has gone")
	}
	if len(subs) > 0 {
		<-ctx.Done()
	}
	line = append(append(line, `{"resultType":"complete","_meta":{"`+metaStream+`":`...), r.ID...)
	return append(append(append(line, `,"`+metaServer+`":`...), c.srv.self...), "}}"...), nil
}

// sees reports whether an event is about anything that is there for this client: others neither wake it nor take the room of its
// own. What speaks of no app names those that it is about, or is about nothing that a limited client may see.
func (c *conn) sees(ev bus.Event) bool {
	scope := c.caller.Scope
	if about, is := ev.Data["targets"].([]string); is && ev.Key == "" && scope.Bounded() {
		return len(about) > 0 && !slices.ContainsFunc(about, func(key string) bool { return !scope.CoversKey(key) })
	}
	return scope.CoversKey(ev.Key)
}

// watch begins to follow the bus, once for a connection.
func (c *conn) watch(begin bool) {
	if !begin || c.srv.o.Bus == nil {
		return
	}
	sub := c.srv.o.Bus.Subscribe(bus.Filter{Sees: c.sees}, eventRoom)
	c.watches.Go(func() {
		defer sub.Close()
		c.follow(c.life, sub)
	})
}

// follow tells the client of what has changed. Addresses that change again and again are told of once in a while, so that
// a noisy app costs a client no more than a quiet one.
func (c *conn) follow(ctx context.Context, sub *bus.Sub) {
	for ctx.Err() == nil {
		pending := map[string]subscription{}
		ev, lost, err := sub.Next(ctx)
		note := func() {
			for _, s := range c.subs.stale(ev, lost > 0) {
				pending[s.stream+" "+s.uri] = s
			}
		}
		if err != nil {
			return
		}
		note()
		if len(pending) == 0 {
			continue
		}
		if !c.tell(pending) {
			return
		}
		quiet, cancel := context.WithTimeout(ctx, settleFor)
		clear(pending)
		for {
			if ev, lost, err = sub.Next(quiet); err != nil {
				break
			}
			note()
		}
		cancel()
		if !c.tell(pending) {
			return
		}
	}
}

// tell sends one notification for each subscription that is still there.
func (c *conn) tell(pending map[string]subscription) bool {
	keys := make([]string, 0, len(pending))
	for k := range pending {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		s := pending[k]
		b := []byte(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{`)
		if s.stream != "" {
			b = append(append(append(b, `"_meta":{"`+metaStream+`":`...), s.stream...), "},"...)
		}
		b = answer.AppendString(append(b, `"uri":`...), s.uri)
		if c.subs.has(s) && s.out.Write(append(b, "}}"...)) != nil {
			return false
		}
	}
	return true
}

// has reports whether a subscription is still there.
func (s *subscriptions) has(sub subscription) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.active, func(a subscription) bool { return a.uri == sub.uri && a.stream == sub.stream })
}
