package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// post begins a request with a bearer and gives its answer once the head of it is there.
func post(t *testing.T, c *http.Client, method, url, bearer, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body = http.NoBody
		r.ContentLength = 0
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

// TestRevocation takes a token back while a stream, a listener of each era and calls of each kind are open: all end at once.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	bearer := w.token("gone", nil)
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}

	hello := post(t, c, "POST", w.url+"/mcp", bearer, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	_, _ = io.Copy(io.Discard, hello.Body)
	_ = hello.Body.Close()
	session := hello.Header.Get("Mcp-Session-Id")
	if session == "" {
		t.Fatal("no session was begun")
	}
	held := post(t, c, "POST", w.url+"/api/v1/logs/purge", bearer, `{"names":["web"]}`)
	raw, err := io.ReadAll(held.Body)
	_ = held.Body.Close()
	if err != nil || held.StatusCode != http.StatusAccepted || !bytes.Contains(raw, []byte(`"held"`)) {
		t.Fatalf("%v %d %s", err, held.StatusCode, raw)
	}
	_, rest, _ := strings.Cut(string(raw), `"approval":{"id":"`)
	id, _, _ := strings.Cut(rest, `"`)

	type ended struct {
		what string
		at   time.Time
		said string
	}
	all := make(chan ended, 8)
	drain := func(what string, res *http.Response) {
		go func() {
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			all <- ended{what, time.Now(), fmt.Sprintf("%d %s", res.StatusCode, text)}
		}()
	}
	drain("stream", post(t, c, "POST", w.url+"/api/v1/events/follow", bearer, `{}`))
	drain("GET", post(t, c, "GET", w.url+"/mcp", bearer, "", "Mcp-Session-Id", session))
	drain("listen", post(t, c, "POST", w.url+"/mcp", bearer, `{"jsonrpc":"2.0","id":3,"method":"subscriptions/listen","params":{`+modernMeta+`,"notifications":{"resourceSubscriptions":["omnitron://apps"]}}}`,
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen"))
	for _, call := range []string{"call", "MCP call"} {
		go func() {
			var res *http.Response
			if call == "call" {
				res = post(t, c, "POST", w.url+"/api/v1/approvals/wait", bearer, `{"id":"`+id+`"}`)
			} else {
				res = post(t, c, "POST", w.url+"/mcp/full", bearer, `{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{`+modernMeta+`,"name":"approvals_wait","arguments":{"id":"`+id+`"}}}`,
					"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "approvals_wait")
			}
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			all <- ended{call, time.Now(), fmt.Sprintf("%d %s", res.StatusCode, text)}
		}()
	}
	var agents struct {
		Items []struct {
			Plane    string
			InFlight int `json:"in_flight"`
		}
	}
	w.Until(10*time.Second, "both calls and the stream are in flight", func() bool {
		w.must("agents.list", map[string]any{}, &agents)
		n := 0
		for _, s := range agents.Items {
			if s.Plane == "http" {
				n += s.InFlight
			}
		}
		return n >= 3
	})
	began := time.Now()
	w.must("tokens.revoke", map[string]any{"name": "gone"}, nil)
	for range 5 {
		select {
		case e := <-all:
			took := e.at.Sub(began)
			t.Logf("%s ended after %s: %.200s", e.what, took, e.said)
			if took > time.Second {
				t.Errorf("%s went on for %s", e.what, took)
			}
			if strings.Contains(e.what, "call") && (!strings.HasPrefix(e.said, "401 ") || !strings.Contains(e.said, `"revoked"`)) {
				t.Errorf("%s was told %.300s", e.what, e.said)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("something goes on")
		}
	}
	res := post(t, c, "POST", w.url+"/mcp", bearer, `{"jsonrpc":"2.0","id":2,"method":"ping"}`, "Mcp-Session-Id", session)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized || !strings.Contains(res.Header.Get("WWW-Authenticate"), "resource_metadata=") {
		t.Errorf("afterwards: %d %s", res.StatusCode, res.Header.Get("WWW-Authenticate"))
	}
}
