package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var t0 = time.Unix(1_800_000_000, 0)

func pipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

func write(t *testing.T, w int, text string) {
	t.Helper()
	if n, err := unix.Write(w, []byte(text)); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func entries(t *testing.T, path string) (out []Record) {
	t.Helper()
	for b := []byte(read(t, path+".idx")); len(b) >= RecordSize; b = b[RecordSize:] {
		out = append(out, Decode(b))
	}
	return out
}

func TestMoveAndIndex(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "x.log")
	r, w := pipe(t)
	f := New(path, 0)
	for i, at := range []time.Duration{0, 400 * time.Microsecond, 5 * time.Millisecond} {
		write(t, w, fmt.Sprintf("line %d\n", i))
		if n, res := f.Move(r, 77, 1<<20, t0.Add(at)); n != 7 || res != Empty {
			t.Fatal(n, res, f.Err())
		}
	}
	if got := read(t, path); got != "line 0\nline 1\nline 2\n" {
		t.Errorf("%q", got)
	}
	want := []Record{
		{t0.UnixNano(), 0, 0, Base, 0},
		{t0.UnixNano(), 0, 14, Data, 77}, // two within a millisecond
		{t0.Add(5 * time.Millisecond).UnixNano(), 14, 7, Data, 77},
	}
	if got := entries(t, path); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	unix.Close(w)
	if n, res := f.Move(r, 77, 1<<20, t0); n != 0 || res != EOF {
		t.Error(n, res)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st, err)
	}
}

func TestRotationAtNewline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	r, w := pipe(t)
	f := New(path, 10)
	var archives []string
	f.Rotated = func(a string) { archives = append(archives, a) }
	write(t, w, "12345\n78901234 long\nshort\nx")
	for range 10 {
		f.Move(r, 1, 1<<20, t0)
	}
	write(t, w, strings.Repeat("y", 30)+"\nrest")
	for range 10 {
		f.Move(r, 1, 1<<20, t0)
	}
	want := map[string]string{
		path + ".00000000000000000000": "12345\n78901234 long\n",
		path + ".00000000000000000020": "short\nx" + strings.Repeat("y", 30) + "\n",
		path:                           "rest",
	}
	for name, text := range want {
		if got := read(t, name); got != text {
			t.Errorf("%s: %q", name, got)
		}
		if rs := entries(t, name); len(rs) < 2 || rs[0].Kind != Base {
			t.Errorf("%s: %+v", name, rs)
		}
	}
	if len(archives) != 2 {
		t.Error(archives)
	}
	if rs := entries(t, path); rs[0].Pos != 58 {
		t.Errorf("%+v", rs)
	}
}

// TestKilledDuringRotation leaves the files as each step of a rotation leaves them.
func TestKilledDuringRotation(t *testing.T) {
	for step := range 5 {
		t.Run(fmt.Sprint("after step ", step), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.log")
			r, w := pipe(t)
			f := New(path, 0)
			write(t, w, "first\n")
			f.Move(r, 1, 1<<20, t0)
			f.Close()
			archive := path + ".00000000000000000000"
			do := []func(){
				func() {
					x, err := openIndex(path+".idx.new", 6, t0.UnixNano())
					if err == nil {
						err = x.flush()
					}
					if err != nil {
						t.Fatal(err)
					}
					x.close()
				},
				func() { os.Rename(path+".idx", archive+".idx") },
				func() { os.Rename(path, archive) },
				func() { os.WriteFile(path, nil, 0o600) },
			}
			for _, d := range do[:step] {
				d()
			}
			g := New(path, 0)
			write(t, w, "second\n")
			if n, res := g.Move(r, 2, 1<<20, t0); n != 7 || res != Empty {
				t.Fatal(n, res, g.Err())
			}
			if g.Pos() != 13 {
				t.Errorf("position %d", g.Pos())
			}
			if step >= 2 {
				if read(t, archive) != "first\n" || read(t, path) != "second\n" || entries(t, path)[0].Pos != 6 {
					t.Errorf("%q, %q, %+v", read(t, archive), read(t, path), entries(t, path))
				}
			} else if read(t, path) != "first\nsecond\n" || entries(t, path)[0].Pos != 0 {
				t.Errorf("%q, %+v", read(t, path), entries(t, path))
			}
			if _, err := os.Stat(path + ".idx.new"); !os.IsNotExist(err) {
				t.Errorf("left: %v", err)
			}
		})
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.log")
	r, w := pipe(t)
	f := New(path, 0)
	write(t, w, "known\n")
	f.Move(r, 5, 1<<20, t0)
	f.Close()
	appendTo := func(name, text string) {
		h, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if _, err := h.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	// Killed between splice and index, in the middle of a record.
	appendTo(path, "unknown\n")
	appendTo(path+".idx", "torn")
	f = New(path, 0)
	if err := f.Open(t0.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	rs := entries(t, path)
	if last := rs[len(rs)-1]; len(rs) != 3 || last != (Record{t0.Add(time.Second).UnixNano(), 6, 8, Data, 5}) {
		t.Errorf("%+v", rs)
	}
	// A power loss took bytes that the index tells of.
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	f = New(path, 0)
	if err := f.Open(t0.Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if f.Pos() != 3 {
		t.Error(f.Pos())
	}
	f.Close()
	rs = entries(t, path)
	if last := rs[len(rs)-1]; last.Kind != Gap || last.Pos != 3 || rs[1].Val != 3 {
		t.Errorf("%+v", rs)
	}
	// The index is gone, and there are rotated files.
	if err := f.Rotate(t0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	appendTo(path, "abc\n")
	f = New(path, 0)
	if err := f.Rotate(t0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	os.Remove(path + ".idx")
	f = New(path, 0)
	if err := f.Open(t0); err != nil {
		t.Fatal(err)
	}
	if f.Pos() != 7 {
		t.Errorf("position %d without an index", f.Pos())
	}
	f.Close()
	// What is there is no index.
	if err := os.WriteFile(path+".idx", make([]byte, 64), 0o600); err != nil {
		t.Fatal(err)
	}
	f = New(path, 0)
	if err := f.Open(t0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if rs := entries(t, path); len(rs) != 1 || rs[0].Kind != Base || rs[0].Pos != 7 {
		t.Errorf("%+v", rs)
	}
}

func TestDrop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	r, w := pipe(t)
	f := New(path, 0)
	write(t, w, "kept\n")
	f.Move(r, 1, 1<<20, t0)
	for range 3 {
		write(t, w, strings.Repeat("z", 1000))
		if n, res := f.Drop(r, 1, t0); n != 1000 || res != Empty {
			t.Fatal(n, res)
		}
	}
	rs := entries(t, path)
	if last := rs[len(rs)-1]; len(rs) != 3 || last.Kind != Lost || last.Val != 3000 || last.Pos != 5 {
		t.Errorf("%+v", rs)
	}
	write(t, w, "again\n")
	f.Move(r, 1, 1<<20, t0)
	if got := read(t, path); got != "kept\nagain\n" {
		t.Errorf("%q", got)
	}
}

func TestLossWithoutFileIsOwed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // where the directory should be
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.log")
	r, w := pipe(t)
	f := New(path, 0)
	write(t, w, "gone")
	if n, res := f.Move(r, 1, 1<<20, t0); n != 0 || res != Failed || f.Err() == nil {
		t.Fatal(n, res, f.Err())
	}
	if n, _ := f.Drop(r, 1, t0); n != 4 {
		t.Fatal(n)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	write(t, w, "here")
	if n, res := f.Move(r, 1, 1<<20, t0); n != 4 || res != Empty {
		t.Fatal(n, res, f.Err())
	}
	rs := entries(t, path)
	if len(rs) != 3 || rs[1].Kind != Lost || rs[1].Val != 4 || rs[2].Kind != Data {
		t.Errorf("%+v", rs)
	}
}

func TestRenameFailsAndIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.log")
	r, w := pipe(t)
	f := New(path, 4)
	blocker := path + ".00000000000000000000" // a directory in the archive's place
	if err := os.MkdirAll(filepath.Join(blocker, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, w, "line one\nline two\n")
	for range 5 {
		if _, res := f.Move(r, 1, 1<<20, t0); res != Empty && res != More {
			t.Fatal(res, f.Err())
		}
	}
	if got := read(t, path); got != "line one\nline two\n" {
		t.Errorf("%q", got)
	}
	if rs := entries(t, path); rs[0].Kind != Base {
		t.Errorf("%+v", rs)
	}
	if err := os.RemoveAll(blocker); err != nil {
		t.Fatal(err)
	}
	write(t, w, "three\n")
	for range 5 {
		f.Move(r, 1, 1<<20, t0.Add(2*time.Second))
	}
	if got := read(t, blocker); got != "line one\nline two\nthree\n" || read(t, path) != "" {
		t.Errorf("%q, %q", got, read(t, path))
	}
}

// TestMaxFiles: however the rotated files look by now and whoever else deletes some, with the next one there are never
// more than so many, and it is the oldest that go.
func TestMaxFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	r, w := pipe(t)
	f := New(path, 8)
	rotated := func() (names []string) {
		for _, n := range f.archives() {
			names = append(names, strings.TrimLeft(strings.TrimPrefix(n, path+"."), "0"))
		}
		return names
	}
	line := func(i int) {
		write(t, w, fmt.Sprintf("line %02d\n", i))
		if _, res := f.Move(r, 7, 1<<20, t0); res != Empty {
			t.Fatal(res, f.Err())
		}
	}
	for i := range 5 {
		line(i)
	}
	if got := rotated(); !slices.Equal(got, []string{"", "8", "16", "24", "32"}) {
		t.Fatalf("without a bound: %v", got)
	}
	if err := os.Rename(f.archive(0), f.archive(0)+".zst"); err != nil {
		t.Fatal(err)
	}
	f.MaxFiles = 3
	line(5)
	if got := rotated(); !slices.Equal(got, []string{"24", "32", "40"}) {
		t.Errorf("bounded by 3: %v", got)
	}
	if err := os.Remove(f.archive(24)); err != nil { // the daemon was faster
		t.Fatal(err)
	}
	f.Close() // another keeper
	f = New(path, 8)
	f.MaxFiles = 3
	for i, want := range [][]string{{"32", "40", "48"}, {"40", "48", "56"}} {
		line(6 + i)
		if got := rotated(); !slices.Equal(got, want) {
			t.Errorf("line %d: %v, expected %v", 6+i, got, want)
		}
	}
	left, err := filepath.Glob(path + ".*")
	if err != nil || len(left) != 3*2+1 { // each with its index, and that of the live file
		t.Errorf("%v: %v", left, err)
	}
	f.MaxFiles = 0
	for i := range 4 {
		line(8 + i)
	}
	if got := rotated(); len(got) != 7 {
		t.Errorf("without a bound again: %v", got)
	}
}
