package segment_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/journal/journaltest"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

var (
	web   = segment.Stream{Project: "shop", Stack: "dev", App: "web", Process: "web.v2", Instance: 3, Name: "err"}
	epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// forward reads everything from a place on, as "ms text" or "ms loss".
func forward(t *testing.T, dir string, p segment.Point, size int) (list []string) {
	t.Helper()
	r := segment.NewReader(dir, web)
	for {
		var c segment.Chunk
		if err := r.Forward(&c, p, size); err != nil {
			t.Fatal(err)
		}
		if len(c.Items) == 0 {
			return list
		}
		list = append(list, show(&c)...)
		p = c.Next
	}
}

// backward reads everything in front of the end, in the order of the stream.
func backward(t *testing.T, dir string, size int) (list []string) {
	t.Helper()
	r := segment.NewReader(dir, web)
	p, err := r.Last(false)
	for err == nil {
		var c segment.Chunk
		if err = r.Backward(&c, p, size); err == nil {
			list, p = append(show(&c), list...), c.Next
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return list
}

func show(c *segment.Chunk) (list []string) {
	for _, it := range c.Items {
		ns, pid := c.Stamp(it)
		ms := time.Unix(0, ns).Sub(epoch).Milliseconds()
		if l := c.Loss(it); l != nil {
			list = append(list, fmt.Sprintf("%d %d -%d", ms, pid, l.Val))
			continue
		}
		list = append(list, fmt.Sprintf("%d %d %s", ms, pid, c.Data[it.Off:it.End]))
	}
	return list
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "|"), strings.Join(want, "|"); g != w {
		t.Fatalf("got  %q\nwant %q", g, w)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPathAndBack(t *testing.T) {
	p := segment.Path("/logs", web)
	if p != "/logs/shop/dev/web/web.v2.3.err.log" {
		t.Fatal(p)
	}
	if s, ok := segment.Parse("/logs", p); !ok || s != web {
		t.Fatalf("got %+v, %v", s, ok)
	}
	for _, bad := range []string{
		"/other/shop/dev/web/web.1.out.log", "/logs/shop/dev/web.1.out.log", "/logs/a/b/c/web.out.log", "/logs/a/b/c/web.0.out.log",
		"/logs/a/b/c/web.01.out.log", "/logs/a/b/c/.1.out.log", "/logs/a/b/c/web.1.log", "/logs/a/b/c/web.1.out.log.idx",
		segment.Archive(p, 5), "/logs/a/b/c/web.1.out.log.x",
	} {
		if s, ok := segment.Parse("/logs", bad); ok {
			t.Errorf("%s is taken for %v", bad, s)
		}
	}
}

// TestStates reads a stream in every state in which a kill can leave it.
func TestStates(t *testing.T) {
	whole := []string{"1 7 a\n", "1 7 b\n", "2 7 -5", "2 7 c\n", "3 7 d\n"}
	for _, tc := range []struct {
		name  string
		leave func(t *testing.T, w *journaltest.Writer)
		want  []string
	}{
		{"nothing rotated", func(t *testing.T, w *journaltest.Writer) {}, whole},
		{"rotated", func(t *testing.T, w *journaltest.Writer) { w.Rotate(at(9)) }, whole},
		{"only the log renamed", func(t *testing.T, w *journaltest.Writer) { w.RotateLog() }, whole},
		{"no new files", func(t *testing.T, w *journaltest.Writer) { w.RotateLog(); w.RotateIndex() }, whole},
		{"only the index renamed", func(t *testing.T, w *journaltest.Writer) { w.RotateIndex() }, whole},
		{"new log without an index", func(t *testing.T, w *journaltest.Writer) {
			w.Rotate(at(9))
			must(t, os.Remove(w.Path()+".idx"))
		}, whole},
		{"torn index", func(t *testing.T, w *journaltest.Writer) { w.Tear() }, whole},
		{"zeros behind the index", func(t *testing.T, w *journaltest.Writer) {
			f, err := os.OpenFile(w.Path()+".idx", os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.Write(make([]byte, 200*segment.RecordSize))
			must(t, errors.Join(err, f.Close()))
		}, whole},
		{"lagging index", func(t *testing.T, w *journaltest.Writer) {
			w.Lag(true)
			w.Write(at(8), "e\n")
			must(t, os.Chtimes(w.Path(), at(8), at(8)))
		}, append(whole[:5:5], "8 7 e\n")},
	} {
		for _, size := range []int{1, 3, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", tc.name, size), func(t *testing.T) {
				dir := t.TempDir()
				w := journaltest.Open(t, dir, web, epoch)
				w.PID = 7
				w.Write(at(1), "a\nb\n")
				w.Mark(at(2), segment.KindLost, 5)
				w.Write(at(2), "c\n")
				w.Write(at(3), "d\n")
				tc.leave(t, w)
				equal(t, forward(t, dir, segment.Point{}, size), tc.want...)
				equal(t, backward(t, dir, size), tc.want...)
				r := segment.NewReader(dir, web)
				if p, err := r.Last(true); err != nil || p.Pos != w.Pos() {
					t.Fatalf("the end is at %v (%v), want %d", p, err, w.Pos())
				}
			})
		}
	}
}

func TestWithoutAnIndexTheFilesTimeHolds(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	w.Write(at(1), "a\nb\n")
	must(t, os.Remove(w.Path()+".idx"))
	must(t, os.Chtimes(w.Path(), at(50), at(50)))
	equal(t, forward(t, dir, segment.Point{}, 99), "50 0 a\n", "50 0 b\n")
	equal(t, backward(t, dir, 99), "50 0 a\n", "50 0 b\n")
}

func TestLineOfADeadProcessEndsWhereTheNextOneStarts(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	w.PID = 1
	w.Write(at(1), "FATAL")
	r := segment.NewReader(dir, web)
	var c segment.Chunk
	must(t, r.Forward(&c, segment.Point{}, 99))
	if len(c.Items) != 0 || c.Waiting != 5 {
		t.Fatalf("%d items, %d bytes waiting: an unfinished line was not held back", len(c.Items), c.Waiting)
	}
	w.Mark(at(2), segment.KindEnd, 0)
	equal(t, forward(t, dir, segment.Point{}, 99), "1 1 FATAL")
	w.PID = 2
	w.Mark(at(3), segment.KindStart, 0)
	w.Write(at(4), "up\n")
	equal(t, forward(t, dir, segment.Point{}, 99), "1 1 FATAL", "4 2 up\n")
	equal(t, backward(t, dir, 99), "1 1 FATAL", "4 2 up\n")
}

func TestLossIsToldWhenItIsWhole(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	w.Write(at(1), "a\n")
	for i := range 3 {
		w.Mark(at(2), segment.KindLost, 10)
		equal(t, forward(t, dir, segment.Point{}, 99), "1 0 a\n")
		equal(t, backward(t, dir, 99), "1 0 a\n", fmt.Sprintf("2 0 -%d", 10*(i+1)))
	}
	w.Mark(at(3), segment.KindResumed, 0)
	equal(t, forward(t, dir, segment.Point{}, 99), "1 0 a\n", "2 0 -30")
}

// TestLossGrowsWhileItIsRead: whoever reads on meanwhile is told the exact loss, however the reads fall between the writes.
func TestLossGrowsWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	const rounds = 3000
	done, more := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := range rounds {
			<-more
			w.Mark(at(i), segment.KindLost, 70)
			w.Mark(at(i), segment.KindLost, 7)
			w.Mark(at(i), segment.KindResumed, 0)
			w.Write(at(i), "\n")
		}
	}()
	r, told := segment.NewReader(dir, web), int64(0)
	var p segment.Point
	for last := false; ; {
		var c segment.Chunk
		must(t, r.Forward(&c, p, 999))
		for _, l := range c.Losses {
			told += l.Val
		}
		p = c.Next
		if len(c.Items) == 0 && last {
			break
		}
		if len(c.Items) > 0 {
			continue
		}
		select {
		case more <- struct{}{}: // it has caught up, and goes on reading
		case <-done:
			last = true
		default:
		}
	}
	if told != 77*rounds {
		t.Errorf("%d bytes are told lost, want %d", told, 77*rounds)
	}
}

func TestLastWaitsForALossToBeWhole(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	w.Write(at(1), "a\n")
	w.Mark(at(2), segment.KindLost, 70)
	p, err := segment.NewReader(dir, web).Last(true)
	must(t, err)
	w.Mark(at(2), segment.KindLost, 7)
	w.Mark(at(3), segment.KindResumed, 0)
	equal(t, forward(t, dir, p, 99), "2 0 -77")
}

func TestHoles(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	for i, s := range []string{"aa\n", "bb\n", "cc\n"} {
		w.Write(at(i), s)
		w.Rotate(at(i))
	}
	w.Write(at(9), "dd\n")
	must(t, os.Remove(segment.Archive(w.Path(), 3)))
	mod, err := os.Stat(segment.Archive(w.Path(), 0))
	must(t, err)
	ms := mod.ModTime().Sub(epoch).Milliseconds()
	equal(t, backward(t, dir, 99), "0 0 aa\n", fmt.Sprintf("%d 0 -3", ms), "2 0 cc\n", "9 0 dd\n")
	equal(t, forward(t, dir, segment.Point{}, 99), "0 0 aa\n", fmt.Sprintf("%d 0 -3", ms), "2 0 cc\n", "9 0 dd\n")
	must(t, os.Remove(segment.Archive(w.Path(), 0)))
	equal(t, backward(t, dir, 99), "2 0 cc\n", "9 0 dd\n")
	if got := forward(t, dir, segment.Point{Pos: 1}, 99); len(got) != 3 || !strings.HasSuffix(got[0], " -5") {
		t.Fatalf("got %q, want a hole of 5 bytes first", got)
	}
}

func TestSince(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	var starts []int64
	for i := range 300 {
		if starts = append(starts, w.Pos()); i%90 == 89 {
			w.Rotate(at(2 * i))
		}
		w.Write(at(2*i), strings.Repeat("x", 1+i%7)) // half a line
		w.Write(at(2*i+1), "y\n")
	}
	for i := range 300 {
		for _, ms := range []int{2*i - 1, 2 * i} {
			p, err := segment.NewReader(dir, web).Since(at(ms))
			must(t, err)
			if p.Pos != starts[i] {
				t.Fatalf("since %d ms: position %d, want %d", ms, p.Pos, starts[i])
			}
		}
	}
	p, err := segment.NewReader(dir, web).Since(at(9999))
	must(t, err)
	if p.Pos != w.Pos() {
		t.Fatalf("since later: %v, want %d", p, w.Pos())
	}
}

// atOnce is for an archive that nobody else changes.
func atOnce(change func() error) error { return change() }

func TestCompress(t *testing.T) {
	for _, tc := range []struct {
		format segment.Format
		tool   string
	}{{segment.Zstd, "zstd"}, {segment.Gzip, "gzip"}} {
		for _, n := range []int{0, 1, 60_000} {
			t.Run(fmt.Sprintf("%s/%d", tc.tool, n), func(t *testing.T) {
				dir := t.TempDir()
				w := journaltest.Open(t, dir, web, epoch)
				var want []string
				for i := range n {
					line := fmt.Sprintf("%d\n", i)
					want = append(want, "1 0 "+line)
				}
				var text strings.Builder
				for i := range n {
					fmt.Fprintf(&text, "%d\n", i)
				}
				w.Write(at(1), text.String())
				w.Rotate(at(2))
				plain := segment.Archive(w.Path(), 0)
				must(t, segment.Compress(t.Context(), plain, tc.format, atOnce))
				packed := plain + map[string]string{"zstd": ".zst", "gzip": ".gz"}[tc.tool]
				if _, err := os.Stat(plain); !errors.Is(err, os.ErrNotExist) {
					t.Fatalf("the plain file is still there: %v", err)
				}
				if out, err := exec.CommandContext(t.Context(), tc.tool, "-t", packed).CombinedOutput(); err != nil {
					t.Fatalf("%s -t: %v: %s", tc.tool, err, out)
				}
				got, err := exec.CommandContext(t.Context(), tc.tool, "-dc", packed).Output()
				if err != nil || string(got) != text.String() {
					t.Fatalf("%s gives %d bytes (%v), want %d", tc.tool, len(got), err, text.Len())
				}
				equal(t, forward(t, dir, segment.Point{}, 1<<16), want...)
				equal(t, backward(t, dir, 1<<16), want...)
			})
		}
	}
}

// TestCompressAfterACrash leaves what a kill can leave, and compresses again.
func TestCompressAfterACrash(t *testing.T) {
	for _, name := range []string{"half a temporary file", "both files", "both files, the other one wrong"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := journaltest.Open(t, dir, web, epoch)
			w.Write(at(1), strings.Repeat("line\n", 50_000))
			w.Rotate(at(2))
			plain := segment.Archive(w.Path(), 0)
			bytes, err := os.ReadFile(plain)
			must(t, err)
			must(t, segment.Compress(t.Context(), plain, segment.Zstd, atOnce))
			must(t, os.WriteFile(plain, bytes, 0o600))
			switch name {
			case "half a temporary file":
				must(t, os.Rename(plain+".zst", plain+".zst"+segment.Temporary))
				must(t, os.Truncate(plain+".zst"+segment.Temporary, 100))
			case "both files, the other one wrong":
				must(t, os.Truncate(plain+".zst", 100))
			}
			if n := len(forward(t, dir, segment.Point{}, 1<<16)); n != 50_000 {
				t.Fatalf("%d lines before", n)
			}
			must(t, segment.Compress(t.Context(), plain, segment.Zstd, atOnce))
			if n := len(forward(t, dir, segment.Point{}, 1<<16)); n != 50_000 {
				t.Fatalf("%d lines after", n)
			}
			names, err := filepath.Glob(plain + "*")
			must(t, err)
			if len(names) != 2 {
				t.Fatalf("left: %v, want the archive and its index", names)
			}
		})
	}
}

func TestCompressGivesUp(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	w.Write(at(1), strings.Repeat("line\n", 50_000))
	w.Rotate(at(2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := segment.Compress(ctx, segment.Archive(w.Path(), 0), segment.Zstd, atOnce); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if names, _ := filepath.Glob(w.Path() + ".*.zst*"); len(names) > 0 {
		t.Fatalf("left %v", names)
	}
}

// TestLoadWhileRotating: a keeper that rotates faster than all the files can be listed keeps nobody from knowing them.
func TestLoadWhileRotating(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	for i := range 2000 {
		w.Write(at(i), "line\n")
		w.Rotate(at(i))
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 2000; ; i++ {
			select {
			case <-stop:
				return
			default:
				w.Write(at(i), "line\n")
				w.Rotate(at(i))
			}
		}
	}()
	defer func() { close(stop); <-done }()
	r, p, before := segment.NewReader(dir, web), segment.Point{}, 0
	for range 20 {
		set, err := segment.Load(dir, web)
		must(t, err)
		for i, f := range set.Files {
			if f.Base != int64(i)*5 {
				t.Fatalf("file %d of %d begins at %d, expected %d", i, len(set.Files), f.Base, i*5)
			}
		}
		if len(set.Files) < max(before, 2000) {
			t.Fatalf("%d files, there were %d", len(set.Files), before)
		}
		before = len(set.Files)
		var c segment.Chunk
		must(t, r.Forward(&c, p, 1<<10))
		if len(c.Items) == 0 || c.Loss(c.Items[0]) != nil || string(c.Data[:5]) != "line\n" {
			t.Fatalf("at %v: %+v", p, c.Items)
		}
		p = c.Next
	}
}

// TestCompressWhatIsDeleted: an archive that retention or the keeper deletes while it is compressed stays deleted.
func TestCompressWhatIsDeleted(t *testing.T) {
	w := journaltest.Open(t, t.TempDir(), web, epoch)
	w.Write(at(1), strings.Repeat("line\n", 50_000))
	w.Rotate(at(2))
	plain := segment.Archive(w.Path(), 0)
	must(t, segment.Compress(t.Context(), plain, segment.Zstd, func(change func() error) error {
		must(t, errors.Join(os.Remove(plain), os.Remove(plain+".idx")))
		return change()
	}))
	must(t, segment.Compress(t.Context(), plain, segment.Zstd, atOnce))
	if names, err := filepath.Glob(plain + "*"); err != nil || len(names) > 0 {
		t.Fatalf("left %v, %v", names, err)
	}
}

func TestDamagedArchiveIsAHole(t *testing.T) {
	for _, name := range []string{"cut", "flipped", "no frame"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := journaltest.Open(t, dir, web, epoch)
			w.Write(at(1), "a\n")
			w.Rotate(at(2))
			w.Write(at(3), strings.Repeat("bad\n", 99))
			w.Rotate(at(4))
			w.Write(at(5), "c\n")
			plain := segment.Archive(w.Path(), 2)
			must(t, segment.Compress(t.Context(), plain, segment.Zstd, atOnce))
			b, err := os.ReadFile(plain + ".zst")
			must(t, err)
			switch name {
			case "cut":
				b = b[:len(b)-3]
			case "flipped":
				b[len(b)-6] ^= 0xff
			default:
				b = []byte("something else entirely")
			}
			must(t, os.WriteFile(plain+".zst", b, 0o600))
			got := forward(t, dir, segment.Point{}, 99)
			if len(got) != 3 || got[0] != "1 0 a\n" || !strings.HasSuffix(got[1], " -396") || got[2] != "5 0 c\n" {
				t.Fatalf("forward: %q", got)
			}
			got = backward(t, dir, 99)
			if len(got) != 3 || !strings.HasSuffix(got[1], " -396") {
				t.Fatalf("backward: %q", got)
			}
		})
	}
}

func TestSealKeepsThePosition(t *testing.T) {
	dir := t.TempDir()
	w := journaltest.Open(t, dir, web, epoch)
	w.Write(at(1), "12345")
	w.Close()
	for range 2 { // it may be repeated
		must(t, segment.Seal(dir, web, at(2)))
	}
	set, err := segment.Load(dir, web)
	must(t, err)
	if len(set.Archives()) != 1 || set.Next != 5 || !set.Settled() {
		t.Fatalf("%+v", set)
	}
	n, err := segment.Remove(set.Archives()[0])
	if err != nil || n != 5 {
		t.Fatalf("removed %d bytes: %v", n, err)
	}
	w = journaltest.Open(t, dir, web, epoch)
	if w.Pos() != 5 {
		t.Fatalf("the stream goes on at %d", w.Pos())
	}
}
