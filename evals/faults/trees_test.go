package faults

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// A program that ignores SIGTERM and has descendants that nobody would find by parent, session, environment or
// descriptors is stopped whole, and nobody else is.
func TestStopsEndWholeTrees(t *testing.T) {
	for name, uid := range rig.Users() {
		t.Run(name, func(t *testing.T) {
			w := newForest(t, uid)
			for _, how := range []string{"fresh", "adopted", "after a new keeper"} {
				for range rig.Count(2, 34) {
					w.round(how)
				}
			}
			for range rig.Count(2, 34) {
				if uid != 0 { // where no control group can be had
					w.stubKilled()
				}
			}
		})
	}
}

// forest is two such programs and a neighbour of the same kind.
type forest struct {
	t    *testing.T
	r    *rig.Rig
	scan *scanner
}

// descendants is how many an actor in the role of tree has.
const descendants = 4

func newForest(t *testing.T, uid int) *forest {
	t.Helper()
	f := &forest{t: t, r: rig.NewAs(t, uid)}
	prog, mark := actor(t), marker()
	f.scan = scan(t, mark)
	var yaml strings.Builder
	yaml.WriteString("project: forest\napps:\n")
	for _, name := range []string{"oak", "elm", "neighbour"} {
		fmt.Fprintf(&yaml, "  - {name: %s, command: %s, ready: {delay: 50ms}, stop: {timeout: 1s}, restart: {maxRestarts: 1000, backoff: {type: fixed, initial: 50ms, jitter: 0}}}\n", name, argv(prog, "tree", mark+"."+name))
	}
	f.r.Up(yaml.String())
	return f
}

// grown waits until a tree is complete.
func (f *forest) grown(names ...string) {
	f.t.Helper()
	f.r.Until(10*time.Second, fmt.Sprintf("%v have all their descendants", names), func() bool {
		seen := f.scan.now()
		for _, name := range names {
			if len(seen[name]) != 1 {
				return false
			}
			for i := range descendants {
				if len(seen[fmt.Sprintf("%s.g%d", name, i)]) != 1 {
					return false
				}
			}
		}
		return true
	})
}

func (f *forest) round(how string) {
	f.t.Helper()
	f.grown("oak", "elm", "neighbour")
	neighbour := f.family("neighbour")
	switch how {
	case "adopted":
		kill9(f.t, "daemon", daemonPID(f.r))
	case "after a new keeper":
		f.newKeeper()
	}
	back(f.r, 10*time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	began := time.Now()
	err := f.r.Client().Call(ctx, "apps.stop", map[string]any{"names": []string{"oak", "elm"}}, nil)
	took := time.Since(began)
	if err != nil {
		f.t.Fatalf("%s: stop: %v", how, err)
	}
	seen := f.scan.now()
	if left := others(seen, slices.Collect(maps.Keys(neighbour))...); len(left) > 0 {
		f.t.Errorf("%s: survivors: %v", how, left)
	}
	// The main processes ignore the signal, so the time-out has to pass, and no more than half a second beyond.
	if took < time.Second || took > 1500*time.Millisecond {
		f.t.Errorf("%s: the stop took %s, the timeout is 1s", how, took)
	}
	for slot, p := range neighbour {
		if one(seen, slot) != p {
			f.t.Errorf("%s: the neighbour's %s was %+v and is %+v", how, slot, p, one(seen, slot))
		}
	}
	if err := f.r.Call("apps.start", map[string]any{"names": []string{"oak", "elm"}}, nil); err != nil {
		f.t.Fatalf("%s: start: %v", how, err)
	}
}

// stubKilled kills the parent of a tree that init then inherits: all of it ends, and the app comes back.
func (f *forest) stubKilled() {
	f.t.Helper()
	f.grown("oak", "elm", "neighbour")
	oak, neighbour := f.family("oak"), f.family("neighbour")
	f.newKeeper()
	app, _ := statusOf(oak["oak"].pid)
	if argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", app.ppid)); err != nil || !strings.HasPrefix(string(argv), "omnitron-keeper\x00stub\x00") {
		f.t.Fatalf("the parent of oak is %d, %q: %v", app.ppid, argv, err)
	}
	kill9(f.t, "stub", app.ppid)
	f.r.Until(10*time.Second, "oak is another tree", func() bool {
		for _, ps := range f.scan.now() {
			for _, was := range oak {
				if slices.Contains(ps, was) {
					return false
				}
			}
		}
		return true
	})
	f.grown("oak")
	if now := f.family("neighbour"); !maps.Equal(now, neighbour) {
		f.t.Errorf("the neighbour was %+v and is %+v", neighbour, now)
	}
}

// newKeeper kills the keeper and waits for another one.
func (f *forest) newKeeper() {
	f.t.Helper()
	old := f.r.KeeperPID()
	kill9(f.t, "keeper", old)
	f.r.Until(10*time.Second, "there is another keeper", func() bool { k := f.r.KeeperPID(); return k != 0 && k != old })
}

// family gives the processes of an app.
func (f *forest) family(name string) map[string]process {
	out := map[string]process{}
	for slot, ps := range f.scan.now() {
		if len(ps) == 1 && (slot == name || strings.HasPrefix(slot, name+".")) {
			out[slot] = ps[0]
		}
	}
	return out
}
