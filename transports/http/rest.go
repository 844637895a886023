package http

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

const (
	ndjson = "application/x-ndjson"
	keyOf  = "Idempotency-Key"
)

// call is POST or GET /api/v1/<service>/<verb>.
func (x *exchange) call() {
	c := tools.Call{Method: methodOf(x.path), In: x.body}
	m, known := x.s.Registry.Find(c.Method)
	if known { // what is not says Do
		in, why := x.input(m)
		if why != nil {
			x.answer(why.status, why.fault)
			return
		}
		c.In = in
		if m.Stream {
			x.stream(c)
			return
		}
	}
	answer, err := x.do(c, known && m.Effect.Changes())
	switch f := x.gone(); {
	case f != nil:
		x.fail(f)
	case err != nil:
		x.fail(fault.From(err))
	default:
		x.json(statusFor(answer), answer)
	}
}

// do makes a call. One that changes something goes on to its end when its credential is revoked meanwhile, for its record says
// that it was made; its caller is told that he is nobody, and no more.
func (x *exchange) do(c tools.Call, changes bool) (any, error) {
	ctx := x.r.Context()
	if !changes || x.identity == nil {
		return x.s.Registry.Do(ctx, c)
	}
	type outcome struct {
		answer any
		err    error
	}
	done := make(chan outcome, 1)
	x.s.calls.Go(func() {
		answer, err := x.s.Registry.Do(ctx, c)
		done <- outcome{answer, err}
	})
	select {
	case o := <-done:
		return o.answer, o.err
	case <-ctx.Done():
	}
	if f := x.gone(); f != nil && f.Code == fault.Unauthenticated {
		return nil, f
	}
	o := <-done
	return o.answer, o.err
}

// input is what the method gets: the body, or the query of a read, and the key of the header.
func (x *exchange) input(m *tools.Method) (json.RawMessage, *refusal) {
	in := bytes.TrimSpace(x.body)
	if x.r.Method != http.MethodPost {
		if m.Effect != op.Reads || !flat(m) {
			x.w.Header().Set("Allow", http.MethodPost)
			return nil, &refusal{http.StatusMethodNotAllowed, fault.New(fault.Invalid, "%s is called by POST", m.ID()).WithReason("bad_request")}
		}
		var why *refusal
		if in, why = fromQuery(m, x.r.URL); why != nil {
			return nil, why
		}
	} else if x.r.URL.RawQuery != "" {
		return nil, badRequest("the input of a POST is its body, and this one has a query too")
	}
	if len(in) == 0 {
		in = []byte("{}")
	}
	return x.keyed(m, in)
}

// keyed puts the key of the header into the input.
func (x *exchange) keyed(m *tools.Method, in []byte) (json.RawMessage, *refusal) {
	keys := x.r.Header[keyOf]
	if len(keys) == 0 {
		return in, nil
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(in, &top) != nil || len(m.Problems(in)) > 0 {
		return in, nil // Do says what is wrong with it
	}
	said, err := json.Marshal(keys[0])
	switch {
	case !m.Controlled():
		return nil, badRequest("%s changes nothing, so that it takes no %s", m.ID(), keyOf)
	case len(keys) > 1 || err != nil || keys[0] == "":
		return nil, badRequest("%s must be one key", keyOf)
	case top["idempotency_key"] != nil:
		if string(top["idempotency_key"]) != string(said) {
			return nil, badRequest("%s and idempotency_key are two different keys", keyOf)
		}
		return in, nil
	}
	top["idempotency_key"] = said
	out, err := json.Marshal(top)
	if err != nil {
		return nil, badRequest("the input cannot be read")
	}
	return out, nil
}

// properties are those of a method's input, by name.
func properties(m *tools.Method) map[string]property {
	var in struct {
		Properties map[string]property `json:"properties"`
	}
	_ = json.Unmarshal(m.InSchema, &in) // it is one of ours
	return in.Properties
}

type property struct {
	Type  any       `json:"type"`
	Items *property `json:"items"`
}

func (p property) scalar() bool {
	switch p.Type {
	case "string", "integer", "number", "boolean":
		return true
	}
	return false
}

// flat reports whether an input has only what a query can say: words, numbers, and lists of them.
func flat(m *tools.Method) bool {
	for _, p := range properties(m) {
		if !p.scalar() && !(p.Type == "array" && p.Items != nil && p.Items.scalar()) {
			return false
		}
	}
	return true
}

// fromQuery makes an input of a query. What the words have to be, the method's schema says.
func fromQuery(m *tools.Method, u *url.URL) (json.RawMessage, *refusal) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, badRequest("the query cannot be read")
	}
	props := properties(m)
	in := map[string]any{}
	for name, values := range query {
		p, known := props[name]
		switch {
		case p.Type == "array":
			list := make([]any, len(values))
			for i, v := range values {
				list[i] = worth(*p.Items, v)
			}
			in[name] = list
		case len(values) > 1:
			return nil, badRequest("%s is there %d times in the query", wire.Quote(name, 40), len(values))
		case known:
			in[name] = worth(p, values[0])
		default:
			in[name] = values[0]
		}
	}
	raw, err := encode(in)
	if err != nil {
		return nil, badRequest("the query cannot be read")
	}
	return raw, nil
}

// worth is a word of a query as JSON; one that is none of its kind stays a word, and the schema says so.
func worth(p property, text string) any {
	if p.Type != "string" && slices.ContainsFunc([]byte(text), func(b byte) bool { return b >= '0' && b <= '9' || b == 't' || b == 'f' }) && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

// quietFor is how long a stream may have nothing before its client is told that it has begun.
const quietFor = 300 * time.Millisecond

// stream answers with items, one a line, and a last line that says how it ended. What goes wrong before the first item is an
// answer of its own status.
func (x *exchange) stream(c tools.Call) {
	out := &lineWriter{x: x}
	begin := time.AfterFunc(quietFor, out.begin)
	c.Emit = func(item any) error { return out.line(itemLine{item}) }
	answer, err := x.s.Registry.Do(x.r.Context(), c)
	begin.Stop()
	f := x.gone()
	if f == nil && err != nil {
		f = fault.From(err)
	}
	if f != nil {
		out.fail(f)
		return
	}
	_ = out.line(endLine{answer}) // a client that has gone needs none
}

type itemLine struct {
	Item any `json:"item"`
}

type endLine struct {
	End any `json:"end"`
}

// lineWriter writes the lines of a stream.
type lineWriter struct {
	x     *exchange
	mu    sync.Mutex
	begun bool
	over  bool
}

// begin tells the client that the stream is there, though nothing has come of it.
func (o *lineWriter) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begun || o.over {
		return
	}
	o.head()
	_ = o.x.control.Flush() // who has gone is seen by the context
}

func (o *lineWriter) head() {
	o.begun = true
	o.x.w.Header().Set("Content-Type", ndjson)
	o.x.w.WriteHeader(http.StatusOK)
}

// line writes one and sees to it that it goes out.
func (o *lineWriter) line(v any) error {
	raw, err := encode(v) // ends with a newline
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.begun {
		o.head()
	}
	if _, err := o.x.w.Write(raw); err != nil {
		return fault.Wrap(err, fault.Cancelled, "the client has gone")
	}
	if err := o.x.control.Flush(); err != nil {
		return fault.Wrap(err, fault.Cancelled, "the client has gone")
	}
	return nil
}

func (o *lineWriter) fail(f *fault.Error) {
	o.mu.Lock()
	o.over = true
	begun := o.begun
	o.mu.Unlock()
	if !begun {
		o.x.fail(f)
		return
	}
	_ = o.line(failure{f}) // a client that has gone needs none
}
