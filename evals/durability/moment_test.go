package durability_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// wish is what was asked for: a variant of the file, who should run, and how many of p2.
type wish struct {
	variant int
	runs    map[string]bool
	scale   int
}

// variants are the apps of each variant of the file. In each of them every app has another command.
var variants = [][]string{{"p1", "p2", "p3", "p4"}, {"p2", "p3", "p4", "p5"}, {"p1", "p2", "p5"}}

func (x wish) clone() wish { return wish{x.variant, maps.Clone(x.runs), x.scale} }

// apply is what is wanted once a variant was applied: apps that are new are known and stopped, those that it has no more
// are forgotten.
func (x wish) apply(variant int) wish {
	next := wish{variant, map[string]bool{}, x.scale}
	for _, name := range variants[variant] {
		next.runs[name] = x.runs[name]
	}
	return next
}

func (w world) variant(n int) string {
	var apps []string
	for _, name := range variants[n] {
		file := w.Write(name+".txt", "")
		mark := w.Write(fmt.Sprintf("variant%d.txt", n), "")
		apps = append(apps, fmt.Sprintf("  - {name: %s, command: [tail, -f, %s, %s], ready: {delay: 5ms}, stop: {timeout: 2s}}\n", name, file, mark))
	}
	return w.project(apps...)
}

// differs says in what the world, as the daemon tells of it and as the process table has it, is not as x wants it.
func (w world) differs(x wish) string {
	want := slices.Sorted(maps.Keys(x.runs))
	if got := w.names(); !slices.Equal(got, want) {
		return fmt.Sprintf("it knows %v, not %v", got, want)
	}
	mark := filepath.Join(w.Dir, fmt.Sprintf("variant%d.txt", x.variant))
	for _, name := range []string{"p1", "p2", "p3", "p4", "p5"} {
		n := 0
		if x.runs[name] {
			n = 1
			if name == "p2" {
				n = x.scale
			}
		}
		found := rig.Marked(filepath.Join(w.Dir, name+".txt"))
		if len(found) != n {
			return fmt.Sprintf("%s runs %d times, not %d", name, len(found), n)
		}
		for _, p := range found {
			if !strings.Contains(p.Args, mark) {
				return fmt.Sprintf("%s runs as another variant: %s", name, p.Args)
			}
		}
		if _, known := x.runs[name]; !known {
			continue
		}
		v, err := w.get(name)
		if err != nil {
			return err.Error()
		}
		state := map[bool]string{true: "running", false: "stopped"}[x.runs[name]]
		if v.State != state || v.Desired != state {
			return fmt.Sprintf("%s is %s (desired %s), not %s", name, v.State, v.Desired, state)
		}
		if name == "p2" && len(v.Instances) != x.scale {
			return fmt.Sprintf("p2 has %d slots, not %d", len(v.Instances), x.scale)
		}
	}
	return ""
}

// order is a call, and what is wanted once it was heard.
type order struct {
	method string
	in     map[string]any
	after  wish
}

func (w world) draw(dice *rand.Rand, now wish) order {
	names := slices.Sorted(maps.Keys(now.runs))
	name := names[dice.IntN(len(names))]
	switch dice.IntN(6) {
	case 0, 1, 2:
		v := dice.IntN(len(variants))
		file := map[string]string{"path": filepath.Join(w.Dir, "omnitron.yaml"), "text": w.variant(v)}
		return order{"apps.apply", map[string]any{"files": []any{file}}, now.apply(v)}
	case 3:
		after := now.clone()
		after.scale = 1 + dice.IntN(3)
		return order{"apps.scale", map[string]any{"name": "p2", "instances": after.scale}, after}
	case 4:
		after := now.clone()
		for _, n := range names {
			after.runs[n] = true
		}
		return order{"apps.start", map[string]any{"names": names}, after}
	default:
		after := now.clone()
		after.runs[name] = false
		return order{"apps.stop", map[string]any{"names": []string{name}}, after}
	}
}

// TestKilledAtAnyMoment kills the daemon while calls are on their way. The world then is as the last acknowledged call
// wants it, or as the one in flight does, and never something between: an apply counts as a whole or not at all.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano()) % 1_000_000_007
	if text := os.Getenv("OMNITRON_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("again with OMNITRON_SEED=%d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	w.Up(w.variant(0))
	now := wish{0, map[string]bool{"p1": true, "p2": true, "p3": true, "p4": true}, 1}
	heard, in := 0, 0
	for round := range rig.Count(12, 60) {
		o := w.draw(dice, now)
		old := w.DaemonPID()
		answer := make(chan error, 1)
		go func() { answer <- w.call(o.method, o.in) }()
		var err error
		answered := false
		select {
		case err = <-answer:
			answered = true
		case <-time.After(time.Duration(dice.IntN(40_000)) * time.Microsecond):
		}
		if kerr := syscall.Kill(old, syscall.SIGKILL); kerr != nil {
			t.Fatal(kerr)
		}
		if !answered {
			err = <-answer
		}
		w.back(old, 20*time.Second)
		may := []wish{o.after}
		switch {
		case err == nil:
			heard++
		case fault.Is(err, fault.Unavailable):
			may = append(may, now)
			in++
		default:
			t.Fatalf("round %d: %s: %v", round, o.method, err)
		}
		var problems []string
		converged := func() bool {
			problems = nil
			for i, x := range may {
				p := w.differs(x)
				if p == "" {
					now = may[i]
					return true
				}
				problems = append(problems, p)
			}
			return false
		}
		deadline := time.NewTimer(15 * time.Second)
		for tick := time.Tick(20 * time.Millisecond); !converged(); {
			select {
			case <-deadline.C:
				t.Fatalf("round %d: %s %v, answered with %v: as it is wanted with it: %s; as it was before: %s", round, o.method, o.in["names"], err, problems[0], problems[len(problems)-1])
			case <-tick:
			}
		}
		deadline.Stop()
	}
	t.Logf("%d calls were answered, %d were in flight", heard, in)
	if in == 0 {
		t.Error("no call was in flight when the daemon was killed")
	}
}
