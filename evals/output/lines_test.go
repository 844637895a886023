package output_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestAsManyLinesAsAskedFor: -n is lines, however long they are and however many files they lie in, and --raw gives them
// byte for byte from their beginning on.
func TestAsManyLinesAsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.up("maxSize: 1MB, maxFiles: 1000", w.app("wide", "oneshot: true", "long", 1000, 8<<10), w.app("vast", "oneshot: true", "long", 3, 5<<20))
	w.WaitState("wide", "completed", time.Minute)
	w.WaitState("vast", "completed", time.Minute)
	for _, c := range []struct {
		app         string
		lines, size int
		n           int
	}{{"wide", 1000, 8 << 10, 1000}, {"wide", 1000, 8 << 10, 700}, {"vast", 3, 5 << 20, 1}, {"vast", 3, 5 << 20, 2}} {
		var printed bytes.Buffer
		if err := long(&printed, c.lines, c.size); err != nil {
			t.Fatal(err)
		}
		want := printed.String()[(c.lines-c.n)*c.size:]
		n := strconv.Itoa(c.n)
		if got := w.OK("logs", c.app, "-n", n, "--raw"); got != want {
			t.Errorf("%s lines of %s: %d bytes with %d ends, not the last %d that were printed", n, c.app, len(got), strings.Count(got, "\n"), len(want))
		}
		if got := strings.Count(w.OK("logs", c.app, "-n", n), "\n"); got != c.n {
			t.Errorf("%d lines of %s, not %d", got, c.app, c.n)
		}
		ends := 0
		for line := range strings.Lines(w.OK("logs", c.app, "-n", n, "-o", "jsonl")) {
			var i item
			if decode(t, line, &i); !i.Partial {
				ends++
			}
		}
		if ends != c.n {
			t.Errorf("-o jsonl: %d lines of %s, not %d", ends, c.app, c.n)
		}
	}
}
