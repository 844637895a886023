package http

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
)

// TestCalls makes calls of every kind and outcome.
func TestCalls(t *testing.T) {
	w := start(t)
	for name, c := range map[string]struct {
		method, path, bearer, body string
		headers                    []string
		status                     int
		has                        string
	}{
		"a read":                    {"POST", "/api/v1/toys/get", "viewer", `{"name":"car"}`, nil, 200, `"name":"car"`},
		"by query":                  {"GET", "/api/v1/toys/get?name=car", "viewer", "", nil, 200, `"name":"car"`},
		"a number in a query":       {"GET", "/api/v1/toys/list?limit=1", "viewer", "", nil, 200, `"truncated":true`},
		"no number in a query":      {"GET", "/api/v1/toys/list?limit=one", "viewer", "", nil, 400, `limit`},
		"an unknown word":           {"GET", "/api/v1/toys/list?limits=1", "viewer", "", nil, 400, `limit`},
		"a word twice":              {"GET", "/api/v1/toys/get?name=car&name=doll", "viewer", "", nil, 400, `2 times`},
		"a former id":               {"POST", "/api/v1/toys/ls", "viewer", `{}`, nil, 200, `"items"`},
		"a change by GET":           {"GET", "/api/v1/toys/paint?color=red", "operator", "", nil, 405, `bad_request`},
		"nobody's ping":             {"POST", "/api/v1/toys/ping", "", ``, nil, 200, `{"toys":3}`},
		"nobody's read":             {"POST", "/api/v1/toys/list", "", `{}`, nil, 401, `no_token`},
		"nobody's unknown":          {"POST", "/api/v1/toys/nothing", "", `{}`, nil, 401, `no_token`},
		"a bad token on a ping":     {"POST", "/api/v1/toys/ping", "nobody", `{}`, nil, 401, `bad_token`},
		"an unknown method":         {"POST", "/api/v1/toys/gt", "viewer", `{}`, nil, 404, `unknown_method`},
		"a local one":               {"POST", "/api/v1/toys/lock", "admin", `{"password":"sesame"}`, nil, 404, `unknown_method`},
		"not found":                 {"POST", "/api/v1/toys/get", "viewer", `{"name":"kite"}`, nil, 404, `not_found`},
		"a change":                  {"POST", "/api/v1/toys/paint", "operator", `{"names":["car"],"color":"blue"}`, nil, 200, `"status":"done"`},
		"a job":                     {"POST", "/api/v1/toys/wind", "operator", `{"name":"car"}`, nil, 202, `"status":"running"`},
		"above the rights":          {"POST", "/api/v1/toys/add", "operator", `{"name":"kite","color":"red"}`, nil, 403, `role`},
		"conflict":                  {"POST", "/api/v1/toys/add", "admin", `{"name":"car","color":"red"}`, nil, 409, `conflict`},
		"internal":                  {"POST", "/api/v1/toys/fail", "viewer", `{"how":"panic"}`, nil, 500, `"call":`},
		"a name twice":              {"POST", "/api/v1/toys/get", "viewer", `{"name":"car","name":"doll"}`, nil, 400, `invalid`},
		"no object":                 {"POST", "/api/v1/toys/list", "viewer", `[]`, nil, 400, `invalid`},
		"half a body":               {"POST", "/api/v1/toys/list", "viewer", `{`, nil, 400, `invalid`},
		"a key for a read":          {"POST", "/api/v1/toys/list", "viewer", `{}`, []string{"Idempotency-Key", "k"}, 400, `takes no`},
		"two different keys":        {"POST", "/api/v1/toys/paint", "operator", `{"names":["car"],"color":"red","idempotency_key":"a"}`, []string{"Idempotency-Key", "b"}, 400, `two different`},
		"a query behind a POST":     {"POST", "/api/v1/toys/list?limit=1", "viewer", `{}`, nil, 400, `query too`},
		"a body behind a GET":       {"GET", "/api/v1/toys/list", "viewer", `{}`, nil, 400, `takes no body`},
		"a token in the URL":        {"GET", "/api/v1/toys/list?access_token=viewer", "", "", nil, 400, `written into logs`},
		"no JSON":                   {"POST", "/api/v1/toys/list", "viewer", `{}`, []string{"Content-Type", "text/plain"}, 415, `media_type`},
		"a form":                    {"POST", "/api/v1/toys/list", "viewer", `a=b`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, `media_type`},
		"compressed":                {"POST", "/api/v1/toys/list", "viewer", `{}`, []string{"Content-Encoding", "gzip"}, 415, `media_type`},
		"three words":               {"POST", "/api/v1/toys/list/x", "viewer", `{}`, nil, 404, `no_route`},
		"another spelling":          {"POST", "/api/v1/toys/%6cist", "viewer", `{}`, nil, 404, `no_route`},
		"dots":                      {"POST", "/api/v1/x/../toys/list", "viewer", `{}`, nil, 404, `no_route`},
		"basic":                     {"POST", "/api/v1/toys/list", "", `{}`, []string{"Authorization", "Basic YTpi"}, 401, `only the scheme Bearer`},
		"a stream's own mistake":    {"POST", "/api/v1/toys/watch", "viewer", `{"ticks":-1}`, nil, 400, `invalid`},
		"a stream without a bearer": {"POST", "/api/v1/toys/watch", "", `{"ticks":1}`, nil, 401, `no_token`},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.ask(c.method, c.path, c.bearer, c.body, c.headers...)
			if a.status != c.status || !strings.Contains(a.body, c.has) {
				t.Errorf("%d %s, want %d with %s", a.status, a.body, c.status, c.has)
			}
			for h, v := range headers {
				if a.header.Get(h) != v[0] {
					t.Errorf("%s is %q", h, a.header.Get(h))
				}
			}
		})
	}
}

// TestMissingRights: a refusal names the rights that the call would need, whichever kind they are.
func TestMissingRights(t *testing.T) {
	w := start(t)
	own := op.Caller{User: "olga", UID: -1, Channel: op.App, Ceiling: op.Operator, Role: op.Operator, Token: "t-own"}
	for method, c := range map[string]struct {
		scope op.Scope
		want  string
	}{
		"add":   {op.Scope{}, "admin"},
		"paint": {op.Scope{Methods: []string{"toys.get"}}, "methods:toys.paint"},
		"smash": {op.Scope{Methods: []string{"toys.get"}}, "admin methods:toys.smash"},
		"fail":  {op.Scope{Projects: []string{"shop"}, Stacks: []string{"dev"}}, "projects:* stacks:*"},
	} {
		own.Scope = c.scope
		w.auth.add(method, own, time.Time{})
		a := w.ask("POST", "/api/v1/toys/"+method, method, `{}`)
		if want := `Bearer error="insufficient_scope", scope="` + c.want + `"`; a.status != 403 || a.header.Get("WWW-Authenticate") != want {
			t.Errorf("%s: %d %s, want %s", method, a.status, a.header.Get("WWW-Authenticate"), want)
		}
	}
}

func TestAKeyMakesACallOnce(t *testing.T) {
	w := start(t)
	first := w.ask("POST", "/api/v1/toys/add", "admin", `{"name":"kite","color":"red"}`, "Idempotency-Key", "k1")
	again := w.ask("POST", "/api/v1/toys/add", "admin", `{"name":"kite","color":"red"}`, "Idempotency-Key", "k1")
	if first.status != 200 || first.body != again.body || first.status != again.status {
		t.Errorf("%+v\n%+v", first, again)
	}
	if other := w.ask("POST", "/api/v1/toys/add", "admin", `{"name":"ball","color":"red"}`, "Idempotency-Key", "k1"); other.status != 409 {
		t.Errorf("%+v", other)
	}
}

func TestStreams(t *testing.T) {
	w := start(t)
	a := w.ask("POST", "/api/v1/toys/watch", "viewer", `{"ticks":3,"lose":2}`)
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	if a.status != 200 || a.header.Get("Content-Type") != ndjson || len(lines) != 4 || !strings.HasPrefix(lines[0], `{"item":{"n":1`) || lines[3] != `{"end":{"count":3,"dropped":6}}` {
		t.Errorf("%+v", a)
	}
}

// TestEveryFaultHasItsStatus is the table of the design.
func TestEveryFaultHasItsStatus(t *testing.T) {
	want := map[fault.Code]int{fault.Invalid: 400, fault.NotFound: 404, fault.Conflict: 409, fault.Internal: 500, fault.Unavailable: 503, fault.Failed: 422, fault.Cancelled: 499,
		fault.Unauthenticated: 401, fault.Denied: 403, fault.Held: 403, fault.Deadline: 504, fault.Limited: 429}
	for _, c := range fault.Codes {
		if got := statusOf(fault.New(c, "x")); got != want[c] {
			t.Errorf("%s: %d, want %d", c, got, want[c])
		}
	}
	if got := statusOf(fault.New(fault.Held, "x").WithReason(awaiting)); got != 202 {
		t.Errorf("a read that waits: %d", got)
	}
	for s, want := range map[op.Status]int{op.Done: 200, op.Running: 202, op.Confirm: 202, op.Waiting: 202} {
		if got := statusFor(op.Outcome{Status: s}); got != want {
			t.Errorf("%s: %d", s, got)
		}
	}
}

// TestRevocation takes a bearer back while a stream and a call are open, all at once.
func TestRevocation(t *testing.T) {
	w := start(t)
	w.Box.Inside = make(chan struct{}, 1)
	stream, err := w.http.Do(w.request("POST", "/api/v1/toys/watch", "viewer", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewReader(stream.Body)
	if first, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(first, `{"item"`) {
		t.Fatal(first, err)
	}
	call := make(chan answer, 1)
	go func() { call <- w.ask("POST", "/api/v1/toys/fail", "viewer", `{"how":"wait"}`) }()
	w.inside()
	began := time.Now()
	w.auth.revoke("viewer")
	if a := <-call; a.status != 401 || a.code() != "unauthenticated/revoked" {
		t.Errorf("a call in flight: %+v", a)
	}
	rest, err := io.ReadAll(lines)
	last := strings.TrimSpace(string(rest))
	last = last[strings.LastIndexByte(last, '\n')+1:]
	if err == nil && !strings.HasPrefix(last, `{"error":{"code":"unauthenticated","reason":"revoked"`) {
		t.Errorf("the stream ended with %.200s", last)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
	if a := w.ask("POST", "/api/v1/toys/list", "viewer", `{}`); a.status != 401 {
		t.Errorf("%+v", a)
	}
}

// waits is a service with a change that goes on until it is let go, or its context ends.
type waits struct {
	inside, let chan struct{}
	ended       chan error
}

type nothing struct{}

func (s *waits) change(ctx context.Context, _ nothing) (nothing, error) {
	s.inside <- struct{}{}
	select {
	case <-s.let:
	case <-ctx.Done():
	}
	s.ended <- ctx.Err()
	return nothing{}, ctx.Err()
}

// TestAChangeRunsOnWhenItsBearerIsRevoked: its caller is told at once that he is nobody, and what is on record is done.
func TestAChangeRunsOnWhenItsBearerIsRevoked(t *testing.T) {
	s := &waits{make(chan struct{}), make(chan struct{}), make(chan error, 1)}
	service := op.Of("waits", "Waits.", op.Unary("change", op.Operator, op.Sets, (*waits).change, "Change something slowly.", op.Global()))
	w := start(t, func(srv *Server) {
		r, err := tools.New(service.Bind(s), srv.Registry.(*tools.Registry).Deps)
		if err != nil {
			t.Fatal(err)
		}
		srv.Registry = r
	})
	call := make(chan answer, 1)
	go func() { call <- w.ask("POST", "/api/v1/waits/change", "operator", `{}`) }()
	<-s.inside
	began := time.Now()
	w.auth.revoke("operator")
	select {
	case a := <-call:
		if a.status != 401 || a.code() != "unauthenticated/revoked" || time.Since(began) > time.Second {
			t.Errorf("after %s: %+v", time.Since(began), a)
		}
	case <-time.After(10 * time.Second):
		t.Error("he is kept waiting")
	}
	select {
	case err := <-s.ended:
		t.Errorf("the change was ended: %v", err)
	default:
	}
	close(s.let)
	if err := <-s.ended; err != nil {
		t.Errorf("the change has not run to its end: %v", err)
	}
}

// seen is an Agents that says who comes.
type seen chan op.Caller

func (s seen) ServeMCP(w http.ResponseWriter, r *http.Request, _ []byte, _ Launch, _ func(string)) {
	s <- op.CallerOf(r.Context())
	w.WriteHeader(http.StatusNoContent)
}

// TestWhoSpeaksMCPIsAnAgent, though the bearer is a person's.
func TestWhoSpeaksMCPIsAnAgent(t *testing.T) {
	who := make(seen, 1)
	w := start(t, func(s *Server) { s.Agents = who })
	for _, path := range []string{"/mcp", "/mcp/full", "/mcp/readonly", "/mcp/x/toys"} {
		if a := w.ask("POST", path, "admin", "{}"); a.status != http.StatusNoContent {
			t.Fatalf("%s: %+v", path, a)
		}
		if c := <-who; c.Channel != op.Agent || c.User != "alice" || c.Plane != "http" {
			t.Errorf("%s: %+v", path, c)
		}
	}
}

// flood is a service whose stream has always more; sent counts what was taken of it.
type flood struct{ sent atomic.Int64 }

type piece struct {
	Text string `json:"text" jsonschema:"much of it"`
}

func (s *flood) more(context.Context, nothing) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		for yield(piece{strings.Repeat("x", 64<<10)}, nil) {
			s.sent.Add(1)
		}
	}
}

// TestAStreamThatNobodyReads is cut off soon after its bearer was revoked, though it waits for room that never comes.
func TestAStreamThatNobodyReads(t *testing.T) {
	s := &flood{}
	service := op.Of("flood", "Flood.", op.Stream("more", op.Viewer, op.Reads, (*flood).more, "Give more and more."))
	w := start(t, func(srv *Server) {
		r, err := tools.New(service.Bind(s), srv.Registry.(*tools.Registry).Deps)
		if err != nil {
			t.Fatal(err)
		}
		srv.Registry = r
	})
	res, err := w.http.Do(w.request("POST", "/api/v1/flood/more", "operator", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	before, since := int64(-1), time.Now()
	until(t, "the stream waits for its reader", func() bool {
		if n := s.sent.Load(); n != before {
			before, since = n, time.Now()
		}
		return before > 0 && time.Since(since) > 200*time.Millisecond
	})
	began := time.Now()
	w.auth.revoke("operator")
	until(t, "it is served no more", func() bool { return w.srv.served.open.Load() == 0 })
	if took := time.Since(began); took > lastWord+time.Second {
		t.Errorf("it was cut off after %s", took)
	}
}

func TestAnExpiredBearerEndsWhatIsOpen(t *testing.T) {
	w := start(t)
	w.auth.add("late", op.Caller{User: "late", Channel: op.Agent, Ceiling: op.Viewer, Role: op.Viewer, Token: "t-late"}, time.Now().Add(-leeway+200*time.Millisecond))
	a := w.ask("POST", "/api/v1/toys/fail", "late", `{"how":"wait"}`)
	if a.status != 401 || a.code() != "unauthenticated/expired" {
		t.Errorf("%+v", a)
	}
}

// TestDraining ends streams with a word and lets calls finish.
func TestDraining(t *testing.T) {
	w := start(t)
	w.Box.Inside = make(chan struct{}, 1)
	res, err := w.http.Do(w.request("POST", "/api/v1/toys/watch", "viewer", `{"ticks":100000}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	w.stop()
	raw, _ := io.ReadAll(res.Body)
	if !strings.Contains(string(raw), `"draining"`) && !strings.Contains(string(raw), `"end"`) {
		t.Errorf("it ended with %.200s", raw[max(0, len(raw)-200):])
	}
}

func TestSessions(t *testing.T) {
	w := start(t)
	w.ask("POST", "/api/v1/toys/list", "viewer", `{}`, "User-Agent", "curl/8 \u00e4")
	w.ask("POST", "/api/v1/toys/list", "viewer", `{}`)
	w.ask("POST", "/api/v1/toys/list", "admin", `{}`)
	list := w.Sessions.List()
	if len(list) != 2 || list[0].Principal != "vera/agent" || list[0].Calls != 2 || list[0].Plane != "http" {
		t.Errorf("%+v", list)
	}
	w.Box.Inside = make(chan struct{}, 1)
	call := make(chan answer, 1)
	go func() { call <- w.ask("POST", "/api/v1/toys/fail", "viewer", `{"how":"wait"}`) }()
	w.inside()
	if _, err := w.Sessions.Disconnect(list[0].ID); err != nil {
		t.Error(err)
	}
	if a := <-call; a.code() != "cancelled/disconnected" {
		t.Errorf("%+v", a)
	}
}

func TestOpenAPIIsOffered(t *testing.T) {
	w := start(t)
	a := w.ask("GET", "/openapi.json", "viewer", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.OpenAPI != "3.1.0" || doc.Paths["/api/v1/toys/get"]["get"] == nil || doc.Paths["/api/v1/toys/paint"]["get"] != nil || doc.Paths["/api/v1/toys/lock"] != nil {
		t.Errorf("%v %.300s", err, a.body)
	}
	if a := w.ask("GET", "/openapi.json", "", ""); a.status != http.StatusUnauthorized {
		t.Errorf("%+v", a)
	}
	off := start(t, func(s *Server) { s.REST = false })
	for _, path := range []string{"/openapi.json", "/api/v1/toys/list"} {
		if a := off.ask("GET", path, "viewer", ""); a.status != 404 {
			t.Errorf("%s: %+v", path, a)
		}
	}
}

// TestAStrangerHasAName: a session that begins by a call without a credential is known by what its client calls itself.
func TestAStrangerHasAName(t *testing.T) {
	w := start(t)
	if a := w.ask("POST", "/api/v1/toys/ping", "", "{}", "User-Agent", "browser/1"); a.status != 200 {
		t.Fatalf("%+v", a)
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Client != "browser/1" || e[0].Address != "127.0.0.1" {
		t.Errorf("%+v", e)
	}
}
