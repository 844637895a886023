package faults

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// A program that fails at once is started at 0, 1, 3, 7, 15 and 31 s by its own stamps, and then given up for good; so
// is one that lives for a while each time. With small counts a second lasts 100 ms.
func TestBackoff(t *testing.T) {
	second, live := 100*time.Millisecond, 330*time.Millisecond
	if rig.Full() {
		second, live = time.Second, 10*time.Second
	}
	r := rig.New(t)
	prog, mark, file := actor(t), marker(), filepath.Join(r.Dir, "stamps")
	policy := ""
	if !rig.Full() { // the defaults, ten times as fast; what one lives counts against the window as 10 s do against 60 s
		policy = `restart: {window: 2s, resetAfter: 2s, backoff: {initial: 100ms, max: 3s}}`
	}
	var yaml strings.Builder
	yaml.WriteString("project: loops\napps:\n")
	lives := map[string]time.Duration{"at-once": 0, "a-while": live}
	for name, d := range lives {
		fmt.Fprintf(&yaml, "  - {name: %s, command: %s, ready: {delay: 1ms}, %s}\n", name, argv(prog, "crash", mark+"."+name, "stamps="+file, "live="+d.String()), policy)
	}
	scan(t, mark)
	r.Write("omnitron.yaml", strings.ReplaceAll(yaml.String(), ", }", "}"))
	r.OK("up", "--no-wait")
	for name := range lives {
		a := r.WaitState(name, "crashed", 45*second+6*live+10*time.Second)
		if a.Restarts != 5 || !strings.Contains(a.Reason, "exited 1") || !strings.Contains(a.Reason, "did not help") {
			t.Errorf("%s: %d restarts, %q", name, a.Restarts, a.Reason)
		}
		if why := r.OK("why", name); !strings.Contains(why, "crashing as told") {
			t.Errorf("why does not show the last lines of %s:\n%s", name, why)
		}
	}
	await(20 * second) // nothing may come any more
	for name, lived := range lives {
		var starts []time.Time
		for _, s := range stamps(t, file) {
			if s.who == mark+"."+name {
				starts = append(starts, s.at)
			}
		}
		var at []string
		for _, s := range starts {
			at = append(at, fmt.Sprintf("%.2f", s.Sub(starts[0]).Seconds()))
		}
		t.Logf("%s lives %s each time and was started at %s s", name, lived, strings.Join(at, ", "))
		if len(starts) != 6 {
			t.Errorf("%s was started %d times, not 6", name, len(starts))
			continue
		}
		for i, delay := range []time.Duration{second, 2 * second, 4 * second, 8 * second, 16 * second} {
			gap := starts[i+1].Sub(starts[i]) - lived
			if least, most := delay*9/10, delay*11/10+150*time.Millisecond; gap < least || gap > most {
				t.Errorf("%s: start %d came %s after the end before it, not %s ± 10 %%", name, i+2, gap, delay)
			}
		}
		var events struct{ Items []struct{ Type string } }
		if err := r.Call("events.list", map[string]any{"apps": []string{"loops/dev/" + name}, "limit": 200}, &events); err != nil {
			t.Fatal(err)
		}
		given := 0
		for _, e := range events.Items {
			if e.Type == "crashed" {
				given++
			}
		}
		if given != 1 {
			t.Errorf("%s: %d events say that it was given up, not one: %v", name, given, events.Items)
		}
	}
}
