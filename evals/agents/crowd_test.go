package agents

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestFullHouse fills every place that a connection has: the next call is refused at once, what tells whether the daemon
// lives gets through, a cancellation too, and nobody else notices.
func TestFullHouse(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, how := range ways {
		p, other := w.launchedFull(t, how).peer(legacy, "greedy"), w.launchedFull(t, how).peer(modern, "other")
		const places = 256
		var ids []string
		for range places {
			ids = append(ids, p.begin("tools/call", `{"name":"logs_follow","arguments":{"names":["web"],"grep":"never","max_seconds":50}}`))
		}
		w.Until(20*time.Second, "all places are taken", func() bool { return w.named("greedy/1").InFlight == places })
		began := time.Now()
		coded(t, "one call more", p.tool("apps_get", `{"name":"web"}`).fault, fault.Limited, "in_flight")
		if m := p.call("tools/list", "{}"); m.Error == nil {
			t.Errorf("%s: a list finds a place: %.200s", how, m.line)
		}
		if m := p.call("ping", "{}"); m.Error != nil {
			t.Errorf("%s: no ping: %s", how, m.line)
		}
		for _, tool := range []string{"daemon_status", "daemon_ping"} {
			if r := p.tool(tool, "{}"); r.IsError {
				t.Errorf("%s: %s: %s", how, tool, r.raw)
			}
			if r := other.tool(tool, "{}"); r.IsError {
				t.Errorf("%s: %s on another connection: %s", how, tool, r.raw)
			}
		}
		// The account's calls are counted on their way behind those of the connection.
		w.Until(20*time.Second, "another connection of the same account is told so", func() bool {
			f := other.tool("apps_get", `{"name":"web"}`).fault
			return f != nil && f.Code == fault.Limited && f.Reason == "in_flight"
		})
		w.must("apps.get", map[string]any{"name": "web"}, nil) // a person
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: all that took %s", how, took)
		}
		for _, id := range ids {
			p.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)
		}
		w.Until(20*time.Second, "all places are free", func() bool { return w.named("greedy/1").InFlight == 0 })
		for _, who := range []*peer{p, other} {
			if r := who.tool("apps_get", `{"name":"web"}`); r.IsError {
				t.Errorf("%s: afterwards: %s", how, r.raw)
			}
			who.Close()
		}
	}
}

// TestDeafClient: a client that does not read what it asked for is held up, and nobody else; the end of its input is its
// end, although there is still something to say to it.
func TestDeafClient(t *testing.T) {
	w := newWorld(t, big(), generous)
	w.WaitState("web", "crashed", 20*time.Second)
	c, ended := w.bridge(t, "--profile", "full")
	c.deaf = true
	line := `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"apps_list","arguments":{"limit":1000}}}` + "\n"
	for i := range 150 { // three megabytes of answers
		if _, err := fmt.Fprintf(c, line, i); err != nil {
			t.Fatal(err)
		}
	}
	other := w.stdio(t).peer(modern, "other")
	for range 20 {
		began := time.Now()
		if r := other.tool("apps_get", `{"name":"web"}`); r.IsError || time.Since(began) > 5*time.Second {
			t.Errorf("another client waits %s: %.200s", time.Since(began), r.raw)
		}
	}
	w.Until(20*time.Second, "the deaf client's answers have piled up", func() bool {
		for _, a := range w.agents() {
			if a.Client == "" && a.Calls > 50 {
				return true
			}
		}
		return false
	})
	began := time.Now()
	if err := c.out.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	pid := c.pid
	w.Until(10*time.Second, "omnitron mcp has ended", func() bool { p, ok := rig.ReadProcess(pid); return !ok || p.State == 'Z' })
	if took := time.Since(began); took > time.Second {
		t.Errorf("it ended %s after its input", took)
	}
	if code, said := ended(); code != 0 {
		t.Errorf("exit %d: %s", code, said)
	}
	w.Until(10*time.Second, "the deaf client is gone", func() bool { return len(w.agents()) == 1 })
}

// TestSignals: omnitron mcp ends when it is told to, the daemon goes on.
func TestSignals(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		c, ended := w.bridge(t)
		p := c.peer(legacy, "signalled")
		p.begin("tools/call", `{"name":"ops_read","arguments":{"method":"logs.follow","input":{"names":["web"],"grep":"never","max_seconds":50}}}`)
		w.Until(10*time.Second, "the call is in flight", func() bool { return w.named("signalled/1").InFlight == 1 })
		began := time.Now()
		if err := syscall.Kill(c.pid, sig); err != nil {
			t.Fatal(err)
		}
		code, _ := ended()
		if took := time.Since(began); took > time.Second || code == 0 {
			t.Errorf("%s: exit %d after %s", sig, code, took)
		}
		w.Until(10*time.Second, "its call has ended", func() bool { return len(w.agents()) == 0 })
	}
}

// TestHungDaemon stops the daemon as a debugger would: omnitron mcp still ends with its input, and goes on when the
// daemon does.
func TestHungDaemon(t *testing.T) {
	w := newWorld(t, steady, generous)
	p := w.stdio(t).peer(legacy, "patient")
	daemon := w.DaemonPID()
	w.Disconnect()
	if err := syscall.Kill(daemon, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(daemon, syscall.SIGCONT) }() // it is woken below unless the test ends before
	id := p.begin("tools/call", `{"name":"apps_get","arguments":{"name":"web"}}`)
	late := w.stdio(t) // connects to nobody
	if _, err := io.WriteString(late, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"apps_list","arguments":{}}}`+"\n"); err != nil {
		t.Fatal(err)
	}
	late.Close() // looks at the time
	if err := syscall.Kill(daemon, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if r := p.done("apps_get", id); r.IsError {
		t.Errorf("the daemon goes on, and the call: %s", r.raw)
	}
}

// TestSameKey: a call that is made twice with one idempotency key has one effect and one answer, also when the daemon
// died in between.
func TestSameKey(t *testing.T) {
	w := newWorld(t, steady, generous)
	p := w.stdio(t, "--profile", "full").peer(modern, "key")
	before := w.PID("web")
	const args = `{"names":["web"],"idempotency_key":"once"}`
	first := p.tool("apps_restart", args)
	if o := first.outcome(t); o.Status != "done" || w.PID("web") == before {
		t.Fatalf("apps_restart: %s", first.raw)
	}
	for _, died := range []bool{false, true} {
		if died {
			w.kill9(t)
		}
		pid, again := w.PID("web"), p.tool("apps_restart", args)
		if string(again.Value) != string(first.Value) || w.PID("web") != pid {
			t.Errorf("a second time (the daemon died: %v), pid %d → %d:\n%s\n%s", died, pid, w.PID("web"), first.Value, again.Value)
		}
		coded(t, "the key of another call", p.tool("apps_restart", strings.Replace(args, "web", "api", 1)).fault, fault.Conflict, "")
	}
}
