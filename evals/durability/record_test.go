package durability_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// verdict is what audit.verify says.
type verdict struct {
	OK          bool
	Row         int64
	Problem     string
	Last        int64
	Unprotected int64
	Head        string
}

func (w world) verdict() (v verdict) {
	w.T.Helper()
	if err := w.Call("audit.verify", nil, &v); err != nil {
		w.T.Fatal(err)
	}
	return v
}

// TestRecordAfterKills: a daemon that is killed while it changes things leaves a record that is whole, and in which every
// effect stands.
func TestRecordAfterKills(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a")))
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	done := map[string]bool{} // texts of events that were answered for
	for range rig.Count(4, 200) {
		old := w.DaemonPID()
		var wg sync.WaitGroup
		var mu sync.Mutex
		wg.Go(func() {
			for n := 0; ; n++ {
				text := fmt.Sprintf("%d-%d", old, n)
				if w.call("events.publish", map[string]any{"type": "step", "text": text}) != nil {
					return
				}
				mu.Lock()
				done[text] = true
				mu.Unlock()
			}
		})
		<-time.After(time.Duration(20+dice.IntN(150)) * time.Millisecond) // at any moment
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		w.back(old, 10*time.Second)
		if v := w.verdict(); !v.OK {
			t.Fatalf("row %d: %s", v.Row, v.Problem)
		}
	}
	if len(done) < 4 {
		t.Errorf("only %d calls were answered", len(done))
	}
	recorded := map[string]bool{}
	for line := range strings.Lines(w.OK("audit", "export")) {
		var c struct {
			Method string
			Args   struct{ Text string }
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if c.Method == "events.publish" {
			recorded[c.Args.Text] = true
		}
	}
	var listed struct{ Items []struct{ Type, Text string } }
	if err := w.Call("events.list", map[string]any{"limit": 1000}, &listed); err != nil {
		t.Fatal(err)
	}
	for _, e := range listed.Items {
		if e.Type == "step" && !recorded[e.Text] {
			t.Errorf("the effect %s is not on record", e.Text)
		}
	}
	for text := range done {
		if !recorded[text] {
			t.Errorf("the call %s was answered and is not on record", text)
		}
	}
}

// TestExportWhileCallsGoOn: pages neither lose nor double a row.
func TestExportWhileCallsGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a")))
	for n := range 1500 {
		if err := w.Call("daemon.ping", nil, nil); err != nil {
			t.Fatal(n, err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = w.call("events.publish", map[string]any{"type": "step", "text": "x"}) // whether it is there is not asked
			}
		}
	})
	first := w.OK("audit", "export")
	seqs := func(text string) (all []int64) {
		for line := range strings.Lines(text) {
			var c struct{ Seq int64 }
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			all = append(all, c.Seq)
		}
		return all
	}
	one := seqs(first)
	two := seqs(w.OK("audit", "export", "--after", fmt.Sprint(one[len(one)-1])))
	close(stop)
	wg.Wait()
	all := append(one, two...)
	want := seqs(w.OK("audit", "export"))
	if len(one) < 1500 || len(two) == 0 || len(want) < len(all) {
		t.Fatalf("%d rows, then %d; all are %d", len(one), len(two), len(want))
	}
	for i, seq := range all {
		if seq != want[i] {
			t.Fatalf("row %d is %d, want %d", i, seq, want[i])
		}
	}
}

// TestTamperedRecord: what was changed behind the daemon's back is told by verify, doctor and status, also after a restart,
// and the daemon goes on with its work.
func TestTamperedRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a")))
	w.OK("restart", "a")
	kept := w.verdict()
	if !kept.OK || kept.Head == "" {
		t.Fatalf("%+v", kept)
	}
	w.kill()
	db, err := sql.Open("sqlite", filepath.Join(w.Home, "omnitron.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"UPDATE calls SET user = 'nobody' WHERE method = 'apps.restart'", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w.OK("start", "a")
	v := w.verdict()
	if v.OK || v.Row == 0 || v.Row > kept.Last || !strings.Contains(v.Problem, "changed") {
		t.Errorf("%+v", v)
	}
	w.says("the record of calls is not whole")
	if ran := w.Run("audit", "verify"); ran.Code != 1 || !strings.Contains(ran.Out, v.Problem) {
		t.Errorf("verify: exit %d, %s", ran.Code, ran.Out)
	}
	w.OK("restart", "a")
	w.murder()
	if again := w.verdict(); again.Row != v.Row {
		t.Errorf("%+v", again)
	}
}

// TestRecordWithoutItsKey: a home whose vault is sealed is operated, and says what is not protected.
func TestRecordWithoutItsKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a")))
	w.kill()
	key := w.read("vault.key")
	if err := os.Remove(filepath.Join(w.Home, "vault.key")); err != nil {
		t.Fatal(err)
	}
	w.OK("start", "a")
	w.OK("restart", "a")
	if ran := w.Run("audit", "verify"); ran.Code == 0 || !strings.Contains(ran.Err, "vault") {
		t.Errorf("verify: exit %d, %s", ran.Code, ran.Err)
	}
	w.says("kept without a seal")
	w.put("vault.key", key)
	w.Until(10*time.Second, "the record is sealed again", func() bool {
		var v verdict
		return w.Call("audit.verify", nil, &v) == nil && v.OK && v.Unprotected > 0
	})
	if out := w.OK("audit", "list", "--method", "(gap)", "-o", "json"); !bytes.Contains([]byte(out), []byte("not_sealed")) {
		t.Errorf("on record is %s", out)
	}
	w.murder()
	if v := w.verdict(); !v.OK || v.Unprotected == 0 {
		t.Errorf("%+v", v)
	}
}
