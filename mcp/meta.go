package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/mcp/tool"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/search"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// The meta tools of the profile core: they reach every method of the connection, through the same pipeline.
const (
	metaSearch   = "ops_search"
	metaDescribe = "ops_describe"
	metaRead     = "ops_read"
	metaWrite    = "ops_write"
)

// metaTool is one of them.
type metaTool struct {
	name, title, doc string
	in, out          string
	reads            bool
}

var metaTools = []metaTool{
	{metaSearch, "Operations: search", "Find methods beyond the listed tools by what they do.",
		`{"type":"object","properties":{"query":{"type":"string","description":"a few words"},"limit":{"type":"integer"}},"required":["query"],"additionalProperties":false}`,
		`{"type":"object","properties":{"items":{"type":"array","items":{"type":"object","properties":{"method":{"type":"string"},"doc":{"type":"string"},"effect":{"type":"string"},"role":{"type":"string"},"call_with":{"type":"string"}},"required":["method","doc","effect","role","call_with"],"additionalProperties":false}},"truncated":{"type":"boolean"}},"required":["items","truncated"],"additionalProperties":false}`, true},
	{metaDescribe, "Operations: describe", "Show the input and output schema of one method.",
		`{"type":"object","properties":{"method":{"type":"string"}},"required":["method"],"additionalProperties":false}`,
		`{"type":"object","properties":{"method":{"type":"string"},"doc":{"type":"string"},"effect":{"type":"string"},"role":{"type":"string"},"call_with":{"type":"string"},"input":{"type":"object"},"output":{"type":"object"},"examples":{"type":"array","items":{"type":"object","properties":{"doc":{"type":"string"},"input":{"type":"object"}},"required":["doc","input"],"additionalProperties":false}}},"required":["method","doc","effect","role","call_with","input","output","examples"],"additionalProperties":false}`, true},
	{metaRead, "Operations: read", "Call any method that changes nothing.",
		`{"type":"object","properties":{"method":{"type":"string","description":"such as apps.env"},"input":{"type":"object"}},"required":["method"],"additionalProperties":false}`,
		`{"type":"object"}`, true},
	{metaWrite, "Operations: change", "Call any method that changes something.",
		`{"type":"object","properties":{"method":{"type":"string","description":"such as apps.enable"},"input":{"type":"object"}},"required":["method"],"additionalProperties":false}`,
		`{"type":"object"}`, false},
}

// entry is the tool as tools/list shows it.
func (t metaTool) entry(modern bool) []byte {
	b := answer.AppendString([]byte(`{"name":`), t.name)
	if modern {
		b = answer.AppendString(append(b, `,"title":`...), t.title)
	}
	b = answer.AppendString(append(b, `,"description":`...), t.doc)
	b = append(append(b, `,"inputSchema":`...), t.in...)
	if modern {
		b = append(append(b, `,"outputSchema":`...), tool.Cuttable(json.RawMessage(t.out))...)
	}
	foreign := t.name == metaRead || t.name == metaWrite
	return fmt.Appendf(b, `,"annotations":{"readOnlyHint":%t,"destructiveHint":%t,"idempotentHint":%t,"openWorldHint":%t}}`, t.reads, !t.reads, t.reads, foreign)
}

// indexOf makes the search of what a surface reaches.
func (s *Server) indexOf(f *surface) *search.Index {
	var reached []*tools.Method
	for _, m := range s.ordered {
		if f.allowed[m.ID()] == m {
			reached = append(reached, m.Method)
		}
	}
	return search.New(reached)
}

// runMeta calls one of the meta tools.
func (c *conn) runMeta(ctx context.Context, r *request, t metaTool, p toolCall, line []byte) ([]byte, *wire.Error) {
	if f := strangers(t, p.args); f != nil {
		return c.appendFault(line, r, f), nil
	}
	if t.name == metaSearch {
		return c.search(line, r, t, p.args), nil
	}
	id := object.String(p.args, "method")
	m := c.surface.allowed[id]
	if m == nil {
		m = c.surface.allowed[strings.Replace(id, "_", ".", 1)] // the tool's spelling
	}
	if m == nil && t.name != metaDescribe {
		if m := c.above(strings.Replace(id, "_", ".", 1)); m != nil {
			return c.beyond(ctx, r, m, p, line)
		}
	}
	switch {
	case m == nil:
		return c.appendFault(line, r, c.noMethod(id)), nil
	case t.name == metaDescribe:
		return c.show(line, r, t, describeMethod(m)), nil
	case t.reads != (m.Effect == op.Reads):
		other := metaRead
		if t.reads {
			other = metaWrite
		}
		f := fault.New(fault.Invalid, "%s is not for %s, which %s something", t.name, m.ID(), map[bool]string{true: "changes", false: "only reads"}[t.reads]).
			WithReason("wrong_tool").WithHint("call %s with the same arguments", other)
		return c.appendFault(line, r, f), nil
	}
	p.wrapped = true
	if in := object.Get(p.args, "input"); in == nil || string(in) == "null" {
		p.args = json.RawMessage("{}")
	} else if p.args = in; !object.Is(in) {
		return c.appendFault(line, r, fault.New(fault.Invalid, "input must be an object").WithHint("see ops_describe of %s", m.ID())), nil
	}
	return c.run(ctx, r, m, p, line)
}

// strangers refuses arguments that a meta tool does not have.
func strangers(t metaTool, args json.RawMessage) (f *fault.Error) {
	var names []string
	props := object.Get(json.RawMessage(t.in), "properties")
	object.Visit(props, func(key string, _ json.RawMessage) bool { names = append(names, key); return true })
	object.Visit(args, func(key string, _ json.RawMessage) bool {
		if object.Get(props, key) == nil {
			f = fault.New(fault.Invalid, "%s has no argument %s", t.name, wire.Quote(key, 40)).WithReason("unknown_argument").
				WithCandidates(names...).WithHint("what the method takes goes into input")
		}
		return f == nil
	})
	return f
}

func (c *conn) noMethod(id string) *fault.Error {
	names := make([]string, 0, len(c.surface.allowed))
	for n := range c.surface.allowed {
		names = append(names, n)
	}
	f := fault.New(fault.NotFound, "there is no method %s for this connection", wire.Quote(id, 64)).WithReason("unknown_method").WithHint("ops_search finds methods by words")
	if near := fault.Near(id, names); near != "" {
		f = f.WithCandidates(near)
	}
	return f
}

// found is one hit of a search.
type found struct {
	Method   string `json:"method"`
	Doc      string `json:"doc"`
	Effect   string `json:"effect"`
	Role     string `json:"role"`
	CallWith string `json:"call_with"`
}

func foundOf(m *tools.Method) found {
	with := metaWrite
	if m.Effect == op.Reads {
		with = metaRead
	}
	return found{m.ID(), m.Doc, m.Effect.String(), m.Role.String(), with}
}

func (c *conn) search(line []byte, r *request, t metaTool, args json.RawMessage) []byte {
	query, limit := object.String(args, "query"), 8
	if raw := object.Get(args, "limit"); raw != nil {
		if json.Unmarshal(raw, &limit) != nil || limit < 1 || limit > 50 {
			return c.appendFault(line, r, fault.New(fault.Invalid, "limit must be an integer from 1 to 50"))
		}
	}
	if strings.TrimSpace(query) == "" || len(query) > 500 {
		return c.appendFault(line, r, fault.New(fault.Invalid, "query must be a few words"))
	}
	hits := c.surface.index.Search(query, limit+1)
	out := struct {
		Items     []found `json:"items"`
		Truncated bool    `json:"truncated"`
	}{[]found{}, len(hits) > limit}
	for _, m := range hits[:min(limit, len(hits))] {
		out.Items = append(out.Items, foundOf(m))
	}
	return c.show(line, r, t, out)
}

// described is all that is known of a method.
type described struct {
	found
	Input    json.RawMessage `json:"input"`
	Output   json.RawMessage `json:"output"`
	Examples []example       `json:"examples"`
}

type example struct {
	Doc   string          `json:"doc"`
	Input json.RawMessage `json:"input"`
}

func describeMethod(m *tool.Tool) described {
	d := described{foundOf(m.Method), m.Input(), m.Output, []example{}}
	for _, e := range m.Examples {
		if e.Fails == "" {
			in := e.In
			if in == "" {
				in = "{}"
			}
			d.Examples = append(d.Examples, example{e.Doc, json.RawMessage(in)})
		}
	}
	return d
}

// show appends a value of this plane's own.
func (c *conn) show(line []byte, r *request, t metaTool, v any) []byte {
	form, err := answer.NewForm(tool.Cuttable(json.RawMessage(t.out)), nil, nil)
	if err != nil {
		return c.appendFault(line, r, fault.From(err))
	}
	a, err := form.Render(v)
	if err != nil {
		return c.appendFault(line, r, fault.From(err))
	}
	return c.appendShown(line, r, t.name, a, "")
}

// spell spells a call that a hint names so that this connection can make it: as a tool of its list, else through the meta
// tools. What the connection cannot call at all keeps its name, and the hint says so.
func (c *conn) spell(call fault.Call) (string, bool) {
	m := c.srv.methods[call.Method]
	if m == nil {
		return "", false
	}
	reached := c.surface.allowed[call.Method] != nil
	switch {
	case c.surface.tools[m.Tool()] != nil:
		return tool.Spell(fault.Call{Method: m.ID(), Input: call.Input})
	case reached && c.surface.meta:
		through := metaWrite
		if m.Effect == op.Reads {
			through = metaRead
		}
		whole := fault.Do("", "method", m.ID())
		if len(call.Input) > 0 {
			whole.Input["input"] = call.Input
		}
		return through + "(" + whole.JSON() + ")", true
	}
	return m.ID() + " (which this connection may not call)", true
}
