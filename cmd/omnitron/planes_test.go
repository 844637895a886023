package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/tools"
)

// shop gives every example of the rows something to speak of: an app called web that has printed, has been asked how
// it is, and was needed by another.
const shop = `
project: shop
apps:
  - name: web
    command: 'trap "" USR1; for i in 1 2 3 4 5 6; do echo "level=info line $i"; done; echo "warn: disk is slow" >&2; echo up; while :; do sleep 1000 & wait; done'
    ready: {log: ^up$}
    health: {exec: [test, -d, /], interval: 500ms}
    env: {GREETING: hello}
  - name: api
    command: [sleep, "1000"]
    ready: {delay: 50ms}
    dependsOn: [web]
`

// world is a daemon with the sample project, and an agent that is connected to it.
type world struct {
	*rig.Rig
	agent *agent
	held  string // approval of a call of the agent, once one is needed
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{Rig: rig.New(t)}
	settings := filepath.Join(w.Home, "config.yaml")
	if err := os.WriteFile(settings, []byte("limits: {agentChanges: 1000}\n"), 0o600); err != nil { // we ask faster than an agent may
		t.Fatal(err)
	}
	w.Up(shop)
	if err := w.Call("stacks.create", map[string]any{"name": "spare", "project": "shop"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Call("secrets.set", map[string]any{"name": "shared/example", "value": "for every row of secrets"}, nil); err != nil {
		t.Fatal(err)
	}
	w.accounts(t)
	w.agent = newAgent(t, w.Rig)
	w.agent.real = w.real
	return w
}

// answer is what a plane gave: a value, the items of a stream, or a fault.
type answer struct {
	value json.RawMessage
	items []json.RawMessage
	fault *fault.Error
}

func (a answer) code() string {
	if a.fault == nil {
		return ""
	}
	return string(a.fault.Code)
}

func refused(t testing.TB, err error) answer {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("no fault: %v", err)
	}
	return answer{fault: f}
}

// native calls over JSON-RPC. Of a stream it takes that many items.
func (w *world) native(t testing.TB, m *tools.Method, in string, items int) answer {
	t.Helper()
	in = w.real(t, in)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !m.Stream {
		var out json.RawMessage
		if err := w.Client().Call(ctx, m.ID(), json.RawMessage(in), &out); err != nil {
			return refused(t, err)
		}
		return answer{value: out}
	}
	var a answer
	for item, err := range w.Client().Stream(ctx, m.ID(), json.RawMessage(in)) {
		if err != nil {
			return refused(t, err)
		}
		if a.items = append(a.items, item); len(a.items) == items {
			return a
		}
	}
	t.Fatalf("the stream ended after %d items, not %d", len(a.items), items)
	return a
}

// line is the input of a method as it is typed: what help prints as an example, with the flags of every change.
func line(t testing.TB, m *tools.Method, in string) string {
	t.Helper()
	var values map[string]any
	if err := json.Unmarshal([]byte(in), &values); err != nil {
		t.Fatal(err)
	}
	text := field.Line("omnitron "+m.Service+" "+m.Verb, field.Of(m.In), values)
	if values["dry_run"] == true {
		text += " --dry-run"
	}
	if m.Controlled() && m.Effect.String() == "destroys" {
		text += " --yes"
	}
	return text + " -o json"
}

// secretOf is what the command line asks for instead of having it typed as an argument.
func secretOf(t testing.TB, m *tools.Method, in string) string {
	t.Helper()
	var values map[string]any
	if err := json.Unmarshal([]byte(in), &values); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range field.Of(m.In) {
		if text, ok := values[f.Name].(string); ok && f.Secret {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

// shell runs a line of a shell in which omnitron is the binary under test.
func (w *world) shell(ctx context.Context, line string) *exec.Cmd {
	real := w.Command(ctx)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Dir, cmd.Env, cmd.WaitDelay = real.Dir, append(real.Env, "PATH="+called(w.T, w.Bin)+":"+os.Getenv("PATH")), real.WaitDelay
	return cmd
}

// called gives a folder in which a program is called omnitron.
func called(t testing.TB, bin string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "omnitron")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// typed calls over the command line. Standard output has to be one document, or one item a line, in success and failure.
func (w *world) typed(t testing.TB, m *tools.Method, in string, items int) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	in = w.real(t, in)
	text := line(t, m, in)
	cmd := w.shell(ctx, "exec "+text)
	cmd.Stdin = strings.NewReader(secretOf(t, m, in))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []json.RawMessage
	for s := scanner(out); s.Scan(); {
		if !json.Valid(s.Bytes()) {
			t.Errorf("%s prints what is no JSON: %q", text, s.Text())
		}
		if lines = append(lines, bytes.Clone(s.Bytes())); m.Stream && len(lines) == items {
			_ = cmd.Process.Signal(syscall.SIGINT) // it has ended: then its code says so
		}
	}
	_ = cmd.Wait() // the code is looked at below
	code := cmd.ProcessState.ExitCode()
	if len(lines) == 0 {
		t.Fatalf("%s prints nothing; exit %d, %s", text, code, &errs)
	}
	var failed struct{ Error *fault.Error }
	if json.Unmarshal(lines[len(lines)-1], &failed) == nil && failed.Error != nil {
		if want := exitOf[failed.Error.Code]; code != want {
			t.Errorf("%s: exit %d of %s, want %d", text, code, failed.Error.Code, want)
		}
		if m.Stream && failed.Error.Reason == "interrupted" {
			return answer{items: lines[:len(lines)-1]}
		}
		return answer{fault: failed.Error}
	}
	if m.Stream {
		if code != 130 {
			t.Errorf("%s: exit %d after Ctrl-C, want 130", text, code)
		}
		return answer{items: lines}
	}
	if len(lines) != 1 || code != 0 {
		t.Errorf("%s: %d documents, exit %d, %s", text, len(lines), code, &errs)
	}
	return answer{value: lines[0]}
}

// exitOf is the published contract: omnitron help exit-codes.
var exitOf = map[fault.Code]int{fault.Invalid: 64, fault.NotFound: 1, fault.Conflict: 1, fault.Internal: 1, fault.Failed: 1, fault.Limited: 1,
	fault.Unavailable: 2, fault.Unauthenticated: 3, fault.Denied: 3, fault.Held: 4, fault.Deadline: 5, fault.Cancelled: 130}

func scanner(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 8<<20)
	return s
}

// agent is a client of omnitron mcp.
type agent struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Scanner
	n   int

	real func(t testing.TB, in string) string // see world.real; nil: as it is
}

func newAgent(t testing.TB, r *rig.Rig) *agent {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := r.Command(ctx, "mcp", "--role", "admin", "--profile", "full")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("omnitron mcp ends with %v: %s", err, &errs)
		}
		cancel()
	})
	a := &agent{t: t, in: in, out: scanner(out)}
	a.call("initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "parity", "version": "1"}})
	a.send(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
	return a
}

func (a *agent) send(v any) {
	a.t.Helper()
	raw, err := json.Marshal(v)
	if err == nil {
		_, err = a.in.Write(append(raw, '\n'))
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// call gives the result of a request, or its error of the protocol.
func (a *agent) call(method string, params any) (result json.RawMessage, failed string) {
	a.t.Helper()
	a.n++
	a.send(map[string]any{"jsonrpc": "2.0", "id": a.n, "method": method, "params": params})
	for a.out.Scan() {
		var m struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(a.out.Bytes(), &m); err != nil {
			a.t.Fatalf("no message on standard output: %q", a.out.Text())
		}
		switch {
		case m.ID != a.n: // a notification
		case m.Error != nil:
			return nil, m.Error.Message
		default:
			return bytes.Clone(m.Result), ""
		}
	}
	a.t.Fatalf("no answer to %s: %v", method, a.out.Err())
	return nil, ""
}

// tool calls over MCP. A stream gives what comes within a second.
func (a *agent) tool(t testing.TB, m *tools.Method, in string) answer {
	t.Helper()
	if a.real != nil {
		in = a.real(t, in)
	}
	args := json.RawMessage(in)
	if m.Stream {
		args = with(t, in, map[string]any{"max_seconds": 1})
	}
	raw, failed := a.call("tools/call", map[string]any{"name": m.Tool(), "arguments": args})
	if failed != "" {
		t.Fatalf("%s: %s", m.Tool(), failed)
	}
	var r struct {
		IsError bool
		Content []struct{ Text string }
		Value   json.RawMessage            `json:"structuredContent"`
		Meta    map[string]json.RawMessage `json:"_meta"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Content) == 0 || r.Content[0].Text == "" {
		t.Errorf("%s answers without a text: %s", m.Tool(), raw)
	}
	if r.IsError {
		var f fault.Error
		if err := json.Unmarshal(r.Meta[mcp.MetaError], &f); err != nil {
			t.Fatalf("an error without its fault: %s", raw)
		}
		return answer{fault: &f}
	}
	if !m.Stream {
		return answer{value: r.Value}
	}
	var batch struct{ Items []json.RawMessage }
	if err := json.Unmarshal(r.Value, &batch); err != nil {
		t.Fatal(err)
	}
	return answer{value: r.Value, items: batch.Items}
}

// with adds members to a JSON object.
func with(t testing.TB, object string, more map[string]any) json.RawMessage {
	t.Helper()
	members := map[string]any{}
	if err := json.Unmarshal([]byte(object), &members); err != nil {
		t.Fatal(err)
	}
	for k, v := range more {
		members[k] = v
	}
	raw, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// volatile are the members that are never the same twice: moments, processes, measurements, numbers of records, and hints,
// which every plane spells its own way (TestHintsOfPlanes).
var volatile = map[string]bool{
	"at": true, "since": true, "started_at": true, "expires_at": true, "last_seen": true, "last_run": true, "next_run": true, "took": true, "took_ms": true, "ran_ms": true,
	"next_steps": true, "fix": true, "uptime_s": true, "runs": true, "pid": true, "pids": true, "seq": true, "call": true, "created": true, "decided_at": true, "use_by": true, "cursor": true, "next_cursor": true, "session": true, "id": true, "token": true, "password_set": true, "seen": true, "used": true, "revoked": true, "access_token": true, "refresh_token": true, "refresh_until": true, "former_until": true, "kid": true, "connect": true, "digest": true, "last": true, "sealed": true, "head": true,
	"cpu_percent": true, "cpu_ms": true, "rss_bytes": true, "fds": true, "threads": true, "goroutines": true,
	"load_1m": true, "load_5m": true, "load_15m": true, "mem_available_bytes": true, "disk_free_bytes": true,
}

var clock = regexp.MustCompile(`\b\d\d:\d\d:\d\d\b|\b\d+(\.\d+)?(ns|µs|ms|s)\b|\bpid \d+|\bap-[a-z0-9]{10}\b|\b\d+ MB of`)

// normal is a value with what is volatile taken out by name, and the folders of its world named alike.
func (w *world) normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if !volatile[k] {
				out[k] = w.normal(e)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = w.normal(e)
		}
		return out
	case string:
		return clock.ReplaceAllString(strings.ReplaceAll(v, filepath.Dir(w.Home), "$BASE"), "<volatile>")
	}
	return v
}

func decoded(t testing.TB, raw json.RawMessage) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

// empty reports whether a value says nothing at all: no member of it has a value.
func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			if !empty(e) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	case string:
		return v == ""
	case json.Number:
		return v.String() == "0"
	case bool:
		return !v
	}
	return v == nil
}

func short(v any) string {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(raw) > 4000 {
		return string(raw[:4000]) + "…"
	}
	return string(raw)
}
