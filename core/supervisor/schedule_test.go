package supervisor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// job is a oneshot that is due once a year, in which no test runs, and the rest of its keys.
func job(command, schedule, more string) string {
	return "project: shop\napps:\n  - {name: job, oneshot: true, command: \"" + command + "\", schedule: {cron: 0 3 1 1 *, timezone: Europe/Berlin" + schedule + "}" + more + "}\n"
}

// arm has the job wait for its times, as up does.
func (w *world) arm() {
	w.t.Helper()
	c := w.command("job")
	c.Arm = true
	rs, err := w.Start(w.ctx(), c)
	if err != nil || rs[0].State != view.Waiting && rs[0].State != view.Running {
		w.t.Fatalf("%+v %v", rs, err)
	}
}

// wallTime puts the clock on the wall so that the job was due a moment ago, and has it looked at.
func (w *world) untilDue() {
	w.t.Helper()
	v := w.app("job")
	if v.NextRun == nil {
		w.t.Fatalf("nothing is due: %s", w.tell())
	}
	w.leap.Add(int64(v.NextRun.Sub(w.Now()) + time.Second))
	w.kick()
}

func (w *world) runs(n int) {
	w.t.Helper()
	eventually(w.t, "the runs", func() bool { return len(w.file("runs")) == n }, w.tell, func() string { return strings.Join(w.file("runs"), " ") })
}

func TestScheduleRuns(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(job("echo x >> runs", "", "")); err != nil {
		t.Fatal(err)
	}
	if v := w.app("job"); v.State != view.Stopped || v.NextRun != nil {
		t.Errorf("before up: %s", w.tell())
	}
	w.arm()
	v := w.is("job", view.Waiting)
	if v.NextRun == nil || v.NextRun.UTC().Format("01-02 15:04") != "01-01 02:00" || !strings.Contains(v.Reason, "next run ") || !strings.Contains(v.Reason, "03:00 CET") {
		t.Fatalf("%+v %s", v.NextRun, w.tell())
	}
	w.runs(0)
	first := *v.NextRun
	w.untilDue()
	w.runs(1)
	v = w.is("job", view.Waiting)
	if !v.NextRun.After(first) || v.Instances[0].LastExit == nil {
		t.Errorf("%v after %v", v.NextRun, first)
	}
	if got := w.events("job", "apps"); !slices.Contains(got, "completed") {
		t.Errorf("%q", got)
	}
	if _, err := w.start("job"); err != nil { // now, whatever the time
		t.Fatal(err)
	}
	w.runs(2)
	w.is("job", view.Waiting)
	if _, err := w.stop("job"); err != nil { // the schedule pauses
		t.Fatal(err)
	}
	if v := w.is("job", view.Stopped); v.NextRun != nil {
		t.Errorf("paused: %v", v.NextRun)
	}
	w.leap.Add(int64(400 * 24 * time.Hour))
	w.kick()
	w.arm()
	w.is("job", view.Waiting)
	w.end()
	w.begin() // the daemon is back at once: what passed while it was paused was not missed
	w.resumed()
	w.is("job", view.Waiting)
	w.runs(2)
	w.untilDue()
	w.runs(3)
}

func TestScheduledRunFails(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.applied(job("echo x >> runs; exit 3", "", ", restart: {policy: on-failure, maxRestarts: 1, backoff: {type: fixed, initial: 10ms}}"))
	w.arm()
	w.untilDue()
	w.runs(2) // once more, within the run
	eventually(t, "the next time", func() bool {
		v := w.app("job")
		return v.State == view.Waiting && strings.HasPrefix(v.Reason, "the last run failed: exited 3 ")
	}, w.tell)
	if rs, err := w.start("job"); err == nil || rs[0].State != view.Failed {
		t.Errorf("%+v %v", rs, err)
	}
	w.untilDue()
	w.runs(6)
}

func (w *world) applied(yaml string) {
	w.t.Helper()
	if _, err := w.apply(yaml); err != nil {
		w.t.Fatal(err)
	}
}

func TestOverlap(t *testing.T) {
	for overlap, want := range map[string]int{"skip": 1, "queue": 2, "replace": 2} {
		t.Run(overlap, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			w.applied(job("echo x >> runs; while [ ! -e go ]; do sleep 0.02; done", ", overlap: "+overlap, ""))
			w.arm()
			w.untilDue()
			w.runs(1)
			w.is("job", view.Running)
			pid := w.pid("job")
			w.untilDue()
			switch overlap {
			case "skip":
				eventually(t, "the event", func() bool { return slices.Contains(w.events("job", "apps"), "schedule_skipped") })
			case "queue":
				w.saved("job", func(a store.AppState) bool { return a.Schedule.Queued })
				if w.pid("job") != pid {
					t.Error("the run was ended")
				}
			case "replace":
				w.runs(2)
				if alive(pid) {
					t.Error("the old run goes on")
				}
			}
			w.touch("go")
			w.runs(want)
			w.is("job", view.Waiting)
			w.runs(want)
		})
	}
}

// TestDowntime: what was due while no daemon was there is made up for with catchUp, once, and otherwise told.
func TestDowntime(t *testing.T) {
	for _, c := range []struct {
		catchUp string
		want    int
	}{{"false", 0}, {"true", 1}} {
		t.Run("catchUp "+c.catchUp, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			w.applied(job("echo x >> runs", ", catchUp: "+c.catchUp, ""))
			w.arm()
			must(t, w.st.Flush(w.ctx()))
			w.end()
			w.leap.Add(int64(3 * 366 * 24 * time.Hour))
			w.begin()
			eventually(t, "the event", func() bool { return slices.Contains(w.events("job", "apps"), "schedule_missed") })
			w.runs(c.want)
			v := w.is("job", view.Waiting)
			if !v.NextRun.After(w.Now()) {
				t.Errorf("next run %v", v.NextRun)
			}
			w.untilDue()
			w.runs(c.want + 1)
		})
	}
}

// TestDaemonDiesDuringARun: the run goes on under the next daemon, counts once, and one that was queued follows it.
func TestDaemonDiesDuringARun(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.applied(job("echo x >> runs; while [ ! -e go ]; do sleep 0.02; done", ", overlap: queue", ""))
	w.arm()
	w.untilDue()
	w.runs(1)
	w.is("job", view.Running)
	pid := w.pid("job")
	w.untilDue()
	w.saved("job", func(a store.AppState) bool { return a.Schedule.Queued && a.Schedule.Owed })
	w.crash()
	w.begin()
	w.resumed()
	if w.pid("job") != pid {
		t.Errorf("pid %d, was %d: %s", w.pid("job"), pid, w.tell())
	}
	w.touch("go")
	w.runs(2)
	w.is("job", view.Waiting)
	w.saved("job", func(a store.AppState) bool { return !a.Schedule.Queued && !a.Schedule.Owed })
	w.end()
	w.begin()
	w.resumed()
	w.is("job", view.Waiting)
	w.runs(2)
}

// TestOwed: a run that was due, and that the daemon did not live to begin, is begun by the next one.
func TestOwed(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.applied(job("echo x >> runs", "", ""))
	w.arm()
	w.untilDue()
	w.runs(1)
	w.is("job", view.Waiting)
	must(t, w.st.Put(w.ctx(), func(st *store.State) error {
		st.Edit("shop/dev/job", func(a *store.AppState) { a.Schedule.Owed = true })
		return nil
	}))
	w.crash()
	w.begin()
	w.runs(2)
	w.is("job", view.Waiting)
}

// TestScheduleComesAndGoes: another definition takes the schedule up, or away, without a run.
func TestScheduleComesAndGoes(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.applied("project: shop\napps:\n  - {name: job, oneshot: true, command: \"echo x >> runs\"}\n")
	if _, err := w.start("job"); err != nil {
		t.Fatal(err)
	}
	w.is("job", view.Completed)
	w.applied(job("echo x >> runs", "", ""))
	if v := w.is("job", view.Waiting); v.NextRun == nil {
		t.Error("no next run")
	}
	w.applied("project: shop\napps:\n  - {name: job, oneshot: true, command: \"echo x >> runs\"}\n")
	if v := w.is("job", view.Completed); v.NextRun != nil {
		t.Error("a next run")
	}
	w.runs(1)
}
