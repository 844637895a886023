package supervisor

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// changes gives what applying a file would change, in words.
func (w *world) changes(yaml string) string {
	var out []string
	for _, c := range w.Compare(w.load(yaml)) {
		word := naming.App(c.Key) + " " + c.Item().To
		if !c.Enabled && c.What != "removed" {
			word += ", disabled"
		}
		out = append(out, word)
	}
	return strings.Join(out, "; ")
}

// TestApply: what is not touched keeps its pid, what changed and is wanted starts anew, what has gone ends, what is new
// waits for a start.
func TestApply(t *testing.T) {
	w := newWorld(t)
	w.begin()
	const before = `
project: shop
apps:
  - {name: same, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: other, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: idle, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: bad, command: "exit 4", restart: never}
  - {name: gone, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: above, command: "trap 'sleep 0.1; echo above >> ends; exit 0' TERM; while :; do sleep 0.02; done", dependsOn: [gone], ready: {delay: 10ms}}
`
	if _, err := w.apply(before); err != nil {
		t.Fatal(err)
	}
	if _, err := w.start("same", "other", "above"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.start("bad"); err == nil {
		t.Fatal("it starts")
	}
	const after = `
project: shop
apps:
  - {name: same, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: other, command: "exec sleep 2000", ready: {delay: 10ms}}
  - {name: idle, command: "exec sleep 2000", ready: {delay: 10ms}}
  - {name: bad, command: "exec sleep 2000", restart: never, ready: {delay: 10ms}}
  - {name: new, command: "exec sleep 1000", ready: {delay: 10ms}}
`
	if got, want := w.changes(after), "above stopped and removed; bad changed, 1 instance started; gone stopped and removed; idle changed; new added; other changed, restarted; same unchanged"; got != want {
		t.Errorf("plan: %s\nwant: %s", got, want)
	}
	same, other, gone := w.pid("same"), w.pid("other"), w.pid("gone")
	rs, err := w.apply(after)
	if err != nil || len(rs) != 4 {
		t.Fatalf("%+v %v", rs, err)
	}
	if w.pid("same") != same || w.pid("other") == other || alive(other) || alive(gone) || len(w.file("ends")) != 1 {
		t.Errorf("same %d→%d, other %d→%d, gone lives: %v, ends %v", same, w.pid("same"), other, w.pid("other"), alive(gone), w.file("ends"))
	}
	var got []string
	for _, v := range w.Apps() {
		got = append(got, fmt.Sprintf("%s %s %d", v.Name, v.State, v.Revision))
	}
	if want := []string{"bad running 2", "idle stopped 2", "new stopped 2", "other running 2", "same running 2"}; !slices.Equal(got, want) {
		t.Errorf("now %v, want %v", got, want)
	}
	if got := w.Dependents("shop/dev/gone"); len(got) != 0 {
		t.Errorf("%v depend on what has gone", got)
	}
	if in := w.RevisionsInUse("shop", "dev"); !slices.Equal(in, []int64{1, 2}) { // same still runs the first
		t.Errorf("revisions in use: %v", in)
	}
	f, err := store.OpenState(w.home+"/state.json", store.OS, w.Log)
	must(t, err)
	if keys := f.View().Keys(); len(keys) != 5 || slices.Contains(keys, "shop/dev/gone") {
		t.Errorf("on disk: %v", keys)
	}
	first := w.load(before)
	if _, err := w.Apply(w.ctx(), first, 1, Command{Seq: w.next(), Wait: true}); reason(err) != "conflict/superseded" {
		t.Errorf("an older revision that comes later: %v", err)
	}
	if _, err := w.Apply(w.ctx(), w.load(after), 1, Command{Seq: w.next(), Wait: true}); err != nil || w.app("same").Revision != 2 {
		t.Errorf("an older revision of the same text: %v, now %d", err, w.app("same").Revision)
	}
}

// TestApplyProcesses: processes of a running app come, go and change their names.
func TestApplyProcesses(t *testing.T) {
	w := newWorld(t)
	w.begin()
	file := func(names ...string) string {
		text := "project: shop\napps:\n  - name: pool\n    processes:\n"
		for _, n := range names {
			text += "      - {name: " + n + ", command: \"exec sleep 1000\", ready: {delay: 10ms}}\n"
		}
		return text
	}
	w.up(file("a", "b"))
	old := w.app("pool")
	if _, err := w.apply(file("c", "a")); err != nil {
		t.Fatal(err)
	}
	v := w.is("pool", view.Running)
	if len(v.Instances) != 2 || v.Instances[0].Process != "c" || v.Instances[1].Process != "a" || alive(old.Instances[1].PID) {
		t.Errorf("%s", w.tell())
	}
	if _, err := w.stop("pool:a"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.apply(file("c", "a", "d")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range w.app("pool").Instances {
		got = append(got, i.Process+" "+string(i.State))
	}
	if want := []string{"c running", "a stopped", "d running"}; !slices.Equal(got, want) { // a stays as it was told
		t.Errorf("%v, want %v", got, want)
	}
}

// TestApplyWhileItGoes: an app that is taken out and put back while it is stopping stays.
func TestApplyWhileItGoes(t *testing.T) {
	w := newWorld(t)
	w.begin()
	const slow = "project: shop\napps:\n  - {name: keep, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n  - {name: api, command: \"trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.02; done\", ready: {delay: 10ms}}\n"
	w.up(slow)
	def := w.load("project: shop\napps:\n  - {name: keep, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n")
	rs, err := w.Apply(w.ctx(), def, w.defs.add(def), Command{Seq: w.next(), Wait: true, Timeout: 20 * time.Millisecond})
	if reason(err) != "deadline/still_working" || len(rs) != 1 || rs[0].Key != "shop/dev/api" {
		t.Errorf("%+v %v", rs, err)
	}
	if _, err := w.apply(slow); err != nil {
		t.Fatal(err)
	}
	w.is("api", view.Stopped)
	if rs, err := w.start("api"); err != nil || rs[0].State != view.Running {
		t.Errorf("%+v %v\n%s", rs, err, w.tell())
	}
	if _, err := w.apply("project: shop\napps:\n  - {name: keep, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n"); err != nil {
		t.Error(err)
	}
	if w.app("api") != nil {
		t.Errorf("still there: %s", w.tell())
	}
	if _, err := w.start("keep"); err != nil {
		t.Error(err)
	}
}

// TestApplyIsDurableOrNothing: a definition that the disk does not take changes nothing.
func TestApplyIsDurableOrNothing(t *testing.T) {
	w := newWorld(t)
	ice := &frozen{Disk: store.OS}
	w.disk = ice
	w.begin()
	w.up(one)
	pid := w.pid("api")
	ice.hold(true)
	if _, err := w.apply("project: shop\napps:\n  - {name: api, command: \"exec sleep 5\", ready: {delay: 10ms}}\n  - {name: more, command: \"exec sleep 5\"}\n"); reason(err) != "internal/state_not_durable" {
		t.Errorf("%v", err)
	}
	for what, err := range map[string]error{
		"stop": func() error { _, err := w.stop("api"); return err }(), "scale": func() error { _, err := w.Scale(w.ctx(), w.command("api"), 2); return err }(),
		"disable": func() error { _, err := w.Enable(w.ctx(), w.command("api"), false); return err }(),
		"down": func() error {
			_, err := w.Halt(w.ctx(), true, func([]view.Result, error) { t.Error("it goes on") })
			return err
		}(),
	} {
		if reason(err) != "internal/state_not_durable" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if v := w.app("api"); w.app("more") != nil || w.pid("api") != pid || v.Desired != "running" || len(v.Instances) != 1 || !v.Enabled {
		t.Errorf("something changed: %s", w.tell())
	}
	ice.hold(false)
	if _, err := w.restart("api"); err != nil { // neither is the daemon ending
		t.Error(err)
	}
}

// TestOfTwoAppliesTheLaterStays: a definition that comes while a later one is on its way to the disk waits for it, and is
// then told that it was overtaken.
func TestOfTwoAppliesTheLaterStays(t *testing.T) {
	w := newWorld(t)
	g := &gate{Disk: store.OS}
	w.disk = g
	w.begin()
	w.up(one)
	older := w.load(strings.Replace(one, "1000", "2000", 1))
	earlier := w.defs.add(older)
	newer := w.load(strings.Replace(one, "1000", "3000", 1))
	later := w.defs.add(newer)
	open := g.close()
	t.Cleanup(open)
	first, second := make(chan error, 1), make(chan error, 1)
	c := Command{Seq: w.next(), Wait: true}
	go func() { _, err := w.Apply(w.ctx(), newer, later, c); first <- err }()
	eventually(t, "the later definition to be on its way", func() bool { return len(w.applying) == 1 }, w.tell)
	ctx := arrival{w.ctx(), make(chan struct{}, 1)}
	go func() { _, _, _, err := w.follow(ctx, []Revised{{older, earlier}}); second <- err }()
	<-ctx.at
	open()
	if err := <-first; err != nil {
		t.Errorf("the later: %v", err)
	}
	if err := <-second; reason(err) != "conflict/superseded" {
		t.Errorf("the earlier: %v", err)
	}
	if v := w.app("api"); v.Revision != later {
		t.Errorf("%s", w.tell())
	}
	w.saved("api", func(a store.AppState) bool { return a.Revision == later })
}

// TestEnabled: up skips what is disabled, a start that names it does not; the file has the word again when it changes.
func TestEnabled(t *testing.T) {
	w := newWorld(t)
	w.begin()
	const off = "project: shop\napps:\n  - {name: api, command: \"exec sleep 1000\", enabled: false, ready: {delay: 10ms}}\n"
	const on = "project: shop\napps:\n  - {name: api, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n"
	if _, err := w.apply(off); err != nil {
		t.Fatal(err)
	}
	if got := w.changes(off); got != "api unchanged, disabled" {
		t.Errorf("%s", got)
	}
	if rs, err := w.start("api"); err != nil || rs[0].State != view.Running || w.app("api").Enabled {
		t.Errorf("%+v %v", rs, err)
	}
	if rs, err := w.Enable(w.ctx(), w.command("api"), true); err != nil || !rs[0].Changed {
		t.Errorf("%+v %v", rs, err)
	}
	if rs, err := w.Enable(w.ctx(), w.command("api"), true); err != nil || rs[0].Changed {
		t.Errorf("again: %+v %v", rs, err)
	}
	if got := w.changes(off); got != "api unchanged" {
		t.Errorf("what was said by enable is lost: %s", got)
	}
	if rs, err := w.Enable(w.ctx(), w.command("api"), false); err != nil || rs[0].State != view.Stopped {
		t.Errorf("%+v %v", rs, err)
	}
	if _, err := w.apply(on); err != nil {
		t.Fatal(err)
	}
	if v := w.app("api"); !v.Enabled || v.State != view.Stopped {
		t.Errorf("%+v", v)
	}
	w.saved("api", func(a store.AppState) bool { return a.Enabled && a.Desired == store.WantStopped })
}

// TestScale: instances come and go at the end; the number holds until the file's changes, and over a start of the daemon.
func TestScale(t *testing.T) {
	w := newWorld(t)
	w.begin()
	file := func(n int, command string) string {
		return fmt.Sprintf("project: shop\napps:\n  - {name: api, command: %q, instances: %d, ports: {http: 65530}, ready: {delay: 10ms}}\n", command, n)
	}
	w.up(file(2, "echo $$PORT >> ports; exec sleep 1000"))
	first := w.app("api").Instances[0].PID
	rs, err := w.Scale(w.ctx(), w.command("api"), 4)
	if err != nil || !rs[0].Changed || len(rs[0].PIDs) != 4 {
		t.Fatalf("%+v %v", rs, err)
	}
	eventually(t, "a port each", func() bool {
		got := w.file("ports")
		slices.Sort(got)
		return slices.Equal(got, []string{"65530", "65531", "65532", "65533"})
	}, func() string { return fmt.Sprint(w.file("ports")) })
	if _, err := w.Scale(w.ctx(), w.command("api"), 7); reason(err) != "invalid/no_such_port" {
		t.Errorf("beyond the last port: %v", err)
	}
	third := w.app("api").Instances[2].PID
	rs, err = w.Scale(w.ctx(), w.command("api"), 1)
	if v := w.app("api"); err != nil || len(v.Instances) != 1 || v.Instances[0].PID != first || alive(third) {
		t.Errorf("%+v %v %s", rs, err, w.tell())
	}
	w.end()
	w.begin()
	if v := w.is("api", view.Running); len(v.Instances) != 1 || v.Instances[0].PID != first {
		t.Errorf("after a start of the daemon: %s", w.tell())
	}
	if _, err := w.apply(file(2, "exec sleep 2000")); err != nil {
		t.Fatal(err)
	}
	if v := w.app("api"); len(v.Instances) != 1 {
		t.Errorf("another command, the same number: %s", w.tell())
	}
	if _, err := w.apply(file(3, "exec sleep 2000")); err != nil {
		t.Fatal(err)
	}
	if v := w.is("api", view.Running); len(v.Instances) != 3 {
		t.Errorf("another number: %s", w.tell())
	}
	w.saved("api", func(a store.AppState) bool {
		return len(a.Scale) == 0 && len(a.ScaleBase) == 0 && len(a.Processes) == 3
	})
	if _, err := w.stop("api"); err != nil {
		t.Fatal(err)
	}
	if rs, err := w.Scale(w.ctx(), w.command("api"), 2); err != nil || rs[0].State != view.Stopped {
		t.Errorf("of what is stopped: %+v %v", rs, err)
	}
	if v := w.app("api"); v.State != view.Stopped || len(v.Instances) != 2 {
		t.Errorf("%s", w.tell())
	}
}

// TestRemovedMeanwhile: commands that meet an app on its way out are answered.
func TestRemovedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(one + "  - {name: keep, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n")
	c := w.command("api")
	if _, err := w.apply("project: shop\napps:\n  - {name: keep, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Start(w.ctx(), c); reason(err) != "failed/not_found" {
		t.Errorf("start: %v", err)
	}
	if rs, err := w.Stop(w.ctx(), c); err != nil || rs[0].State != view.Stopped {
		t.Errorf("stop: %+v %v", rs, err)
	}
	if rs, err := w.Reset(w.ctx(), c.Targets); err != nil || rs[0].OK {
		t.Errorf("reset: %+v %v", rs, err)
	}
	if got := w.Probe(w.ctx(), c.Targets); len(got) != 0 {
		t.Errorf("probe: %+v", got)
	}
}

// TestFoundlings: what was taken out of the definitions before a daemon died is stopped by the next one as its definition
// says, dependents first, and whatever nobody knows any more is killed.
func TestFoundlings(t *testing.T) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("definition known %v", known), func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			const patient = "trap '' TERM; trap 'sleep 0.2; echo %s >> ends; exit 0' INT; while :; do sleep 0.02; done"
			app := func(name, more string) string {
				return fmt.Sprintf("  - {name: %s, command: %q, instances: 2, ports: {a: auto}, ready: {delay: 10ms}, stop: {signal: INT, timeout: 60s}%s}\n", name, fmt.Sprintf(patient, name), more)
			}
			w.up("project: shop\napps:\n" + app("db", "") + app("api", ", dependsOn: [db]") + app("web", ", dependsOn: [api]"))
			before := w.Apps()
			w.end()
			f, err := store.OpenState(filepath.Join(w.home, "state.json"), store.OS, w.Log)
			must(t, err)
			must(t, f.Put(t.Context(), func(st *store.State) error {
				for _, key := range st.Keys() {
					st.Delete(key)
				}
				return nil
			}))
			if !known {
				w.defs.bad = errors.New("omnitron.db is damaged")
			}
			w.begin()
			eventually(t, "everything to end", func() bool {
				return len(w.k.Processes()) == 0 && len(w.Apps()) == 0 && !slices.ContainsFunc(before, func(v *view.App) bool { return alive(v.Instances[0].PID) || alive(v.Instances[1].PID) })
			}, w.tell)
			want := []string{"web", "web", "api", "api", "db", "db"}
			if !known {
				want = nil
			}
			if got := w.file("ends"); !slices.Equal(got, want) {
				t.Errorf("they ended as %v, want %v", got, want)
			}
			if n := w.common.Ports.Taken(); n != 0 {
				t.Errorf("%d ports are still promised", n)
			}
			w.defs.bad = nil
			w.up(one) // and the project comes back as if it were a new one
		})
	}
}
