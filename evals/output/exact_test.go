package output_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestEveryByteIsKept prints lines of 1 byte to 200 KiB to both streams, with rotation at 1 MB. What is stored is what was
// printed, every archive is sound, and whoever follows sees each line once: over RPC, and with logs -f --json.
func TestEveryByteIsKept(t *testing.T) {
	for name, uid := range rig.Users() {
		t.Run(name, func(t *testing.T) {
			lines := rig.Count(100_000, 1_000_000)
			if uid != 0 { // the same keeper by the same means: what differs is whose files they are
				lines = rig.Count(50_000, 1_000_000)
			}
			everyByte(t, newWorldAs(t, uid), lines)
		})
	}
}

func everyByte(t *testing.T, w *world, lines int) {
	const seed = 20261124
	wantOut, wantErr, outBytes, errBytes := expected(func(out, errs io.Writer) error { return mixed(seed, lines, out, errs) })
	w.up("maxSize: 1MB, maxFiles: 10000", w.app("noisy", "oneshot: true\nenabled: false", "mixed", seed, lines))

	ctx, cancel := context.WithTimeoutCause(t.Context(), 4*time.Minute, errors.New("it took too long"))
	defer cancel()
	whole := func(seen *tiles) func() bool {
		return func() bool {
			return seen.reached("noisy", "out") == outBytes && seen.reached("noisy", "err") == errBytes
		}
	}
	ends := make(chan error, 2)
	overRPC, overCLI := newTiles(), newTiles()
	go func() {
		ends <- w.follow(ctx, map[string]any{"names": []string{"noisy"}, "since": time.Unix(1, 0)}, overRPC.add, whole(overRPC))
	}()
	cmd := w.Command(ctx, "logs", "-f", "--json", "--since", "1h", "noisy")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { ends <- readJSON(pipe, overCLI.add, whole(overCLI)) }()

	began := time.Now()
	w.OK("start", "noisy", "--no-wait")
	w.WaitState("noisy", "completed", 4*time.Minute)
	took := time.Since(began)
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err, complaint.String())
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("logs -f ends with %v after SIGINT, expected exit code 130", err)
	}

	w.owned("noisy")
	archives := 0
	for stream, want := range map[string]string{"out": wantOut, "err": wantErr} {
		w.settled("noisy", stream)
		if got, _ := w.sum("noisy", stream); got != want {
			t.Errorf("std%s: sha256 of what is stored is %s, of what was printed %s", stream, got, want)
		}
		archives += w.zstdTests(t, "noisy", stream)
		for who, seen := range map[string]*tiles{"RPC": overRPC, "CLI": overCLI} {
			k := "noisy " + stream
			if got := seen.sum("noisy", stream); got != want && seen.lost[k] == 0 {
				t.Errorf("std%s: what a follower over %s saw has the sha256 %s, what was printed %s", stream, who, got, want)
			}
			if seen.lost[k]+seen.drops[k] > 0 || seen.began[k] != 0 {
				t.Errorf("std%s: a follower over %s began at %d, and missed %d bytes although nothing was deleted", stream, who, seen.began[k], seen.lost[k]+seen.drops[k])
			}
		}
		if s := w.stats("noisy", stream); s.Lost != 0 || s.Gaps != 0 || s.First != 0 {
			t.Errorf("std%s: logs.stats tells of losses: %+v", stream, s)
		}
	}
	t.Logf("%d lines, %s in %s, %d archives; seen: %d items over RPC, %d over CLI", lines, mb(outBytes+errBytes), took.Round(time.Millisecond), archives,
		overRPC.lines["noisy out"]+overRPC.lines["noisy err"], overCLI.lines["noisy out"]+overCLI.lines["noisy err"])
}

// owned fails the test unless the files of an app's logs belong to who runs the daemon, and nobody else may read them.
func (w *world) owned(app string) {
	w.T.Helper()
	files, err := filepath.Glob(filepath.Dir(w.live(app, "out")) + "/*")
	if err != nil || len(files) == 0 {
		w.T.Fatalf("%s has no files: %v", app, err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if errors.Is(err, os.ErrNotExist) {
			continue // compressed meanwhile
		}
		if err != nil {
			w.T.Fatal(err)
		}
		if uid := st.Sys().(*syscall.Stat_t).Uid; uid != uint32(max(w.UID, os.Geteuid())) || st.Mode().Perm() != 0o600 {
			w.T.Errorf("%s belongs to %d with the mode %s", f, uid, st.Mode())
		}
	}
}

// readJSON reads items, one a line.
func readJSON(r io.Reader, each func(item) error, enough func() bool) error {
	b := bufio.NewReaderSize(r, 1<<20)
	for !enough() {
		line, err := b.ReadBytes('\n')
		if err != nil {
			return err
		}
		var i item
		if err := json.Unmarshal(line, &i); err != nil {
			return fmt.Errorf("%w: %.200s", err, line)
		}
		if err := each(i); err != nil {
			return err
		}
	}
	return nil
}

// TestWithoutNewline prints hundreds of megabytes in one line, while somebody follows: neither keeper nor daemon grows,
// and all of it is stored.
func TestWithoutNewline(t *testing.T) {
	megabytes := rig.Count(32, 256)
	w := newWorld(t)
	w.up("maxSize: 1MB, maxFiles: 10000", w.app("flood", "oneshot: true\nenabled: false", "flood", megabytes), w.app("warm", "oneshot: true", "flood", 4))
	w.OK("logs", "warm", "-n", "1000") // so that growth is growth, not the first use of everything

	ctx, cancel := context.WithTimeoutCause(t.Context(), 4*time.Minute, errors.New("it took too long"))
	defer cancel()
	total, reached, pieces := int64(megabytes)*1_000_000, int64(0), 0
	end := make(chan error, 1)
	m := w.watchMemory()
	go func() {
		end <- w.follow(ctx, map[string]any{"names": []string{"flood"}}, func(i item) error {
			if i.Kind != "" || i.Pos != reached || len(i.Text) > 64<<10 {
				return fmt.Errorf("an item of %d bytes at %d (%s) follows where %d was next", len(i.Text), i.Pos, i.Kind, reached)
			}
			reached, pieces = reached+int64(len(i.Text)), pieces+1
			return nil
		}, func() bool { return reached == total })
	}()
	began := time.Now()
	w.OK("start", "flood", "--no-wait")
	w.WaitState("flood", "completed", 4*time.Minute)
	took := time.Since(began)
	if err := <-end; err != nil {
		t.Error(err)
	}
	grown := m.growth()
	if limit := int64(16 << 20); grown > limit {
		t.Errorf("keeper and daemon grew by %s, at most %s are allowed", mb(grown), mb(limit))
	}
	want, _, _, _ := expected(func(out, _ io.Writer) error { return flood(out, megabytes) })
	if got, n := w.sum("flood", "out"); got != want {
		t.Errorf("sha256 of what is stored is %s (%d bytes), of what was printed %s", got, n, want)
	}
	t.Logf("%s without a newline in %s, followed in %d pieces; keeper and daemon grew by %s", mb(total), took.Round(time.Millisecond), pieces, mb(grown))
}

// TestRandomBytes stores what the kernel's generator gives: every value of a byte, newlines at random.
func TestRandomBytes(t *testing.T) {
	size := rig.Count(8, 64) << 20
	w := newWorld(t)
	copied := filepath.Join(w.Dir, "copy")
	w.up("maxSize: 1MB, maxFiles: 10000", fmt.Sprintf("  - name: random\n    command: head -c %d /dev/urandom | tee %s\n    oneshot: true\n", size, copied))
	w.WaitState("random", "completed", time.Minute)
	data, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != size {
		t.Fatalf("tee has copied %d bytes", len(data))
	}
	w.settled("random", "out")
	sum := sha256.Sum256(data)
	if got, n := w.sum("random", "out"); got != hex.EncodeToString(sum[:]) {
		t.Errorf("what is stored (%d bytes) is not what was printed", n)
	}
	archives := w.zstdTests(t, "random", "out")

	// The same over the API: from its first position to its last every byte comes back, in base64 where it is no text.
	seen := newTiles()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 4*time.Minute, errors.New("it took too long"))
	defer cancel()
	ends := int64(size)
	if data[size-1] != '\n' { // the last line has none, which its item cannot tell
		ends = int64(bytes.LastIndexByte(data, '\n') + 1)
	}
	err = w.follow(ctx, map[string]any{"names": []string{"random"}, "since": time.Unix(1, 0)}, seen.add,
		func() bool { return seen.reached("random", "out") >= ends })
	if err != nil {
		t.Error(err)
	}
	sum = sha256.Sum256(data[:ends])
	if got := seen.sum("random", "out"); got != hex.EncodeToString(sum[:]) || seen.lost["random out"] > 0 {
		t.Errorf("a follower from the beginning on got other bytes (up to %d of %d)", seen.reached("random", "out"), size)
	}
	if out, err := exec.Command("sh", "-c", "exec cat "+w.live("random", "out")+".*.idx | wc -c").Output(); err != nil {
		t.Error(err)
	} else {
		t.Logf("%s in %d archives, %d items, %s bytes of index", mb(size), archives, seen.lines["random out"], bytes.TrimSpace(out))
	}
}
