package durability_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// harms are what can become of a file.
var harms = []struct {
	name string
	do   func(text string) string
}{
	{"truncated", func(s string) string { return s[:len(s)/2] }},
	{"empty", func(string) string { return "" }},
	{"zeroed", func(s string) string { return strings.Repeat("\x00", len(s)) }},
	{"zeroed behind", func(s string) string { return s[:len(s)-64] + strings.Repeat("\x00", 64) }},
	{"a flipped bit", func(s string) string { // one that leaves valid JSON: a stopped app would be another one
		i := strings.Index(s, `"pid":`) + len(`"pid":`)
		return s[:i] + string(s[i]^1) + s[i+1:]
	}},
}

// ofEveryUser runs a scenario for root and for an ordinary user, side by side.
func ofEveryUser(t *testing.T, scenario func(t *testing.T, w world)) {
	for name, uid := range rig.Users() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario(t, world{rig.NewAs(t, uid)})
		})
	}
}

func TestDamagedState(t *testing.T) { ofEveryUser(t, damagedState) }

func damagedState(t *testing.T, w world) {
	w.Up(w.project(w.sitter("a"), w.sitter("b"), w.sitter("c")))
	w.OK("stop", "c")
	was := w.pids("a", "b")
	for i, h := range harms {
		t.Run(h.name, func(t *testing.T) {
			w.settle()
			w.kill()
			w.live(was)
			bad := h.do(w.read("state.json"))
			w.put("state.json", bad)
			w.OK("start", "a") // the next start of the daemon; a runs
			w.same(was)
			if got := w.App("c").State; got != "stopped" {
				t.Errorf("c, which was stopped, is %s", got)
			}
			w.says("state.json", "the copy before it was used")
			aside := w.aside("state.json")
			if len(aside) != i+1 || aside[i] != bad {
				t.Errorf("%d damaged files are kept, not %d, or with other bytes", len(aside), i+1)
			}
			w.read("state.json") // it is there again
		})
	}
	w.murder()
	w.same(was)
	if got := w.warnings(); got != "" {
		t.Errorf("a sound start still warns: %s", got)
	}
}

// settle makes the copy as new as the file: what was asked for last is in both then.
func (w world) settle() {
	w.T.Helper()
	for range 2 { // each is a write
		w.OK("scale", "a", "1")
	}
}

// The copy is older than the file: what lives is kept all the same, whatever the copy says of it.
func TestDamagedStateCopyIsOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a"), w.sitter("b")))
	w.OK("stop", "b")
	before := w.read("state.json") // b is stopped, and d not known yet
	w.Up(w.project(w.sitter("a"), w.sitter("b"), w.sitter("d")))
	was := w.pids("a", "b", "d")
	w.kill()
	w.put("state.json", "garbage")
	w.put("state.json.bak", before)
	w.OK("start", "a")
	w.same(was)
	for _, name := range []string{"b", "d"} {
		w.WaitState(name, "running", 5*time.Second) // looked at again
	}
	w.murder() // what was adopted is known for good
	w.same(was)
}

func TestDamagedStateAndCopy(t *testing.T) { ofEveryUser(t, damagedStateAndCopy) }

func damagedStateAndCopy(t *testing.T, w world) {
	w.Up(w.project(w.sitter("a"), w.sitter("b"), w.sitter("c"), w.sitter("s")))
	w.OK("stop", "c")
	w.OK("scale", "s", "3")
	was := w.pids("a", "b", "s")
	if len(was["s"]) != 3 {
		t.Fatalf("s has pids %v", was["s"])
	}
	for _, h := range harms {
		t.Run(h.name, func(t *testing.T) {
			w.settle()
			w.kill()
			bad := [2]string{h.do(w.read("state.json")), h.do(w.read("state.json.bak"))}
			w.put("state.json", bad[0])
			w.put("state.json.bak", bad[1])
			w.OK("start", "a")
			w.same(was)
			w.says("state.json", "what lives is kept")
			for i, name := range []string{"state.json", "state.json.bak"} {
				aside := w.aside(name)
				if len(aside) == 0 || aside[len(aside)-1] != bad[i] {
					t.Errorf("%s is not kept as it was: %d files", name, len(aside))
				}
			}
		})
	}
	w.murder() // they are desired, on disk
	w.same(was)
	for _, name := range []string{"a", "b", "s"} {
		if v, err := w.get(name); err != nil || v.Desired != "running" {
			t.Errorf("%s is desired %q, %v", name, v.Desired, err)
		}
	}
	w.OK("up") // brings c back without touching the others
	w.same(was)
	if got := w.App("c").State; got != "running" {
		t.Errorf("c is %s after up", got)
	}
}

func TestMissingState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a")))
	was := w.pids("a")
	w.kill()
	for _, name := range []string{"state.json", "state.json.bak"} {
		if err := os.Remove(filepath.Join(w.Home, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.OK("start", "a")
	w.same(was)
}

// newer is a file as a later version would leave it: whole, with things in it that this one cannot know.
const newer = "{\"version\":99,\"savedAt\":\"2031-01-01T00:00:00Z\",\"worlds\":[],\n\"sum\": \"\"\n}\n"

func TestNewerState(t *testing.T) {
	var sound string
	ofLaterVersion(t, func(w world) {
		w.kill()
		sound = w.read("state.json")
		w.put("state.json", newer)
	}, func(w world) { w.put("state.json", sound) })
}

// ofLaterVersion has a file of a later version refused and left alone, and goes on when it is mended.
func ofLaterVersion(t *testing.T, spoil, mend func(w world)) {
	t.Helper()
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a")))
	was := w.pids("a")
	spoil(w)
	w.refused("start", "a")
	w.live(was)
	mend(w)
	w.OK("start", "a")
	w.same(was)
}

// refused gives a command that has to be refused because of files of a later version, which must not be touched.
func (w world) refused(args ...string) {
	w.T.Helper()
	before := w.listing()
	ran := w.Run(args...)
	if ran.Code != 2 || !strings.Contains(ran.Err, "later version") || strings.Contains(ran.Err, "{") {
		w.T.Errorf("exit %d: %s", ran.Code, ran.Err)
	}
	if ran.Took > 5*time.Second {
		w.T.Errorf("that took %s", ran.Took)
	}
	if after := w.listing(); after != before {
		w.T.Errorf("files were touched:\n%s\nbefore:\n%s", after, before)
	}
}

// listing is every file of the home with its size, but for logs and what tells of processes.
func (w world) listing() string {
	w.T.Helper()
	var out strings.Builder
	es, err := os.ReadDir(w.Home)
	if err != nil {
		w.T.Fatal(err)
	}
	for _, e := range es {
		if strings.HasPrefix(e.Name(), "omnitron.db") || strings.HasPrefix(e.Name(), "state.json") {
			out.WriteString(e.Name() + "\n" + w.read(e.Name()) + "\n")
		}
	}
	return out.String()
}
