package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// world is twenty apps, what is wanted of them, and somebody who watches from outside.
type world struct {
	t       *testing.T
	r       *rig.Rig
	dice    *rand.Rand
	scan    *scanner
	slots   map[string][]string // app → the slots of its main processes
	needs   map[string][]string // app → apps that a start of it starts too
	wanted  map[string]bool     // app → should run
	orders  string              // file with what exiter is to do
	printer []string
}

// newWorld brings twenty apps up, of every kind: four print all the time, others have children, several processes,
// dependencies, probes, a slow end.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, r: rig.New(t), dice: dice(t), slots: map[string][]string{}, needs: map[string][]string{}, wanted: map[string]bool{}}
	prog, mark := actor(t), marker()
	w.scan = scan(t, mark)
	w.orders = filepath.Join(w.r.Dir, "orders")
	var yaml strings.Builder
	yaml.WriteString("project: world\nlogging: {maxSize: 64KiB, maxFiles: 10000}\napps:\n")
	add := func(name, more string, words ...string) {
		words = append([]string{prog, words[0], mark + "." + name}, words[1:]...)
		fmt.Fprintf(&yaml, "  - {name: %s, command: %s, %s}\n", name, argv(words...), more)
		w.slots[name], w.wanted[name] = []string{name}, true
	}
	for i := range 4 {
		name := fmt.Sprintf("print%d", i+1)
		add(name, `ready: {delay: 20ms}`, "print", "notes="+w.notes(name))
		w.printer = append(w.printer, name)
	}
	for i := range 6 {
		add(fmt.Sprintf("sit%d", i+1), `ready: {delay: 20ms}`, "sit")
	}
	add("notify", `ready: notify`, "sit")
	add("exec", `ready: {exec: ["true"]}`, "sit")
	add("log", `ready: {log: "ready to serve"}`, "sit")
	add("alive", `stop: {timeout: 5s}`, "sit")
	add("slow", `ready: {delay: 20ms}`, "sit", "lag=100ms")
	add("child", `ready: {delay: 20ms}`, "sit", "child=1")
	add("health", `ready: {delay: 20ms}, health: {exec: ["true"], interval: 100ms}`, "sit")
	add("exiter", `ready: {delay: 20ms}, restart: never`, "sit", "orders="+w.orders)
	add("needs", `ready: {delay: 20ms}, dependsOn: [sit1, notify]`, "sit")
	w.needs["needs"] = []string{"sit1", "notify"}
	fmt.Fprintf(&yaml, "  - name: pair\n    processes:\n")
	for _, p := range []string{"a", "b"} {
		fmt.Fprintf(&yaml, "      - {name: %s, ready: {delay: 20ms}, command: %s}\n", p, argv(prog, "sit", mark+".pair-"+p))
	}
	w.slots["pair"], w.wanted["pair"] = []string{"pair-a", "pair-b"}, true
	w.r.Up(yaml.String())
	w.settle()
	return w
}

func (w *world) notes(app string) string { return filepath.Join(w.r.Dir, app+".notes") }

func (w *world) apps() []string { return slices.Sorted(maps.Keys(w.wanted)) }

// some draws a few apps.
func (w *world) some(n int) []string {
	all := w.apps()
	w.dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+w.dice.IntN(n)]
}

// reach gives the apps that a command on some apps is about.
func (w *world) reach(verb string, apps []string) map[string]bool {
	out := map[string]bool{}
	for _, a := range apps {
		out[a] = true
		if verb == "start" {
			for _, d := range w.needs[a] {
				out[d] = true
			}
		}
	}
	return out
}

// command gives a command on a connection of its own and says how it was answered.
func (w *world) command(verb string, apps []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := dial(ctx, w.r)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(ctx, "apps."+verb, map[string]any{"names": apps}, nil)
}

// do gives a command that has to succeed.
func (w *world) do(verb string, apps []string) {
	w.t.Helper()
	if len(apps) == 0 {
		return
	}
	if err := w.command(verb, apps); err != nil {
		w.t.Fatalf("%s %v: %v", verb, apps, err)
	}
	w.learn(verb, apps, nil)
}

// learn takes in what a command that was answered with err means for what is wanted. One whose connection was lost may
// have been heard or not: the world then is asked.
func (w *world) learn(verb string, apps []string, err error) {
	w.t.Helper()
	for app := range w.reach(verb, apps) {
		switch {
		case err == nil:
			w.wanted[app] = verb != "stop"
		case fault.Is(err, fault.Unavailable):
			var got struct{ Desired string }
			w.r.Until(20*time.Second, "apps.get answers", func() bool {
				return w.r.Call("apps.get", map[string]any{"name": app}, &got) == nil
			})
			w.wanted[app] = got.Desired == "running"
		default:
			w.t.Fatalf("%s %v: %v", verb, apps, err)
		}
	}
}

// view is an app as apps.get tells of it.
type view struct {
	Name, State, Desired string
	Instances            []struct {
		PID   int
		Slot  string
		State string
	}
}

func (w *world) list() ([]view, error) {
	var all []view
	for _, app := range w.apps() {
		var v view
		if err := w.r.Call("apps.get", map[string]any{"name": app}, &v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// settle waits until the world is as it is wanted, for the daemon as for the scanner: each app runs once or not at all,
// with the pid that the daemon knows, and nothing else carries the mark.
func (w *world) settle() {
	w.t.Helper()
	problem := "nothing was looked at"
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the last problem: %s", problem)
			for _, app := range w.apps() {
				var all any
				if err := w.r.Call("apps.get", map[string]any{"name": app}, &all); err == nil {
					raw, _ := json.Marshal(all)
					w.t.Logf("%s: %s", app, raw)
				}
			}
		}
	}()
	w.r.Until(20*time.Second, "the world is as it is wanted", func() bool {
		list, err := w.list()
		if err != nil {
			problem = err.Error()
			return false
		}
		seen := w.scan.now()
		problem = w.differs(list, seen)
		return problem == ""
	})
}

// differs says what is not as it is wanted, or "".
func (w *world) differs(list []view, seen map[string][]process) string {
	known := []string{"child.child"}
	for _, a := range list {
		wanted := w.wanted[a.Name]
		state := map[bool]string{true: "running", false: "stopped"}[wanted]
		if a.State == "waiting" && wanted && a.Desired == "running" && w.lacks(a.Name) && len(seen[a.Name]) == 0 {
			continue
		}
		if a.State != state || a.Desired != state {
			return fmt.Sprintf("%s is %s (desired %s), not %s", a.Name, a.State, a.Desired, state)
		}
		for i, slot := range w.slots[a.Name] {
			known = append(known, slot)
			p := one(seen, slot)
			switch {
			case !wanted && len(seen[slot]) > 0:
				return fmt.Sprintf("%s is not wanted, and %v runs", slot, seen[slot])
			case wanted && (p.pid == 0 || i >= len(a.Instances) || p.pid != a.Instances[i].PID):
				return fmt.Sprintf("slot %s: the daemon tells of %v, the process table of %v", slot, a.Instances, seen[slot])
			}
		}
		if a.Name == "child" && len(seen["child.child"]) != map[bool]int{true: 1}[wanted] {
			return fmt.Sprintf("the child of child: %v", seen["child.child"])
		}
	}
	if strays := others(seen, known...); len(strays) > 0 {
		return fmt.Sprintf("nobody knows of %v", strays)
	}
	return ""
}

// lacks reports whether something that an app depends on is not wanted: once it has to be started again, it waits.
func (w *world) lacks(app string) bool {
	return slices.ContainsFunc(w.needs[app], func(d string) bool { return !w.wanted[d] })
}

// untouched fails the test unless every slot has the process that it had before, but for those of the apps named.
func (w *world) untouched(before map[string][]process, but map[string]bool) {
	w.t.Helper()
	now := w.scan.now()
	for app, slots := range w.slots {
		if but[app] {
			continue
		}
		for _, slot := range slots {
			if a, b := one(before, slot), one(now, slot); a != b {
				w.t.Errorf("%s was %+v and is %+v: it has been restarted", slot, a, b)
			}
		}
	}
}

// burst has all printers that run print as fast as they can for a moment.
func (w *world) burst() {
	w.t.Helper()
	for slot, ps := range w.scan.now() {
		if strings.HasPrefix(slot, "print") {
			for _, p := range ps {
				signalTo(p, sigBurst)
			}
		}
	}
}
