package output_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// suffix hashes the plain lines from byte first to byte end.
func suffix(first, end int64) string {
	h := sha256.New()
	from := first / plainSize
	r, w := io.Pipe()
	go func() { w.CloseWithError(plain(w, int(from), int(end/plainSize+1-from), 0)) }()
	skip := first - from*plainSize
	_, err := io.CopyN(io.Discard, r, skip)
	if err == nil {
		_, err = io.CopyN(h, r, end-first)
	}
	r.Close()
	if err != nil {
		return err.Error()
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestRetention prints ten times as much as may be kept, as fast as it goes, while an outsider counts the files: never
// more than one above the limit, and only the oldest go.
func TestRetention(t *testing.T) {
	const maxFiles = 5
	lines := rig.Count(1_000_000, 10_000_000)
	w := newWorld(t)
	w.up("maxSize: 1MB, maxFiles: "+strconv.Itoa(maxFiles), w.app("much", "oneshot: true\nenabled: false", "plain", lines, "0s"))

	stop, end := make(chan struct{}), make(chan error, 1)
	most, looks, oldest := 0, 0, ""
	go func() {
		for {
			select {
			case <-stop:
				end <- nil
				return
			default:
			}
			n, first, err := count(filepath.Dir(w.live("much", "out")))
			if err != nil {
				end <- err
				return
			}
			if first < oldest && first != "" {
				end <- errors.New("the oldest file was " + oldest + ", now it is " + first)
				return
			}
			most, looks, oldest = max(most, n), looks+1, max(first, oldest)
		}
	}()
	began := time.Now()
	w.OK("start", "much", "--no-wait")
	w.WaitState("much", "completed", 4*time.Minute)
	took := time.Since(began)
	w.Until(30*time.Second, "what is too much is gone", func() bool { return len(w.files("much", "out")) <= maxFiles })
	w.settled("much", "out")
	close(stop)
	if err := <-end; err != nil {
		t.Fatal(err)
	}
	if most > maxFiles+1 {
		t.Errorf("%d files were there at once, at most %d may be", most, maxFiles+1)
	}
	total := int64(lines) * plainSize
	s := w.stats("much", "out")
	if s.Next != total || s.Lost != 0 || s.Gaps != 0 || s.Bytes != total-s.First || s.Files > maxFiles {
		t.Errorf("%d bytes were printed, logs.stats says %+v", total, s)
	}
	if s.Bytes < 3_000_000 {
		t.Errorf("only %d bytes of %d files of 1 MB are left: too much was deleted", s.Bytes, maxFiles)
	}
	if got, _ := w.sum("much", "out"); got != suffix(s.First, total) {
		t.Error("what is left is not the end of what was printed")
	}
	w.zstdTests(t, "much", "out")
	t.Logf("%s in %s through %d files of 1 MB; in %d looks at most %d were there", mb(total), took.Round(time.Millisecond), maxFiles, looks, most)
}

// TestRetentionWithoutDaemon: nobody is there who tends to the files, for hours perhaps, and still they do not fill the
// disk.
func TestRetentionWithoutDaemon(t *testing.T) {
	for name, uid := range rig.Users() {
		t.Run(name, func(t *testing.T) { withoutDaemon(t, newWorldAs(t, uid)) })
	}
}

func withoutDaemon(t *testing.T, w *world) {
	const maxFiles = 3
	notes := filepath.Join(w.Dir, "notes")
	w.up("maxSize: 100KB, maxFiles: "+strconv.Itoa(maxFiles), w.app("alone", "", "steady", "1ms", 20, notes))
	files := func() int {
		n, _, err := count(filepath.Dir(w.live("alone", "out")))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	pid := w.PID("alone")
	w.Disconnect()
	w.OK("kill")
	from, most, want := noted(t, notes), 0, rig.Count(20, 200)*100_000/plainSize
	w.Until(4*time.Minute, "it has printed many files more", func() bool {
		most = max(most, files())
		return noted(t, notes) > from+want
	})
	if most > maxFiles+1 {
		t.Errorf("%d files were there at once, at most %d may be", most, maxFiles+1)
	}
	w.OK("up")
	if now := w.PID("alone"); now != pid {
		t.Errorf("pid %d before, %d after the daemon was away", pid, now)
	}
	w.Until(10*time.Second, "the daemon keeps what it should", func() bool { return files() == maxFiles })
	w.OK("stop", "alone")
	printed := int64(noted(t, notes)) * plainSize
	if s := w.stats("alone", "out"); s.Next != printed || s.Lost+int64(s.Gaps) != 0 {
		t.Errorf("%d bytes were printed, logs.stats says %+v", printed, s)
	} else if got, _ := w.sum("alone", "out"); got != suffix(s.First, printed) {
		t.Error("what is left is not the end of what was printed")
	}
	t.Logf("%d files of 100 KB while no daemon was there, at most %d at once", want*plainSize/100_000, most)
}

// count gives how many log files a folder has, those that are being compressed counted once, and the oldest archive.
func count(dir string) (n int, oldest string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	seen := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, ".idx") || strings.HasSuffix(name, ".tmp") || !strings.Contains(name, ".out.log") || strings.HasSuffix(name, ".new") {
			continue
		}
		name = strings.TrimSuffix(name, ".zst")
		seen[name] = true
		if at := strings.LastIndex(name, ".log."); at > 0 && (oldest == "" || name < oldest) {
			oldest = name
		}
	}
	return len(seen), oldest, nil
}

// TestPurgeWhilePrinting deletes the output of an app again and again while it prints: what comes after is kept, and
// positions go on, so that a follower knows how much it did not see.
func TestPurgeWhilePrinting(t *testing.T) {
	rounds := rig.Count(5, 50)
	w := newWorld(t)
	notes := filepath.Join(w.Dir, "notes")
	w.up("maxSize: 300KB, maxFiles: 50", w.app("busy", "", "steady", "1ms", 60, notes), w.app("other", "", "steady", "1ms", 1, notes+"2"))

	// Two follow: one that keeps up, and one that looks away while everything is deleted before its eyes.
	ctx, enough := context.WithCancel(t.Context())
	release, ends := make(chan struct{}), make(chan error, 2)
	var attentive, absent follower
	go func() { ends <- attentive.follow(ctx, w, "busy", nil) }()
	go func() { ends <- absent.follow(ctx, w, "busy", release) }()
	for range rounds {
		before := w.stats("busy", "out").Next
		w.Until(20*time.Second, "some hundred kilobytes more are stored", func() bool { return w.stats("busy", "out").Next > before+500_000 })
		if ran := w.Run("logs", "purge", "busy"); ran.Code != 64 {
			t.Errorf("purge without --yes and without a terminal: exit %d, expected 64", ran.Code)
		}
		at := w.stats("busy", "out").Next
		var purged struct {
			Result struct {
				Files int
				Bytes int64
			}
		}
		decode(t, w.OK("logs", "purge", "busy", "--yes", "--json"), &purged)
		if purged.Result.Files == 0 || purged.Result.Bytes == 0 {
			t.Errorf("purge says that it deleted %+v", purged.Result)
		}
		if s := w.stats("busy", "out"); s.First < at || s.Gaps+int(s.Lost) != 0 {
			t.Errorf("after the purge at %d the oldest byte stored is %d: %+v", at, s.First, s)
		}
	}
	w.OK("stop", "busy")
	printed := int64(noted(t, notes)) * plainSize
	s := w.stats("busy", "out")
	if s.Next != printed {
		t.Errorf("%d bytes were printed, positions reach %d", printed, s.Next)
	}
	close(release)
	w.Until(20*time.Second, "the followers have come to the end", func() bool {
		return attentive.reached.Load() == printed && absent.reached.Load() == printed || len(ends) > 0
	})
	enough()
	for range 2 {
		if err := <-ends; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	missed := absent.seen.lost["busy out"]
	if missed == 0 {
		t.Error("the follower that looked away missed nothing: was anything deleted that it had not read?")
	}
	if got, n := w.sum("busy", "out"); got != suffix(s.First, printed) || n != printed-s.First {
		t.Errorf("what is left (%d bytes) is not the end of what was printed", n)
	}
	if o := w.stats("other", "out"); o.First != 0 || o.Next == 0 {
		t.Errorf("the output of another app was touched: %+v", o)
	}
	t.Logf("%d purges while %s were printed, %s of them left; the follower that looked away missed %s and was told so", rounds, mb(printed), mb(s.Bytes), mb(missed))
}

// follower puts together what it sees of an app's stdout; others may ask how far it is.
type follower struct {
	seen    *tiles
	reached atomic.Int64
}

// follow goes on until ctx ends. With look it looks away after its first item, until look is closed.
func (f *follower) follow(ctx context.Context, w *world, app string, look <-chan struct{}) error {
	f.seen = newTiles()
	return w.follow(ctx, map[string]any{"names": []string{app}}, func(i item) error {
		err := f.seen.add(i)
		f.reached.Store(f.seen.reached(app, "out"))
		if look != nil {
			<-look
		}
		return err
	}, func() bool { return ctx.Err() != nil })
}
