package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/bench/role"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
	"github.com/omnitron-dev/omnitron/evals/descent"
)

// TestChecker finds lines that are missing, torn or doubled, wherever the reads happened to end.
func TestChecker(t *testing.T) {
	var all []byte
	for i := range 100 {
		all = role.Text(all, i)
	}
	line := func(i int) []byte { return all[i*role.LineSize : (i+1)*role.LineSize] }
	for name, c := range map[string]struct {
		stored        []byte
		missing, torn int
	}{
		"whole":    {all, 0, 0},
		"missing":  {slices.Concat(all[:10*role.LineSize], all[12*role.LineSize:]), 2, 0},
		"torn":     {slices.Concat(all[:10*role.LineSize+20], all[11*role.LineSize:]), 2, 1}, // what is left of the torn one runs into the next
		"doubled":  {slices.Concat(all, line(3)), 0, 1},
		"changed":  {append(bytes.Replace(all, []byte("quick"), []byte("quack"), 1), "rest"...), 1, 1},
		"disorder": {slices.Concat(line(1), line(0), all[2*role.LineSize:]), 0, 0},
	} {
		for _, step := range []int{1, 7, 61, 1 << 20} {
			v := checker{seen: make([]bool, 100)}
			for chunk := range slices.Chunk(c.stored, step) {
				if _, err := v.Write(chunk); err != nil {
					t.Fatal(err)
				}
			}
			if v.missing() != c.missing || v.torn != c.torn {
				t.Errorf("%s in steps of %d: %d missing, %d torn; want %d, %d", name, step, v.missing(), v.torn, c.missing, c.torn)
			}
		}
	}
}

// TestTable puts a verdict beside what is asked for and only there.
func TestTable(t *testing.T) {
	var b table.Table
	b.Columns = []string{"runit", "omnitron"}
	b.Row("slow", "≤ 1 s").Set("omnitron", false, "%s", table.Millis(1500*time.Millisecond))
	b.Row("slow", "≤ 1 s").Set("runit", true, "%s", table.Millis(400*time.Microsecond))
	b.Row("fast", "≤ 1 s").Set("omnitron", true, "%s", table.Millis(12*time.Millisecond))
	b.Row("free", "").Set("omnitron", false, "%s", table.MB(123_400_000))
	var out bytes.Buffer
	b.Print(&out)
	want := `|      | runit   | omnitron | asked |      |
|------|---------|----------|-------|------|
| slow | 0.40 ms | 1.50 s   | ≤ 1 s | over |
| fast |         | 12 ms    | ≤ 1 s | ok   |
| free |         | 123 MB   |       |      |
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestInterrupted starts a whole run, ends it in the middle of bringing programs up, and looks whether anything is left of
// it: a process, a folder or a mount.
func TestInterrupted(t *testing.T) {
	if _, err := exec.LookPath("runsvdir"); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	dir := t.TempDir()
	self := filepath.Join(dir, "bench")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", self, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), self, "-quick", "-only", "fleet,full", "-peers", "runit", "-omnitron", self)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	below := func() (n int) {
		for _, p := range descent.Of(cmd.Process.Pid) {
			if p.Name == "sleep" {
				n++
			}
		}
		return n
	}
	if err := until(ctx, 20*time.Second, "programs run", func() bool { return below() > 5 }); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("an interrupted run says that it went well\n%s", said.String())
	}
	for _, p := range descent.All() {
		args, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/cmdline")
		if err == nil && strings.Contains(string(args), dir) {
			t.Errorf("left behind: %d %s", p.PID, bytes.ReplaceAll(args, []byte{0}, []byte{' '}))
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "ob*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v\n%s", left, err, said.String())
	}
}
