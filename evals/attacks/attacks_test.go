package attacks

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// row is an attack, on each plane where it means something.
type row struct {
	section, name string
	cells         [columns]*cell
}

// cell is an attack on one plane. want is the answer; "*" is any, where the library reads the request in a way of its own and
// what counts is that there is no effect.
type cell struct {
	do   func(w *world) string
	want string
}

// attacks is the whole table.
func attacks(w *world) (all []row) {
	for _, part := range []func(*world) []row{forged, ended, messages, requests, hellos, protocol} {
		all = append(all, part(w)...)
	}
	return all
}

const room = 8 << 20 // bytes that the daemon may have grown by

// TestAttacks makes every attack and prints the table.
func TestAttacks(t *testing.T) {
	if testing.Short() {
		t.Skip("slow connections take ten seconds")
	}
	t.Parallel()
	w := newWorld(t)
	most, worst := int64(0), "" // what one of them has taken meanwhile
	w.proofs = []func(plane) string{func(p plane) string { return w.try(p, w.good) }}
	all := attacks(w)
	control := func() { // what every attack carries has its effect when nothing is wrong with it
		for p := range columns {
			for i, proof := range w.proofs {
				before := w.pid()
				if got := proof(p); got != "granted" && got != "200" {
					t.Fatalf("%s: the good call %d is refused: %s", names[p], i, got)
				}
				w.Until(10*time.Second, names[p]+": the good call has its effect", func() bool { now := w.pid(); return now != 0 && now != before })
			}
		}
	}
	w.restart() // making the rows has cost more memory than serving does
	control()
	daemon, pid, base, done := w.DaemonPID(), w.pid(), w.settled(), w.restarts()
	var table strings.Builder
	cells, right, section := 0, 0, ""
	for i := range all {
		r := &all[i]
		if r.section != section {
			section = r.section
			fmt.Fprintf(&table, "\n%s\n  %-46s", section, "")
			for _, n := range names {
				fmt.Fprintf(&table, " %-34s", n)
			}
			table.WriteByte('\n')
		}
		fmt.Fprintf(&table, "  %-46s", r.name)
		before := w.most(true)
		for p, got := range w.run(r) {
			c := r.cells[p]
			if c == nil {
				fmt.Fprintf(&table, " %-34s", "-")
				continue
			}
			cells++
			ok := got == c.want || c.want == "*"
			if !ok {
				t.Errorf("%s, %s, on %s: %s, want %s", r.section, r.name, names[p], got, c.want)
				got = "WRONG " + got
			} else {
				right++
			}
			fmt.Fprintf(&table, " %-34s", got)
		}
		table.WriteByte('\n')
		if now := w.pid(); now != pid { // it also shows that others are answered
			t.Fatalf("%s, %s: web was restarted: %d is now %d", r.section, r.name, pid, now)
		}
		if now := w.most(false) - before; now > most {
			most, worst = now, r.name
		}
	}
	if w.DaemonPID() != daemon {
		t.Error("the daemon has died")
	}
	if now := w.restarts(); now != done {
		t.Errorf("%d calls are on record as done that were attacks", now-done)
	}
	var verdict struct {
		OK      bool
		Problem string
	}
	w.must("audit.verify", nil, &verdict)
	if !verdict.OK {
		t.Errorf("the record: %s", verdict.Problem)
	}
	grown := w.settled() - base
	if grown > room {
		t.Errorf("the daemon grew by %d kB, more than %d", grown>>10, room>>10)
	}
	control()
	refusals(t, w)
	t.Logf("%s\n%d of %d refused as they have to be, none with an effect; the daemon grew by %d kB, from %d kB; the most that one has taken meanwhile is %d kB (%s)", table.String(), right, cells, grown>>10, base>>10, most>>10, worst)
	if most > room {
		t.Errorf("%s: the daemon has grown by %d kB meanwhile, more than %d", worst, most>>10, room>>10)
	}
}

// run makes the attacks of a row.
func (w *world) run(r *row) (got [columns]string) {
	for p, c := range r.cells {
		if c != nil {
			got[p] = c.do(w)
		}
	}
	return got
}

// refusals looks for those whom nobody knew in the record: by plane and reason, summed.
func refusals(t *testing.T, w *world) {
	t.Helper()
	want := map[string]bool{"tcp bad_token": false, "http bad_token": false, "tcp expired": false, "http expired": false, "http host": false, "http origin": false, "tcp hello_first": false}
	w.restart() // it sums up the minute that has not ended yet
	w.Until(20*time.Second, fmt.Sprintf("those who were turned away are on record: %v", want), func() bool {
		var page struct {
			Items []struct {
				Plane, Reason string
				Count         int
			}
		}
		if w.Call("audit.list", map[string]any{"decision": "refused", "limit": 1000}, &page) != nil {
			return false // it is coming up
		}
		for _, r := range page.Items {
			if _, ok := want[r.Plane+" "+r.Reason]; ok {
				want[r.Plane+" "+r.Reason] = true
			}
		}
		for _, seen := range want {
			if !seen {
				return false
			}
		}
		return true
	})
}
