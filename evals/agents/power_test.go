package agents

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// TestHeldCalls: what an agent may not decide alone answers with an approval and a plan, in every way that it can be
// called, and nothing happens. The identical call of a session keeps its approval; that of another one has its own.
func TestHeldCalls(t *testing.T) {
	w := newWorld(t, steady, generous)
	yaml := `project: shop\napps:\n  - {name: intruder, command: [sleep, \"1000\"]}\n`
	for _, launch := range []string{`{"profile":"full"}`, `{"profile":"full","role":"admin"}`} {
		p, short := w.socket(t, launch).peer(legacy, "held"), w.socket(t, strings.Replace(launch, "full", "core", 1)).peer(modern, "held")
		before := w.digest()
		for method, c := range map[string]struct {
			in   string
			plan string // in the plan; "" where the method has none
		}{
			"apps.apply":        {fmt.Sprintf(`{"files":[{"path":%q,"text":"%s"}]}`, w.Dir+"/omnitron.yaml", yaml), "intruder"},
			"logs.purge":        {`{"names":["web"]}`, "shop/dev/web"},
			"daemon.shutdown":   {`{}`, "shop/dev/web"},
			"daemon.restart":    {`{}`, "daemon"},
			"daemon.reload":     {`{}`, ""},
			"agents.pause":      {`{"name":"root/agent"}`, "root/agent"},
			"agents.disconnect": {`{"name":"root/agent"}`, "root/agent"},
			"events.publish":    {`{"type":"deployed","text":"by nobody"}`, ""},
		} {
			tool := strings.Replace(method, ".", "_", 1)
			first := p.tool(tool, c.in).outcome(t)
			again := p.tool(tool, c.in).outcome(t)
			wrapped := short.tool("ops_write", fmt.Sprintf(`{"method":%q,"input":%s}`, method, c.in)).outcome(t)
			for i, o := range []outcome{first, again, wrapped} {
				if o.Status != "held" || o.Approval == nil || o.Approval.ID == "" || (o.Approval.ID == first.Approval.ID) != (i < 2) || o.Result != nil || o.Confirm != nil {
					t.Errorf("%s, %s: %+v", launch, method, o)
				}
				if c.plan != "" && (o.Plan == nil || !strings.Contains(encode(t, o.Plan), c.plan)) {
					t.Errorf("%s, %s: the plan does not name %s: %+v", launch, method, c.plan, o.Plan)
				}
			}
			w.unchanged(t, before, "a held "+method)
		}
		r := p.tool("agents_resume", `{"name":"root/agent"}`)
		coded(t, "lifting what holds agents back", r.fault, fault.Denied, "")
	}
	p := w.socket(t, `{"profile":"full"}`).peer(legacy, "reads")
	r := p.tool("audit_list", `{}`) // a read has no envelope
	if coded(t, "a read above the acting role", r.fault, fault.Held, ""); r.fault != nil && r.fault.Approval == nil {
		t.Errorf("a held read without its approval: %+v", r.fault)
	}
	if r := p.tool("apps_env", `{"name":"web","reveal":true}`); r.fault == nil || strings.Contains(r.raw, "hello") {
		t.Errorf("an agent is shown the values of an environment: %s", r.raw)
	}
	var log struct {
		Items []struct{ Method, Decision, Who string }
	}
	w.must("audit.list", map[string]any{"limit": 200}, &log)
	held := map[string]bool{}
	for _, i := range log.Items {
		if i.Decision == "hold" {
			held[i.Method] = true
		}
	}
	if !held["apps.apply"] || !held["logs.purge"] || !held["daemon.shutdown"] {
		t.Errorf("held calls are not on record: %v", held)
	}
}

// TestPause: from the moment in which a person pauses an agent nothing that it asks for changes anything; it may go on
// looking. It cannot lift the pause.
func TestPause(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, how := range ways {
		p, other := w.launchedFull(t, how).peer(legacy, "paused"), w.launchedFull(t, how).peer(modern, "other")
		session := w.named("paused/1").ID
		for _, whom := range []string{session, "root/agent"} {
			w.must("agents.pause", map[string]any{"name": whom}, nil)
			before := w.digest()
			for tool, args := range map[string]string{
				"apps_restart":  `{"names":["web"]}`,
				"apps_start":    `{"names":["web"]}`,
				"apps_stop":     `{"names":["web"]}`,
				"apps_scale":    `{"name":"web","instances":2}`,
				"logs_purge":    `{"names":["web"]}`,
				"agents_resume": fmt.Sprintf(`{"name":%q}`, whom),
			} {
				r := p.tool(tool, args)
				coded(t, how+", paused: "+tool, r.fault, fault.Denied, "paused")
			}
			if r := other.tool("apps_start", `{"names":["web"]}`); r.IsError != (whom == "root/agent") {
				t.Errorf("%s: %s is paused, and another agent gets %s", how, whom, r.raw)
			}
			for tool, args := range map[string]string{"apps_list": `{}`, "logs_query": `{"names":["web"]}`, "apps_explain": `{"name":"web"}`} {
				if r := p.tool(tool, args); r.IsError {
					t.Errorf("%s, paused: it may not look: %s", how, r.raw)
				}
			}
			w.unchanged(t, before, "who is paused")
			if r := w.socket(t, "").peer(legacy, "fresh").tool("apps_start", `{"names":["web"]}`); r.IsError != (whom == "root/agent") {
				t.Errorf("%s: %s is paused, and a new connection gets %s", how, whom, r.raw)
			}
			w.must("agents.resume", map[string]any{"name": whom}, nil)
			if r := p.tool("apps_start", `{"names":["web"]}`); r.IsError {
				t.Errorf("%s: resumed: %s", how, r.raw)
			}
		}
		p.Close()
		other.Close()
	}
}

// TestPauseStays: no death of the daemon lifts a pause, and none brings one back.
func TestPauseStays(t *testing.T) {
	w := newWorld(t, steady, generous)
	p := w.stdio(t, "--profile", "full").peer(legacy, "paused")
	for _, paused := range []bool{true, false} {
		w.must(map[bool]string{true: "agents.pause", false: "agents.resume"}[paused], map[string]any{"name": "root/agent"}, nil)
		w.kill9(t)
		before := w.digest()
		r := p.tool("apps_restart", `{"names":["web"]}`)
		if !paused {
			if r.IsError {
				t.Errorf("resumed, and the daemon has died: %s", r.raw)
			}
			break
		}
		coded(t, "paused, and the daemon has died", r.fault, fault.Denied, "paused")
		w.unchanged(t, before, "who is paused")
	}
}

// TestDisconnect: a person ends a connection. What is in flight on it stops; omnitron mcp tells its client, and ends
// rather than connect again.
func TestDisconnect(t *testing.T) {
	w := newWorld(t, steady, generous)
	const follow = `{"name":"logs_follow","arguments":{"names":["web"],"grep":"never","max_seconds":50}}`

	p := w.socket(t, `{"profile":"full"}`).peer(legacy, "cut")
	p.begin("tools/call", follow)
	w.Until(10*time.Second, "the call is in flight", func() bool { return w.named("cut/1").InFlight == 1 })
	w.must("agents.disconnect", map[string]any{"name": w.named("cut/1").ID}, nil)
	if !p.gone(10 * time.Second) {
		t.Error("the connection goes on")
	}
	w.Until(10*time.Second, "nobody is connected", func() bool { return len(w.agents()) == 0 })

	c, ended := w.bridge(t, "--profile", "full")
	p = c.peer(legacy, "bridged")
	id := p.begin("tools/call", follow)
	w.Until(10*time.Second, "the call is in flight", func() bool { return w.named("bridged/1").InFlight == 1 })
	w.must("agents.disconnect", map[string]any{"name": "root/agent"}, nil)
	coded(t, "a call that was cut", p.done("logs_follow", id).fault, fault.Denied, "disconnected")
	if code, said := ended(); code != 3 || !strings.Contains(said, "a person has disconnected this client") {
		t.Errorf("omnitron mcp exits with %d: %s", code, said)
	}
	w.Until(10*time.Second, "nobody is connected", func() bool { return len(w.agents()) == 0 })
}

// flood makes calls as fast as it can for a while, and counts how they end.
func flood(d time.Duration, workers int, call func() *fault.Error) (done, limited int64, odd *fault.Error) {
	var ok, no atomic.Int64
	var other atomic.Pointer[fault.Error]
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				switch f := call(); {
				case f == nil:
					ok.Add(1)
				case f.Code == fault.Limited && f.Reason == "rate" && f.RetryAfter > 0 && f.RetryAfter <= 1:
					no.Add(1)
				default:
					other.Store(f)
				}
			}
		})
	}
	wg.Wait()
	return ok.Load(), no.Load(), other.Load()
}

// TestRates: an agent that makes more than 200 calls a second, or changes more than 5 things, is told how long to wait,
// all its connections together; persons are not rationed, and what tells whether the daemon lives answers all the same.
func TestRates(t *testing.T) {
	w := newWorld(t, steady, "")
	one, two := w.socket(t, `{"profile":"full"}`).peer(legacy, "one"), w.socket(t, `{"profile":"full"}`).peer(modern, "two")
	var mu [2]sync.Mutex
	var turn atomic.Int64
	through := func(tool, args string) func() *fault.Error {
		return func() *fault.Error {
			i := turn.Add(1) % 2
			p := []*peer{one, two}[i]
			mu[i].Lock()
			id := p.begin("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, args))
			mu[i].Unlock()
			m, ok := p.reply(id)
			if !ok || m.Error != nil {
				return fault.New(fault.Internal, "call %s is answered by %.300s", id, m.line)
			}
			return readResult(t, m.Result).fault
		}
	}
	for _, c := range []struct {
		tool, args string
		rate       float64
	}{{"apps_get", `{"name":"web"}`, 200}, {"apps_enable", `{"names":["web"]}`, 5}} {
		began := time.Now()
		done, limited, odd := flood(1500*time.Millisecond, 16, through(c.tool, c.args))
		took := time.Since(began).Seconds()
		if most := int64(c.rate * (took + 1)); done > most || done < int64(c.rate) || limited == 0 || odd != nil {
			t.Errorf("%s: %d calls in %.1f s, the most is %d; %d were limited; %v", c.tool, done, took, most, limited, odd)
		}
		t.Logf("%s: %d done, %d limited in %.1f s", c.tool, done, limited, took)
		if r := one.tool("daemon_status", "{}"); r.IsError {
			t.Errorf("daemon_status is limited: %s", r.raw)
		}
		// Whoever waits as long as was said gets through.
		var f *fault.Error
		for tries := 0; f == nil; tries++ {
			if f = through(c.tool, c.args)(); tries > 5000 {
				t.Fatalf("%s: not limited in %d calls in a row", c.tool, tries)
			}
		}
		wait := time.NewTimer(time.Duration(f.RetryAfter * float64(time.Second)))
		<-wait.C
		if f := through(c.tool, c.args)(); f != nil {
			t.Errorf("%s: after the wait that was asked for: %v", c.tool, f)
		}
	}
	persons := make(chan *wire.Client, 8)
	for range 8 {
		persons <- w.client(t)
	}
	for method, in := range map[string]map[string]any{"apps.get": {"name": "web"}, "apps.enable": {"names": []string{"web"}}} {
		done, limited, odd := flood(time.Second, 8, func() *fault.Error {
			c := <-persons
			defer func() { persons <- c }()
			if err := c.Call(context.Background(), method, in, nil); err != nil {
				return fault.From(err)
			}
			return nil
		})
		if limited != 0 || odd != nil || done < 20 {
			t.Errorf("a person's %s: %d done, %d limited, %v", method, done, limited, odd)
		}
		t.Logf("a person's %s: %d a second", method, done)
	}
}
