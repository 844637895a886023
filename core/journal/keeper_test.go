package journal

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/journal/segment"
	"github.com/omnitron-dev/omnitron/core/keeper/logfile"
)

// TestWhatTheKeeperWrites reads what the keeper's own writer makes of a pipe: rotated, killed between two moves, dropped.
func TestWhatTheKeeperWrites(t *testing.T) {
	j := newJournal(t)
	run(t, j)
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	path, now := Path(j.Dir(), out1), time.Now() // where the index lags behind, the clock of the file system counts, too
	j.SetPolicy(out1.Key(), Policy{MaxFiles: 1000})
	f := logfile.New(path, 4000)
	f.Mark(logfile.Start, 7, 0, now)
	lines := follow(t, j, Filter{Since: epoch})
	var want []string
	var got []Line
	say := func(s string) {
		if _, err := unix.Write(p[1], []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 600 {
		now = now.Add(7 * time.Millisecond)
		line := fmt.Sprintf("%d %s", i, strings.Repeat("x", i%200))
		want = append(want, line)
		say(line[:len(line)/2])
		if i%5 == 0 { // the rest comes later, as another piece
			f.Move(p[0], 7, 1<<20, now)
		}
		say(line[len(line)/2:] + "\n")
		if _, res := f.Move(p[0], 7, 1<<20, now); res != logfile.Empty {
			t.Fatalf("line %d: the keeper's move ended with %v: %v", i, res, f.Err())
		}
		switch {
		case i%97 == 96: // the keeper is killed and another one goes on
			f = logfile.New(path, 4000)
		case i%89 == 88:
			if err := f.Rotate(now); err != nil {
				t.Fatal(err)
			}
		case i%83 == 82:
			say("dropped\n")
			f.Drop(p[0], 7, now)
			say("dropped too\n")
			f.Drop(p[0], 7, now)
			f.Mark(logfile.Resumed, 0, 0, now)
			want = append(want, "<lost 20>")
		case i%50 == 49:
			if err := j.Rotated(t.Context(), path); err != nil {
				t.Fatal(err)
			}
		}
		if i%100 == 99 {
			got = append(got, take(t, lines, len(want)-len(got))...)
		}
	}
	f.Close()
	if s := texts(got); !slices.Equal(s, want) {
		t.Fatalf("followed %q\nprinted %q", s, want)
	}
	all := ask(t, j, Filter{Limit: MaxLimit})
	for _, list := range [][]Line{got, all} {
		for i := 1; i < len(list); i++ {
			if list[i].At.Before(list[i-1].At) || list[i].PID != 7 {
				t.Fatalf("item %d: %+v after %+v", i, list[i], list[i-1])
			}
		}
	}
	for _, list := range [][]Line{got, all} {
		for i := range list { // a follower may be there before the index is
			list[i].Cursor, list[i].At = "", time.Time{}
		}
	}
	if !slices.Equal(all, got) {
		t.Fatalf("the query says %q\nthe follower said %q", texts(all), texts(got))
	}
	st, err := j.Stats(t.Context())
	if err != nil || len(st) != 1 || st[0].Lost != 7*20 || st[0].Files < 10 || st[0].Bytes != st[0].Next {
		t.Fatalf("%+v, %v", st, err)
	}
	if _, err := j.Purge(t.Context(), out1.Key()); err != nil {
		t.Fatal(err)
	}
	f = logfile.New(path, 4000)
	say("after\n")
	f.Move(p[0], 7, 1<<20, now)
	if l := ask(t, j, Filter{}); len(l) != 1 || l[0].Pos != st[0].Next {
		t.Fatalf("after the purge: %+v, want position %d", l, st[0].Next)
	}
	f.Close()
}

// TestKeeperGoesOnBehindCompressedArchives: with the live file and its index gone, the newest archive says where.
func TestKeeperGoesOnBehindCompressedArchives(t *testing.T) {
	j := newJournal(t)
	w := open(t, j, out1)
	w.Write(at(1), "12345\n")
	w.Rotate(at(2))
	if err := j.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for _, name := range []string{w.Path(), w.Path() + ".idx"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if end, err := j.End(out1); err != nil || end != 6 {
		t.Fatalf("the journal says %d (%v)", end, err)
	}
	f := logfile.New(w.Path(), 0)
	if err := f.Open(at(3)); err != nil || f.Pos() != 6 {
		t.Fatalf("the keeper says %d (%v)", f.Pos(), err)
	}
	f.Close()
	set, err := segment.Load(j.Dir(), out1)
	if err != nil || !set.Settled() || set.Files[len(set.Files)-1].Base != 6 {
		t.Fatalf("%+v, %v", set, err)
	}
}
