// Package output_test shows that what programs print is kept: byte for byte, in bounded memory, through rotation, full
// disks, slow readers and deleted files, and that whatever is missing is counted. The programs are this test binary
// itself (see printer_test.go), so that both sides know every byte.
package output_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/proc/proctest"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == printerArg {
		os.Exit(printer(os.Args[2:]))
	}
	rig.Sweep()
	os.Exit(proctest.Main(m.Run))
}

// world is a rig whose project has a name that nobody else uses, and whose apps are printers.
type world struct {
	*rig.Rig
	project string
	self    string
}

func newWorld(t *testing.T) *world { return newWorldAs(t, 0) }

// newWorldAs makes one whose daemon runs as another user.
func newWorldAs(t *testing.T, uid int) *world {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Rig: rig.NewAs(t, uid), self: self}
	if w.project = w.Name(); uid != 0 { // nobody else may reach the folder that go test builds in
		text, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		w.self = w.Write("printer", string(text))
	}
	return w
}

// up starts apps; each is a name and the rest of its definition.
func (w *world) up(logging string, apps ...string) {
	w.T.Helper()
	w.Up(fmt.Sprintf("project: %s\nlogging: {%s}\napps:\n%s", w.project, logging, strings.Join(apps, "")))
}

// app is the definition of one that prints, with more keys as YAML; its folder is in its arguments, so that the rig finds
// it should it be left behind.
func (w *world) app(name, keys string, args ...any) string {
	line := fmt.Sprintf("  - name: %s\n    command: [%s, %s, %s/", name, w.self, printerArg, w.Dir)
	for _, a := range args {
		line += fmt.Sprintf(", %q", fmt.Sprint(a))
	}
	line += "]\n"
	for k := range strings.SplitSeq(keys, "\n") {
		if k != "" {
			line += "    " + k + "\n"
		}
	}
	return line
}

func (w *world) key(app string) string          { return w.project + "/dev/" + app }
func (w *world) live(app, stream string) string { return w.LogPath(w.key(app), stream) }
func (w *world) files(app, stream string) []string {
	w.T.Helper()
	files, err := rig.LogFiles(w.live(app, stream))
	if err != nil {
		w.T.Fatal(err)
	}
	return files
}

// settled waits until every rotated file of a stream is compressed.
func (w *world) settled(app, stream string) {
	w.T.Helper()
	w.Until(90*time.Second, "the archives of "+app+" are compressed", func() bool {
		files := w.files(app, stream)
		for i, f := range files {
			if i < len(files)-1 && !strings.HasSuffix(f, ".zst") {
				return false
			}
		}
		parts, err := filepath.Glob(w.live(app, stream) + "*.tmp")
		return err == nil && len(parts) == 0
	})
}

// sum hashes all that is stored of a stream.
func (w *world) sum(app, stream string) (hash string, bytes int64) {
	w.T.Helper()
	h := sha256.New()
	n, err := rig.Stored(h, w.live(app, stream))
	if err != nil {
		w.T.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil)), n
}

// zstdTests has the reference program test every archive, and gives their number.
func (w *world) zstdTests(t *testing.T, app, stream string) int {
	t.Helper()
	var archives []string
	for _, f := range w.files(app, stream) {
		if strings.HasSuffix(f, ".zst") {
			archives = append(archives, f)
		}
	}
	if len(archives) == 0 {
		t.Fatalf("%s has no archives", app)
	}
	if out, err := exec.Command("zstd", append([]string{"-tq"}, archives...)...).CombinedOutput(); err != nil {
		t.Errorf("zstd -t: %v\n%s", err, out)
	}
	return len(archives)
}

// stat is what logs.stats says of a stream.
type stat struct {
	Stream string
	Files  int
	Bytes  int64 `json:"stored_bytes"`
	First  int64 `json:"first_pos"`
	Next   int64 `json:"next_pos"`
	Lost   int64 `json:"lost_bytes"`
	Gaps   int
}

func (w *world) stats(app, stream string) stat {
	w.T.Helper()
	var list struct{ Items []stat }
	if err := w.Call("logs.stats", map[string]any{"names": []string{app}}, &list); err != nil {
		w.T.Fatal(err)
	}
	for _, s := range list.Items {
		if s.Stream == stream {
			return s
		}
	}
	return stat{Stream: stream}
}

// memory watches how far the daemon and the keeper grow.
type memory struct {
	w      *world
	before map[int]int64
}

// watchMemory begins now: the kernel's high-water marks start over.
func (w *world) watchMemory() memory {
	w.T.Helper()
	m := memory{w, map[int]int64{}}
	for _, pid := range []int{w.DaemonPID(), w.KeeperPID()} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
			w.T.Fatal(err)
		}
		m.before[pid] = w.status(pid, "VmRSS:")
	}
	return m
}

// growth is the highest that both together have come above where they began, in bytes.
func (m memory) growth() (total int64) {
	for pid, before := range m.before {
		total += max(0, m.w.status(pid, "VmHWM:")-before)
	}
	return total
}

// status reads a line of /proc/<pid>/status that is in kB.
func (w *world) status(pid int, name string) int64 {
	w.T.Helper()
	kb, _, _ := strings.Cut(w.statusText(pid, name), " ")
	n, err := strconv.ParseInt(kb, 10, 64)
	if err != nil {
		w.T.Fatal(err)
	}
	return n << 10
}

func (w *world) statusText(pid int, name string) string {
	w.T.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		w.T.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n"+name)
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// cpu is how much CPU time a process has used.
func (w *world) cpu(pid int) time.Duration {
	w.T.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		w.T.Fatal(err)
	}
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	sys, _ := strconv.Atoi(f[12])
	return time.Duration(user+sys) * 10 * time.Millisecond // USER_HZ is 100 on all that Linux runs on
}

// mb is a number of bytes for people.
func mb[T int | int64](n T) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// expected gives the hashes of what a generator writes to both streams, and how much that is.
func expected(gen func(out, errs io.Writer) error) (out, errs string, outBytes, errBytes int64) {
	a, b := &counter{Writer: sha256.New()}, &counter{Writer: sha256.New()}
	if err := gen(a, b); err != nil {
		panic(err) // hashes do not fail
	}
	return a.sum(), b.sum(), a.n, b.n
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Writer.Write(p)
}

func (c *counter) sum() string {
	return hex.EncodeToString(c.Writer.(interface{ Sum([]byte) []byte }).Sum(nil))
}

// decode reads JSON that a command gave.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// noted is how many lines a steady printer says it has printed.
func noted(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
