package mcp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/limit"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The service of the tests: small methods of every kind.

type app struct {
	Name  string `json:"name" table:"1" jsonschema:"name of the app"`
	State string `json:"state" table:"2" jsonschema:"its state"`
	Note  string `json:"note,omitempty" table:"3" jsonschema:"text that a program wrote"`
}

type page struct {
	op.Page
	Size int `json:"size,omitempty" jsonschema:"bytes of each note"`
	Many int `json:"many,omitempty" jsonschema:"how many there are"`
}

type none struct{}

type blob struct {
	Text  string         `json:"text" jsonschema:"text"`
	Parts []string       `json:"parts" jsonschema:"parts"`
	State string         `json:"state" enum:"good,bad" jsonschema:"state"`
	Extra map[string]int `json:"extra,omitempty" jsonschema:"more"`
}

type sized struct {
	Text  int `json:"text,omitempty" jsonschema:"bytes of text"`
	Parts int `json:"parts,omitempty" jsonschema:"how many parts"`
	Extra int `json:"extra,omitempty" jsonschema:"how many members"`
}

type line struct {
	N      int    `json:"n" table:"1" jsonschema:"number"`
	Text   string `json:"text" table:"2" jsonschema:"text"`
	Cursor string `json:"cursor" jsonschema:"cursor"`
	gone   int64
}

func (l line) Lost() int64 { return l.gone }

type follow struct {
	Count int `json:"count,omitempty" jsonschema:"items until the end; 0: for ever"`
	Size  int `json:"size,omitempty" jsonschema:"bytes of each"`
}

type failing struct {
	Code string `json:"code" jsonschema:"fault code"`
	Size int    `json:"size,omitempty" jsonschema:"bytes of items"`
}

type world struct {
	stopped    atomic.Int64
	generation atomic.Uint64
	began      chan string
	ended      chan string
}

var worldMethods = []op.MethodOf[*world]{
	op.Unary("list", op.Viewer, op.Reads, (*world).List, "List applications.", op.Core(), op.Global(), op.Resource("omnitron://apps", "apps")),
	op.Unary("get", op.Viewer, op.Reads, (*world).Get, "Show one application.", op.Core(), op.Resource("omnitron://apps/{project}/{stack}/{app}", "apps", "health"), op.Shows("one", `{"name":"web"}`)),
	op.Unary("env", op.Viewer, op.Reads, (*world).Get, "Show the environment of an application.", op.Keywords("variables"), op.Alias("apps.environment")),
	op.Unary("start", op.Operator, op.Sets, (*world).Start, "Start applications.", op.Core(), op.Planned((*world).PlanStop)),
	op.Unary("stop", op.Operator, op.Interrupts, (*world).Stop, "Stop applications.", op.Core(), op.Planned((*world).PlanStop)),
	op.Unary("purge", op.Admin, op.Destroys, (*world).Stop, "Destroy applications.", op.Planned((*world).PlanStop)),
	op.Unary("note", op.Operator, op.Adds, (*world).Note, "Add a note.", op.Global()),
	op.Unary("big", op.Viewer, op.Reads, (*world).Big, "Give an answer of any size.", op.Global()),
	op.Unary("wait", op.Viewer, op.Reads, (*world).Wait, "Wait until the caller gives up.", op.Core(), op.Global()),
	op.Unary("fail", op.Viewer, op.Reads, (*world).Fail, "Fail with a fault.", op.Core(), op.Global()),
	op.Stream("follow", op.Viewer, op.Reads, (*world).Follow, "Follow lines.", op.Core(), op.Global()),
	op.Unary("local", op.Admin, op.Reads, (*world).Secret, "Stay on the socket.", op.Local(), op.Global()),
}

type items = op.List[app]

func (w *world) List(_ context.Context, in page) (items, error) {
	from, _ := strconv.Atoi(in.Cursor)
	limit := in.Limit
	if limit == 0 {
		limit = 100
	}
	many := in.Many
	if many == 0 {
		many = 2
	}
	var out items
	for i := from; i < many && len(out.Items) < limit; i++ {
		out.Items = append(out.Items, app{fmt.Sprintf("app%d", i), "running", strings.Repeat("x", in.Size)})
	}
	if next := from + len(out.Items); next < many {
		out.NextCursor, out.Truncated = strconv.Itoa(next), true
	}
	out.Total = many
	return out, nil
}

func (w *world) Get(_ context.Context, in op.One) (app, error) {
	if in.Name == "nope" {
		return app{}, fault.New(fault.NotFound, "no app %q", string(in.Name)).WithCandidates("web").WithHint("%s", fault.Do("apps.list"))
	}
	return app{Name: string(in.Name), State: "running", Note: "plain \u202e\u200b\x1b[31m\U000e0041 text"}, nil
}

func (w *world) Start(_ context.Context, in op.Selection) (app, error) {
	return app{Name: "web", State: "running"}, nil
}

func (w *world) Stop(_ context.Context, in op.Selection) (app, error) {
	w.stopped.Add(1)
	return app{Name: "web", State: "stopped"}, nil
}

func (w *world) PlanStop(context.Context, op.Selection) (*op.Plan, error) {
	return &op.Plan{Items: []op.Item{{Target: "shop/dev/web", From: "running", To: "stopped"}}}, nil
}

func (w *world) Note(context.Context, none) (app, error) { return app{Name: "note", State: "new"}, nil }

func (w *world) Big(_ context.Context, in sized) (blob, error) {
	out := blob{Text: strings.Repeat("ä", in.Text/2), State: "good", Extra: map[string]int{}}
	for i := range in.Parts {
		out.Parts = append(out.Parts, fmt.Sprintf("part %d", i))
	}
	for i := range in.Extra {
		out.Extra[fmt.Sprintf("member-%05d", i)] = i
	}
	return out, nil
}

func (w *world) Wait(ctx context.Context, _ none) (app, error) {
	if w.began != nil {
		w.began <- op.CallOf(ctx)
	}
	<-ctx.Done()
	if w.ended != nil {
		w.ended <- op.CallOf(ctx)
	}
	return app{}, ctx.Err()
}

func (w *world) Fail(_ context.Context, in failing) (blob, error) {
	f := fault.New(fault.Code(in.Code), "it went wrong with \u202e\x1b").WithReason("test").WithHint("%s", fault.Do("apps.list", "all", true))
	if in.Size > 0 {
		var list []app
		for i := range in.Size / 60 {
			list = append(list, app{fmt.Sprint("app", i), "failed", strings.Repeat("y", 30)})
		}
		f = f.WithItems(list)
	}
	if in.Code == "panic" {
		panic("on purpose")
	}
	return blob{}, f
}

func (w *world) Follow(ctx context.Context, in follow) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		for i := 1; in.Count == 0 || i <= in.Count; i++ {
			l := line{N: i, Text: strings.Repeat("z", in.Size), Cursor: fmt.Sprint("c", i)}
			if i == 2 {
				l.gone = 3
			}
			if !yield(l, nil) {
				return
			}
			if in.Count == 0 && i == 3 {
				<-ctx.Done()
				return
			}
		}
	}
}

func (w *world) Secret(context.Context, none) (app, error) { return app{}, nil }

// Resolve implements tools.Resolver.
func (w *world) Resolve(_ context.Context, names []op.Selector, _ op.ProjectRef, _ op.StackRef) ([]op.Target, error) {
	ts := []op.Target{}
	for _, n := range names {
		if n == "nope" {
			return nil, fault.New(fault.NotFound, "no app %q", string(n)).WithCandidates("web").WithHint("%s", fault.Do("apps.list"))
		}
		ts = append(ts, op.Target{Key: "shop/dev/" + string(n), Project: "shop", Stack: "dev", Generation: w.generation.Load()})
	}
	return ts, nil
}

// testbed is a server with its parts.
type testbed struct {
	*Server
	*world
	kernel *toolstest.World
	bus    *bus.Bus
}

func newBed(tb testing.TB, change ...func(*Options)) *testbed {
	tb.Helper()
	w := &world{}
	var deps tools.Deps
	kernel := toolstest.New(tb, func(d *tools.Deps) {
		d.Resolver, d.Limits = w, limit.Limits{Input: 4 << 20, Deadline: time.Minute}
		deps = *d
	})
	reg, err := tools.New(op.Of("apps", "Apps.", worldMethods...).Bind(w), deps)
	if err != nil {
		tb.Fatal(err)
	}
	b := bus.New(1, 16)
	o := Options{Version: "1.2.3", Sessions: kernel.Sessions, Bus: b, Complete: func(_ context.Context, kind, typed string) []string {
		var keys []string
		for _, k := range []string{"blog/dev/web", "shop/dev/api", "shop/dev/web", "shop/prod/api"} {
			if kind == "keys" && strings.Contains(k, typed) {
				keys = append(keys, k)
			}
		}
		return keys
	}}
	for _, f := range change {
		f(&o)
	}
	s, err := New(reg, o)
	if err != nil {
		tb.Fatal(err)
	}
	return &testbed{s, w, kernel, b}
}

var owner = op.Caller{User: "root", Channel: op.Agent, Plane: "unix", Ceiling: op.Admin, Role: op.Operator}

// dial connects to the server over a unix socket and gives the client's end.
func (b *testbed) dial(tb testing.TB) net.Conn {
	tb.Helper()
	ln, err := net.Listen("unix", filepath.Join(tb.TempDir(), "s"))
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	end, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- b.ServeConn(ctx, end, nil, owner) }()
	tb.Cleanup(func() {
		conn.Close()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			tb.Error("the connection did not end")
		}
		cancel()
	})
	return conn
}

// peer is a raw client.
type peer struct {
	tb testing.TB
	c  net.Conn
	in *bufio.Reader
}

func (b *testbed) peer(tb testing.TB) *peer {
	c := b.dial(tb)
	return &peer{tb, c, bufio.NewReaderSize(c, 1<<20)}
}

func (p *peer) send(lines ...string) {
	p.tb.Helper()
	if _, err := io.WriteString(p.c, strings.Join(lines, "\n")+"\n"); err != nil {
		p.tb.Fatal(err)
	}
}

// next gives the next line of the server.
func (p *peer) next() string {
	p.tb.Helper()
	_ = p.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	l, err := p.in.ReadString('\n')
	if err != nil {
		p.tb.Fatalf("no line: %v", err)
	}
	return strings.TrimSuffix(l, "\n")
}

// reply is an answer taken apart.
type reply struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
	Result struct {
		Content []struct {
			Type, Text, URI string
		}
		StructuredContent json.RawMessage
		IsError           bool
		ResultType        string
		RequestState      string
		InputRequests     json.RawMessage
		Meta              map[string]json.RawMessage `json:"_meta"`
		Contents          []struct {
			URI, Text string
			Meta      map[string]any `json:"_meta"`
		}
		Tools []struct{ Name string }
	}
	Error *struct {
		Code    int
		Message string
		Data    json.RawMessage
	}
	line string
}

func (p *peer) reply() reply {
	p.tb.Helper()
	return parseReply(p.tb, p.next())
}

func parseReply(tb testing.TB, l string) reply {
	tb.Helper()
	var r reply
	if err := json.Unmarshal([]byte(l), &r); err != nil {
		tb.Fatalf("%v in %s", err, l)
	}
	r.line = l
	return r
}

func call(id any, tool, args string) string {
	b, _ := json.Marshal(id)
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, b, tool, args)
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}`

func modernCall(id any, tool, args string) string {
	return strings.Replace(call(id, tool, args), `"params":{`, `"params":{`+modernMeta+`,`, 1)
}

func hello(launch string) string {
	meta := ""
	if launch != "" {
		meta = `,"_meta":{"omnitron/launch":` + launch + `}`
	}
	return `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"0"}` + meta + `}}`
}

// toolNames are the names in an answer to tools/list.
func toolNames(r reply) []string {
	var names []string
	for _, t := range r.Result.Tools {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}
