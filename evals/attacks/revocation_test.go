package attacks

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// atOnce is how soon what was open with a credential has to be over once it counts no more.
const atOnce = time.Second

// gone is the end of something that was open.
type gone struct {
	what string
	at   time.Time
	said string
}

// opened is everything that can be open with one credential.
type opened struct {
	w    *world
	user string
	ends chan gone
	n    int
}

// open opens it all with a bearer: a stream, a listener of each era and a call in flight, on both network planes.
func (w *world) everything(t *testing.T, user, bearer, approval string) *opened {
	t.Helper()
	o := &opened{w: w, user: user, ends: make(chan gone, 16)}
	wait := `{"id":"` + approval + `"}`
	for what, call := range map[string]message{"TCP stream": {"events.follow", `{}`}, "TCP call": {"approvals.wait", wait}} {
		c := w.stranger()
		if got := c.ask(hello(bearer)); got != "granted" {
			t.Fatalf("%s: %s", what, got)
		}
		_, _ = io.WriteString(c, call.String()+"\n")
		o.await(what, func() string {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			said := c.hear()
			for got := said; got != "cut" && got != "silence"; {
				got = c.hear()
				said += " " + got
			}
			return said
		})
	}
	tr := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(tr.CloseIdleConnections)
	send := func(method, path, body string, headers ...string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.web+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodGet {
			r.Body, r.ContentLength = http.NoBody, 0
		}
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		r.Header.Set("Authorization", "Bearer "+bearer)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return &http.Response{Body: http.NoBody}
		}
		return res
	}
	drain := func(res *http.Response) string {
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		return fmt.Sprintf("%d %s %v", res.StatusCode, strings.TrimSpace(string(text)), err)
	}
	greeting := send("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	session := greeting.Header.Get("Mcp-Session-Id")
	if said := drain(greeting); session == "" {
		t.Fatalf("no session was begun: %s", said)
	}
	streams := map[string]*http.Response{
		"NDJSON":   send("POST", "/api/v1/events/follow", `{}`),
		"/mcp GET": send("GET", "/mcp", "", "Mcp-Session-Id", session),
		"listen":   send("POST", "/mcp", `{"jsonrpc":"2.0","id":3,"method":"subscriptions/listen","params":{`+meta+`,"notifications":{"resourceSubscriptions":["omnitron://apps"]}}}`, "Mcp-Protocol-Version", modern, "Mcp-Method", "subscriptions/listen"),
	}
	for what, res := range streams {
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", what, drain(res))
		}
		o.await(what, func() string { return drain(res) })
	}
	o.await("HTTP call", func() string { return drain(send("POST", "/api/v1/approvals/wait", wait)) })
	o.await("MCP call", func() string {
		return drain(send("POST", endpoint, message{"tools/call", `{` + meta + `,"name":"approvals_wait","arguments":` + wait + `}`}.String(), "Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "approvals_wait"))
	})
	w.Until(20*time.Second, "all of "+user+"'s is open", func() bool {
		select {
		case e := <-o.ends:
			t.Fatalf("%s: %s is over before anything was taken back: %s", user, e.what, e.said)
		default:
		}
		var list struct {
			Items []struct {
				Principal string
				InFlight  int `json:"in_flight"`
			}
		}
		w.must("agents.list", nil, &list)
		n := 0
		for _, s := range list.Items {
			if name, _, _ := strings.Cut(s.Principal, "/"); name == user {
				n += s.InFlight
			}
		}
		return n >= 5
	})
	return o
}

func (o *opened) await(what string, end func() string) {
	o.n++
	go func() { // it ends with what it waits for
		said := end()
		o.ends <- gone{what, time.Now(), said}
	}()
}

// over waits until all of it is over and gives how long each took since then.
func (o *opened) over(t *testing.T, kind string, since time.Time) map[string]time.Duration {
	t.Helper()
	took := map[string]time.Duration{}
	for range o.n {
		select {
		case e := <-o.ends:
			took[e.what] = e.at.Sub(since)
			if took[e.what] > atOnce {
				t.Errorf("%s: %s went on for %s", kind, e.what, took[e.what])
			}
			good := true
			switch e.what { // 401, or cut: never an answer that looks whole
			case "HTTP call", "MCP call": // one of MCP that went on for seconds has a stream by then, and that is torn
				good = e.what == "MCP call" && strings.HasSuffix(e.said, "unexpected EOF") || strings.HasPrefix(e.said, "401 ") && strings.Contains(e.said, `"revoked"`)
			case "NDJSON":
				good = strings.Contains(e.said, `"error"`) && strings.Contains(e.said, `"revoked"`) || !strings.HasSuffix(e.said, "<nil>")
			case "TCP call", "TCP stream":
				good = strings.Trim(strings.ReplaceAll(e.said, "unauthenticated/revoked", ""), " ") == "cut"
			}
			if !good {
				t.Errorf("%s: %s was told: %.300s", kind, e.what, e.said)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: something goes on; over are %v", kind, took)
		}
	}
	return took
}

// TestRevocation takes credentials back in every way there is, while everything is open that can be.
func TestRevocation(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	w := newWorld(t)
	user := func(name string) string {
		w.must("users.create", map[string]any{"name": name, "role": "admin", "password": password}, nil)
		return name
	}
	family := w.signIn(user("family"))
	var next struct{ Result credentials }
	w.must("auth.refresh", map[string]any{"refresh_token": family.Refresh}, &next)
	refreshed := time.Now()
	familys := w.everything(t, "family", next.Result.Access, w.held(next.Result.Access))

	table := &strings.Builder{}
	show := func(kind string, took map[string]time.Duration) {
		fmt.Fprintf(table, "  %-20s", kind)
		for _, what := range []string{"TCP stream", "TCP call", "NDJSON", "/mcp GET", "listen", "HTTP call", "MCP call"} {
			fmt.Fprintf(table, " %s %.1f ms;", what, float64(took[what].Microseconds())/1000)
		}
		table.WriteByte('\n')
	}
	for _, c := range []struct {
		kind   string
		bearer func(name string) string
		end    func(name string, session string)
		after  string // of the next call
	}{
		{"token revoked", func(name string) string { return w.token(name, "agent", "for", name) }, func(name, _ string) { w.must("tokens.revoke", map[string]any{"name": name}, nil) }, "401 unauthenticated/revoked"},
		{"session revoked", nil, func(_, session string) { w.must("auth.revoke", map[string]any{"session": session}, nil) }, "401 unauthenticated/revoked"},
		{"user disabled", nil, func(name, _ string) { w.must("users.update", map[string]any{"name": name, "disabled": true}, nil) }, "401 unauthenticated/revoked"},
		{"role changed", nil, func(name, _ string) { w.must("users.update", map[string]any{"name": name, "role": "viewer"}, nil) }, "403 denied/role"},
		{"role, of a token", func(name string) string { return w.token(name, "agent", "for", name) }, func(name, _ string) { w.must("users.update", map[string]any{"name": name, "role": "viewer"}, nil) }, "403 denied/role"},
		{"password changed", nil, func(name, _ string) {
			w.must("users.update", map[string]any{"name": name, "password": "staple of wet paper"}, nil)
		}, "401 unauthenticated/revoked"},
		{"user deleted", nil, func(name, _ string) { w.must("users.delete", map[string]any{"name": name}, nil) }, "401 unauthenticated/revoked"},
	} {
		name := user(strings.ReplaceAll(strings.ReplaceAll(c.kind, " ", "-"), ",", ""))
		bearer, session := "", ""
		if c.bearer != nil {
			bearer = c.bearer(name)
		} else {
			in := w.signIn(name)
			bearer, session = in.Access, in.Session
		}
		o := w.everything(t, name, bearer, w.held(bearer))
		since := time.Now()
		c.end(name, session)
		show(c.kind, o.over(t, c.kind, since))
		if got := w.raw(w.post(api, bearer, effect)); got != c.after {
			t.Errorf("%s: the next call: %s, want %s", c.kind, got, c.after)
		}
	}

	tick := time.NewTicker(200 * time.Millisecond) // the same refresh is forgiven for ten seconds
	defer tick.Stop()
	for {
		since := time.Now()
		err := w.Call("auth.refresh", map[string]any{"refresh_token": family.Refresh}, nil)
		if f := fault.From(err); err != nil && f.Reason == "refresh_reused" {
			show("family reuse", familys.over(t, "family reuse", since))
			break
		} else if err != nil || time.Since(refreshed) > 20*time.Second {
			t.Fatalf("the same refresh after %s: %v", time.Since(refreshed), err)
		}
		<-tick.C
	}
	if got := w.raw(w.post(api, next.Result.Access, effect)); got != "401 unauthenticated/revoked" {
		t.Errorf("family reuse: the next call: %s", got)
	}
	t.Logf("over after\n%s", table)
}

// held is an approval that waits for a person, asked for by an agent with a bearer.
func (w *world) held(bearer string) string {
	w.T.Helper()
	body := message{"tools/call", strings.Replace(tool, "apps_restart", "logs_purge", 1)}.String()
	c := w.dial(w.web)
	defer c.Close()
	_, _ = io.WriteString(c, w.post(endpoint, bearer, body, "Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "logs_purge", "Connection", "close"))
	raw, _ := io.ReadAll(c)
	_, rest, _ := strings.Cut(string(raw), `"approval":{"id":"`)
	id, _, found := strings.Cut(rest, `"`)
	if !found {
		w.T.Fatalf("the call is not held: %s", raw)
	}
	return id
}
