package ledger

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// The test binary is the program that gets killed: it makes calls whose effect is a line in a file, for ever or until it
// comes to a named point.
const (
	victimHome  = "LEDGER_TEST_HOME"
	victimPoint = "LEDGER_TEST_POINT"
)

// points are the places between a record and its effect.
var points = []string{"before the commit", "in the transaction", "after the commit", "before the head is synced", "after the head is synced", "before the effect", "after the effect", "after its settling"}

// suicide ends the process without a word once it comes to the point for the third time.
type suicide struct {
	point string
	came  int
}

func (s *suicide) at(point string) {
	if point != s.point {
		return
	}
	if s.came++; s.came == 3 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until that has arrived
	}
}

// fragile is a store that dies at the points around its commit.
type fragile struct {
	database
	*suicide
}

func (f fragile) Update(ctx context.Context, fn func(*sql.Tx) error) error {
	f.at("before the commit")
	err := f.database.Update(ctx, func(tx *sql.Tx) error {
		err := fn(tx)
		f.at("in the transaction")
		return err
	})
	f.at("after the commit")
	return err
}

// callForEver makes calls and says the number of each once its effect is there.
func callForEver(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	s := &suicide{point: os.Getenv(victimPoint)}
	db, err := store.Open(filepath.Join(dir, "omnitron.db"), quiet)
	fail(err)
	l := New(fragile{db, s}, Options{Home: dir, Keys: &vault{key: []byte("key")}, Log: quiet})
	l.sync = func(f *os.File) error {
		s.at("before the head is synced")
		err := fdatasync(f)
		s.at("after the head is synced")
		return err
	}
	effects, err := os.OpenFile(filepath.Join(dir, "effects"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	fail(err)
	for n := 0; ; n++ {
		seq, err := l.Begin(context.Background(), entry(n))
		fail(err)
		s.at("before the effect")
		_, err = fmt.Fprintln(effects, seq)
		fail(err)
		s.at("after the effect")
		l.Settle(seq, Result{Decision: "allow"})
		l.Read(entry(n))
		if n%5 == 4 {
			fail(l.Flush(context.Background()))
			fail(l.Anchor(context.Background()))
		}
		s.at("after its settling")
		fmt.Println(seq)
	}
}

// judge looks at what a killed process has left: every effect is on record, and nothing is called tampering.
func judge(t *testing.T, dir string) (ahead int64) {
	t.Helper()
	db, err := store.Open(filepath.Join(dir, "omnitron.db"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := New(db, Options{Home: dir, Keys: &vault{key: []byte("key")}, Log: quiet})
	v, err := l.Verify(t.Context(), "")
	if err != nil || v.Broken != nil || l.Trouble() != nil || v.Unprotected != 0 {
		t.Fatalf("%+v, %+v, %v", v, v.Broken, err)
	}
	defer l.head.file.Close()
	effects, err := os.ReadFile(filepath.Join(dir, "effects"))
	if err != nil {
		t.Fatal(err)
	}
	for seq := range strings.Lines(string(effects)) {
		err := db.View(t.Context(), func(tx *sql.Tx) error {
			var kind string
			err := tx.QueryRow("SELECT kind FROM calls WHERE seq = ?", strings.TrimSpace(seq)).Scan(&kind)
			if err == nil && kind != intent {
				err = fmt.Errorf("it is a %s", kind)
			}
			return err
		})
		if err != nil {
			t.Fatalf("the effect of %s is not on record: %v", seq, err)
		}
	}
	return l.Ahead()
}

// victimOf starts the process that is to be killed.
func victimOf(t *testing.T, dir, point string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimHome+"="+dir, victimPoint+"="+point)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// TestKillAtPoints: wherever a death comes, there is no effect without a record, and no false alarm.
func TestKillAtPoints(t *testing.T) {
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			for range 2 { // the second one goes on with what the first has left
				cmd, lines := victimOf(t, dir, point)
				var last string
				for lines.Scan() {
					last = lines.Text()
				}
				if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("it did not come to the point: %v, %q", err, last)
				}
				ahead := judge(t, dir)
				if want := point == "after the commit" || point == "before the head is synced"; ahead > 0 && !want || point == "after the commit" && ahead == 0 {
					t.Errorf("the store is %d rows ahead of its head", ahead)
				}
			}
		})
	}
}

// TestKillWhileCalling: a death at any moment is no alarm.
func TestKillWhileCalling(t *testing.T) {
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	made, ahead := 0, 0
	for range times(200, 10) {
		after := time.Duration(random.IntN(10_000)) * time.Microsecond
		cmd, lines := victimOf(t, dir, "")
		for first := true; lines.Scan(); first = false {
			if strings.Trim(lines.Text(), "0123456789") != "" {
				t.Fatal(lines.Text())
			}
			if made++; first {
				time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
		if judge(t, dir) > 0 {
			ahead++
		}
	}
	if made < 10 {
		t.Errorf("only %d calls were made", made)
	}
	t.Logf("%d calls; %d times the store was ahead of its head", made, ahead)
	// And the other way around: what was killed is not taken for whole whatever is done to it.
	db := storetest.Open(t, filepath.Join(dir, "omnitron.db"))
	err := db.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM calls WHERE seq = (SELECT max(seq) FROM calls)")
		return err
	})
	l := New(db, Options{Home: dir, Keys: &vault{key: []byte("key")}, Log: quiet})
	if v, verr := l.Verify(t.Context(), ""); err != nil || verr != nil || v.Broken == nil {
		t.Errorf("a row less: %+v, %v, %v", v, err, verr)
	}
	l.head.file.Close()
}
