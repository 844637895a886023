package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/mcp/tool"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// callTool appends the result of a tool call.
func (c *conn) callTool(ctx context.Context, r *request, line []byte) ([]byte, *wire.Error) {
	p, bad := parseCall(r.Params)
	if bad != nil {
		return nil, bad
	}
	ctx = c.with(ctx, r)
	if m := c.surface.tools[p.name]; m != nil {
		return c.run(ctx, r, m, p, line)
	}
	if c.surface.meta {
		for _, t := range metaTools {
			if t.name == p.name && !(t.name == metaWrite && c.caller.ReadOnly) {
				return c.runMeta(ctx, r, t, p, line)
			}
		}
	}
	if m := c.above(strings.Replace(p.name, "_", ".", 1)); m != nil {
		return c.beyond(ctx, r, m, p, line)
	}
	return nil, c.unknownTool(p.name)
}

// above gives the method of an id when nothing but the caller's rights keeps it from this connection.
func (c *conn) above(id string) *tool.Tool {
	if m := c.srv.methods[id]; m != nil && c.surface.allowed[id] == nil && m.Lacks(c.caller) != "" {
		return m
	}
	return nil
}

// beyond appends the refusal of a method that lies above. The pipeline gives it, so that it is on record like any other.
func (c *conn) beyond(ctx context.Context, r *request, m *tool.Tool, p toolCall, line []byte) ([]byte, *wire.Error) {
	v, err := c.do(ctx, r, m, p.args)
	if err == nil {
		return c.appendAnswer(ctx, line, r, m, p, v), nil
	}
	f := fault.From(err)
	if out, ok := r.out.(Lacking); ok && f.Code == fault.Denied {
		out.Lacks(m.Lacks(c.caller))
		e := wire.FromFault(f.Spelled(c.spell))
		e.Code = wire.CodeInvalidRequest // the number of denied means to the official client that it is closing
		return nil, e
	}
	return c.appendFault(line, r, f), nil
}

func (c *conn) unknownTool(name string) *wire.Error {
	text := "unknown tool " + wire.Quote(name, 64)
	id := strings.Replace(name, "_", ".", 1)
	switch {
	case c.surface.allowed[id] != nil && c.surface.meta:
		text += ": in this profile call ops_read or ops_write with method " + id
	case c.srv.methods[id] != nil:
		text += ": this connection was not given it"
	default:
		names := make([]string, 0, len(c.surface.tools))
		for n := range c.surface.tools {
			names = append(names, n)
		}
		if near := fault.Near(name, names); near != "" {
			text += ": did you mean " + near + "?"
		}
	}
	return invalidParams(text)
}

// run calls a method and appends its answer, its question or its fault.
func (c *conn) run(ctx context.Context, r *request, m *tool.Tool, p toolCall, line []byte) ([]byte, *wire.Error) {
	if p.state != "" {
		args, err := c.resume(r, m, p)
		if err != nil {
			return c.appendFault(line, r, fault.From(err)), nil
		}
		p.args = args
	}
	v, err := c.do(ctx, r, m, p.args)
	if err == nil {
		if o, ok := confirming(v); ok && r.elicits && object.Get(p.args, "confirm") == nil {
			if r.modern {
				return c.question(line, m, p, o)
			}
			v, err = c.ask(ctx, r, m, p, o, v)
		}
	}
	if err != nil {
		return c.appendFault(line, r, fault.From(err)), nil
	}
	return c.appendAnswer(ctx, line, r, m, p, v), nil
}

// do runs the method itself.
func (c *conn) do(ctx context.Context, r *request, m *tool.Tool, args json.RawMessage) (any, error) {
	if m.Stream {
		return c.collect(ctx, r, m, args)
	}
	v, err := c.srv.reg.Do(ctx, tools.Call{Method: m.ID(), In: args})
	if m.Hints {
		v = fault.SpellAll(v, c.spell)
	}
	return v, err
}

// appendAnswer appends a result. What is too big is asked for again in smaller pages where the method has pages, else cut;
// the whole of what was cut can be read for a while.
func (c *conn) appendAnswer(ctx context.Context, line []byte, r *request, m *tool.Tool, p toolCall, v any) []byte {
	a, err := m.Form.Render(v)
	if err != nil {
		c.log.Error("an answer cannot be shown", "method", m.ID(), "err", err)
		return c.appendFault(line, r, fault.From(err))
	}
	if a.Whole != nil && m.Lists {
		if smaller, ok := c.smaller(ctx, m, p, v, len(a.Whole)); ok {
			a = smaller
		}
	}
	said := ""
	if o, ok := v.(op.Outcome); ok {
		said = c.say(o, m, p)
	}
	return c.appendShown(line, r, m.ID(), a, said)
}

// appendShown appends an answer of a method or meta tool behind what is said of it, with a link to the whole of one that was
// cut.
func (c *conn) appendShown(line []byte, r *request, name string, a answer.Answer, said string) []byte {
	var link string
	if a.Whole != nil {
		link = c.results.keep(a.Whole)
	}
	if a.TooBig {
		f := fault.New(fault.Internal, "the answer of %s has %d bytes and cannot be cut to fit", name, len(a.Whole)).
			WithReason("too_big").WithHint("read %s", link)
		return c.appendFault(line, r, f)
	}
	text := said + a.Text
	if !r.rich {
		text = string(a.Structured)
	}
	if link != "" {
		text += "\n(cut to fit; the whole: " + link + ")"
	}
	line = answer.AppendString(append(line, `{"content":[{"type":"text","text":`...), text)
	line = append(line, '}')
	if link != "" && r.rich {
		line = answer.AppendString(append(line, `,{"type":"resource_link","uri":`...), link)
		line = append(line, `,"name":"whole answer","mimeType":"application/json"}`...)
	}
	line = append(line, ']')
	if r.rich {
		line = append(append(line, `,"structuredContent":`...), a.Structured...)
	}
	return tail(line, r, c.srv.self, nil)
}

// smaller asks a listing method again for as many items as fit. When one item alone is too long, the page that has it is
// cut, but no item of it is left out: its cursor goes on behind the last one.
func (c *conn) smaller(ctx context.Context, m *tool.Tool, p toolCall, v any, size int) (page answer.Answer, ok bool) {
	n := m.Form.Count(v)
	for try := 0; try < 3 && n > 1; try++ {
		n = max(1, min(n-1, n*answer.Room/size*9/10))
		limit, _ := json.Marshal(n)
		again, err := c.srv.reg.Do(ctx, tools.Call{Method: m.ID(), In: object.Set(p.args, "limit", limit)})
		if err != nil {
			return page, ok
		}
		a, err := m.Form.Render(again)
		if err == nil && a.Whole == nil {
			return a, true
		}
		n, size = m.Form.Count(again), max(len(a.Whole), answer.Room)
		if err == nil && !a.TooBig && itemsOf(a.Structured) == n {
			page, ok = a, true
		}
	}
	return page, ok
}

// itemsOf counts those of a list as it was written.
func itemsOf(list json.RawMessage) int {
	var l struct{ Items []json.RawMessage }
	if json.Unmarshal(list, &l) != nil {
		return -1
	}
	return len(l.Items)
}

// say puts into words what a changing call's envelope means for whoever has to act on it.
func (c *conn) say(o op.Outcome, m *tool.Tool, p toolCall) string {
	tool := m.Tool()
	if p.wrapped {
		tool = metaWrite + " for " + m.ID()
	}
	switch {
	case o.Status == op.Confirm && o.Confirm != nil:
		return "Nothing has happened yet: check the plan, then call " + tool + " again with the same arguments and confirm set to the token below. It works once.\n"
	case o.Status == op.Waiting && o.Approval != nil:
		return c.sayHeld(o.Approval, tool)
	case o.Status == op.Running && o.Job != nil:
		return "Job " + answer.Line(o.Job.ID, 64) + " works on it.\n"
	}
	return ""
}

// sayHeld says, step by step, what to do about a call that a person has to decide on.
func (c *conn) sayHeld(a *op.ApprovalRef, tool string) string {
	id := answer.Line(a.ID, 64)
	wait := ""
	switch {
	case c.surface.tools["approvals_wait"] != nil:
		wait = "call approvals_wait with {\"id\":\"" + id + "\"}"
	case c.surface.meta && c.surface.allowed["approvals.wait"] != nil:
		wait = "call " + metaRead + " with method approvals.wait and input {\"id\":\"" + id + "\"}"
	default:
		wait = "wait until your user says that it is approved"
	}
	return "Nothing has happened yet: a person has to decide. Why: " + answer.Line(a.Why, 500) + ".\n" +
		"1. Tell your user what you want to do and why, and that `omnitron approve " + id + "` allows it, until " + a.ExpiresAt.UTC().Format(time.RFC3339) + ".\n" +
		"2. Then " + wait + "; when nobody has decided yet, do that again.\n" +
		"3. Once it is approved, call " + tool + " again with exactly the same arguments within 10 minutes: it works once. When it is denied, do not try again.\n"
}

// limited is the whole answer of a request that finds no place.
func (c *conn) limited(r *request) []byte {
	f := fault.New(fault.Limited, "this connection has %d places for requests in flight, and all are taken", c.places).WithReason("in_flight").
		WithHint("wait for answers, then call again").WithRetryAfter(0.1)
	return faultLine(r, c.srv.self, f)
}

// listTools appends the tools of the surface, whose bytes are made once.
func (c *conn) listTools(r *request, line []byte) ([]byte, *wire.Error) {
	if cursor := object.Get(r.Params, "cursor"); cursor != nil && string(cursor) != "null" {
		return nil, invalidParams("unknown cursor: the list has one page")
	}
	all := c.surface.wide
	if !r.rich {
		all = c.surface.narrow
	}
	line = append(append(line, `{"tools":`...), all...)
	if r.modern {
		line = append(line, `,"ttlMs":3600000,"cacheScope":"private"`...)
	}
	return tail(line, r, c.srv.self, nil), nil
}

// maxFault is how many bytes of JSON a fault may have.
const maxFault = 12_000

// appendFault appends a fault as a result: text for the model, the object in _meta, no structured content.
func (c *conn) appendFault(line []byte, r *request, f *fault.Error) []byte {
	return appendFault(line, r, c.srv.self, f.Spelled(c.spell))
}

func appendFault(line []byte, r *request, self json.RawMessage, f *fault.Error) []byte {
	raw, err := answer.Marshal(f)
	if err != nil || len(raw) > maxFault {
		short := *f
		short.Message, short.Hint = answer.Cut(f.Message, 2_000), answer.Cut(f.Hint, 1_000)
		short.Candidates, short.Problems = f.Candidates[:min(len(f.Candidates), 20)], f.Problems[:min(len(f.Problems), 20)]
		items, ok := answer.Shrink(f.Items, maxFault/2)
		if short.Items = items; !ok {
			short.Items = nil
		}
		if raw, err = answer.Marshal(&short); err != nil || len(raw) > maxFault {
			short.Items, short.Candidates, short.Problems = nil, nil, nil
			raw, _ = answer.Marshal(&short) // text alone always has a form
		}
	}
	line = answer.AppendString(append(line, `{"content":[{"type":"text","text":`...), answer.Fault(f))
	return tail(append(line, `}],"isError":true`...), r, self, raw)
}

// tail ends a result with what its era wants, and the fault.
func tail(line []byte, r *request, self, failed json.RawMessage) []byte {
	if r.modern {
		line = append(line, `,"resultType":"complete"`...)
	}
	switch {
	case r.modern:
		line = append(append(line, `,"_meta":{"`+metaServer+`":`...), self...)
		if failed != nil {
			line = append(append(line, `,"`+MetaError+`":`...), failed...)
		}
		line = append(line, '}')
	case failed != nil:
		line = append(append(append(line, `,"_meta":{"`+MetaError+`":`...), failed...), '}')
	}
	return append(line, '}')
}

// faultLine is the whole answer of a request that ended in a fault before any method ran: a result for a tool call, so
// that the model sees it, else an error of the protocol.
func faultLine(r *request, self json.RawMessage, f *fault.Error) []byte {
	if r.Method != "tools/call" {
		return ErrorLine(r.ID, wire.FromFault(f))
	}
	return append(appendFault(head(nil, r.ID), r, self, f), '}')
}

// FaultLine is what a request gets that could not be passed on to a server of this version.
func FaultLine(m wire.Message, version string, f *fault.Error) []byte {
	r := &request{Message: m}
	r.read()
	return faultLine(r, identity(version), f.Spelled(tool.Spell))
}

// identity is what a server of a version calls itself.
func identity(version string) json.RawMessage {
	self, _ := json.Marshal(map[string]string{"name": "omnitron", "title": "Omnitron", "version": version}) // strings
	return self
}

// enoughItems ends a stream that has given what was asked for.
var enoughItems = fault.New(fault.Cancelled, "enough items").WithReason("enough")

// collect runs a stream until it ends or one of its bounds is reached. Progress is told item by item, before the answer.
func (c *conn) collect(ctx context.Context, r *request, m *tool.Tool, args json.RawMessage) (any, error) {
	args, most, d, err := tool.Bounds(args)
	if err != nil {
		return nil, err
	}
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	batch := answer.Batch{Items: []json.RawMessage{}}
	size := 0
	enough := false
	_, err = c.srv.reg.Do(until, tools.Call{Method: m.ID(), In: args, Emit: func(item any) error {
		if until.Err() != nil {
			return until.Err()
		}
		raw, err := answer.Marshal(item)
		if err != nil {
			return err
		}
		if len(batch.Items) > 0 && size+len(raw) > answer.Room-512 {
			enough, batch.Truncated = true, true
			return enoughItems
		}
		size += len(raw) + 1
		batch.Items, batch.Rows = append(batch.Items, raw), append(batch.Rows, item)
		if cursor := object.String(raw, "cursor"); cursor != "" {
			batch.NextCursor = cursor
		}
		if l, ok := item.(op.Lossy); ok {
			batch.Dropped += l.Lost()
		}
		if err := c.progress(r, len(batch.Items), most); err != nil {
			return err
		}
		if len(batch.Items) == most {
			enough, batch.Truncated = true, true
			return enoughItems
		}
		return nil
	}})
	timeUp := ctx.Err() == nil && errors.Is(until.Err(), context.DeadlineExceeded)
	if err != nil && !enough && !timeUp {
		return nil, err
	}
	return batch, nil
}

// progress tells how many items have come, if the caller wants to know.
func (c *conn) progress(r *request, n, total int) error {
	if r.token == nil {
		return nil
	}
	b := append([]byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`), r.token...)
	return r.out.Write(fmt.Appendf(b, `,"progress":%d,"total":%d}}`, n, total))
}
