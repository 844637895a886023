package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a handler of toys behind a plane that lets everybody in as an agent, or as somebody else by a header.
type bed struct {
	*toolstest.World
	t       testing.TB
	handler *Handler
	bus     *bus.Bus
	url     string
	http    *http.Client
	revoked *atomic.Pointer[context.CancelCauseFunc]
}

func newBed(t testing.TB) *bed {
	t.Helper()
	b := &bed{World: toolstest.New(t), t: t, bus: bus.New(1, 64), revoked: &atomic.Pointer[context.CancelCauseFunc]{}}
	s, err := mcp.New(b.Registry, mcp.Options{Version: "1.2.3", Sessions: b.Sessions, Bus: b.bus})
	if err != nil {
		t.Fatal(err)
	}
	b.handler = New(s, slog.New(slog.DiscardHandler))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		who := toolstest.Agent()
		who.Plane, who.Session, who.Token = "http", "", "t-1"
		if other := r.Header.Get("X-Other"); other != "" {
			who.User, who.Token = other, "t-"+other
		}
		if role := op.ParseRole(r.Header.Get("X-Role")); role != 0 {
			who.Ceiling, who.Role = role, role
		}
		if methods := r.Header.Get("X-Methods"); methods != "" {
			who.Scope.Methods = []string{methods}
		}
		if project := r.Header.Get("X-Project"); project != "" {
			who.Scope.Projects = []string{project}
		}
		ctx, cancel := context.WithCancelCause(op.WithCaller(r.Context(), who))
		defer cancel(nil)
		b.revoked.Store(&cancel)
		l := mcp.Launch{Profile: map[string]string{"/readonly": "readonly", "/core": "core", "/": "full"}[r.URL.Path]}
		b.handler.ServeMCP(w, r.WithContext(ctx), body, l, func(scope string) { w.Header().Set("Lacks", scope) })
	}))
	transport := &http.Transport{}
	b.url, b.http = srv.URL, &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		b.handler.Close()
		srv.Close()
	})
	return b
}

func (b *bed) ask(method, path, body string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(raw)
}

const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

func (b *bed) session(path string, headers ...string) string {
	b.t.Helper()
	res, body := b.ask("POST", path, hello, headers...)
	id := res.Header.Get(sessionHeader)
	if res.StatusCode != 200 || id == "" || !strings.Contains(body, `"serverInfo"`) {
		b.t.Fatalf("%d %s", res.StatusCode, body)
	}
	return id
}

func modern(method, params string) string {
	return `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}` + params + `}}`
}

// TestMessages sends messages of both eras and sees which are taken.
func TestMessages(t *testing.T) {
	b := newBed(t)
	id := b.session("/")
	const version, v26 = "Mcp-Protocol-Version", "2026-07-28"
	list := modern("tools/list", "")
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		has                string
	}{
		"a session's request":       {"POST", "/", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, []string{sessionHeader, id}, 200, `"toys_get"`},
		"a session's call":          {"POST", "/", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"toys_get","arguments":{"name":"car"}}}`, []string{sessionHeader, id}, 200, `"structuredContent"`},
		"a notification":            {"POST", "/", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, []string{sessionHeader, id}, 202, ""},
		"no session":                {"POST", "/", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, nil, 400, `initialize`},
		"an unknown session":        {"POST", "/", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, []string{sessionHeader, "x"}, 404, `no such session`},
		"another's session":         {"POST", "/", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, []string{sessionHeader, id, "X-Other", "mallory"}, 404, `no such session`},
		"another address":           {"POST", "/readonly", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, []string{sessionHeader, id}, 404, `no such session`},
		"an unknown version":        {"POST", "/", `{"jsonrpc":"2.0","id":2,"method":"ping"}`, []string{sessionHeader, id, version, "1999-01-01"}, 400, `unknown version`},
		"listening without one":     {"GET", "/", "", nil, 400, `initialize`},
		"a bare cancellation":       {"POST", "/", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, nil, 202, ""},
		"a bare one, modern":        {"POST", "/", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, []string{version, v26}, 202, ""},
		"no JSON":                   {"POST", "/", `{`, nil, 400, `-32700`},
		"a batch":                   {"POST", "/", `[` + hello + `]`, nil, 400, `-32600`},
		"a name twice":              {"POST", "/", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`, nil, 400, `twice`},
		"a case of its own":         {"POST", "/", `{"jsonrpc":"2.0","id":1,"METHOD":"ping"}`, nil, 400, `-32600`},
		"modern":                    {"POST", "/", list, []string{version, v26, "Mcp-Method", "tools/list"}, 200, `"resultType":"complete"`},
		"modern call":               {"POST", "/", modern("tools/call", `,"name":"toys_get","arguments":{"name":"car"}`), []string{version, v26, "Mcp-Method", "tools/call", "Mcp-Name", "toys_get"}, 200, `"car"`},
		"modern, other name":        {"POST", "/", modern("tools/call", `,"name":"toys_smash","arguments":{"names":["car"]}`), []string{version, v26, "Mcp-Method", "tools/call", "Mcp-Name", "toys_get"}, 400, `-32020`},
		"modern, other method":      {"POST", "/", list, []string{version, v26, "Mcp-Method", "ping"}, 400, `-32020`},
		"modern, no method header":  {"POST", "/", list, []string{version, v26}, 400, `-32020`},
		"modern, no version header": {"POST", "/", list, nil, 400, `-32020`},
		"modern, only the header":   {"POST", "/", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, []string{version, v26, "Mcp-Method", "tools/list"}, 400, `-32602`},
		"modern, unknown method":    {"POST", "/", modern("tools/dance", ""), []string{version, v26, "Mcp-Method", "tools/dance"}, 404, `-32601`},
		"modern, taken up again":    {"POST", "/", list, []string{version, v26, "Mcp-Method", "tools/list", eventHeader, "1-1"}, 400, `-32020`},
		"modern GET":                {"GET", "/", "", []string{version, v26}, 405, `subscriptions/listen`},
		"modern DELETE":             {"DELETE", "/", "", []string{version, v26}, 405, `sessions`},
		"what cannot be given":      {"POST", "/", hello, []string{"Accept", "text/html"}, 406, `Accept`},
		"a launch in the message":   {"POST", "/readonly", modern("tools/call", `,"name":"toys_smash","arguments":{"names":["car"]}`), []string{version, v26, "Mcp-Method", "tools/call", "Mcp-Name", "toys_smash"}, 400, `was not given it`},
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			res, body := b.ask(c.method, c.path, c.body, c.headers...)
			if res.StatusCode != c.status || !strings.Contains(body, c.has) {
				t.Errorf("%d %.300s, want %d with %s", res.StatusCode, body, c.status, c.has)
			}
		})
	}
	if res, _ := b.ask("DELETE", "/", "", sessionHeader, id); res.StatusCode != 204 {
		t.Errorf("DELETE: %d", res.StatusCode)
	}
	if res, _ := b.ask("POST", "/", `{"jsonrpc":"2.0","id":2,"method":"ping"}`, sessionHeader, id); res.StatusCode != 404 {
		t.Errorf("after DELETE: %d", res.StatusCode)
	}
}

// TestAboveTheRights: what the caller's rights do not reach is denied with a status of its own, and which are missing is said
// before; what this address does not give is unknown, for other rights would not help.
func TestAboveTheRights(t *testing.T) {
	b := newBed(t)
	const smash, version, v26 = `,"name":"toys_smash","arguments":{"names":["car"]}`, "Mcp-Protocol-Version", "2026-07-28"
	for name, c := range map[string]struct {
		path, params string
		rights       []string
		status       int
		lacks, has   string
	}{
		"a role":                {"/", smash, []string{"X-Role", "operator"}, 403, "admin", `"code":"denied","reason":"role"`},
		"a method":              {"/", smash, []string{"X-Methods", "toys.get"}, 403, "methods:toys.smash", `"code":"denied","reason":"scope"`},
		"both":                  {"/", smash, []string{"X-Role", "viewer", "X-Methods", "toys.get"}, 403, "admin methods:toys.smash", `"code":"denied"`},
		"all projects":          {"/", `,"name":"toys_add","arguments":{"name":"ball"}`, []string{"X-Project", "box"}, 403, "projects:*", `"code":"denied","reason":"scope"`},
		"by a meta tool":        {"/core", `,"name":"ops_write","arguments":{"method":"toys.smash","input":{"names":["car"]}}`, []string{"X-Role", "viewer"}, 403, "admin", `"code":"denied"`},
		"in the tool's words":   {"/core", `,"name":"ops_write","arguments":{"method":"toys_smash"}`, []string{"X-Role", "viewer"}, 403, "admin", `"code":"denied"`},
		"this address":          {"/readonly", smash, []string{"X-Role", "viewer"}, 400, "", `was not given it`},
		"a method of nobody":    {"/", `,"name":"toys_fly","arguments":{}`, []string{"X-Role", "viewer"}, 400, "", `unknown tool`},
		"a method of the local": {"/", `,"name":"toys_lock","arguments":{}`, []string{"X-Role", "viewer"}, 400, "", `unknown tool`},
		"no more than enough":   {"/", `,"name":"toys_get","arguments":{"name":"car"}`, []string{"X-Role", "viewer"}, 200, "", `"car"`},
		"held, for it may be":   {"/", smash, nil, 200, "", `"held"`},
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			tool := strings.Split(c.params, `"`)[3]
			check := func(era string, res *http.Response, body string, status int) {
				t.Helper()
				if res.StatusCode != status || res.Header.Get("Lacks") != c.lacks || !strings.Contains(body, c.has) || !strings.HasPrefix(body, `{"jsonrpc":"2.0","id":7,`) {
					t.Errorf("%s: %d lacks %q, %.400s", era, res.StatusCode, res.Header.Get("Lacks"), body)
				}
			}
			res, body := b.ask("POST", c.path, modern("tools/call", c.params), append(c.rights, version, v26, "Mcp-Method", "tools/call", "Mcp-Name", tool)...)
			check("modern", res, body, c.status)
			id := b.session(c.path, c.rights...)
			res, body = b.ask("POST", c.path, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{`+c.params[1:]+`}}`, append(c.rights, sessionHeader, id)...)
			status := c.status
			if status == 400 { // the era has no status for errors of the protocol
				status = 200
			}
			check("with a session", res, body, status)
			if res, body := b.ask("POST", c.path, `{"jsonrpc":"2.0","id":8,"method":"ping"}`, append(c.rights, sessionHeader, id)...); res.StatusCode != 200 {
				t.Errorf("the session has ended: %d %s", res.StatusCode, body)
			}
		})
	}
}

// TestProgressComesBeforeTheAnswer and both on the stream of their request; what was missed can be had again.
func TestProgressComesBeforeTheAnswer(t *testing.T) {
	b := newBed(t)
	id := b.session("/")
	res, body := b.ask("POST", "/", `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"toys_watch","arguments":{"ticks":20},"_meta":{"progressToken":"p"}}}`, sessionHeader, id)
	events := strings.Split(strings.TrimSpace(body), "\n\n")
	if res.Header.Get("Content-Type") != "text/event-stream" || len(events) != 21 || !strings.Contains(events[19], `"progress":20`) || !strings.Contains(events[20], `"id":5,"result"`) {
		t.Errorf("%s %d events\n%.500s", res.Header.Get("Content-Type"), len(events), body)
	}
}

// TestAStreamIsTakenUpAgain after its client lost the connection.
func TestAStreamIsTakenUpAgain(t *testing.T) {
	b := newBed(t)
	b.Box.Inside = make(chan struct{}, 1)
	id := b.session("/")
	ctx, hangUp := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", b.url, strings.NewReader(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"toys_watch","arguments":{"max_seconds":2},"_meta":{"progressToken":"p"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set(sessionHeader, id)
	res, err := b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	first, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil || !strings.HasPrefix(first, "id: 1-0") {
		t.Fatal(first, err)
	}
	hangUp()
	_ = res.Body.Close()
	_, body := b.ask("GET", "/", "", sessionHeader, id, eventHeader, "1-0")
	if !strings.HasPrefix(body, "id: 1-1\n") || !strings.Contains(body, `"id":5,"result"`) {
		t.Errorf("%.300s … %s", body, body[max(0, len(body)-300):])
	}
}

// TestARevokedCredential ends a call in flight, the work as well as the wait for it, without an answer.
func TestARevokedCredential(t *testing.T) {
	b := newBed(t)
	b.Box.Inside = make(chan struct{}, 1)
	id := b.session("/")
	done := make(chan string, 1)
	go func() {
		_, body := b.ask("POST", "/", `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"toys_fail","arguments":{"how":"wait"}}}`, sessionHeader, id)
		done <- body
	}()
	<-b.Box.Inside
	began := time.Now()
	(*b.revoked.Load())(fault.New(fault.Unauthenticated, "revoked"))
	if body := <-done; body != "" || time.Since(began) > time.Second {
		t.Errorf("after %s: %s", time.Since(began), body)
	}
	ended := make(chan struct{})
	go func() { b.handler.calls.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the call goes on for nobody")
	}
}

// TestAPersonEndsASession tells the one who listens, and the session is no more.
func TestAPersonEndsASession(t *testing.T) {
	b := newBed(t)
	id := b.session("/")
	heard := make(chan string, 1)
	go func() { _, body := b.ask("GET", "/", "", sessionHeader, id); heard <- body }()
	list := b.Sessions.List()
	if len(list) != 1 || list[0].Plane != "http" || list[0].Client != "t/1" {
		t.Fatalf("%+v", list)
	}
	if _, err := b.Sessions.Disconnect(list[0].ID); err != nil {
		t.Fatal(err)
	}
	select {
	case body := <-heard:
		if strings.Contains(body, "no such session") { // it came too late to hear it
			break
		}
		if !strings.Contains(body, mcp.Dismissed) {
			t.Errorf("%s", body)
		}
	case <-time.After(5 * time.Second):
		t.Error("nobody was told")
	}
	if len(b.Sessions.List()) != 0 {
		t.Error("it is still listed")
	}
}

// TestOfficialClient does everything with a client that shares no code with us, in both eras.
func TestOfficialClient(t *testing.T) {
	for _, version := range []string{"2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			b := newBed(t)
			updated := make(chan string, 16)
			var progressed, asked atomic.Int32
			client := sdk.NewClient(&sdk.Implementation{Name: "sdk", Version: "1"}, &sdk.ClientOptions{
				ResourceUpdatedHandler:      func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
				ProgressNotificationHandler: func(context.Context, *sdk.ProgressNotificationClientRequest) { progressed.Add(1) },
				ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
					asked.Add(1)
					return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"confirm": true}}, nil
				},
			})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			s, err := client.Connect(ctx, &sdk.StreamableClientTransport{Endpoint: b.url, HTTPClient: b.http}, &sdk.ClientSessionOptions{ProtocolVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			tools, err := s.ListTools(ctx, nil)
			if err != nil || len(tools.Tools) < 8 {
				t.Fatalf("%v %+v", err, tools)
			}
			res, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "toys_get", Arguments: map[string]any{"name": "car"}})
			if err != nil || res.IsError || res.StructuredContent == nil {
				t.Errorf("%v %+v", err, res)
			}
			p := &sdk.CallToolParams{Name: "toys_watch", Arguments: map[string]any{"ticks": 30}}
			p.SetProgressToken("p")
			if res, err := s.CallTool(ctx, p); err != nil || res.IsError {
				t.Errorf("%v %+v", err, res)
			}
			if _, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "nope"}); err == nil {
				t.Error("an unknown tool can be called")
			}
			res, err = s.CallTool(ctx, &sdk.CallToolParams{Name: "toys_stop", Arguments: map[string]any{"names": []string{"car"}}})
			text, _ := json.Marshal(res)
			if err != nil || res.IsError || asked.Load() != 1 || !strings.Contains(string(text), `"done"`) {
				t.Errorf("a confirmation: %v, asked %d, %s", err, asked.Load(), text)
			}
			if r, err := s.ReadResource(ctx, &sdk.ReadResourceParams{URI: "omnitron://toys/car"}); err != nil || len(r.Contents) != 1 {
				t.Errorf("%v %+v", err, r)
			}
			if version < "2026" {
				if err := s.Subscribe(ctx, &sdk.SubscribeParams{URI: "omnitron://toys"}); err != nil {
					t.Errorf("subscribe: %v", err)
				}
				b.bus.Publish(bus.Event{Topic: "toys", Key: "car"})
				select {
				case uri := <-updated:
					if uri != "omnitron://toys" {
						t.Error(uri)
					}
				case <-ctx.Done():
					t.Error("nobody was told of a change")
				}
			}
			slow, stop := context.WithCancel(ctx)
			b.Box.Inside = make(chan struct{}, 1)
			go func() { <-b.Box.Inside; stop() }()
			if _, err := s.CallTool(slow, &sdk.CallToolParams{Name: "toys_fail", Arguments: map[string]any{"how": "wait"}}); err == nil {
				t.Error("a cancelled call was answered")
			}
			if _, err := s.ListTools(ctx, nil); err != nil {
				t.Errorf("after a cancellation: %v", err)
			}
			if progressed.Load() == 0 {
				t.Error("no progress was told")
			}
		})
	}
}
