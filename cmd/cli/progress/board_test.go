package progress

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/render"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// filled is a board of n apps of a state, at 12:00, with a clock that can be moved.
func filled(n int, state string) (*board, *time.Time) {
	clock := noon
	b := newBoard(func() time.Time { return clock })
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`{"key":"shop/dev/app%d","state":%q}`, i, state))
	}
	b.load(json.RawMessage(`{"items":[`+strings.Join(items, ",")+`]}`), true)
	return b, &clock
}

func (b *board) say(t *testing.T, key, to, text string) (change, bool) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"at": noon, "type": to, "key": key, "text": text})
	if err != nil {
		t.Fatal(err)
	}
	return b.take(raw)
}

func TestPictureFits(t *testing.T) {
	b, _ := filled(40, "running")
	b.say(t, "shop/dev/app33", "crashed", "crashed: "+strings.Repeat("very long ", 30)+"\x1b[2J")
	for _, size := range [][2]int{{60, 10}, {80, 24}, {200, 60}} {
		lines := b.picture(size[0], size[1], render.Style{})
		if len(lines) > size[1] {
			t.Errorf("%d lines on %d", len(lines), size[1])
		}
		found := false
		for _, line := range lines {
			if w := render.Width(line); w > size[0]-1 {
				t.Errorf("%d columns on %d: %q", w, size[0], line)
			}
			if strings.Contains(line, "\x1b") {
				t.Errorf("foreign text is not escaped: %q", line)
			}
			found = found || strings.Contains(line, "✗ app33")
		}
		if !found {
			t.Errorf("on %d lines the app that crashed is not shown:\n%s", size[1], strings.Join(lines, "\n"))
		}
	}
}

// TestOnlyWhatIsNamed: a call on some apps shows those, and what is started for their sake; not what others do meanwhile.
func TestOnlyWhatIsNamed(t *testing.T) {
	for name, want := range map[string][3]bool{"api": {true, false, false}, "dev/w*": {false, true, false}, "shop/dev/api": {true, false, false},
		"a*": {true, false, false}, "worker:queue#2": {false, true, false}, "nope": {}, "p": {}} {
		b, clock := filled(0, "")
		b.names = []string{name}
		b.load(json.RawMessage(`{"items":[{"key":"shop/dev/api","state":"running"},{"key":"shop/dev/worker","state":"running"},{"key":"shop/dev/loop","state":"backoff"},{"key":"shop/dev/db","state":"stopped"}]}`), true)
		*clock = noon.Add(time.Second)
		for i, key := range []string{"shop/dev/api", "shop/dev/worker", "shop/dev/loop"} {
			if _, ok := b.say(t, key, "starting", ""); ok != want[i] {
				t.Errorf("%s: %s is told about: %v", name, key, ok)
			}
		}
		if c, ok := b.say(t, "shop/dev/db", "starting", ""); !ok || c.From != "stopped" {
			t.Errorf("%s: a dependency that is started is not told about: %+v", name, c)
		}
		b.load(json.RawMessage(`{"items":[{"key":"shop/dev/loop","state":"running"},{"key":"shop/dev/db","state":"running"}]}`), false)
		if b.rows["shop/dev/loop"] != nil || b.rows["shop/dev/db"] == nil {
			t.Errorf("%s: at the end there are %v", name, b.order)
		}
	}
}

func TestTakeKnowsItsApps(t *testing.T) {
	b, clock := filled(1, "stopped")
	if _, ok := b.say(t, "other/dev/x", "running", ""); ok {
		t.Error("an app of another project is told about")
	}
	*clock = noon.Add(3 * time.Second)
	c, ok := b.say(t, "shop/dev/app0", "waiting", "waiting: http /healthz")
	if !ok || c.From != "stopped" || c.To != "waiting" || c.Text != "http /healthz" {
		t.Errorf("got %+v, %v", c, ok)
	}
	if w := b.waiting(); len(w) != 1 || w[0] != "app0 waiting 3s" {
		t.Errorf("waiting for %q", w)
	}
	if _, ok := b.say(t, "shop/dev/app0", "exited", "exited 1 after 2s"); !ok || b.rows["shop/dev/app0"].state != "waiting" {
		t.Error("an exit is taken for a state")
	}
	b.say(t, "shop/dev/app0", "crashed", "")
	if f := b.failed(); len(f) != 1 || len(b.waiting()) != 0 {
		t.Errorf("failed %v, waiting %v", f, b.waiting())
	}
	old, err := json.Marshal(map[string]any{"at": noon.Add(-time.Minute), "type": "running", "key": "shop/dev/app0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.take(old); ok {
		t.Error("an event from before the call is told about")
	}
}

func TestLineAChange(t *testing.T) {
	b, _ := filled(2, "stopped")
	var out strings.Builder
	l := &lines{w: &out, board: b, last: noon}
	for _, c := range []change{
		{At: noon, Key: "shop/dev/api", From: "stopped", To: "waiting", Text: "http /healthz"}, {At: noon, Key: "shop/dev/api", Slot: "api:api#1", From: "waiting", To: "exited", Text: "exited 1 after 2ms"},
		{At: noon, Key: "shop/dev/pool", Slot: "pool:web#2", To: "running"},
	} {
		l.changed(c)
	}
	want := "12:00:00 api stopped → waiting (http /healthz)\n12:00:00 api exited 1 after 2ms\n12:00:00 pool:web#2 running\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestHeartbeat(t *testing.T) {
	b, clock := filled(1, "starting")
	var out strings.Builder
	l := &lines{w: &out, board: b, last: noon}
	for _, after := range []time.Duration{5, 9, 10, 15, 20} {
		*clock = noon.Add(after * time.Second)
		l.tick()
	}
	if want := "12:00:10 still waiting: app0 starting 10s\n12:00:20 still waiting: app0 starting 20s\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// TestLongNames: a long name leaves room for what the app does.
func TestLongNames(t *testing.T) {
	b := newBoard(func() time.Time { return noon })
	b.load([]byte(`{"items":[{"key":"shop/dev/`+strings.Repeat("long-", 12)+`name","state":"running"},{"key":"shop/dev/api","state":"crashed","reason":"exited 7"}]}`), false)
	for _, width := range []int{60, 80, 120} {
		for i, line := range b.picture(width, 10, render.Style{}) {
			if !strings.Contains(line, []string{"running", "crashed"}[i]) || i == 1 && !strings.Contains(line, "exited 7") || render.Width(line) > width {
				t.Errorf("%d: %q", width, line)
			}
		}
	}
}
