package agents

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// entry is a server in the settings of a client, in any of the forms that clients read.
type entry struct {
	Command string            `json:"command,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	URL     string            `json:"url,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}

// read takes the one server out of settings, as a client does.
func (e *entry) read(t *testing.T, text string) {
	t.Helper()
	var file struct {
		Servers map[string]entry `json:"mcpServers"`
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil || len(file.Servers) != 1 {
		t.Fatalf("no settings of a client: %v\n%s", err, text)
	}
	*e = file.Servers["omnitron"]
}

// words are those that a command gets when a person pastes a line into a shell.
func words(t *testing.T, command, line string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command+`() { printf '%s\0' "$@"; }; `+line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// inspectWith runs the MCP inspector in an environment that knows nothing of omnitron, neither its home nor a PATH to it.
func (w *world) inspectWith(t *testing.T, env []string, args ...string) (out string, code int) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("the inspector needs node: %v\nto install it: apt-get install -y --no-install-recommends nodejs npm (or make setup)", err)
	}
	program, err := filepath.Abs("inspector/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js")
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		t.Fatalf("the inspector is not installed: %v\nto install it: %s (or make setup)", err, install)
	}
	cmd := exec.CommandContext(within(t, time.Minute), node, append([]string{program, "--cli", "--format", "json"}, args...)...)
	cmd.Dir, cmd.Env = t.TempDir(), append([]string{"PATH=/usr/bin:/bin", "HOME=" + filepath.Dir(w.Home)}, env...)
	cmd.WaitDelay = 5 * time.Second
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	err = cmd.Run()
	if x, ok := errors.AsType[*exec.ExitError](err); ok {
		return all.String(), x.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return all.String(), 0
}

// refused is what the inspector makes of a call above the token's rights.
type refused struct {
	says string
	code int
}

// Over stdio it is a result; over HTTP it is answered with 403, of which the official client says which scope is missing.
var (
	overStdio = refused{"apps.restart needs the role operator", 5}
	overHTTP  = refused{`Insufficient scope: required \"operator\"`, 1}
)

// strange lets the inspector list tools, look, and ask for more than it may, as it was connected.
func (w *world) strange(t *testing.T, env []string, above refused, connection ...string) {
	t.Helper()
	for _, c := range []struct {
		args string
		want string // in what it prints
		code int
	}{
		{"--method tools/list", `"daemon_status"`, 0},
		{"--method tools/call --tool-name daemon_status", `"version"`, 0},
		{"--method tools/call --tool-name apps_get --tool-arg name=web", "shop/dev/web", 0},
		{"--method tools/call --tool-name ops_write --tool-args-json {\"method\":\"apps.restart\",\"input\":{\"names\":[\"web\"]}}", above.says, above.code},
	} {
		out, code := w.inspectWith(t, env, append(append([]string{}, connection...), strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%v %s: exit %d, want %d and %s in\n%.1500s", connection, c.args, code, c.code, c.want, out)
		}
	}
}

// printed makes a token of a viewer with the command line and gives what it prints for a client.
func (w *world) printed(t *testing.T, name, client string) (connect, note string) {
	t.Helper()
	var made struct {
		Result struct{ Connect, Note string }
	}
	out := w.OK("tokens", "create", name, "--for", "alice", "--role", "viewer", "--client", client, "-o", "json")
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Result.Connect == "" {
		t.Fatalf("%v\n%s", err, out)
	}
	return made.Result.Connect, made.Result.Note
}

var trusted = regexp.MustCompile(`NODE_EXTRA_CA_CERTS='[^']+'`)

// TestPrintedLine: a client of another maker is connected by what is printed for it, as it is printed and with nothing
// else: over stdio, over HTTP, and over TLS with the daemon's own authority.
func TestPrintedLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	w := newWorld(t, steady, generous+"http: {enabled: true, listen: \"127.0.0.1:"+port+"\"}\n")
	w.must("users.create", map[string]any{"name": "alice", "role": "admin", "password": "correct horse battery staple"}, nil)
	pid := w.PID("web")
	defer func() {
		if w.PID("web") != pid {
			t.Error("who may only look has restarted web")
		}
	}()
	save := func(t *testing.T, text string) string {
		path := filepath.Join(t.TempDir(), "mcp.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	t.Run("stdio", func(t *testing.T) {
		for _, client := range []string{"claude", "cursor"} {
			cmd := w.Command(t.Context(), "mcp", "config", "--client", client, "--role", "viewer")
			var told bytes.Buffer
			cmd.Stderr = &told
			text, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var e entry
			if e.read(t, string(text)); e.Command == "" {
				t.Fatalf("%s", text)
			}
			w.strange(t, nil, overStdio, "--config", save(t, string(text)), "--server", "omnitron")
			if client != "claude" {
				continue
			}
			_, line, _ := strings.Cut(strings.TrimSpace(told.String()), ", or: ")
			got := words(t, "claude", line)
			if len(got) < 6 || strings.Join(got[:4], " ") != "mcp add omnitron --" || got[4] != e.Command || strings.Join(got[5:], "\n") != strings.Join(e.Args, "\n") {
				t.Errorf("the line for the shell is another: %q, not %+v", got, e)
			}
		}
	})

	over := func(t *testing.T, secure bool) {
		for _, client := range []string{"claude", "cursor"} {
			connect, note := w.printed(t, client+port+map[bool]string{true: "s"}[secure], client)
			var env []string
			if secure {
				said := trusted.FindString(note)
				if said == "" {
					t.Fatalf("what to trust is not said: %q", note)
				}
				env = []string{strings.ReplaceAll(said, "'", "")}
			} else if note != "" {
				t.Errorf("over HTTP something is to be seen to: %q", note)
			}
			var e entry
			if client == "cursor" {
				e.read(t, connect)
				w.strange(t, env, overHTTP, "--config", save(t, connect), "--server", "omnitron")
				if secure {
					if out, code := w.inspectWith(t, nil, "--config", save(t, connect), "--server", "omnitron", "--method", "tools/list"); code == 0 {
						t.Errorf("without what is said to trust: %.500s", out)
					}
				}
			} else {
				got := words(t, "claude", connect)
				if len(got) != 8 || strings.Join(got[:5], " ") != "mcp add --transport http omnitron" || got[6] != "--header" {
					t.Fatalf("the shell reads %q", got)
				}
				w.strange(t, env, overHTTP, "--transport", "http", "--server-url", got[5], "--header", got[7])
				name, value, _ := strings.Cut(got[7], ": ")
				e = entry{URL: got[5], Headers: map[string]string{name: value}}
			}
			byOfficial(t, e, env)
		}
	}
	t.Run("http", func(t *testing.T) { over(t, false) })

	if err := os.WriteFile(filepath.Join(w.Home, "config.yaml"), []byte(generous+"http: {enabled: true, listen: \"0.0.0.0:"+port+"\", names: [localhost]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.OK("daemon", "reload")
	w.Until(20*time.Second, "the plane has TLS", func() bool {
		var st struct {
			Planes []struct{ Name, Listen, Pin string }
		}
		w.must("daemon.status", map[string]any{}, &st)
		return len(st.Planes) == 1 && st.Planes[0].Pin != "" && st.Planes[0].Listen != ""
	})
	t.Run("tls", func(t *testing.T) { over(t, true) })
}

// headers adds those of an entry, as clients do.
type headers struct {
	of   map[string]string
	next *http.Transport
}

func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range h.of {
		r.Header.Set(name, value)
	}
	return h.next.RoundTrip(r)
}

// byOfficial does the same with the official client, which trusts what it was told to and nothing else.
func byOfficial(t *testing.T, e entry, env []string) {
	t.Helper()
	roots := x509.NewCertPool()
	for _, v := range env {
		_, path, _ := strings.Cut(v, "=")
		text, err := os.ReadFile(path)
		if err != nil || !roots.AppendCertsFromPEM(text) {
			t.Fatalf("%s is no authority: %v", path, err)
		}
	}
	for _, era := range eras {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
		ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
		defer stop()
		s, err := sdk.NewClient(&sdk.Implementation{Name: "official", Version: era}, nil).Connect(ctx,
			&sdk.StreamableClientTransport{Endpoint: e.URL, HTTPClient: &http.Client{Transport: headers{e.Headers, transport}}}, &sdk.ClientSessionOptions{ProtocolVersion: era})
		if err != nil {
			t.Fatalf("%s: %v", era, err)
		}
		if tools := listed(t, s); tools["daemon_status"] == nil {
			t.Errorf("%s: no daemon_status among %d tools", era, len(tools))
		}
		r, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "daemon_status", Arguments: map[string]any{}})
		if err != nil || r.IsError {
			t.Errorf("%s: %v %+v", era, err, r)
		}
		_, err = s.CallTool(ctx, &sdk.CallToolParams{Name: "ops_write", Arguments: map[string]any{"method": "apps.restart", "input": map[string]any{"names": []string{"web"}}}})
		if err == nil || !strings.Contains(err.Error(), "apps.restart needs the role operator") {
			t.Errorf("%s: above its rights: %v", era, err)
		}
		_ = s.Close()
	}
}
