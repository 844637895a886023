package faults

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// moments are what is going on when something is killed.
var moments = []string{"start", "stop", "restart", "burst", "rotation", "idle"}

// arrange makes the world ready for a moment and gives the apps that it will be about.
func (w *world) arrange(moment string) []string {
	apps := w.some(6)
	switch moment {
	case "start":
		w.do("stop", apps)
	case "stop", "restart":
		w.do("start", apps)
	case "burst", "rotation":
		w.do("start", w.printer)
		apps = nil
	default:
		apps = nil
	}
	w.settle()
	return apps
}

// begin lets a moment begin and gives a channel with how its command is answered.
func (w *world) begin(moment string, apps []string) <-chan error {
	answer := make(chan error, 1)
	switch moment {
	case "start", "stop", "restart":
		go func() { answer <- w.command(moment, apps) }()
	case "rotation": // several bursts: each fills files several times over
		w.burst()
		w.burst()
		answer <- nil
	case "burst":
		w.burst()
		answer <- nil
	default:
		answer <- nil
	}
	return answer
}

// end takes in how the moment's command was answered, and waits until the world is as it is wanted then.
func (w *world) end(moment string, apps []string, answer <-chan error) {
	w.t.Helper()
	select {
	case err := <-answer:
		w.learn(moment, apps, err)
	case <-time.After(time.Minute):
		w.t.Fatalf("%s %v was never answered", moment, apps)
	}
	w.settle()
}

// finish stops everything and compares what was printed with what is stored.
func (w *world) finish() {
	w.t.Helper()
	w.do("stop", w.apps())
	w.settle()
	w.r.OK("kill") // nobody compresses now: a folder whose names change cannot be listed reliably
	w.exact()
	w.r.OK("start", "sit1") // the daemon is needed for the end
}

func TestDaemonKills(t *testing.T) {
	w := newWorld(t)
	var took []time.Duration
	for round := range rig.Count(3, 20) {
		for _, moment := range moments {
			apps := w.arrange(moment)
			before := w.scan.now()
			answer := w.begin(moment, apps)
			delay := upTo(w.dice, 150*time.Millisecond)
			await(delay)
			kill9(t, "daemon", daemonPID(w.r))
			took = append(took, back(w.r, 10*time.Second))
			w.end(moment, apps, answer)
			w.untouched(before, w.reach(moment, apps))
			if t.Failed() {
				t.Fatalf("round %d: killed %s after %s %v", round, delay, moment, apps)
			}
		}
	}
	slices.Sort(took)
	t.Logf("%d kills; the daemon answered again after %s (median), %s (most)", len(took), took[len(took)/2], took[len(took)-1])
	if m := took[len(took)/2]; m > time.Second {
		t.Errorf("the daemon was back after %s (median), more than a second", m)
	}
	w.finish()
}

func TestKeeperKills(t *testing.T) {
	w := newWorld(t)
	for round := range rig.Count(6, 50) {
		moment := moments[w.dice.IntN(len(moments))]
		apps := slices.DeleteFunc(w.arrange(moment), func(a string) bool { return a == "exiter" })
		w.do("start", []string{"exiter"})
		if len(apps) == 0 && moment != "burst" && moment != "rotation" {
			moment = "idle"
		}
		w.settle()
		before := w.scan.now()
		daemon := daemonPID(w.r)
		answer := w.begin(moment, apps)
		delay := upTo(w.dice, 100*time.Millisecond)
		await(delay)
		old := w.r.KeeperPID()
		kill9(t, "keeper", old)
		w.r.Until(10*time.Second, "there is another keeper", func() bool { k := w.r.KeeperPID(); return k != 0 && k != old })
		w.end(moment, apps, answer)
		w.untouched(before, w.reach(moment, apps))
		if got := daemonPID(w.r); got != daemon {
			t.Errorf("the daemon was pid %d and is %d", daemon, got)
		}
		w.exitsAs(1 + round%200)
		if t.Failed() {
			t.Fatalf("round %d: killed %s after %s %v", round, delay, moment, apps)
		}
	}
	w.finish()
}

// exitsAs has exiter end with a code and expects the daemon to know it, although its parent has died.
func (w *world) exitsAs(code int) {
	w.t.Helper()
	if err := os.WriteFile(w.orders, fmt.Appendf(nil, "%d the last word of %d\n", code, code), 0o644); err != nil {
		w.t.Fatal(err)
	}
	p := one(w.scan.now(), "exiter")
	signalTo(p, sigOrder)
	w.wanted["exiter"] = false
	got := w.r.WaitState("exiter", "crashed", 10*time.Second) // failed, and its policy is never
	x := got.Instances[0].LastExit
	if x == nil || !x.Known || x.Code != code || x.Signal != "" {
		w.t.Errorf("exiter (pid %d) ended with %d, and the daemon knows of %+v", p.pid, code, x)
	}
	w.do("stop", []string{"exiter"})
}

func TestBothKilled(t *testing.T) {
	w := newWorld(t)
	var fresh *exec.Cmd
	for round := range rig.Count(3, 20) {
		for _, way := range []string{"at once", "keeper first", "daemon first"} {
			moment := moments[w.dice.IntN(len(moments))]
			apps := w.arrange(moment)
			answer := w.begin(moment, apps)
			delay, between := upTo(w.dice, 100*time.Millisecond), upTo(w.dice, 60*time.Millisecond)
			await(delay)
			daemon, keeper := daemonPID(w.r), w.r.KeeperPID()
			before := w.scan.now()
			switch way {
			case "at once": // neither has time to help the other
				for _, pid := range []int{daemon, keeper} {
					if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
						t.Fatal(err)
					}
				}
				kill9(t, "keeper", keeper)
				kill9(t, "daemon", daemon)
			case "keeper first":
				kill9(t, "keeper", keeper)
				await(between)
				kill9(t, "daemon", daemon)
			case "daemon first":
				kill9(t, "daemon", daemon)
				await(between)
				kill9(t, "keeper", keeper)
			}
			// One of them may have started the other again; if not, it is as after a reboot.
			w.r.Until(20*time.Second, "both live, or neither", func() bool {
				d, k := daemonPID(w.r), w.r.KeeperPID()
				return (d != 0 && d != daemon && k != 0 && k != keeper) || d == 0 && k == 0
			})
			if w.r.KeeperPID() == 0 {
				fresh = runFresh(t, w.r)
			} else if way == "at once" {
				t.Errorf("both were killed at once, and the keeper %d is there", w.r.KeeperPID())
			}
			back(w.r, 20*time.Second)
			w.end(moment, apps, answer)
			if way == "at once" {
				now := w.scan.now()
				for slot := range before {
					if p := one(before, slot); p.pid != 0 && p == one(now, slot) {
						t.Errorf("%s (pid %d) has lived through the death of both: its output goes nowhere", slot, p.pid)
					}
				}
			}
			if t.Failed() {
				t.Fatalf("round %d: killed %s (%s between) %s after %s %v", round, way, between, delay, moment, apps)
			}
		}
	}
	if fresh == nil {
		t.Error("both never died")
	}
	w.do("start", w.apps())
	w.settle()
}
