package output_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// collect walks through all pages of a query and gives its items, the oldest first.
func (w *world) collect(t *testing.T, in map[string]any) (items []item, pages int) {
	t.Helper()
	pages = w.walk(t, in, func(page []item) { items = slices.Concat(page, items) })
	return items, pages
}

// TestQueries asks for lines by page, level, pattern, time and stream, over many rotated and compressed files.
func TestQueries(t *testing.T) {
	lines := rig.Count(20_000, 200_000)
	w := newWorld(t)
	w.up("maxSize: 100KB, maxFiles: 10000", w.app("mixed", "", "levels", lines))
	w.Until(time.Minute, "all is printed", func() bool {
		var last struct{ Items []item }
		err := w.Call("logs.query", map[string]any{"names": []string{"mixed"}, "limit": 1}, &last)
		return err == nil && len(last.Items) == 1 && last.Items[0].Text == levelLine(lines-1)
	})
	ask := func(more map[string]any) map[string]any {
		more["names"] = []string{"mixed"}
		return more
	}

	all, pages := w.collect(t, ask(map[string]any{}))
	if len(all) != lines || pages < lines/1000 {
		t.Fatalf("%d pages gave %d items of %d lines", pages, len(all), lines)
	}
	tiled := newTiles()
	for n, i := range all {
		if err := tiled.add(i); err != nil {
			t.Fatal(err)
		}
		if i.Text != levelLine(n) {
			t.Fatalf("item %d is %q, expected %q", n, i.Text, levelLine(n))
		}
		if want := []string{"debug", "info", "warn", "error", "error"}[n%5]; i.Level != want {
			t.Fatalf("%q has level %q, expected %q", i.Text, i.Level, want)
		}
	}
	w.settled("mixed", "out")

	middle := all[lines/2].At
	later := slices.IndexFunc(all, func(i item) bool { return !i.At.Before(middle) })
	for _, c := range []struct {
		what string
		in   map[string]any
		want int
	}{
		{"debug and above", map[string]any{"level": "debug"}, lines},
		{"info and above", map[string]any{"level": "info"}, lines * 4 / 5},
		{"warnings and above", map[string]any{"level": "warn"}, lines * 3 / 5},
		{"errors", map[string]any{"level": "error"}, lines * 2 / 5},
		{"fatal ones", map[string]any{"level": "fatal"}, 0},
		{"a pattern", map[string]any{"grep": `needle`}, lines / 5},
		{"a pattern that backtracks elsewhere", map[string]any{"grep": `(n+)+eedle"}$`}, lines / 5},
		{"a pattern and a level that has none of it", map[string]any{"grep": "needle", "level": "fatal"}, 0},
		{"one line", map[string]any{"grep": fmt.Sprintf(`"n":%d,"msg":"needle"`, 4)}, 1},
		{"stdout", map[string]any{"stream": "out"}, lines},
		{"stderr", map[string]any{"stream": "err"}, 0},
		{"since the middle", map[string]any{"since": middle}, lines - later},
		{"until just before the middle", map[string]any{"until": middle.Add(-1)}, later},
		{"since later than all", map[string]any{"since": time.Now().Add(time.Hour)}, 0},
	} {
		got, _ := w.collect(t, ask(c.in))
		if len(got) != c.want {
			t.Errorf("%s: %d items, expected %d", c.what, len(got), c.want)
		}
	}

	for _, c := range []struct {
		args string
		want []string
	}{
		{"-n 2", []string{levelLine(lines - 2), levelLine(lines - 1)}},
		{"-n 1 --level warn --grep logfmt", []string{levelLine(lines - 3)}},
		{"-n 2 --grep needle --since 1h", []string{levelLine(lines - 6), levelLine(lines - 1)}},
		{"--stream err", nil},
	} {
		got := strings.Split(strings.TrimSuffix(w.OK(append([]string{"logs", "mixed", "--raw"}, strings.Fields(c.args)...)...), "\n"), "\n")
		if c.want == nil {
			c.want = []string{""}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("logs %s: %q, expected %q", c.args, got, c.want)
		}
	}
	t.Logf("%d lines in %d files: %d pages without a hole or a double", lines, len(w.files("mixed", "out")), pages)
}

// TestWalkWhilePrinting walks backwards through what is stored while lines are printed, files rotated and compressed: from
// the newest line of its first page to the oldest of all there is no hole and no double.
func TestWalkWhilePrinting(t *testing.T) {
	rounds := rig.Count(3, 12)
	w := newWorld(t)
	notes := filepath.Join(w.Dir, "notes")
	w.up("maxSize: 64KiB, maxFiles: 10000", w.app("busy", "", "steady", "5ms", 40, notes))
	walked := 0
	for range rounds {
		from := w.stats("busy", "out").Next
		w.Until(20*time.Second, "several files more are there", func() bool { return w.stats("busy", "out").Next > from+200_000 })
		items, _ := w.collect(t, map[string]any{"names": []string{"busy"}})
		tiled := newTiles()
		for _, i := range items {
			if err := tiled.add(i); err != nil {
				t.Fatal(err)
			}
		}
		reached := tiled.reached("busy", "out")
		if items[0].Pos != 0 || reached < from+200_000 {
			t.Errorf("the walk went from %d to %d, and %d was stored before it", reached, items[0].Pos, from+200_000)
		}
		if got := tiled.sum("busy", "out"); got != suffix(0, reached) {
			t.Error("what the pages hold is not what was printed")
		}
		walked += len(items)
	}
	t.Logf("%d walks over %d lines in all while lines were printed and files compressed", rounds, walked)
}
