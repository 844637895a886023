package agents

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// TestDialect: a connection that began as MCP never speaks the native dialect, in which its caller would be a person with
// all rights, and the other way round.
func TestDialect(t *testing.T) {
	w := newWorld(t, steady, generous)
	before := w.digest()
	for _, first := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
	} {
		c := w.socket(t, "")
		go c.drain()
		c.write(first)
		for i, line := range []string{
			`{"jsonrpc":"2.0","id":"n0","method":"apps.stop","params":{"names":["web"]}}`,
			`{"jsonrpc":"2.0","id":"n1","method":"daemon.shutdown","params":{}}`,
			`{"jsonrpc":"2.0","id":"n2","method":"agents.resume","params":{"name":"root/agent"}}`,
			`{"jsonrpc":"2.0","id":"n3","method":"apps.list"}`,
			`{"jsonrpc":"2.0","id":"n4","method":"$/cancel","params":{"id":1}}`,
			`{"jsonrpc":"2.0","id":"n5","method":"initialize.","params":{}}`,
		} {
			c.write(line)
			p := peer{carrier: c}
			if m := p.answer(fmt.Sprintf(`"n%d"`, i)); m.Error == nil || m.Error.Code != -32601 {
				t.Errorf("after %.60s: %s is answered by %.200s", first, line, m.line)
			}
		}
		c.write(`{"jsonrpc":"2.0","method":"apps.stop","params":{"names":["web"]}}`) // nor as a notification
		c.write(`{"jsonrpc":"2.0","id":"end","method":"ping"}`)
		(&peer{carrier: c}).answer(`"end"`)
		c.Close()
	}
	for _, line := range []string{`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"apps_list"}}`, `{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}`, `{"jsonrpc":"2.0","id":2,"method":"ping"}`} {
		c := w.socket(t, "")
		go c.drain()
		c.write(`{"jsonrpc":"2.0","id":1,"method":"daemon.ping"}`)
		c.write(line)
		if m := (&peer{carrier: c}).answer("2"); m.Error == nil {
			t.Errorf("a native connection answers %s with %.200s", line, m.line)
		}
		c.Close()
	}
	for _, first := range []string{`{"jsonrpc":"2.0","id":1,"method":"apps"}`, `{"jsonrpc":"2.0","id":1,"method":"$/cancel"}`, `{"jsonrpc":"2.0","id":1,"method":"apps.list.all"}`, `{"jsonrpc":"2.0","id":1,"method":""}`, `{"jsonrpc":"2.0","id":1,"result":{}}`} {
		c := w.socket(t, "")
		go c.drain()
		c.write(first)
		if !c.gone(10 * time.Second) {
			t.Errorf("a connection that begins with %s goes on", first)
		}
		if all := c.messages(); len(all) != 1 || all[0].Error == nil || all[0].Error.Code != -32600 {
			t.Errorf("a connection that begins with %s: %+v", first, all)
		}
	}
	w.unchanged(t, before, "the other dialect")
}

// TestLaunchRefused: launch options that are not understood end the connection, rather than leave it with more rights
// than somebody meant it to have.
func TestLaunchRefused(t *testing.T) {
	w := newWorld(t, steady, "")
	for _, launch := range []string{
		`{"role":"root"}`, `{"role":"node"}`, `{"role":5}`, `{"role":["admin"]}`, `{"profile":"all"}`, `{"toolsets":["nope"]}`, `{"toolsets":"apps"}`, `{"toolsets":[1]}`,
		`{"readonly":true}`, `{"read-only":true}`, `{"read_only":"yes"}`, `{"ceiling":"admin"}`, `{"channel":"person"}`, `{"uid":0}`, `"admin"`, `["admin"]`, `1`, `true`,
		`{"toolsets":[` + strings.Repeat(`"apps",`, 100) + `"apps"]}`,
	} {
		c := w.socket(t, "")
		go c.drain()
		c.write(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"},"_meta":{"omnitron/launch":` + launch + `}}}`)
		if !c.gone(10 * time.Second) {
			t.Errorf("launch %.60s is taken", launch)
		}
		if all := c.messages(); len(all) != 1 || all[0].Error == nil || string(all[0].ID) != "1" {
			t.Errorf("launch %.60s: %+v", launch, all)
		}
	}
	for _, args := range [][]string{{"--role", "root"}, {"--profile", "all"}, {"--toolsets", "nope"}, {"--readonly"}, {"--role"}} {
		if ran := w.Run(append([]string{"mcp"}, args...)...); ran.Code != 64 || strings.Contains(ran.Out, "jsonrpc") {
			t.Errorf("omnitron mcp %v: exit %d\n%s%s", args, ran.Code, ran.Out, ran.Err)
		}
	}
	if all := w.agents(); len(all) != 0 {
		t.Errorf("refused, and connected: %+v", all)
	}
}

// TestLaunchOnce: what a connection was launched with stands. Options in a later message change nothing, whether they
// come through omnitron mcp or not.
func TestLaunchOnce(t *testing.T) {
	w := newWorld(t, steady, generous)
	before := w.digest()
	more := `"_meta":{"omnitron/launch":{"role":"admin","profile":"full","read_only":false,"toolsets":[]}}`
	for _, how := range []string{
		`{"read_only":true}`, `{"role":"viewer"}`, `{"toolsets":["logs"]}`, // on the socket
		"--read-only", "--role=viewer", "--profile=readonly", "--toolsets=logs",
	} {
		var c *carrier
		if how[0] == '{' {
			c = w.socket(t, how)
		} else {
			c = w.stdio(t, how)
		}
		go c.drain()
		p := &peer{carrier: c, name: `"climber"`}
		m := p.call("initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"climber","version":"1"},`+more+`}`)
		if m.Error != nil {
			t.Fatalf("%s: %s", how, m.line)
		}
		got := w.named("climber/1")
		tools := string(p.call("tools/list", `{`+more+`}`).Result)
		if strings.Contains(tools, `"agents_pause"`) || strings.Contains(tools, `"apps_stop"`) {
			t.Errorf("%s: a later message has widened the list", how)
		}
		for _, call := range []string{
			`{"name":"apps_stop","arguments":{"names":["web"]},` + more + `}`,
			`{"name":"apps_restart","arguments":{"names":["web"]},` + more + `}`,
			`{"name":"ops_write","arguments":{"method":"apps.restart","input":{"names":["web"]}},` + more + `}`,
			`{"name":"ops_write","arguments":{"method":"apps.restart","input":{"names":["web"],` + more + `}},` + more + `}`,
		} {
			m := p.call("tools/call", call)
			if m.Error == nil && !readResult(t, m.Result).IsError {
				t.Errorf("%s: %.100s: %.300s", how, call, m.line)
			}
		}
		if now := w.named("climber/1"); now.Role != got.Role || now.ID != got.ID {
			t.Errorf("%s: was %+v and is %+v", how, got, now)
		}
		c.Close()
		w.Until(10*time.Second, "it has gone", func() bool { return len(w.agents()) == 0 })
	}
	w.unchanged(t, before, "a second launch")
}

// TestRefusedCalls makes every call that a connection's rights do not cover, by name and through the meta tools, with and
// without a dry run, and expects the world to be the same afterwards.
func TestRefusedCalls(t *testing.T) {
	w := newWorld(t, steady, generous)
	before := w.digest()
	changes := func(role op.Role, e op.Effect) bool { return e.Changes() }
	above := func(most op.Role) func(op.Role, op.Effect) bool {
		return func(r op.Role, _ op.Effect) bool { return !most.Covers(r) }
	}
	for _, c := range []struct {
		args    []string
		refused func(op.Role, op.Effect) bool
	}{
		{[]string{"--read-only"}, changes},
		{[]string{"--read-only", "--role", "admin"}, changes},
		{[]string{"--profile", "readonly"}, changes},
		{[]string{"--profile", "full", "--read-only"}, changes},
		{[]string{"--role", "viewer"}, above(op.Viewer)},
		{[]string{"--profile", "full", "--role", "viewer"}, above(op.Viewer)},
		{[]string{"--profile", "full", "--role", "operator"}, above(op.Operator)},
	} {
		p := w.stdio(t, c.args...).peer(legacy, "refused")
		n := 0
		for _, m := range methods(t) {
			if !c.refused(m.Role, m.Effect) {
				continue
			}
			for _, e := range m.Examples {
				for _, in := range []string{e.In, with(t, e.In, map[string]any{"dry_run": true})} {
					n += p.refused(t, fmt.Sprint(c.args), m.ID(), in)
				}
			}
		}
		if n < 20 {
			t.Errorf("%v: only %d calls were refused", c.args, n)
		}
		p.Close()
	}
	w.unchanged(t, before, "a call that was refused")
}

// refused makes a call in each way that there is.
func (p *peer) refused(t testing.TB, who, method, in string) (n int) {
	t.Helper()
	service, verb, _ := strings.Cut(method, ".")
	for _, call := range []string{
		fmt.Sprintf(`{"name":"%s_%s","arguments":%s}`, service, verb, in),
		fmt.Sprintf(`{"name":%q,"arguments":%s}`, method, in),
		fmt.Sprintf(`{"name":"ops_write","arguments":{"method":%q,"input":%s}}`, method, in),
		fmt.Sprintf(`{"name":"ops_read","arguments":{"method":%q,"input":%s}}`, method, in),
		fmt.Sprintf(`{"name":"ops_write","arguments":{"method":"%s_%s","input":%s}}`, service, verb, in),
	} {
		m := p.call("tools/call", call)
		if m.Error != nil {
			if m.Error.Code != -32602 {
				t.Errorf("%s: %.100s: %s", who, call, m.line)
			}
			n++
			continue
		}
		r := readResult(t, m.Result)
		if r.fault == nil || r.fault.Code != fault.Denied && r.fault.Code != fault.NotFound && r.fault.Code != fault.Invalid {
			t.Errorf("%s: %.100s is not refused: %.300s", who, call, r.raw)
			continue
		}
		n++
	}
	return n
}

// TestToolsets: what lies outside of the services that a connection was given is out of reach in every way: tools, meta
// tools, resources, subscriptions.
func TestToolsets(t *testing.T) {
	w := newWorld(t, steady, generous)
	before := w.digest()
	for _, args := range [][]string{{"--toolsets", "logs"}, {"--toolsets", "logs", "--profile", "full"}} {
		p := w.stdio(t, args...).peer(legacy, "narrow")
		for _, m := range methods(t) {
			if m.Service == "logs" || m.Role == op.Public {
				continue
			}
			for _, e := range m.Examples {
				p.refused(t, fmt.Sprint(args), m.ID(), e.In)
			}
			if args[len(args)-1] == "logs" {
				r := p.tool("ops_describe", fmt.Sprintf(`{"method":%q}`, m.ID()))
				coded(t, "ops_describe of "+m.ID(), r.fault, fault.NotFound, "")
			}
		}
		if r := p.tool("logs_query", `{"names":["web"]}`); r.IsError {
			t.Errorf("%v: what was given does not work: %s", args, r.raw)
		}
		for _, uri := range []string{"omnitron://apps", aboutWeb, "omnitron://daemon", "omnitron://health/web"} {
			for _, method := range []string{"resources/read", "resources/subscribe"} {
				if m := p.call(method, fmt.Sprintf(`{"uri":%q}`, uri)); m.Error == nil {
					t.Errorf("%v: %s of %s: %.200s", args, method, uri, m.line)
				}
			}
		}
		if m := p.call("resources/read", `{"uri":"omnitron://logs/web"}`); m.Error != nil {
			t.Errorf("%v: %s", args, m.line)
		}
		for _, list := range []string{"resources/list", "resources/templates/list"} {
			if m := p.call(list, "{}"); strings.Contains(m.line, "omnitron://apps") {
				t.Errorf("%v: %s names what is out of reach: %s", args, list, m.line)
			}
		}
		p.Close()
	}
	w.unchanged(t, before, "what is out of reach")
}

// TestOtherUser opens the home and the socket to everybody, as a careless chmod would, and connects as another user. The
// daemon knows by the kernel's word who that is, and serves nothing.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("another user is needed: run the tests as root")
	}
	w := newWorld(t, steady, generous)
	before := w.digest()
	for path, mode := range map[string]os.FileMode{filepath.Dir(w.Home): 0o755, w.Home: 0o755, w.socketPath(): 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, first := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"apps.stop","params":{"names":["web"]}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"apps_restart","arguments":{"names":["web"]},"_meta":{"omnitron/launch":{"role":"admin"}}}}`,
	} {
		conn, err := dialAs(65534, w.socketPath())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, first+"\n") // it may have been closed already
		all, err := io.ReadAll(conn)
		var m message
		if err != nil && !errors.Is(err, unix.ECONNRESET) || json.Unmarshal(all, &m) != nil || m.Error == nil || !strings.Contains(string(m.Error.Data), "peer_uid") {
			t.Errorf("uid 65534 said %.80s and was told %q (%v)", first, all, err)
		}
		conn.Close()
	}
	if all := w.agents(); len(all) != 0 {
		t.Errorf("refused, and connected: %+v", all)
	}
	w.unchanged(t, before, "another user")
}

// dialAs connects as another user: the calling thread becomes that user, and ends with its goroutine.
func dialAs(uid int, path string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread is not used again
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			err = fmt.Errorf("cannot become uid %d: %w", uid, e)
			return
		}
		conn, err = net.Dial("unix", path)
	}()
	<-done
	return conn, err
}
