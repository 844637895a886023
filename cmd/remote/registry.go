package remote

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"sync"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
)

// Registry makes the calls of an agent at a remote daemon, for the MCP binding in this process. The methods are those that
// this program knows; what the other daemon does not know it refuses itself.
type Registry struct {
	methods []*tools.Method
	ids     map[string]*tools.Method
	book    Book
	alias   string
	launch  Launch

	mu     sync.Mutex
	client *Client
	over   error // a person has disconnected the agent, or it may not come in any more
}

// Connect signs in at a remote, as an agent unless launch says otherwise, and gives the registry of it.
func (b Book) Connect(ctx context.Context, alias string, specs []op.Spec, l Launch) (*Registry, Welcome, error) {
	if l.Channel == "" {
		l.Channel = string(op.Agent)
	}
	methods, err := tools.Describe(specs)
	if err != nil {
		return nil, Welcome{}, err
	}
	r := &Registry{methods: methods, ids: map[string]*tools.Method{}, book: b, alias: alias, launch: l}
	for _, m := range methods {
		r.ids[m.ID()] = m
	}
	c, err := r.connect(ctx)
	if err != nil {
		return nil, Welcome{}, err
	}
	return r, c.Welcome, nil
}

// Methods gives every method.
func (r *Registry) Methods() []*tools.Method { return r.methods }

// Close ends the connection.
func (r *Registry) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == nil {
		return nil
	}
	return r.client.Close()
}

// connect gives the connection, and makes one where there is none.
func (r *Registry) connect(ctx context.Context) (*Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil {
		return nil, r.over
	}
	if r.client != nil {
		select {
		case <-r.client.Done():
			dismissed(r.client.Err(), &r.over)
			_ = r.client.Close() // it is lost
			if r.client = nil; r.over != nil {
				return nil, r.over
			}
		default:
			return r.client, nil
		}
	}
	c, err := r.book.Dial(ctx, r.alias, r.launch)
	if err != nil {
		return nil, err
	}
	r.client = c
	return c, nil
}

// ended notes an end that no other connection may follow.
func (r *Registry) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	dismissed(err, &r.over)
}

func dismissed(err error, over *error) {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.Denied && f.Reason == "disconnected" {
		*over = f
	}
}

// lost reports whether a call ended because its connection did.
func lost(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && f.Code == fault.Unavailable && (f.Reason == "connection_lost" || f.Reason == "shutting_down")
}

// Do makes a call. A read whose connection was lost is made again, once; a change is not: it may have happened.
func (r *Registry) Do(ctx context.Context, c tools.Call) (any, error) {
	m := r.ids[c.Method]
	if m == nil {
		return nil, fault.New(fault.NotFound, "there is no method %q", c.Method).WithReason("unknown_method")
	}
	v, err := r.try(ctx, m, c)
	if lost(err) && m.Effect == op.Reads && !m.Stream && ctx.Err() == nil {
		v, err = r.try(ctx, m, c)
	}
	if err != nil {
		r.ended(err)
		return nil, fault.From(err)
	}
	return v, nil
}

// unknown says of a change whose daemon is not heard of any more that nobody knows whether it was begun. A key lets it be
// made again with one effect; without one the state has to tell.
func unknown(f *fault.Error, m *tools.Method, in json.RawMessage) *fault.Error {
	own := *f
	own.Message += "; whether " + m.ID() + " was begun is not known"
	var input map[string]any
	if json.Unmarshal(in, &input) == nil && input["idempotency_key"] != nil {
		return own.WithHint("once it answers, the same call with the same idempotency_key tells, and has its effect once: %s", fault.Call{Method: m.ID(), Input: input})
	}
	return own.WithHint("once it answers, look at the state before you call it again: %s", fault.Do("apps.list", "all", true))
}

func (r *Registry) try(ctx context.Context, m *tools.Method, c tools.Call) (any, error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	in := c.In
	if len(in) == 0 {
		in = json.RawMessage("{}")
	}
	if m.Stream {
		n := int64(0)
		for raw, err := range conn.Stream(ctx, m.ID(), in) {
			if err != nil {
				return nil, err
			}
			if err := c.Emit(decoded(raw, m.Out)); err != nil {
				return nil, err
			}
			n++
		}
		return tools.Ended{Count: n}, nil
	}
	raw, err := conn.Call(ctx, m.ID(), in)
	if f := fault.From(err); err != nil && m.Controlled() && (lost(err) || f.Reason == "remote_hung") {
		return nil, unknown(f, m, in)
	}
	if err != nil {
		return nil, err
	}
	if !m.Controlled() {
		return decoded(raw, m.Out), nil
	}
	var out op.Outcome
	var result struct {
		Result json.RawMessage `json:"result"`
	}
	if json.Unmarshal(raw, &out) != nil || json.Unmarshal(raw, &result) != nil {
		return nil, fault.New(fault.Internal, "the daemon's answer to %s cannot be read", m.ID()).WithReason("bad_answer").WithHint("omnitron version")
	}
	if out.Result = nil; len(result.Result) > 0 && string(result.Result) != "null" {
		out.Result = decoded(result.Result, m.Out)
	}
	return out, nil
}

// decoded gives an answer as the type that its method declares, so that it is shown like one of this machine's; what does
// not fit, from another version, as it came.
func decoded(raw json.RawMessage, t reflect.Type) any {
	v := reflect.New(t)
	if json.Unmarshal(raw, v.Interface()) != nil {
		return raw
	}
	return v.Elem().Interface()
}

// Follow publishes what happens at the remote daemon on a bus of this process until ctx ends, across lost connections. Without
// the right to follow there are no news.
func (r *Registry) Follow(ctx context.Context, b *bus.Bus, pause func(context.Context)) error {
	since := ""
	for ctx.Err() == nil {
		conn, err := r.connect(ctx)
		if err == nil {
			in := map[string]any{}
			if since != "" {
				in["since"] = since
			}
			for raw, e := range conn.Stream(ctx, "events.follow", in) {
				if err = e; err != nil {
					break
				}
				var ev bus.Event
				if json.Unmarshal(raw, &ev) == nil {
					since = jsonNumber(ev.Seq, since)
					b.Publish(ev)
				}
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !fault.Is(err, fault.Unavailable):
			r.ended(err)
			return nil
		}
		pause(ctx)
	}
	return nil
}

func jsonNumber(seq uint64, before string) string {
	if seq == 0 {
		return before
	}
	raw, _ := json.Marshal(seq) // a number
	return string(raw)
}
