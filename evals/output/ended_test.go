package output_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestEndsWhileTheDiskIsFull stops two apps whose disks are full: stop does not wait for the disk. What one had printed
// before it was held is stored as soon as there is room, though nobody prints any more; of the other the loss is told.
func TestEndsWhileTheDiskIsFull(t *testing.T) {
	w := newWorld(t)
	held, dropped := w.disk(t, "held", 2), w.disk(t, "dropped", 2)
	notes := func(app string) string { return filepath.Join(w.Dir, app) }
	w.up("maxSize: 1GB",
		w.app("held", "enabled: false\nlogging: {onFull: block}\nstop: {timeout: 500ms}", "steady", "1ms", 100, notes("held")),
		w.app("dropped", "enabled: false\nlogging: {onFull: drop}", "steady", "1ms", 100, notes("dropped")))
	hear := w.hear(t)
	for _, app := range []string{"held", "dropped"} {
		w.OK("start", app, "--no-wait")
		w.Until(20*time.Second, "the disk of "+app+" is full", func() bool { return len(hear("log_full", app)) == 1 })
	}
	began := noted(t, notes("dropped"))
	w.Until(5*time.Second, "some is dropped", func() bool { return noted(t, notes("dropped")) > began+10_000 })
	for _, app := range []string{"held", "dropped"} {
		if ran := w.Run("stop", app); ran.Code != 0 || ran.Took > 3*time.Second {
			t.Errorf("stop %s while its disk is full: exit %d after %s\n%s", app, ran.Code, ran.Took, ran.Err)
		}
	}
	roomy := time.Now()
	held.resize(50)
	dropped.resize(50)
	for _, app := range []string{"held", "dropped"} {
		w.Until(5*time.Second, "an event says that "+app+" can be stored again", func() bool { return len(hear("log_recovered", app)) == 1 })
		if took := hear("log_recovered", app)[0].came.Sub(roomy); took > time.Second {
			t.Errorf("%s took %s to recover", app, took)
		}
	}

	// SIGKILL came in the middle of a write: its beginning may be stored.
	printed, stored := int64(noted(t, notes("held")))*plainSize, bytes.Buffer{}
	if _, err := rig.Stored(&stored, w.live("held", "out")); err != nil {
		t.Fatal(err)
	}
	got := int64(stored.Len())
	if got < printed || got > printed+100*plainSize {
		t.Errorf("held: %d bytes were printed and %d are stored", printed, got)
	}
	if sum, _ := w.sum("held", "out"); sum != suffix(0, got) {
		t.Error("held: what is stored is not what was printed")
	}
	if s := w.stats("held", "out"); s.Lost != 0 || s.Gaps != 0 {
		t.Errorf("held: logs.stats tells of losses: %+v", s)
	}
	lost := w.exact(t, "dropped", int64(noted(t, notes("dropped")))*plainSize)
	if told := hear("log_recovered", "dropped")[0].Data.Lost; told != lost || lost == 0 {
		t.Errorf("dropped: %d bytes are lost, the event says %d", lost, told)
	}
	t.Logf("held: all %s are stored; dropped: %s lost, and told so", mb(got), mb(lost))
}
