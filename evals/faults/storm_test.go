package faults

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// Sixty-four clients quarrel over one app. There are never two of it, every call is answered, and the command that was
// recorded last has its way.
func TestQuarrel(t *testing.T) {
	const clients = 64
	each := (rig.Count(300, 2000) + clients - 1) / clients
	r := rig.New(t)
	prog, mark := actor(t), marker()
	r.Up(fmt.Sprintf(`
apps:
  - {name: app, command: %s, ready: {delay: 5ms}, stop: {timeout: 5s}}
`, argv(prog, "sit", mark+".app", "child=1")))
	s := scan(t, mark)
	chance := dice(t)
	verbs := []string{"start", "stop", "restart"}
	answers := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for range clients {
		mine := rand.New(rand.NewPCG(chance.Uint64(), 1))
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			c, err := dial(ctx, r)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for range each {
				await(upTo(mine, 200*time.Millisecond)) // else all but the first and the last would be overtaken before they begin
				verb := verbs[mine.IntN(len(verbs))]
				err := c.Call(ctx, "apps."+verb, map[string]any{"names": []string{"app"}}, nil)
				what := verb + " done"
				if err != nil {
					f := fault.From(err)
					what = fmt.Sprintf("%s %s %s", verb, f.Code, f.Reason)
					if f.Code != fault.Conflict || f.Reason != "superseded" {
						t.Errorf("%s was answered with %v", verb, err)
					}
				}
				mu.Lock()
				answers[what]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	total := 0
	for n := range maps.Values(answers) {
		total += n
	}
	t.Logf("%d calls of %d clients answered in %s: %v", total, clients, time.Since(began).Round(time.Millisecond), answers)
	if total != each*clients {
		t.Errorf("%d of %d calls were answered", total, each*clients)
	}
	runs := r.App("app").Instances[0].Generation
	t.Logf("the app was started %d times", runs)
	if runs < uint64(each) {
		t.Errorf("the app was started %d times only: this proves too little", runs)
	}
	var calls struct {
		Items []struct {
			Seq    int64
			Method string
			Result string
		}
	}
	if err := r.Call("audit.list", map[string]any{"changes": true, "limit": 200}, &calls); err != nil {
		t.Fatal(err)
	}
	if len(calls.Items) == 0 {
		t.Fatal("nothing is on record")
	}
	last := calls.Items[0] // newest first
	for _, c := range calls.Items {
		if c.Result == "open" {
			t.Errorf("call %d (%s) is on record as never answered", c.Seq, c.Method)
		}
	}
	want := map[string]string{"apps.start": "running", "apps.restart": "running", "apps.stop": "stopped"}[last.Method]
	t.Logf("the last command on record is %s (%d): the app has to be %s", last.Method, last.Seq, want)
	r.WaitState("app", want, 10*time.Second)
	var got struct{ Desired string }
	if err := r.Call("apps.get", map[string]any{"name": "app"}, &got); err != nil || got.Desired != want {
		t.Errorf("desired is %s, not %s (%v)", got.Desired, want, err)
	}
	if n := len(s.now()["app"]); n != map[string]int{"running": 1}[want] {
		t.Errorf("%d of the app run", n)
	}
}
