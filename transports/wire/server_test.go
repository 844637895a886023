package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 10 * time.Second

// toys is a handler with the methods that the tests need.
type toys struct {
	running atomic.Int64
	most    atomic.Int64
	stopped atomic.Int64 // blocks whose context ended
	seen    chan string  // causes of ended contexts
	release chan struct{}
}

func newToys() *toys { return &toys{seen: make(chan string, 4096), release: make(chan struct{})} }

func (h *toys) handle(ctx context.Context, method string, params json.RawMessage, emit op.Emit) (any, error) {
	switch method {
	case "toy.echo":
		return params, nil
	case "toy.block":
		n := h.running.Add(1)
		defer h.running.Add(-1)
		for m := h.most.Load(); n > m && !h.most.CompareAndSwap(m, n); m = h.most.Load() {
		}
		select {
		case <-ctx.Done():
			h.stopped.Add(1)
			h.seen <- context.Cause(ctx).Error()
			return nil, fmt.Errorf("gave up: %w", ctx.Err())
		case <-h.release:
			return struct{}{}, nil
		}
	case "toy.stubborn":
		<-h.release
		return map[string]int{"done": 1}, nil
	case "toy.count":
		var in struct{ N int }
		if err := json.Unmarshal(params, &in); err != nil {
			return nil, err
		}
		for i := range in.N {
			if err := emit(i); err != nil {
				return nil, err
			}
		}
		return int64(3), nil
	case "toy.flood":
		for i := 0; ; i++ {
			if err := emit(strings.Repeat("x", 1000)); err != nil {
				h.seen <- err.Error()
				return nil, err
			}
			h.most.Store(int64(i))
		}
	case "toy.panic":
		panic("oh no")
	case "toy.secret":
		return nil, errors.New("password is hunter2")
	case "toy.unencodable":
		return map[string]any{"f": func() {}}, nil
	case "toy.fault":
		return nil, fault.New(fault.Conflict, "port 80 is taken").WithReason("port_in_use").WithHint("free it")
	case "daemon.ping":
		return map[string]bool{"ok": true}, nil
	}
	return nil, fault.New(fault.NotFound, "no method is called %q", method).WithReason(UnknownMethod)
}

// peer is a raw end of a served connection.
type peer struct {
	t    *testing.T
	conn *net.UnixConn
	r    *bufio.Reader
	done chan error // what Serve returned
}

func serve(t *testing.T, ctx context.Context, h Handler, o Options) *peer {
	t.Helper()
	l, path := listen(t)
	p := &peer{t: t, done: make(chan error, 1)}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			p.done <- err
			return
		}
		p.done <- Serve(ctx, conn, nil, h, o)
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.conn = conn.(*net.UnixConn)
	p.r = bufio.NewReaderSize(conn, 1<<20)
	return p
}

func (p *peer) send(lines ...string) {
	p.t.Helper()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(p.conn, strings.Join(lines, "\n")+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

type answer struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

func (a answer) code() int {
	if a.Error == nil {
		return 0
	}
	return a.Error.Code
}

func (p *peer) read() answer {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := p.r.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("read: %v after %q", err, line)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		p.t.Fatalf("%q: %v", line, err)
	}
	return a
}

func (p *peer) wantEnd() {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(p.r); len(rest) > 0 || errors.Is(err, context.DeadlineExceeded) {
		p.t.Fatalf("the connection goes on: %q, %v", rest, err)
	}
}

func (p *peer) wantServed() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(patience):
		p.t.Fatal("Serve does not return")
		return nil
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not so in time: %s", what)
		}
	}
}

func rpc(id any, method, params string) string {
	if params == "" {
		params = "{}"
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, mustJSON(id), method, params)
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		line   string
		id     string
		code   int
		result string
		reason string
	}{
		{rpc(1, "toy.echo", `{"a":[1, 2]}`), "1", 0, `{"a":[1,2]}`, ""},
		{rpc("x", "toy.echo", "null"), `"x"`, 0, `null`, ""},
		{rpc(2, "toy.fault", ""), "2", -32009, "", "port_in_use"},
		{rpc(3, "toy.panic", ""), "3", -32603, "", "panic"},
		{rpc(4, "toy.secret", ""), "4", -32603, "", ""},
		{rpc(5, "toy.unencodable", ""), "5", -32603, "", ""},
		{rpc(6, "toy.what", ""), "6", CodeMethodNotFound, "", UnknownMethod},
		{rpc(7, "toy.count", `{"n":0}`), "7", 0, `{"count":0,"dropped":3}`, ""},
		{rpc(8, strings.Repeat("m", 1<<20), ""), "8", CodeMethodNotFound, "", UnknownMethod},
		{rpc(9, "toy.echo", "[1]"), "9", -32602, "", "params_not_an_object"},
		{`{"jsonrpc":"2.0","method":"toy.echo"}`, "null", CodeInvalidRequest, "", "protocol"},
		{`{"jsonrpc":"2.0","id":4,"result":{}}`, "null", CodeInvalidRequest, "", "protocol"},
		{`[]`, "null", CodeInvalidRequest, "", "protocol"},
		{`nonsense`, "null", CodeParse, "", "protocol"},
	} {
		t.Run(c.line[:min(60, len(c.line))], func(t *testing.T) {
			p := serve(t, t.Context(), newToys().handle, Options{})
			p.send(`{"jsonrpc":"2.0","method":"$/later"}`, c.line)
			a := p.read()
			if string(a.ID) != c.id || a.code() != c.code || string(a.Result) != c.result {
				t.Errorf("got %s %d %s, want %s %d %s", a.ID, a.code(), a.Result, c.id, c.code, c.result)
			}
			if c.code != 0 {
				if f := a.Error.Fault(); f.Reason != c.reason || f.Message == "" || strings.Contains(string(a.Error.Data)+f.Message, "hunter2") {
					t.Errorf("fault %+v", f)
				}
			}
			p.send(rpc(100, "daemon.ping", ""))
			if a := p.read(); string(a.ID) != "100" || a.Error != nil {
				t.Errorf("the connection did not survive: %+v", a)
			}
		})
	}
}

func TestStreamIsInOrder(t *testing.T) {
	p := serve(t, t.Context(), newToys().handle, Options{})
	p.send(rpc(7, "toy.count", `{"n":5000}`))
	for i := range 5000 {
		a := p.read()
		if want := fmt.Sprintf(`{"id":7,"item":%d}`, i); a.Method != "$/item" || string(a.Params) != want {
			t.Fatalf("item %d: %s %s", i, a.Method, a.Params)
		}
	}
	if a := p.read(); string(a.ID) != "7" || string(a.Result) != `{"count":5000,"dropped":3}` {
		t.Fatalf("end: %+v", a)
	}
}

func TestAnswersOvertakeASlowCall(t *testing.T) {
	h := newToys()
	p := serve(t, t.Context(), h.handle, Options{})
	p.send(rpc("slow", "toy.block", ""), rpc("quick", "toy.echo", ""))
	if a := p.read(); string(a.ID) != `"quick"` {
		t.Fatalf("first answer is %s", a.ID)
	}
	close(h.release)
	if a := p.read(); string(a.ID) != `"slow"` || a.Error != nil {
		t.Fatalf("second answer is %+v", a)
	}
}

func TestCancelStopsTheWork(t *testing.T) {
	h := newToys()
	p := serve(t, t.Context(), h.handle, Options{})
	p.send(rpc(1, "toy.block", ""), rpc("1", "toy.block", ""))
	until(t, "both run", func() bool { return h.running.Load() == 2 })
	p.send(`{"jsonrpc":"2.0","method":"$/cancel","params":{"id":99}}`, `{"jsonrpc":"2.0","method":"$/cancel","params":{"id":"1"}}`)
	a := p.read()
	if string(a.ID) != `"1"` || a.code() != -32800 || a.Error.Fault().Code != fault.Cancelled {
		t.Fatalf("got %s %d", a.ID, a.code())
	}
	if why := <-h.seen; why != errCancelled.Message || h.running.Load() != 1 {
		t.Fatalf("cause %q, %d run", why, h.running.Load())
	}
	close(h.release)
	if a := p.read(); string(a.ID) != "1" || a.Error != nil {
		t.Fatalf("the other call: %+v", a)
	}
}

func TestCancelStorm(t *testing.T) {
	h := newToys()
	p := serve(t, t.Context(), h.handle, Options{})
	go func() {
		for i := range 2000 {
			p.send(rpc(i, "toy.block", ""), fmt.Sprintf(`{"jsonrpc":"2.0","method":"$/cancel","params":{"id":%d}}`, i))
		}
	}()
	ids := map[string]bool{}
	for range 2000 {
		a := p.read()
		if code := a.code(); code != -32800 && code != -32013 {
			t.Fatalf("got %d", code)
		}
		ids[string(a.ID)] = true
	}
	if len(ids) != 2000 || h.running.Load() != 0 {
		t.Fatalf("%d answers, %d still run", len(ids), h.running.Load())
	}
}

func TestGroup(t *testing.T) {
	g := Group{Limit: 3}
	hold := make(chan struct{})
	var ran atomic.Int64
	for range 3 {
		if !g.Go(func() { <-hold; ran.Add(1) }) {
			t.Fatal("refused below the limit")
		}
	}
	if g.Go(func() { ran.Add(100) }) || g.Len() != 3 {
		t.Fatal("more than the limit run")
	}
	close(hold)
	g.Wait()
	if ran.Load() != 3 || g.Len() != 0 || !g.Go(func() { ran.Add(1) }) {
		t.Fatalf("%d ran, %d left", ran.Load(), g.Len())
	}
	g.Wait()
}

func TestCodesAreExhaustive(t *testing.T) {
	var numbers []int
	for _, c := range fault.Codes {
		n := CodeOf(c)
		if FaultCodeOf(n) != c {
			t.Errorf("%s becomes %d becomes %s", c, n, FaultCodeOf(n))
		}
		numbers = append(numbers, n)
		in := fault.New(c, "text of %s", c).WithReason("why").WithHint("do").WithCandidates("a").WithRetryAfter(2)
		out := FromFault(in).Fault()
		if out.Code != c || out.Reason != "why" || out.Message != in.Message || out.Hint != "do" || !slices.Equal(out.Candidates, in.Candidates) || out.RetryAfter != 2 {
			t.Errorf("%+v came back as %+v", in, out)
		}
	}
	want := []int{-32602, -32004, -32009, -32603, -32010, -32005, -32800, -32001, -32003, -32011, -32012, -32013}
	if !slices.Equal(numbers, want) {
		t.Errorf("codes %v, want %v", numbers, want)
	}
	for code, c := range map[int]fault.Code{CodeParse: fault.Invalid, CodeInvalidRequest: fault.Invalid, CodeMethodNotFound: fault.NotFound, -1: fault.Internal} {
		if got := (&Error{Code: code, Message: "m", Data: json.RawMessage(`{"code":"odd"}`)}).Fault(); got.Code != c || got.Message != "m" {
			t.Errorf("%d: %+v", code, got)
		}
	}
	if e := FromFault(fault.New(fault.Failed, "2 failed").WithItems(func() {})); !json.Valid(e.Data) || e.Fault().Code != fault.Failed {
		t.Errorf("items that cannot be encoded: %+v", e)
	}
}

func TestConcurrentStreamsAndCalls(t *testing.T) {
	l, path := listen(t)
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = Serve(t.Context(), conn, nil, newToys().handle, Options{})
		}
		done <- err
	}()
	c, err := Dial(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := range 50 {
				var out struct{ I int }
				if err := c.Call(t.Context(), "toy.echo", map[string]int{"i": i}, &out); err != nil || out.I != i {
					t.Errorf("call %d: %d %v", i, out.I, err)
				}
			}
		})
		wg.Go(func() {
			n := 0
			var end StreamEnd
			for item, err := range c.StreamTo(t.Context(), "toy.count", map[string]int{"n": 500 + k}, &end) {
				if err != nil || string(item) != itoa(n) {
					t.Errorf("item %d: %s %v", n, item, err)
					return
				}
				n++
			}
			if end != (StreamEnd{int64(500 + k), 3}) {
				t.Errorf("end %+v", end)
			}
		})
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
