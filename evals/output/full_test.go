package output_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// policies are what onFull may say, each with the app that has it.
var policies = []string{"block-then-drop", "block", "drop"}

// event is one of events.follow.
type event struct {
	At   time.Time
	Type string
	Key  string
	Slot string
	Text string
	Data struct {
		Policy string
		Lost   int64
	}
}

// heard is an event and when it came.
type heard struct {
	event
	came time.Time
}

// hear collects the events about logs until the test ends.
func (w *world) hear(t *testing.T) func(kind, app string) []heard {
	t.Helper()
	c, err := w.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	all, done := make(chan heard, 10_000), make(chan struct{})
	go func() {
		defer close(done)
		for raw, err := range c.Stream(ctx, "events.follow", map[string]any{"topics": []string{"logs"}}) {
			var e event
			if err != nil || json.Unmarshal(raw, &e) != nil {
				return
			}
			all <- heard{e, time.Now()}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		c.Close()
	})
	var list []heard
	return func(kind, app string) []heard {
		for len(all) > 0 {
			list = append(list, <-all)
		}
		var found []heard
		for _, h := range list {
			if h.Type == kind && h.Key == w.key(app) {
				found = append(found, h)
			}
		}
		return found
	}
}

// TestFullDisk lets three apps print onto disks of 8 MB, one with each policy, beside one that has room. Each is held or
// dropped as its policy says; what is lost is counted to the byte, at the place where it is missing; an event comes at
// once; and when there is room again all goes on by itself.
func TestFullDisk(t *testing.T) {
	more := rig.Count(20_000, 200_000) // lines that are printed once there is room
	w := newWorld(t)
	notes := func(app string) string { return filepath.Join(w.Dir, app) }
	apps := []string{w.app("beside", "", "steady", "2ms", 1, notes("beside"))}
	disks := map[string]*disk{}
	for _, p := range policies {
		disks[p] = w.disk(t, p, 8)
		apps = append(apps, w.app(p, "enabled: false\nlogging: {onFull: "+p+"}", "steady", "1ms", 100, notes(p)))
	}
	w.up("maxSize: 1GB", apps...)
	hear := w.hear(t)
	for _, p := range policies {
		w.OK("start", p, "--no-wait")
	}

	full := map[string]time.Time{}
	w.Until(time.Minute, "every disk is full", func() bool {
		for _, p := range policies {
			if full[p].IsZero() && disks[p].free() == 0 {
				full[p] = time.Now()
			}
		}
		return len(full) == len(policies)
	})
	for _, p := range policies {
		w.Until(time.Second, "an event says that the disk of "+p+" is full", func() bool { return len(hear("log_full", p)) == 1 })
		e := hear("log_full", p)[0]
		if late := e.came.Sub(full[p]); late > time.Second || e.Data.Policy != p {
			t.Errorf("%s: log_full came %s after the disk was full: %+v", p, late, e.event)
		}
	}

	// drop never holds; the other two do, one of them for ten seconds.
	printed := func(app string) int { return noted(t, notes(app)) }
	start := printed("drop")
	w.Until(5*time.Second, "drop goes on printing", func() bool { return printed("drop") > start+10_000 })
	blocked, held := printed("block"), printed("block-then-drop")
	w.Until(20*time.Second, "block-then-drop goes on printing", func() bool { return printed("block-then-drop") > held+10_000 })
	waited := time.Since(full["block-then-drop"])
	if waited < 9*time.Second || waited > 13*time.Second {
		t.Errorf("block-then-drop was held for %s, expected 10s", waited)
	}
	if now := printed("block"); now != blocked {
		t.Errorf("block has printed %d lines while its disk was full", now-blocked)
	}
	if r := w.App("block"); r.State != "running" {
		t.Errorf("block is %s while it is held", r.State)
	}

	roomy := time.Now()
	for _, p := range policies {
		disks[p].resize(500)
	}
	for _, p := range policies {
		w.Until(5*time.Second, "an event says that "+p+" is stored again", func() bool { return len(hear("log_recovered", p)) == 1 })
		if took := hear("log_recovered", p)[0].came.Sub(roomy); took > time.Second {
			t.Errorf("%s took %s to recover", p, took)
		}
	}
	again := map[string]int{}
	for _, p := range policies {
		again[p] = printed(p)
	}
	for _, p := range policies {
		w.Until(2*time.Minute, p+" prints on", func() bool { return printed(p) >= again[p]+more })
		w.OK("stop", p)
	}
	for _, p := range policies {
		total := int64(printed(p)) * plainSize
		lost := w.exact(t, p, total)
		recovered := hear("log_recovered", p)[0]
		if (lost > 0) != (p != "block") || recovered.Data.Lost != lost {
			t.Errorf("%s lost %d bytes, the event says %d", p, lost, recovered.Data.Lost)
		}
		t.Logf("%-15s %s printed, %s lost (%d bytes), event %s after the disk was full, recovered %s after there was room", p, mb(total), mb(lost), lost,
			hear("log_full", p)[0].came.Sub(full[p]).Round(time.Millisecond), recovered.came.Sub(roomy).Round(time.Millisecond))
	}
	w.OK("stop", "beside")
	total := int64(noted(t, notes("beside"))) * plainSize
	if lost := w.exact(t, "beside", total); lost != 0 {
		t.Errorf("the app beside them lost %d bytes", lost)
	}
	w.unbroken(t, "beside", time.Second)
}

// exact compares what is stored of a plain printer with what it printed: between the losses that logs.query tells of,
// each of so many bytes at its place, not a byte is missing. It gives how much was lost.
func (w *world) exact(t *testing.T, app string, printed int64) (lost int64) {
	t.Helper()
	r, pw := io.Pipe()
	go func() { pw.CloseWithError(plain(pw, 0, int(printed/plainSize), 0)) }()
	defer r.Close()
	var stored bytes.Buffer
	if _, err := rig.Stored(&stored, w.live(app, "out")); err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	same := func(until int64) {
		buf := make([]byte, until-at)
		if _, err := io.ReadFull(r, buf); err != nil {
			t.Errorf("%s: printed fewer bytes than are stored: %v", app, err)
		}
		if !bytes.Equal(buf, stored.Next(len(buf))) {
			t.Fatalf("%s: what is stored between %d and %d is not what was printed there (%d bytes lost before)", app, at, until, lost)
		}
		at = until
	}
	size := int64(stored.Len())
	for _, l := range w.losses(t, app) {
		same(l.Pos)
		if n, err := io.CopyN(io.Discard, r, l.Lost); err != nil {
			t.Fatalf("%s: %d bytes are said to be lost at %d, and only %d more were printed: %v", app, l.Lost, l.Pos, n, err)
		}
		lost += l.Lost
	}
	same(size)
	if size+lost != printed {
		t.Errorf("%s: %d bytes are stored, %d lost, %d were printed", app, size, lost, printed)
	}
	if s := w.stats(app, "out"); s.Lost != lost || s.Gaps != 0 || s.Bytes != size {
		t.Errorf("%s: logs.stats says %+v, expected %d lost bytes", app, s, lost)
	}
	return lost
}

// losses gives the items of logs.query that tell of missing output, oldest first.
func (w *world) losses(t *testing.T, app string) []item {
	t.Helper()
	var out []item
	w.walk(t, map[string]any{"names": []string{app}, "level": "fatal"}, func(page []item) { // the lines have no level
		for _, i := range slices.Backward(page) {
			if i.Kind != "" {
				out = append(out, i)
			}
		}
	})
	slices.Reverse(out)
	return out
}

// walk goes through all pages of a query, the newest first, and gives how many there were.
func (w *world) walk(t *testing.T, in map[string]any, page func([]item)) (pages int) {
	t.Helper()
	in["limit"] = 1000
	for {
		var got struct {
			Items []item
			Next  string `json:"next_cursor"`
		}
		if err := w.Call("logs.query", in, &got); err != nil {
			t.Fatal(err)
		}
		page(got.Items)
		pages++
		if in["cursor"] = got.Next; got.Next == "" {
			return pages
		}
	}
}

// unbroken looks at when lines arrived: never was the next one so late.
func (w *world) unbroken(t *testing.T, app string, late time.Duration) {
	t.Helper()
	var next time.Time
	w.walk(t, map[string]any{"names": []string{app}, "stream": "out"}, func(page []item) {
		for _, i := range slices.Backward(page) {
			if !next.IsZero() && next.Sub(i.At) > late {
				t.Errorf("%s: nothing arrived between %s and %s", app, i.At.Format(time.StampMilli), next.Format(time.StampMilli))
			}
			next = i.At
		}
	})
	if next.IsZero() {
		t.Errorf("%s has no lines", app)
	}
}

// TestFullDiskWithRotation fills a disk while files are rotated and compressed on it: when there is room again, rotation
// and compression go on, and nothing is lost.
func TestFullDiskWithRotation(t *testing.T) {
	w := newWorld(t)
	d := w.disk(t, "rotated", 8)
	notes := filepath.Join(w.Dir, "notes")
	ballast := filepath.Join(d.path, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 6<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w.up("maxSize: 1MB, maxFiles: 10000, compress: none, onFull: block", w.app("rotated", "enabled: false", "steady", "1ms", 100, notes))
	hear := w.hear(t)
	w.OK("start", "rotated", "--no-wait")
	w.Until(20*time.Second, "the disk is full", func() bool { return len(hear("log_full", "rotated")) == 1 })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	roomy := time.Now()
	w.Until(5*time.Second, "it is stored again", func() bool { return len(hear("log_recovered", "rotated")) == 1 })
	if took := hear("log_recovered", "rotated")[0].came.Sub(roomy); took > time.Second {
		t.Errorf("it took %s to recover", took)
	}
	w.Until(20*time.Second, "the disk is full again", func() bool { return len(hear("log_full", "rotated")) == 2 })
	d.resize(200)
	again := noted(t, notes)
	w.Until(2*time.Minute, "it prints on", func() bool { return noted(t, notes) > again+rig.Count(50_000, 300_000) })
	w.OK("stop", "rotated")
	lines := noted(t, notes)
	if lost := w.exact(t, "rotated", int64(lines)*plainSize); lost != 0 {
		t.Errorf("%d bytes were lost with the policy block", lost)
	}
	for _, kind := range []string{"log_full", "log_recovered", "rotated"} {
		told := hear(kind, "rotated")
		if len(told) == 0 || slices.ContainsFunc(told, func(e heard) bool { return e.Slot != "rotated:rotated#1" }) {
			t.Errorf("%d events %s of the app, the first %+v", len(told), kind, told[:min(len(told), 1)])
		}
	}
	files := w.files("rotated", "out")
	if want := lines * plainSize / 1_000_100; len(files) < want {
		t.Errorf("%d files, expected at least %d: was it rotated after the disk had been full?", len(files), want)
	}
	t.Logf("%s over %d files, full twice, nothing lost", mb(int64(lines)*plainSize), len(files))
}
