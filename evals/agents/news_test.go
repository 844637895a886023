package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

const (
	aboutWeb = "omnitron://apps/shop/dev/web"
	aboutAPI = "omnitron://apps/api"
)

// TestSubscriptions: who has subscribed to an app is told when it changes its state, and only then; who has unsubscribed,
// or subscribed to something else, is not.
func TestSubscriptions(t *testing.T) {
	w := newWorld(t, busy, generous)
	for _, how := range ways {
		for _, era := range eras {
			t.Run(how+"/"+era, func(t *testing.T) {
				news := make(chan string, 1000)
				s := w.launched(t, how).connect(era, &sdk.ClientOptions{
					ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) { news <- r.Params.URI },
				})
				ctx := within(t, time.Minute)
				for _, uri := range []string{aboutWeb, aboutAPI} {
					if err := s.Subscribe(ctx, &sdk.SubscribeParams{URI: uri}); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Subscribe(ctx, &sdk.SubscribeParams{URI: "omnitron://nope"}); era == legacy && err == nil {
					t.Error("what does not exist can be subscribed to")
				}
				w.heard(t, news, aboutWeb, func() { w.must("apps.restart", map[string]any{"names": []string{"web"}}, nil) })
				w.heard(t, news, aboutAPI, func() { w.must("apps.restart", map[string]any{"names": []string{"api"}}, nil) })
				if err := s.Unsubscribe(ctx, &sdk.UnsubscribeParams{URI: aboutWeb}); err != nil {
					t.Fatal(err)
				}
				if _, err := s.ReadResource(ctx, &sdk.ReadResourceParams{URI: aboutWeb}); err != nil { // the cancellation was before it
					t.Fatal(err)
				}
				restarts := func(n int) { // loop changes all the time, and is nobody's business
					have := w.App("loop").Restarts
					w.Until(20*time.Second, "loop has been started again", func() bool { return w.App("loop").Restarts >= have+n })
				}
				restarts(1) // what is left to tell has been told
				for len(news) > 0 {
					<-news
				}
				w.must("apps.restart", map[string]any{"names": []string{"web"}}, nil)
				restarts(2)
				for len(news) > 0 {
					t.Errorf("news of %s, which has not changed or which nobody wants any more", <-news)
				}
				w.heard(t, news, aboutAPI, func() { w.must("apps.restart", map[string]any{"names": []string{"api"}}, nil) })
			})
		}
	}
}

// heard waits for news of an address. What causes them is done until they come: the modern client does not wait until
// its subscription stands.
func (w *world) heard(t testing.TB, news <-chan string, uri string, cause func()) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		cause()
		again := time.After(time.Second)
		for waiting := true; waiting; {
			select {
			case got := <-news:
				if got == uri {
					return
				}
			case <-again:
				waiting = false
			case <-late:
				t.Fatalf("no news of %s", uri)
			}
		}
	}
}

// kill9 kills the daemon and waits until there is another one.
func (w *world) kill9(t testing.TB) {
	t.Helper()
	old := w.DaemonPID()
	if p, ok := rig.ReadProcess(old); !ok || !strings.Contains(p.Args, w.Home) {
		t.Fatalf("pid %d is not the daemon: %+v", old, p)
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.Until(20*time.Second, "there is another daemon", func() bool { now := w.DaemonPID(); return now != 0 && now != old })
	for _, app := range []string{"web", "api"} {
		w.WaitState(app, "running", 20*time.Second)
	}
}

// TestDaemonDies kills the daemon under omnitron mcp again and again, with calls in flight: each of these is answered as
// unavailable, every later call works, subscriptions go on, rights stay what they were, and the client sees none of it.
func TestDaemonDies(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, era := range eras {
		p := w.stdio(t, "--profile", "full", "--role", "operator").peer(era, "survivor")
		subscribe := func() {
			if era == legacy {
				if m := p.call("resources/subscribe", fmt.Sprintf(`{"uri":%q}`, aboutWeb)); m.Error != nil {
					t.Fatal(m.line)
				}
				return
			}
			p.begin("subscriptions/listen", fmt.Sprintf(`{"notifications":{"resourceSubscriptions":[%q]}}`, aboutWeb))
		}
		subscribe()
		told := func() (n int) {
			for _, m := range p.messages() {
				if m.Method == "notifications/resources/updated" && strings.Contains(string(m.Params), aboutWeb) {
					n++
				}
			}
			return n
		}
		for round := range rig.Count(3, 10) {
			var ids []string
			for range 5 {
				ids = append(ids, p.begin("tools/call", `{"name":"logs_follow","arguments":{"names":["web"],"grep":"never","max_seconds":50}}`))
			}
			lists := p.begin("tools/list", "{}") // answered at once, or of the protocol's kind
			w.Until(10*time.Second, "the calls are in flight", func() bool { return w.named("survivor/1").InFlight == 5 })
			heard := told()
			w.kill9(t)
			w.Until(10*time.Second, "the client is told what may have changed while the daemon was away", func() bool { return told() > heard })
			for _, id := range ids {
				r := p.done("logs_follow", id)
				coded(t, "a call in flight", r.fault, fault.Unavailable, "")
				if r.fault != nil && r.fault.RetryAfter == 0 {
					t.Errorf("nothing says when to try again: %+v", r.fault)
				}
			}
			if m := p.answer(lists); m.Error != nil {
				t.Errorf("%s: round %d: %s", era, round, m.line)
			}
			if r := p.tool("apps_get", `{"name":"web"}`); r.IsError {
				t.Errorf("%s: round %d: a call after the daemon's death: %s", era, round, r.raw)
			}
			coded(t, "above what it was launched with, on the new connection", p.tool("agents_pause", `{"name":"root/agent"}`).fault, fault.Denied, "role")
			w.named("survivor/1") // has introduced itself again
			before := told()
			w.must("apps.restart", map[string]any{"names": []string{"web"}}, nil)
			w.Until(10*time.Second, "the subscription has outlived the daemon", func() bool { return told() > before })
		}
		acks := 0
		for _, m := range p.messages() {
			if strings.Contains(m.line, "omnitron-bridge") {
				t.Errorf("%s: the client sees what omnitron mcp does for itself: %s", era, m.line)
			}
			if strings.HasSuffix(m.Method, "/acknowledged") {
				acks++
			}
		}
		if want := map[string]int{legacy: 0, modern: 1}[era]; acks != want {
			t.Errorf("%s: one subscription was acknowledged %d times", era, acks)
		}
		p.Close()
	}
}

// TestDaemonGone: a daemon that was killed stays away until somebody asks for something.
func TestDaemonGone(t *testing.T) {
	w := newWorld(t, steady, generous)
	p := w.stdio(t).peer(legacy, "later")
	web := w.PID("web")
	w.OK("kill")
	w.Disconnect()
	if p, ok := rig.ReadProcess(web); !ok || p.State == 'Z' {
		t.Fatalf("web has not outlived the daemon: %+v", p)
	}
	if r := p.tool("apps_get", `{"name":"web"}`); r.IsError || !strings.Contains(string(r.Value), fmt.Sprint(web)) {
		t.Errorf("the first call after the daemon was killed: %s", r.raw)
	}
}

// TestDownStaysDown: an agent that goes on calling does not bring back what a person has taken down, and is heard again
// when the person says up.
func TestDownStaysDown(t *testing.T) {
	w := newWorld(t, steady, generous)
	p := w.stdio(t).peer(legacy, "busy")
	if r := p.tool("apps_list", `{}`); r.fault != nil {
		t.Fatal(r.fault)
	}
	w.OK("down", "--all")
	for range 3 {
		coded(t, "a call after down", p.tool("apps_list", `{}`).fault, fault.Unavailable, "taken_down")
	}
	if r := w.Run("ls"); r.Code != 2 {
		t.Errorf("there is a daemon again: %+v", r)
	}
	w.OK("up")
	if r := p.tool("apps_list", `{}`); r.fault != nil {
		t.Errorf("a call after up: %v", r.fault)
	}
}

// TestDaemonAbsent: omnitron mcp starts the daemon when there is none; when none can be started the client is told why.
func TestDaemonAbsent(t *testing.T) {
	for _, era := range eras {
		r := rig.New(t)
		w := &world{r}
		if w.DaemonPID() != 0 {
			t.Fatal("there is a daemon already")
		}
		p := w.stdio(t).peer(era, "first")
		var list struct{ Items []any }
		if got := p.tool("apps_list", `{"all":true}`); got.IsError || json.Unmarshal(got.Value, &list) != nil || len(list.Items) != 0 {
			t.Errorf("%s: %s", era, got.raw)
		}
		if w.DaemonPID() == 0 || w.KeeperPID() == 0 {
			t.Errorf("%s: who has answered?", era)
		}
		p.Close()
	}
	w := &world{rig.New(t)}
	if err := os.WriteFile(w.Home+"/config.yaml", []byte("limts: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := w.stdio(t)
	p := &peer{carrier: c, era: modern, name: `"unlucky"`, caps: "{}"}
	go p.drain()
	r := p.tool("apps_list", "{}")
	coded(t, "a daemon that does not start", r.fault, fault.Unavailable, "")
	if r.fault != nil && !strings.Contains(r.fault.Message, "limts") {
		t.Errorf("the fault does not say why the daemon does not start: %s", r.fault.Message)
	}
	if m := p.call("tools/list", "{}"); m.Error == nil {
		t.Errorf("tools of nobody: %s", m.line)
	}
	if err := os.Remove(w.Home + "/config.yaml"); err != nil {
		t.Fatal(err)
	}
	if r := p.tool("apps_list", `{"all":true}`); r.IsError {
		t.Errorf("once the daemon can be started: %s", r.raw)
	}
}
