package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// A stop that comes while an app is being started wins, however far the start has come: the app ends up stopped, nothing
// of it is left, nothing comes later, and the start is told that it was overtaken.
func TestStopDuringStart(t *testing.T) {
	r := rig.New(t)
	chance := dice(t)
	prog, mark := actor(t), marker()
	s := scan(t, mark)
	r.Write("omnitron.yaml", fmt.Sprintf(`
project: phases
apps:
  - {name: never, command: %s, ready: {exec: ["false"], timeout: 60s}, stop: {timeout: 1s}}
  - {name: waiting, command: %s, dependsOn: [never]}
  - {name: probing, command: %s, ready: {exec: %s, timeout: 60s}, stop: {timeout: 1s}}
  - {name: notifying, command: %s, ready: {notify: true, timeout: 60s}, stop: {timeout: 1s}}
  - {name: deaf, command: %s, ready: {log: "never printed", timeout: 60s}, stop: {timeout: 500ms}}
  - {name: backing, command: %s, restart: {backoff: {initial: 30s}}}
  - {name: spawning, command: %s, ready: {delay: 5ms}, stop: {timeout: 1s}}
`, argv(prog, "sit", mark+".never"), argv(prog, "sit", mark+".waiting"), argv(prog, "sit", mark+".probing"), argv(prog, "stray", mark+".probe", "ignore=1"),
		argv(prog, "sit", mark+".notifying", "mute=1"), argv(prog, "stray", mark+".deaf", "ignore=1"),
		argv(prog, "crash", mark+".backing"), argv(prog, "sit", mark+".spawning")))
	r.OK("up", "--no-wait")
	r.OK("stop")
	starter, err := dial(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer starter.Close()
	for round := range rig.Count(2, 20) {
		for _, c := range []struct{ app, state string }{
			{"waiting", "waiting"}, {"probing", "starting"}, {"notifying", "starting"}, {"deaf", "starting"}, {"backing", "backoff"},
		} {
			started := answer(starter, "apps.start", c.app)
			r.WaitState(c.app, c.state, 5*time.Second)
			if c.app == "probing" {
				r.Until(5*time.Second, "the probe runs", func() bool { return len(s.now()["probe"]) == 1 })
			}
			stopped(t, r, s, started, c.app, fmt.Sprintf("round %d, %s", round, c.app))
		}
	}
	for round := range rig.Count(30, 300) {
		started := answer(starter, "apps.start", "spawning")
		delay := upTo(chance, 12*time.Millisecond)
		await(delay)
		stopped(t, r, s, started, "spawning", fmt.Sprintf("round %d, stopped %s after the start", round, delay))
	}
	await(time.Second) // nothing comes later
	if left := others(s.now()); len(left) > 0 {
		t.Errorf("%v run after all", left)
	}
	var l struct {
		Items []struct{ Name, State string }
	}
	if err := r.Call("apps.list", struct{}{}, &l); err != nil || len(l.Items) != 7 {
		t.Fatalf("%v %v", l, err)
	}
	for _, a := range l.Items {
		if a.State != "stopped" {
			t.Errorf("%s is %s in the end", a.Name, a.State)
		}
	}
}

// answer makes a call and gives a channel with its answer.
func answer(c *wire.Client, method, app string) <-chan error {
	out := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out <- c.Call(ctx, method, map[string]any{"names": []string{app}}, nil)
	}()
	return out
}

// stopped stops an app whose start is under way and expects it to be the end of it.
func stopped(t *testing.T, r *rig.Rig, s *scanner, started <-chan error, app, what string) {
	t.Helper()
	began := time.Now()
	names := []string{app}
	if app == "waiting" { // its start has started what it needs
		names = append(names, "never")
	}
	err := r.Call("apps.stop", map[string]any{"names": names}, nil)
	took := time.Since(began)
	select {
	case serr := <-started:
		if serr != nil && !isOvertaken(serr) { // nil: it was ready before the stop came, or the stop was recorded first
			t.Errorf("%s: the start was answered with %v", what, serr)
		}
		if err != nil && !(isOvertaken(err) && serr == nil) {
			t.Errorf("%s: the stop was answered with %v", what, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: the start was never answered", what)
	}
	if lastCommand(t, r) == "apps.start" { // it was recorded after the stop and has its way: once more, alone
		if err := r.Call("apps.stop", map[string]any{"names": names}, nil); err != nil {
			t.Errorf("%s: the stop was answered with %v", what, err)
		}
	}
	if took > 1500*time.Millisecond {
		t.Errorf("%s: the stop took %s", what, took)
	}
	if a := r.App(app); a.State != "stopped" {
		t.Errorf("%s: it is %s after the stop", what, a.State)
	}
	for slot, ps := range s.now() {
		t.Errorf("%s: %s %v is left after the stop", what, slot, ps)
	}
}

// lastCommand is the method of the changing call that was recorded last.
func lastCommand(t *testing.T, r *rig.Rig) string {
	t.Helper()
	var calls struct{ Items []struct{ Method string } }
	if err := r.Call("audit.list", map[string]any{"changes": true, "limit": 1}, &calls); err != nil || len(calls.Items) != 1 {
		t.Fatalf("the record of calls: %v %v", calls.Items, err)
	}
	return calls.Items[0].Method
}

func isOvertaken(err error) bool {
	return fault.Is(err, fault.Conflict) && fault.From(err).Reason == "superseded"
}
