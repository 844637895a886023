package proc_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/keeper/logfile"
	"github.com/omnitron-dev/omnitron/core/proc"
)

// files gives the files of a log in the order of their bytes, the living one last.
func files(path string) []string {
	all, _ := filepath.Glob(path + ".[0-9]*")
	all = slices.DeleteFunc(all, func(n string) bool { return strings.HasSuffix(n, ".idx") })
	sort.Strings(all)
	return append(all, path)
}

// records reads an index.
func records(t *testing.T, path string) (out []logfile.Record) {
	t.Helper()
	b := read(t, path+".idx")
	for len(b) >= logfile.RecordSize {
		out = append(out, logfile.Decode([]byte(b[:logfile.RecordSize])))
		b = b[logfile.RecordSize:]
	}
	return out
}

// checkLog compares all bytes of a log with what was printed, and its names and indexes with each other.
func checkLog(t *testing.T, path string, want [32]byte) {
	t.Helper()
	h := sha256.New()
	pos := uint64(0)
	fs := files(path)
	for i, f := range fs {
		text := read(t, f)
		h.Write([]byte(text))
		if i < len(fs)-1 {
			if f != fmt.Sprintf("%s.%020d", path, pos) {
				t.Errorf("file %s begins at %d", f, pos)
			}
			if !strings.HasSuffix(text, "\n") {
				t.Errorf("%s ends in the middle of a line", f)
			}
		}
		rs := records(t, f)
		if len(rs) == 0 || rs[0].Kind != logfile.Base || rs[0].Pos != pos {
			t.Errorf("index of %s begins with %+v, want base %d", f, rs[:min(1, len(rs))], pos)
		}
		for j, r := range rs {
			if j > 0 && (r.Pos < rs[j-1].Pos || r.Pos > pos+uint64(len(text))) {
				t.Errorf("index of %s: record %d %+v after %+v", f, j, r, rs[j-1])
			}
		}
		pos += uint64(len(text))
	}
	if got := [32]byte(h.Sum(nil)); got != want {
		t.Errorf("%s: what is stored is not what was printed (%d bytes in %d files)", path, pos, len(fs))
	}
}

// expected gives the hash of what the helper "lines" prints on one of its streams.
func expected(t *testing.T, n int, seed int64) [32]byte {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	writeLines(f, n, seed)
	return sha256.Sum256([]byte(read(t, f.Name())))
}

func TestOutput(t *testing.T) {
	n := count(100_000, 3_000_000)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		s := e.helperSpec("lines", strconv.Itoa(n))
		s.MaxSize = int64(count(500_000, 10_000_000))
		begin := time.Now()
		p := e.spawn(s)
		kills := 0
		timer := time.NewTicker(time.Duration(3+r.Intn(20)) * time.Millisecond)
		defer timer.Stop()
		for done := false; !done; {
			select {
			case <-p.Done():
				done = true
			case <-timer.C:
				if kills < count(12, 60) {
					e.killKeeper()
					kills++
					timer.Reset(time.Duration(1+r.Intn(30)) * time.Millisecond)
				}
			}
		}
		if x := wait(t, p); x.Code != 0 || !x.Known {
			t.Errorf("%+v", x)
		}
		took := time.Since(begin)
		if err := p.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		checkLog(t, s.Out, expected(t, n, 0))
		checkLog(t, s.Err, expected(t, n, 1))
		if len(files(s.Out)) < 4 || kills == 0 {
			t.Errorf("%d files, %d kills: nothing was tried", len(files(s.Out)), kills)
		}
		t.Logf("%d keepers killed in %v, %d files", kills, took, len(files(s.Out)))
	})
}

func TestSharedPipe(t *testing.T) {
	e := start(t, "auto")
	s := e.spec("/bin/sh", "-c", "echo a; echo b >&2; echo c; echo d >&2")
	s.Err = s.Out
	if _, out, _ := e.run(s); out != "a\nb\nc\nd\n" {
		t.Errorf("%q", out)
	}
}

func TestGenerationsShareALog(t *testing.T) {
	e := start(t, "auto")
	a, b := e.spec("/bin/sh", "-c", "echo one; printf half"), e.spec("/bin/sh", "-c", "echo two; exit 1")
	b.Out, b.Err = a.Out, a.Err
	pa := e.spawn(a)
	wait(t, pa)
	if err := pa.Forget(ctx(t)); err != nil {
		t.Fatal(err)
	}
	pb := e.spawn(b)
	wait(t, pb)
	if err := pb.Forget(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, a.Out); got != "one\nhalftwo\n" {
		t.Errorf("%q", got)
	}
	var marks []string
	for _, r := range records(t, a.Out) {
		marks = append(marks, fmt.Sprintf("%d@%d:%d", r.Kind, r.Pos, r.PID))
	}
	i, j := pa.Identity().PID, pb.Identity().PID
	for _, want := range []string{fmt.Sprintf("3@0:%d", i), fmt.Sprintf("4@8:%d", i), fmt.Sprintf("3@8:%d", j), fmt.Sprintf("4@12:%d", j)} {
		if !slices.Contains(marks, want) {
			t.Errorf("no %s in %v", want, marks)
		}
	}
}

func TestRotateOnRequest(t *testing.T) {
	e := start(t, "auto")
	s := e.spec("/bin/sh", "-c", "echo one; printf half; read x; echo way; sleep 1000")
	fifo := filepath.Join(e.home, "in")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Argv[2] = strings.Replace(s.Argv[2], "read x", "read x < "+fifo, 1)
	e.spawn(s)
	eventually(t, "output", func() bool { return read(t, s.Out) == "one\nhalf" })
	if err := e.k.Rotate(ctx(t), s.Out); err != nil {
		t.Fatal(err)
	}
	if n := len(files(s.Out)); n != 1 {
		t.Errorf("rotated in the middle of a line: %d files", n)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintln(f)
	eventually(t, "the rotation", func() bool { return len(files(s.Out)) == 2 && read(t, s.Out) == "" })
	if got := read(t, files(s.Out)[0]); got != "one\nhalfway\n" {
		t.Errorf("%q", got)
	}
	ev := event(t, e.k, "rotated")
	if ev.Path != s.Out || ev.Archive != files(s.Out)[0] || ev.ID != s.ID {
		t.Errorf("%+v", ev)
	}
	if err := e.k.Rotate(ctx(t), "/no/such"); reason(err) != "unknown_log" {
		t.Errorf("%v", err)
	}
}

// event waits for the next event of a kind.
func event(t *testing.T, k *proc.Keeper, kind string) proc.Event {
	t.Helper()
	for {
		select {
		case ev := <-k.Events():
			if ev.Kind == kind {
				return ev
			}
		case <-ctx(t).Done():
			t.Fatalf("no %s", kind)
		}
	}
}

func TestNoNewline(t *testing.T) {
	e := start(t, "auto")
	n := count(32<<20, 256<<20)
	s := e.helperSpec("bytes", strconv.Itoa(n))
	s.MaxSize = 1 << 20
	before := e.k.Info().RSS
	if x, _, _ := e.run(s); x.Code != 0 {
		t.Fatalf("%+v", x)
	}
	if st, err := os.Stat(s.Out); err != nil || st.Size() != int64(n) {
		t.Errorf("%v, %v: want %d bytes in one file", st, err, n)
	}
	if grown := e.k.Info().RSS - before; grown > 16<<20 {
		t.Errorf("the keeper grew by %d bytes", grown)
	}
}

func TestRemovedLog(t *testing.T) {
	e := start(t, "auto")
	s := e.helperSpec("ticks")
	e.spawn(s)
	eventually(t, "output", func() bool { return len(read(t, s.Out)) > 100 })
	if err := os.Remove(s.Out); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new file", func() bool { return len(read(t, s.Out)) > 100 })
	rs := records(t, s.Out)
	first, _, _ := strings.Cut(read(t, s.Out), " ")
	n, err := strconv.Atoi(first)
	if err != nil || len(rs) == 0 || rs[0].Kind != logfile.Base || rs[0].Pos != uint64(n*len("000000000 tick\n")) {
		t.Errorf("the new file begins with line %q, its index with %+v", first, rs[:min(len(rs), 1)])
	}
}

// TestFlatOverRestarts: whatever was started, ended and forgotten leaves nothing in the keeper.
func TestFlatOverRestarts(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		s := e.spec("true")
		s.Notify = true
		base := s.ID
		round := func(i int) {
			s.ID, s.Out = fmt.Sprintf("%s.%d", base, i), filepath.Join(e.home, fmt.Sprint("out", i))
			if x, _, _ := e.run(s); x.Code != 0 {
				t.Fatalf("%+v", x)
			}
			for _, path := range []string{s.Out, s.Out + ".idx"} {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		}
		fds := func() int {
			es, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.k.Info().PID))
			return len(es)
		}
		ours := func() int {
			es, _ := os.ReadDir("/proc/self/fd")
			return len(es)
		}
		for i := range 20 {
			round(i)
		}
		n, m, rss := fds(), ours(), e.k.Info().RSS
		for i := range count(300, 10_000) {
			round(100 + i)
		}
		eventually(t, "the same number of descriptors", func() bool { return fds() <= n+2 && ours() <= m+2 })
		grown := e.k.Info().RSS - rss
		if grown > 2<<20 {
			t.Errorf("the keeper grew by %d bytes", grown)
		}
		t.Logf("the keeper has %d bytes, %d more than at the beginning", rss+grown, grown)
	})
}
