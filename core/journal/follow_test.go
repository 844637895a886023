package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func expect(t *testing.T, lines <-chan Line, want ...string) {
	t.Helper()
	if got := texts(take(t, lines, len(want))); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// eachWay runs a test with the kernel telling, and without.
func eachWay(t *testing.T, test func(t *testing.T, j *Journal)) {
	t.Run("told", func(t *testing.T) {
		j := newJournal(t)
		run(t, j)
		test(t, j)
	})
	t.Run("polling", func(t *testing.T) { test(t, newJournal(t)) })
}

func TestFollowAcrossEverything(t *testing.T) {
	eachWay(t, func(t *testing.T, j *Journal) {
		w := open(t, j, out1)
		w.Write(at(1), "a\nb\nc")
		lines := follow(t, j, Filter{Keys: []string{"shop/dev/web"}, Limit: 1})
		expect(t, lines, "b") // c is not finished
		w.Write(at(2), "c\n")
		expect(t, lines, "cc")
		w.Rotate(at(3))
		w.Write(at(3), "d\n")
		expect(t, lines, "d")
		w.Rotate(at(4))
		if err := j.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Write(at(5), "e\n")
		expect(t, lines, "e")
		w.Mark(at(6), segment.KindLost, 70)
		w.Mark(at(6), segment.KindLost, 7)
		w.Mark(at(6), segment.KindResumed, 0)
		expect(t, lines, "<lost 77>")
		w.Mark(at(6), segment.KindGap, 0)
		expect(t, lines, "<gap 0>")
		open(t, j, out2).Write(at(7), "new instance\n")
		expect(t, lines, "new instance")
		open(t, j, job1).Write(at(7), "another app\n")
		w.Write(at(8), "last words")
		w.Mark(at(9), segment.KindEnd, 0)
		expect(t, lines, "last words")
	})
}

// TestFollowBeginsAsFarBackAsAsked: however long the stored lines are, all that were asked for come first.
func TestFollowBeginsAsFarBackAsAsked(t *testing.T) {
	j := newJournal(t)
	out, errs := open(t, j, out1), open(t, j, err1)
	for i := range 1000 {
		w := out
		if i%3 == 0 {
			w = errs
		}
		w.Write(at(i), fmt.Sprintf("%04d%s\n", i, strings.Repeat("x", 8<<10)))
	}
	lines := follow(t, j, Filter{Limit: 700})
	got := take(t, lines, 700)
	out.Write(at(2000), "1000\n")
	got = append(got, take(t, lines, 1)...)
	for i, l := range got {
		if want := fmt.Sprintf("%04d", 300+i); !strings.HasPrefix(l.Text, want) {
			t.Fatalf("item %d begins with %.8s, not %s", i, l.Text, want)
		}
	}
}

func TestFollowAppsThatDoNotExistYet(t *testing.T) {
	eachWay(t, func(t *testing.T, j *Journal) {
		all := follow(t, j, Filter{})
		one := follow(t, j, Filter{Keys: []string{"shop/dev/web:web#2"}})
		open(t, j, job1).Write(at(1), "mail\n")
		expect(t, all, "mail")
		open(t, j, out1).Write(at(2), "web 1\n")
		expect(t, all, "web 1")
		open(t, j, out2).Write(at(3), "web 2\n")
		expect(t, all, "web 2")
		expect(t, one, "web 2")
	})
}

func TestFollowFilters(t *testing.T) {
	j := shop(t)
	run(t, j)
	expect(t, follow(t, j, Filter{Level: "error"}), "ERROR two", "    at three")
	expect(t, follow(t, j, Filter{Since: at(4)}), "four", "[warn] five", "six")
	expect(t, follow(t, j, Filter{Grep: "o", Limit: 2}), "ERROR two", "four")
	none := follow(t, j, Filter{Limit: -1, Stream: "err"})
	w := open(t, j, err1)
	// When the follower begins is not known: print until it gives something, which must not be an older line.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case l := <-none:
			if l.Text != "now" {
				t.Fatalf("a follower without stored lines gives %q", l.Text)
			}
			return
		case <-tick.C:
			w.Write(at(20), "now\n")
		}
	}
}

// TestFollowFromACursor goes on behind each single item, as a client does that lost its connection or whose daemon died.
func TestFollowFromACursor(t *testing.T) {
	j := newJournal(t)
	run(t, j)
	w, two := open(t, j, out1), open(t, j, out2)
	var want []string
	for i := range 30 {
		s := fmt.Sprintf("line %d", i)
		want = append(want, s)
		[]interface{ Write(time.Time, string) }{w, two}[i%3/2].Write(at(10*i), s+"\n")
		if i%7 == 6 {
			w.Rotate(at(10 * i))
			w.Mark(at(10*i+5), segment.KindLost, int64(i))
			want = append(want, fmt.Sprintf("<lost %d>", i))
		}
	}
	for _, f := range []Filter{{Limit: 40}, {Since: epoch}} {
		all := take(t, follow(t, j, f), len(want))
		if got := texts(all); !slices.Equal(got, want) {
			t.Fatalf("got %q\nwant %q", got, want)
		}
		for i, l := range all[:len(all)-1] {
			other := New(j.Dir(), j.log)
			if got := texts(take(t, follow(t, other, Filter{Cursor: l.Cursor}), len(want)-i-1)); !slices.Equal(got, want[i+1:]) {
				t.Fatalf("behind item %d: got %q\nwant %q", i, got, want[i+1:])
			}
		}
	}
}

func TestSlowFollowerIsToldWhatItMissed(t *testing.T) {
	j := newJournal(t)
	run(t, j)
	w := open(t, j, out1)
	j.SetPolicy(out1.Key(), Policy{MaxFiles: 2})
	w.Write(at(0), "0\n")
	lines := follow(t, j, Filter{})
	expect(t, lines, "0")
	var last int64
	for i := 1; i <= 50; i++ {
		w.Write(at(i), strings.Repeat("x", 99)+"\n")
		w.Rotate(at(i))
		if err := j.Rotated(t.Context(), w.Path()); err != nil {
			t.Fatal(err)
		}
	}
	w.Write(at(99), "end\n")
	seen, pos := int64(2), int64(2)
	for l := range lines {
		if l.Pos != pos {
			t.Fatalf("an item at %d, want one at %d", l.Pos, pos)
		}
		if l.Kind == Gap {
			last += l.Lost
			pos += l.Lost
		} else {
			pos += int64(len(l.Text)) + 1
			seen += int64(len(l.Text)) + 1
		}
		if l.Text == "end" {
			break
		}
	}
	if last == 0 || seen+last != w.Pos() {
		t.Fatalf("%d bytes seen, %d missed, %d written", seen, last, w.Pos())
	}
}

func TestPurgeUnderAFollower(t *testing.T) {
	for _, held := range []bool{true, false} {
		t.Run(fmt.Sprintf("held=%v", held), func(t *testing.T) {
			j := newJournal(t)
			run(t, j)
			w := open(t, j, out1)
			j.SetRotate(func(_ context.Context, path string) (bool, error) {
				if held && path == w.Path() {
					w.Rotate(at(5))
				}
				return held, nil
			})
			w.Write(at(1), "seen\n")
			lines := follow(t, j, Filter{})
			expect(t, lines, "seen")
			ctx, cancel := context.WithCancel(t.Context())
			stopped := make(chan string)
			started := make(chan struct{})
			go func() { // a second one that does not read on
				for l := range j.Follow(ctx, Filter{}) {
					if l.Text == "seen" {
						close(started)
						<-ctx.Done()
						stopped <- l.Cursor
						return
					}
				}
			}()
			<-started
			cancel()
			cursor := <-stopped
			w.Write(at(2), "gone\n")
			expect(t, lines, "gone")
			if _, err := j.Purge(t.Context(), out1.Key()); err != nil {
				t.Fatal(err)
			}
			if !held {
				w = open(t, j, out1)
			}
			w.Write(at(6), "new\n")
			expect(t, lines, "new")
			expect(t, follow(t, j, Filter{Cursor: cursor}), "<gap 5>", "new")
		})
	}
}

func TestPurgeSaysWhenRotationFails(t *testing.T) {
	j := shop(t)
	broken := errors.New("no keeper")
	j.SetRotate(func(context.Context, string) (bool, error) { return false, broken })
	if _, err := j.Purge(t.Context(), "shop/dev/web"); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if got := len(ask(t, j, Filter{})); got != 6 {
		t.Fatalf("%d lines are left of 6", got)
	}
}

func TestStalledReaderDisturbsNobody(t *testing.T) {
	j := newJournal(t)
	run(t, j)
	w := open(t, j, out1)
	w.Write(at(0), "first\n")
	stalled := follow(t, j, Filter{})
	expect(t, stalled, "first")
	reading := follow(t, j, Filter{Limit: -1})
	before := openFiles(t)
	for i := range 20 {
		w.Write(at(i), strings.Repeat(fmt.Sprintf("%063d\n", i), 1000))
		w.Rotate(at(i))
		if err := j.Rotated(t.Context(), w.Path()); err != nil {
			t.Fatal(err)
		}
	}
	w.Write(at(99), "end\n")
	for l := range reading {
		if l.Text == "end" {
			break
		}
	}
	if now := openFiles(t); now > before+2 {
		t.Fatalf("%d files are open, %d were: a stalled reader holds some", now, before)
	}
	pos := int64(6)
	for l := range stalled {
		if l.Pos != pos {
			t.Fatalf("item at %d, want %d", l.Pos, pos)
		}
		if pos += l.Lost; l.Kind == "" {
			pos += int64(len(l.Text)) + 1
		}
		if l.Text == "end" {
			return
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// TestIdleFollowersCostNothing: 50 of them use no time worth measuring while nothing is printed.
func TestIdleFollowersCostNothing(t *testing.T) {
	j := newJournal(t)
	run(t, j)
	w := open(t, j, out1)
	w.Write(at(1), "a\n")
	var all []<-chan Line
	for range 50 {
		all = append(all, follow(t, j, Filter{}))
	}
	for _, l := range all {
		expect(t, l, "a")
	}
	w.Write(at(2), "b\n")
	for _, l := range all {
		expect(t, l, "b")
	}
	busy := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := busy()
	<-time.After(2 * pollEvery)
	if used := busy() - start; used > pollEvery/5 {
		t.Fatalf("idle followers used %v in %v", used, 2*pollEvery)
	}
	if n := len(j.hub.watches); n != 4 {
		t.Fatalf("%d folders are watched for 50 followers, want 4", n)
	}
}

func TestWatchesEndWithTheirFollowers(t *testing.T) {
	j := newJournal(t)
	run(t, j)
	open(t, j, out1).Write(at(1), "a\n")
	for range 3 {
		for l, err := range j.Follow(t.Context(), Filter{}) {
			if err != nil || l.Text != "a" {
				t.Fatal(l, err)
			}
			break
		}
	}
	j.hub.mu.Lock()
	defer j.hub.mu.Unlock()
	if len(j.hub.watches)+len(j.hub.folders)+len(j.hub.subs) != 0 {
		t.Fatalf("left: %d watches, %d folders, %d followers", len(j.hub.watches), len(j.hub.folders), len(j.hub.subs))
	}
}

// TestRunComesAndGoes: followers go on when inotify appears and when it ends.
func TestRunComesAndGoes(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	w.Write(at(1), "a\n")
	lines := follow(t, j, Filter{})
	expect(t, lines, "a")
	for i := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- j.Run(ctx) }()
		w.Write(at(i), "told\n")
		expect(t, lines, "told")
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		w.Write(at(i), "polled\n")
		expect(t, lines, "polled")
	}
}

// TestSpliceWakes: the keeper moves bytes by splice, which has to wake followers as a write does.
func TestSpliceWakes(t *testing.T) {
	j := newJournal(t)
	run(t, j)
	w := open(t, j, out1)
	w.Write(at(1), "a\n")
	lines := follow(t, j, Filter{})
	expect(t, lines, "a")
	r, p, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer p.Close()
	f, err := os.OpenFile(w.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	off := w.Pos()
	for i := range 5 {
		if _, err := fmt.Fprintf(p, "spliced %d\n", i); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Splice(int(r.Fd()), nil, int(f.Fd()), &off, 1<<16, 0); err != nil {
			t.Fatal(err)
		}
		expect(t, lines, fmt.Sprintf("spliced %d", i))
	}
}

func TestWatch(t *testing.T) {
	eachWay(t, func(t *testing.T, j *Journal) {
		w := open(t, j, out1)
		w.Write(at(1), "listening on 1\n")
		from, err := j.End(out1)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan Line, 1)
		go func() {
			l, err := j.Watch(t.Context(), map[Stream]int64{out1: from, err1: 0}, regexp.MustCompile(`listening on \d`))
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		w.Write(at(2), "starting\n")
		open(t, j, out2).Write(at(2), "listening on 2\n")
		open(t, j, err1).Write(at(3), "listening on 3\n")
		if l := <-got; l.Text != "listening on 3" {
			t.Fatalf("got %+v", l)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if l, err := j.Watch(ctx, map[Stream]int64{out1: from}, regexp.MustCompile(`never`)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %+v, %v", l, err)
		}
	})
}

func TestFollowEndsWithItsContext(t *testing.T) {
	j := shop(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for l, err := range j.Follow(ctx, Filter{Limit: 1}) {
		if last = err; l.Text == "six" {
			cancel()
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Fatalf("ended with %v", last)
	}
}

// TestFollowUnderFire follows two streams that are written, rotated, compressed and retired as fast as it goes.
func TestFollowUnderFire(t *testing.T) {
	j := newJournal(t)
	run(t, j)
	const lines = 20_000
	j.SetPolicy(out1.Key(), Policy{MaxFiles: 1000})
	open(t, j, out1)
	open(t, j, err1)
	got := follow(t, j, Filter{Since: epoch})
	done := make(chan struct{}, 2)
	for _, s := range []Stream{out1, err1} {
		go func() {
			defer func() { done <- struct{}{} }()
			w := open(t, j, s)
			for i := range lines {
				w.Write(time.Now(), fmt.Sprintf("%08d\n", i))
				if i%999 == 998 {
					w.Rotate(time.Now())
					if err := j.Rotated(t.Context(), w.Path()); err != nil {
						t.Error(err)
					}
				}
			}
		}()
	}
	next := map[string]int{}
	for next["out"] < lines || next["err"] < lines {
		l := take(t, got, 1)[0]
		if l.Kind != "" || l.Text != fmt.Sprintf("%08d", next[l.Stream]) {
			t.Fatalf("%s: got %q %q, want line %d", l.Stream, l.Kind, l.Text, next[l.Stream])
		}
		next[l.Stream]++
	}
	<-done
	<-done
}
