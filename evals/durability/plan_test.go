package durability_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// dice gives the source of a test's choices, and says how to have them again.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) % 1_000_000_007
	if text := os.Getenv("OMNITRON_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("again with OMNITRON_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// chance draws a definition of real programs in which anything may be another than in the one before: what is taken up live, what
// is not, how many there are, an env file's content, processes that come and go.
func (w world) chance(d *rand.Rand) (text, env string) {
	pick := func(of ...string) string { return of[d.IntN(len(of))] }
	program := func(name string) string {
		return fmt.Sprintf("command: [tail, -f, %s, %s], ready: {delay: %s}, stop: {timeout: %s}, instances: %d, env: {A: %s}, logging: {maxFiles: %s}, restart: %s",
			w.Write(name+".txt", ""), w.Write(pick("one", "two")+".txt", ""), pick("5ms", "6ms"), pick("2s", "3s"), 1+d.IntN(3), pick("x", "x", "x", "y"), pick("3", "4"), pick("always", "never"))
	}
	var apps []string
	for _, name := range []string{"p1", "p2", "p3"} {
		if d.IntN(5) > 0 {
			apps = append(apps, fmt.Sprintf("  - {name: %s, %s%s}\n", name, program(name), pick("", "", ", envFile: [some.env]", ", cwd: /tmp", ", umask: 027")))
		}
	}
	app := "  - name: p4\n    processes:\n      - {name: a, " + program("p4a") + "}\n"
	for _, name := range []string{"b", "c"} {
		if d.IntN(3) > 0 {
			app += "      - {name: " + name + ", " + program("p4"+name) + "}\n"
		}
	}
	return w.project(append(apps, app)...), "FROM=" + pick("here", "there") + "\n"
}

// foretold is what a scenario needs of a plan.
type foretold struct {
	Pending bool
	Apps    []struct {
		Name, Change                   string
		Restarts, Starts, Stops, Stays int
		Keys                           []struct{ Key, Takes string }
	}
}

// slots gives the process ids of everything that runs, by app and slot.
func (w world) slots() map[string]map[string]int {
	w.T.Helper()
	out := map[string]map[string]int{}
	for _, name := range w.names() {
		out[name] = map[string]int{}
		for _, i := range w.App(name).Instances {
			if i.PID != 0 {
				out[name][i.Slot] = i.PID
			}
		}
	}
	return out
}

// TestPlanIsWhatHappens: of random pairs of definitions, what plan says is restarted, started, stopped and left alone is what changes
// its pid, gets one, loses it and keeps it. What it says of the keys fits to that: no restart without a key that needs one, and a
// key that needs one restarts all that runs of its program.
func TestPlanIsWhatHappens(t *testing.T) {
	t.Parallel()
	d := dice(t)
	w := newWorld(t)
	text, env := w.chance(d)
	w.Write("some.env", env)
	w.Up(text)
	seen := map[string]int{}
	for round := range rig.Count(12, 100) {
		if names := w.names(); d.IntN(4) == 0 { // what is stopped stays stopped
			if err := w.call("apps.stop", map[string]any{"names": []string{names[d.IntN(len(names))]}}); err != nil {
				t.Fatal(err)
			}
		}
		text, env := w.chance(d)
		file := func(name, text string) []any {
			return []any{map[string]string{"path": filepath.Join(w.Dir, name), "text": text}}
		}
		in := map[string]any{"files": file("omnitron.yaml", text), "env_files": file("some.env", env), "env": map[string]string{"PATH": os.Getenv("PATH"), "HOME": filepath.Dir(w.Home)}}
		var p foretold
		if err := w.Call("apps.plan", in, &p); err != nil {
			t.Fatal(err)
		}
		before := w.slots()
		if err := w.call("apps.apply", in); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, text)
		}
		after := w.slots()
		for _, a := range p.Apps {
			restarts, starts, stops, stays := 0, 0, 0, 0
			for slot, pid := range before[a.Name] {
				switch now := after[a.Name][slot]; {
				case now == 0:
					stops++
				case now == pid:
					stays++
				default:
					restarts++
				}
			}
			for slot := range after[a.Name] {
				if before[a.Name][slot] == 0 {
					starts++
				}
			}
			if a.Change == "unchanged" {
				a.Stays = len(before[a.Name])
			}
			if restarts != a.Restarts || starts != a.Starts || stops != a.Stops || stays != a.Stays {
				t.Fatalf("round %d: %s %s: %d restarted, %d started, %d stopped, %d left, and the plan said %+v\nbefore %v\nafter %v\n%s", round, a.Name, a.Change, restarts, starts, stops, stays, a, before[a.Name], after[a.Name], text)
			}
			needs := false
			for _, k := range a.Keys {
				needs = needs || k.Takes == "restart"
			}
			if restarts > 0 && !needs || needs && stays > 0 && a.Name != "p4" {
				t.Fatalf("round %d: %s: %d restarted and %d left, and the keys say %+v", round, a.Name, restarts, stays, a.Keys)
			}
			seen[a.Change]++
			seen["restarts"] += restarts
		}
		if err := w.Call("apps.plan", in, &p); err != nil || p.Pending {
			t.Fatalf("round %d: of what was applied %+v is still pending (%v)", round, p, err)
		}
		if err := w.call("apps.start", map[string]any{"names": w.names()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, what := range []string{"added", "changed", "removed", "restarts"} {
		if seen[what] == 0 {
			t.Errorf("nothing of this kind came about: %s, %v", what, seen)
		}
	}
	t.Log(seen)
}

// TestReloadKilledAtAnyMoment kills the daemon while it reads the files of two projects again: then both are as the files say, or
// both as they were before, and what no file touched has the pid that it had.
func TestReloadKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	d := dice(t)
	w := newWorld(t)
	projects := []string{w.Name() + "a", w.Name() + "b"}
	write := func(variant string) {
		for _, p := range projects {
			w.Write(variant+".txt", "")
			app := func(name, with string) string {
				return fmt.Sprintf("  - {name: %s, command: [tail, -f, %s%s], ready: {delay: 5ms}, stop: {timeout: 2s}}\n", name, w.Write(p+"-"+name+".txt", ""), with)
			}
			w.Write(p+"/omnitron.yaml", "project: "+p+"\napps:\n"+app("same", "")+app("moves", ", "+filepath.Join(w.Dir, variant+".txt")))
		}
	}
	write("one")
	for _, p := range projects {
		if ran := w.RunIn(context.Background(), filepath.Join(w.Dir, p), "up"); ran.Code != 0 {
			t.Fatal(ran.Err)
		}
	}
	now, killed := "one", 0
	same := map[string]int{}
	for _, p := range projects {
		same[p] = w.PID(p + "/dev/same")
	}
	for round := range rig.Count(8, 50) {
		next := map[string]string{"one": "two", "two": "one"}[now]
		write(next)
		old := w.DaemonPID()
		answer := make(chan error, 1)
		go func() { answer <- w.call("daemon.reload", nil) }()
		var err error
		answered := false
		select {
		case err = <-answer:
			answered = true
		case <-time.After(time.Duration(d.IntN(60_000)) * time.Microsecond):
		}
		if kerr := syscall.Kill(old, syscall.SIGKILL); kerr != nil {
			t.Fatal(kerr)
		}
		if !answered {
			err = <-answer
		}
		w.back(old, 20*time.Second)
		if err != nil && !fault.Is(err, fault.Unavailable) {
			t.Fatalf("round %d: %v", round, err)
		}
		if err != nil {
			killed++
		}
		var runs []string
		w.Until(20*time.Second, "both projects run as one of the variants", func() bool {
			runs = nil
			for _, p := range projects {
				found := rig.Marked(filepath.Join(w.Dir, p+"-moves.txt"))
				if len(found) != 1 {
					return false
				}
				runs = append(runs, strings.TrimSuffix(filepath.Base(found[0].Args), ".txt"))
			}
			v, e := w.get(projects[1] + "/dev/moves")
			return e == nil && v.State == "running" && runs[0] == runs[1]
		})
		if err == nil && runs[0] != next {
			t.Fatalf("round %d: the reload was answered, and %s runs", round, runs[0])
		}
		now = runs[0]
		for _, p := range projects {
			if pid := w.PID(p + "/dev/same"); pid != same[p] {
				t.Fatalf("round %d: %s/dev/same has pid %d, had %d", round, p, pid, same[p])
			}
		}
	}
	t.Logf("%d reloads were in flight", killed)
	if killed == 0 {
		t.Error("no reload was in flight when the daemon was killed")
	}
}
