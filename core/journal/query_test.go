package journal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal/journaltest"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// shop has lines of three instances and two apps, a millisecond between two.
func shop(t testing.TB) *Journal {
	j := newJournal(t)
	web, fail, two, job := open(t, j, out1), open(t, j, err1), open(t, j, out2), open(t, j, job1)
	web.PID, two.PID = 11, 12
	web.Write(at(1), "level=info msg=one\n")
	fail.Write(at(2), "ERROR two\n")
	fail.Write(at(3), "    at three\n")
	two.Write(at(4), "four\n")
	job.Write(at(5), "[warn] five\n")
	web.Rotate(at(6))
	web.Write(at(6), "six\n")
	return j
}

func TestFilter(t *testing.T) {
	j := shop(t)
	for _, tc := range []struct {
		name string
		f    Filter
		want []string
	}{
		{"all", Filter{}, []string{"one", "two", "three", "four", "five", "six"}},
		{"the newest", Filter{Limit: 2}, []string{"five", "six"}},
		{"an app", Filter{Keys: []string{"shop/dev/job"}}, []string{"five"}},
		{"two keys", Filter{Keys: []string{"shop/dev/job", "shop/dev/web:web#2"}}, []string{"four", "five"}},
		{"a process", Filter{Keys: []string{"shop/dev/web:web"}}, []string{"one", "two", "three", "four", "six"}},
		{"an instance", Filter{Keys: []string{"shop/dev/web#1"}}, []string{"one", "two", "three", "six"}},
		{"an unknown app", Filter{Keys: []string{"shop/dev/none"}}, nil},
		{"another process", Filter{Keys: []string{"shop/dev/web:mail"}}, nil},
		{"stderr", Filter{Stream: "err"}, []string{"two", "three"}},
		{"since", Filter{Since: at(4)}, []string{"four", "five", "six"}},
		{"until", Filter{Until: at(4)}, []string{"one", "two", "three", "four"}},
		{"since and until", Filter{Since: at(2), Until: at(3)}, []string{"two", "three"}},
		{"until with a limit", Filter{Until: at(4), Limit: 2}, []string{"three", "four"}},
		{"warn", Filter{Level: "warn"}, []string{"two", "three", "five"}},
		{"error, and the trace behind it", Filter{Level: "error"}, []string{"two", "three"}},
		{"debug", Filter{Level: "debug"}, []string{"one", "two", "three", "four", "five", "six"}},
		{"grep", Filter{Grep: `^(four|six)$|f.ve`}, []string{"four", "five", "six"}},
		{"grep and level", Filter{Grep: `t`, Level: "error"}, []string{"two", "three"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, l := range texts(ask(t, j, tc.f)) {
				got = append(got, l[strings.LastIndexAny(l, " =")+1:])
			}
			if !slices.Equal(got, tc.want) {
				t.Fatalf("got %q, want %q", got, tc.want)
			}
			// One line a page says the same.
			if tc.f.Limit = 1; tc.name == "the newest" || tc.name == "until with a limit" {
				return
			}
			var paged []string
			for {
				lines, next, more, err := j.Query(t.Context(), tc.f)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range texts(lines) {
					paged = append([]string{l[strings.LastIndexAny(l, " =")+1:]}, paged...)
				}
				if tc.f.Cursor = next; !more {
					break
				}
			}
			if !slices.Equal(paged, tc.want) {
				t.Fatalf("pages: got %q, want %q", paged, tc.want)
			}
		})
	}
}

func TestLineSaysWhereItComesFrom(t *testing.T) {
	l := ask(t, shop(t), Filter{Grep: "one"})[0]
	l.At = l.At.UTC()
	want := Line{At: at(1), Project: "shop", Stack: "dev", App: "web", Process: "web", Instance: 1, Stream: "out", PID: 11, Level: "info", Text: "level=info msg=one"}
	if l != want {
		t.Fatalf("got  %+v\nwant %+v", l, want)
	}
}

func TestBadFilters(t *testing.T) {
	j := shop(t)
	_, next, _, err := j.Query(t.Context(), Filter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Filter{
		"regexp":        {Grep: "("},
		"backreference": {Grep: `(a)\1`},
		"level":         {Level: "loud"},
		"stream":        {Stream: "in"},
		"limit":         {Limit: 1001},
		"times":         {Since: at(2), Until: at(1)},
		"key":           {Keys: []string{"web"}},
		"key up":        {Keys: []string{"shop/../web"}},
		"process up":    {Keys: []string{"shop/dev/web:../x"}},
		"instance":      {Keys: []string{"shop/dev/web:web#x"}},
		"instance 0":    {Keys: []string{"shop/dev/web:web#0"}},
		"cursor":        {Cursor: "!"},
		"short cursor":  {Cursor: next[:len(next)-3]},
	} {
		if _, _, _, err := j.Query(t.Context(), f); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: query says %v", name, err)
		}
		for _, err := range j.Follow(t.Context(), f) {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: follow says %v", name, err)
			}
			break
		}
	}
	for _, err := range j.Follow(t.Context(), Filter{Cursor: next}) {
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("a page's cursor in a follow: %v", err)
		}
		break
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("shop/dev/web:web#1", "info", "a+", "out", 5, "")
	f.Add("a/b/c", "", `(a+)+$`, "", 0, "cQ")
	f.Add("///:#", "x", "[", "in", -1, "ZgAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("a/b/c#99999999999999999999", "fatal", `\pL`, "err", 1000, "cQAAAAAAAAAAAAAAAAAAAAAA_____w")
	f.Add("../../..:x", "warn", "", "out", 1001, "\xff")
	dir := f.TempDir()
	j := New(dir, nil)
	w := open(f, j, out1)
	w.Write(at(1), "level=info aaa\nERROR x\n")
	f.Fuzz(func(t *testing.T, key, lvl, grep, stream string, limit int, cursor string) {
		filter := Filter{Keys: []string{key}, Level: lvl, Grep: grep, Stream: stream, Limit: limit, Cursor: cursor}
		lines, next, _, err := j.Query(t.Context(), filter)
		if (filter.Validate() != nil) != (err != nil) && cursor == "" {
			t.Fatalf("Validate says %v, Query %v", filter.Validate(), err)
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Fatalf("no fault of the caller: %v", err)
		}
		if next != "" {
			if _, err := parseCursor(next, cursorPage); err != nil {
				t.Fatalf("the next cursor is none: %v", err)
			}
		}
		for _, l := range lines {
			if l.App != "web" {
				t.Fatalf("asked for %q, got %+v", key, l)
			}
		}
	})
}

func TestRawBytes(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	w.Write(at(1), "cr\r\nnul\x00\n\xff\xfeab\xc3\n\x1b[2J\n")
	lines := ask(t, j, Filter{})
	if got, want := texts(lines), []string{"cr\r", "nul\x00", "\uFFFDab\uFFFD", "\x1b[2J"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i, l := range lines {
		b, err := json.Marshal(l)
		if err != nil || !json.Valid(b) {
			t.Fatalf("line %d: %v", i, err)
		}
		if (l.Raw != "") != (i == 2) {
			t.Fatalf("line %d has raw %q", i, l.Raw)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(lines[2].Raw)
	if err != nil || string(raw) != "\xff\xfeab\xc3" {
		t.Fatalf("raw gives %q (%v)", raw, err)
	}
}

func TestLongLineComesInPieces(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	w.Write(at(1), "head\n"+strings.Repeat("x", 150_000)+"\nlast")
	var b strings.Builder
	lines := ask(t, j, Filter{})
	for _, l := range lines {
		if len(l.Text) > segment.MaxLine {
			t.Fatalf("a piece of %d bytes", len(l.Text))
		}
		if b.WriteString(l.Text); !l.Partial {
			b.WriteByte('\n')
		}
	}
	if len(lines) != 5 || b.String() != "head\n"+strings.Repeat("x", 150_000)+"\nlast" {
		t.Fatalf("%d pieces, %d bytes", len(lines), b.Len())
	}
}

// TestPiecesSayWhatTheyContinue: however the pieces of a line are come by, only the first does not go on with one before;
// a line that begins where a piece could is none.
func TestPiecesSayWhatTheyContinue(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	w.Write(at(1), strings.Repeat("a", 2*segment.MaxLine-1)+"\n"+strings.Repeat("b", segment.MaxLine-1)+"\n"+strings.Repeat("c", 150_000))
	w.Rotate(at(2))
	w.Write(at(3), strings.Repeat("c", 150_000)+"\nd\n")
	w.Rotate(at(4))
	w.Write(at(5), "e\n")
	check := func(how string, lines []Line) {
		t.Helper()
		starts := ""
		for i, l := range lines {
			if !l.Continues {
				starts += l.Text[:1]
			} else if i > 0 && !lines[i-1].Partial {
				t.Errorf("%s: piece %d at %d continues a line that is over", how, i, l.Pos)
			}
		}
		if starts != "abcde" {
			t.Errorf("%s: lines begin with %q", how, starts)
		}
	}
	for _, limit := range []int{1, 2, 1000} {
		var all []Line
		for f := (Filter{Limit: limit}); ; {
			lines, next, more, err := j.Query(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if all = append(lines, all...); !more {
				check(fmt.Sprintf("pages of %d", limit), all)
				break
			}
			f.Cursor = next
		}
	}
	n := len(ask(t, j, Filter{}))
	check("a follow of what is stored", take(t, follow(t, j, Filter{}), n))
	check("a follow from the beginning on", take(t, follow(t, j, Filter{Since: epoch}), n))
}

func TestTimeIsBounded(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	for i := range 20 {
		w.Write(at(i), strings.Repeat(strings.Repeat("a", 60)+"\n", 10_000))
		w.Rotate(at(i))
	}
	w.Write(at(99), "needle\n")
	j.budget = time.Nanosecond
	f, calls := Filter{Grep: "(a+)+$b|needle"}, 0
	var got []string
	for {
		lines, next, more, err := j.Query(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, texts(lines)...)
		calls++
		if f.Cursor = next; !more {
			break
		}
	}
	if !slices.Equal(got, []string{"needle"}) || calls < 20 {
		t.Fatalf("%d calls gave %q", calls, got)
	}
}

func TestPageIsBounded(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	for i := range 100 {
		w.Write(at(i), strings.Repeat("\x00", 50_000)+"\n")
	}
	total := 0
	for f := (Filter{}); ; {
		lines, next, more, err := j.Query(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(lines); err != nil || len(b) > 4<<20 {
			t.Fatalf("a page of %d bytes (%v)", len(b), err)
		}
		total += len(lines)
		if f.Cursor = next; !more {
			break
		}
	}
	if total != 100 {
		t.Fatalf("%d lines in all", total)
	}
}

// TestPagesAreStable pages while lines are added, files rotated and compressed, and streams appear.
func TestPagesAreStable(t *testing.T) {
	j := newJournal(t)
	w, other := open(t, j, out1), open(t, j, out2)
	var want []string
	for i := range 200 {
		s := fmt.Sprintf("line %d", i)
		want = append(want, s)
		w.Write(at(10*i), s+"\n")
	}
	other.Write(at(1), "old\n") // its turn comes last
	want = append([]string{want[0], "old"}, want[1:]...)
	var got []string
	for f := (Filter{Limit: 13}); ; {
		lines, next, more, err := j.Query(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		got = append(texts(lines), got...)
		if f.Cursor = next; !more {
			break
		}
		now := time.Now().Add(time.Hour)
		w.Write(now, "new\n")
		w.Rotate(now)
		other.Write(now, "new\n")
		open(t, j, err1).Write(now, "new\n")
		if err := j.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.SetPolicy(out1.Key(), Policy{MaxFiles: 99})
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q\nwant %q", got, want)
	}
}

func TestCancelledQuery(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := shop(t).Query(ctx, Filter{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestRingIsDroppedWhenTheStreamGrows(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	for i := range 3 {
		w.Write(at(i), fmt.Sprintf("%d\n", i))
		for range 2 {
			if got := texts(ask(t, j, Filter{Limit: 1})); !slices.Equal(got, []string{fmt.Sprint(i)}) {
				t.Fatalf("after line %d: %q", i, got)
			}
		}
	}
	if len(j.ring.tails) != 1 || j.ring.used == 0 {
		t.Fatalf("the ring keeps %d tails, %d bytes", len(j.ring.tails), j.ring.used)
	}
	if ask(t, j, Filter{Limit: 1}); j.ring.find(out1, segment.Look(j.Dir(), out1)) == nil {
		t.Fatal("the tail is not in the ring")
	}
}

func TestRingIsBounded(t *testing.T) {
	j := newJournal(t)
	for i := range 3 * ringTotal / firstChunk {
		s := Stream{Project: "p", Stack: "s", App: "a", Process: "p", Instance: i + 1, Name: "out"}
		open(t, j, s).Write(at(i), strings.Repeat(strings.Repeat("x", 99)+"\n", 400))
	}
	ask(t, j, Filter{Limit: 1000})
	used := 0
	for _, tail := range j.ring.tails {
		used += tail.chunk.Size()
	}
	if used != j.ring.used || used > ringTotal || used < ringTotal/4 {
		t.Fatalf("the ring holds %d bytes, says %d, may %d", used, j.ring.used, ringTotal)
	}
}

func TestStatsAndPurge(t *testing.T) {
	j := shop(t)
	stats, err := j.Stats(t.Context(), "shop/dev/web:web#1")
	if err != nil || len(stats) != 2 {
		t.Fatalf("%+v, %v", stats, err)
	}
	st := stats[1]
	if st.Stream != "out" || st.Files != 2 || st.Bytes != 23 || st.Next != 23 || !st.Oldest.Equal(epoch) || !st.Newest.Equal(at(6)) || st.Disk <= st.Bytes {
		t.Fatalf("%+v", st)
	}
	if _, err := j.Purge(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Fatalf("a purge of nothing says %v", err)
	}
	p, err := j.Purge(t.Context(), "shop/dev/web")
	if err != nil || p.Files != 4 || p.Bytes != 23+23+5 {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := texts(ask(t, j, Filter{})); !slices.Equal(got, []string{"[warn] five"}) {
		t.Fatalf("left: %q", got)
	}
	open(t, j, out1).Write(at(9), "again\n")
	if l := ask(t, j, Filter{Keys: []string{"shop/dev/web"}}); len(l) != 1 || l[0].Pos != 23 {
		t.Fatalf("after the purge: %+v", l)
	}
	files, err := os.ReadDir(out1.Folder(j.Dir()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".log") && !strings.HasSuffix(f.Name(), ".log.idx") {
			t.Errorf("left behind: %s", f.Name())
		}
	}
}

// TestPurgeAfterAHalfDoneRotation: whatever the keeper's death has left, nothing stays and the position does.
func TestPurgeAfterAHalfDoneRotation(t *testing.T) {
	for name, leave := range map[string]func(*journaltest.Writer){
		"log renamed":   func(w *journaltest.Writer) { w.RotateLog() },
		"index renamed": func(w *journaltest.Writer) { w.RotateIndex() },
		"both renamed":  func(w *journaltest.Writer) { w.RotateLog(); w.RotateIndex() },
		"begun anew":    func(w *journaltest.Writer) { w.Rotate(at(3)) },
		"no index":      func(w *journaltest.Writer) { os.Remove(w.Path() + ".idx") },
		"empty":         func(w *journaltest.Writer) { os.Remove(w.Path()); os.Remove(w.Path() + ".idx") },
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t)
			w := open(t, j, out1)
			w.Write(at(1), "12345\n")
			leave(w)
			w.Close()
			for range 2 {
				if _, err := j.Purge(t.Context(), out1.Key()); err != nil {
					t.Fatal(err)
				}
			}
			if got := ask(t, j, Filter{}); len(got) > 0 {
				t.Fatalf("left: %q", texts(got))
			}
			if pos := open(t, j, out1).Pos(); pos != 6 && name != "empty" {
				t.Fatalf("the stream goes on at %d", pos)
			}
		})
	}
}

func TestStatsCountLosses(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	for i := range 4 {
		w.Write(at(i), "x\n")
		w.Mark(at(i), segment.KindLost, 10)
		w.Mark(at(i), segment.KindGap, 0)
		if i == 1 {
			w.Rotate(at(i))
		}
		st, err := j.Stats(t.Context())
		if err != nil || len(st) != 1 || st[0].Lost != int64(10*(i+1)) || st[0].Gaps != i+1 {
			t.Fatalf("after %d: %+v, %v", i+1, st, err)
		}
	}
}

func TestRetention(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	j.SetPolicy(out1.Key(), Policy{MaxFiles: 7})
	j.SetPolicy(out1.Key()+":web", Policy{MaxFiles: 3, Compress: "gzip"})
	for i := range 10 {
		w.Write(at(i), fmt.Sprintf("%d\n", i))
		w.Rotate(at(i))
		if err := j.Rotated(t.Context(), w.Path()); err != nil {
			t.Fatal(err)
		}
		set, err := segment.Load(j.Dir(), out1)
		if err != nil || len(set.Files) != min(i+2, 3) {
			t.Fatalf("after %d rotations: %d files (%v)", i+1, len(set.Files), err)
		}
	}
	if got := texts(ask(t, j, Filter{})); !slices.Equal(got, []string{"8", "9"}) {
		t.Fatalf("kept: %q", got)
	}
	set, err := segment.Load(j.Dir(), out1)
	if err != nil || set.Files[0].Format != segment.Gzip {
		t.Fatalf("%+v, %v", set.Files, err)
	}
	if err := j.Rotated(t.Context(), "/elsewhere/x.log"); err == nil {
		t.Fatal("a foreign file was tended to")
	}
}

// TestRetireAtOnce: what is too much goes, however long compression takes; what is left is compressed later.
func TestRetireAtOnce(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	j.SetPolicy(out1.Key(), Policy{MaxFiles: 3, Compress: "zstd"})
	for i := range 6 {
		w.Write(at(i), "a\n")
		w.Rotate(at(i))
	}
	if err := j.packing.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := j.Retire(t.Context(), w.Path()); err != nil {
		t.Fatal(err)
	}
	j.packing.give()
	if st, err := j.Stats(t.Context()); err != nil || st[0].Files != 3 || st[0].First != 8 {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := j.Retire(t.Context(), "/elsewhere/x.log"); err == nil {
		t.Error("a file that is no log was tended to")
	}
	if err := j.Rotated(t.Context(), w.Path()); err != nil {
		t.Fatal(err)
	}
	if names, err := filepath.Glob(w.Path() + ".*.zst"); err != nil || len(names) != 2 {
		t.Errorf("compressed: %v, %v", names, err)
	}
}

func TestMaintainCleansUp(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	w.Write(at(1), "a\n")
	w.Rotate(at(1))
	for _, name := range []string{segment.Archive(w.Path(), 0) + ".zst.tmp", w.Path() + ".idx.tmp"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(segment.Archive(w.Path(), 1)+".idx", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(out1.Folder(j.Dir()))
	if err != nil || len(files) != 4 {
		t.Fatalf("%v, %v: want the live file, the archive, and their indexes", files, err)
	}
}

// TestMaintainLeavesWhatTheKeeperNeeds: while a rotation is half done, the newest archive says where the stream goes on.
func TestMaintainLeavesWhatTheKeeperNeeds(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	j.SetPolicy(out1.Key(), Policy{MaxFiles: 1})
	w.Write(at(1), "a\n")
	w.RotateLog()
	w.RotateIndex()
	if err := j.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(segment.Archive(w.Path(), 0)); err != nil {
		t.Fatal(err)
	}
}

// TestLevelsAreTheSameHoweverRead compares what pages of all sizes and a follower say of the same lines.
func TestLevelsAreTheSameHoweverRead(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	kinds := []string{"plain\n", "ERROR x\n", "  at y\n", `{"level":20}` + "\n", strings.Repeat("z", 3000) + "\n", "[warn] w\n"}
	ms := 0
	for i := range 3000 {
		n := (i*i + i/7) % 11
		if n > 5 {
			n = i % 2 * 4 / 2
		}
		if i%13 == 0 {
			ms += 200
		}
		w.PID = uint32(1 + i/500)
		w.Write(at(ms+i), kinds[n])
		if i%900 == 899 {
			w.Rotate(at(ms + i))
		}
	}
	var want []string
	for _, l := range take(t, follow(t, j, Filter{Since: epoch}), 3000) {
		want = append(want, fmt.Sprintf("%d %s", l.Pos, l.Level))
	}
	for _, limit := range []int{1, 7, 1000} {
		var got []string
		for f := (Filter{Limit: limit}); ; {
			lines, next, more, err := j.Query(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			page := make([]string, len(lines))
			for i, l := range lines {
				page[i] = fmt.Sprintf("%d %s", l.Pos, l.Level)
			}
			got = append(page, got...)
			if f.Cursor = next; !more {
				break
			}
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("pages of %d: line %d is %q, the follower says %q", limit, i, got[i], want[i])
			}
		}
	}
	errs := 0
	for _, l := range want {
		if strings.HasSuffix(l, "error") {
			errs++
		}
	}
	if errs < 300 {
		t.Fatalf("only %d lines have or inherit the level error", errs)
	}
}
