package intent

import (
	"fmt"
	"testing"

	"github.com/omnitron-dev/omnitron/core/store"
)

// TestWish is what a command means for what is on disk.
func TestWish(t *testing.T) {
	const run, stop = store.WantRunning, store.WantStopped
	a := store.AppState{Desired: stop}
	for _, c := range []struct {
		part string
		want store.Desired
		seq  int64
		over bool
		now  string // what is wanted of web#1, web#2, job
	}{
		{"", run, 10, false, "running running running"},
		{"", stop, 9, true, "running running running"},
		{"", run, 9, false, "running running running"},
		{"web#1", stop, 11, false, "stopped running running"},
		{"job", stop, 12, false, "stopped running stopped"},
		{"web#2", stop, 9, true, "stopped running stopped"},   // before the whole
		{"web#1", run, 10, true, "stopped running stopped"},   // before itself
		{"web", run, 13, false, "running running stopped"},    // a process speaks for its instances
		{"web#2", stop, 12, true, "running running stopped"},  // before its process
		{"web#2", stop, 20, false, "running stopped stopped"}, //
		{"", run, 19, false, "running stopped running"},       // the whole, but not what was said after it
		{"", stop, 0, false, "stopped stopped stopped"},       // without a number it is the youngest
		{"web#1", run, 21, false, "running stopped stopped"},  //
		{"", run, 22, false, "running running running"},       //
	} {
		if over := Wish(&a, c.part, c.want, c.seq); over != c.over {
			t.Errorf("%s of %q as %d: overtaken %v", c.want, c.part, c.seq, over)
		}
		now := fmt.Sprint(Wants(&a, "web#1"), " ", Wants(&a, "web#2"), " ", Wants(&a, "job"))
		if now != c.now {
			t.Errorf("after %s of %q as %d: %s, want %s", c.want, c.part, c.seq, now, c.now)
		}
	}
	if len(a.Parts) != 0 || len(a.Numbers) != 0 {
		t.Errorf("left over: %+v", a)
	}
}
