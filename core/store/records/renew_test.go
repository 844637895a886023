package records_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
	"github.com/omnitron-dev/omnitron/core/vault"
)

var (
	quiet  = slog.New(slog.DiscardHandler)
	errCut = errors.New("the power is off")
)

// renewals is a home with revisions that are sealed.
type renewals struct {
	home string
	db   *store.Store
	want map[string]string // of each revision, by stack and number
}

func (h *renewals) keyFile() string { return filepath.Join(h.home, "revisions.key") }

// revisions gives the repository as the next daemon has it.
func (h *renewals) revisions(disk store.Disk) *records.Revisions {
	return records.NewRevisions(h.db, filepath.Join(h.home, "revisions")).SealWith(vault.NewBox(h.keyFile(), disk))
}

func newRenewals(t *testing.T) *renewals {
	t.Helper()
	home := t.TempDir()
	h := &renewals{home: home, db: storetest.Open(t, filepath.Join(home, "omnitron.db")), want: map[string]string{}}
	r := h.revisions(store.OS)
	for n := range 90 { // more than are sealed in one transaction
		rev := revision([]string{"dev", "prod", "test"}[n%3], n)
		rev.Env = json.RawMessage(fmt.Sprintf(`{"TOKEN":"hush-%d"}`, n))
		got, err := r.Add(t.Context(), rev, 1)
		if err != nil {
			t.Fatal(err)
		}
		h.want[fmt.Sprintf("%s %d", rev.Stack, got)] = string(rev.Definition) + string(rev.Files) + string(rev.Env)
	}
	return h
}

// whole sees that every revision and every copy is readable with the keys that lie there, and gives how many keys that are.
func (h *renewals) whole(t *testing.T, when string) (keys int) {
	t.Helper()
	r := h.revisions(store.OS)
	copies := records.NewRevisions(storetest.New(t), filepath.Join(h.home, "revisions")).SealWith(vault.NewBox(h.keyFile(), store.OS))
	found := 0
	for at, want := range h.want {
		var stack string
		var n int64
		if _, err := fmt.Sscan(at, &stack, &n); err != nil {
			t.Fatal(err)
		}
		got, err := r.Get(t.Context(), "shop", stack, n)
		if text := string(got.Definition) + string(got.Files) + string(got.Env); err != nil || got.Unreadable != nil || text != want {
			t.Fatalf("%s: revision %s is %s, %v, %v", when, at, text, got.Unreadable, err)
		}
		switch got, err := copies.Get(t.Context(), "shop", stack, n); {
		case fault.Is(err, fault.NotFound): // it is not in use
		case err != nil || got.Unreadable != nil || string(got.Definition)+string(got.Files)+string(got.Env) != want:
			t.Fatalf("%s: the copy of revision %s: %v, %v", when, at, got.Unreadable, err)
		default:
			found++
		}
	}
	if found < 5 { // the first and the last of each stack, until there is another
		t.Fatalf("%s: there are %d copies", when, found)
	}
	text, err := os.ReadFile(h.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

// TestRenewedRevisions: what is kept is readable afterwards, and nothing of it opens with the former key.
func TestRenewedRevisions(t *testing.T) {
	h := newRenewals(t)
	former, err := os.ReadFile(h.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	plain := revision("dev", 1000)
	n, err := records.NewRevisions(h.db, "").Add(t.Context(), plain, 1) // as it was kept before there was a key
	if err != nil {
		t.Fatal(err)
	}
	var harmed []byte
	err = h.db.Update(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO revisions SELECT project, 'harmed', rev, created, author, definition, files, env FROM revisions WHERE stack = 'prod' AND rev = 1`); err != nil {
			return err
		}
		return tx.QueryRowContext(t.Context(), `SELECT env FROM revisions WHERE stack = 'harmed'`).Scan(&harmed)
	})
	if err != nil {
		t.Fatal(err)
	}
	r := h.revisions(store.OS)
	if sealed, err := r.Renew(t.Context()); err != nil || sealed != 91 {
		t.Fatalf("%d were sealed anew, %v", sealed, err)
	}
	if keys := h.whole(t, "renewed"); keys != 1 {
		t.Errorf("%d keys are left", keys)
	}
	if got, err := r.Get(t.Context(), "shop", "dev", n); err != nil || string(got.Definition) != string(plain.Definition) {
		t.Errorf("a plain one: %+v, %v", got, err)
	}
	if n, err := r.Add(t.Context(), revision("dev", 1001), 1); err != nil || n == 0 {
		t.Errorf("the next one: %v", err)
	}
	err = h.db.View(t.Context(), func(tx *sql.Tx) error {
		var now []byte
		err := tx.QueryRowContext(t.Context(), `SELECT env FROM revisions WHERE stack = 'harmed'`).Scan(&now)
		if !bytes.Equal(now, harmed) {
			t.Errorf("what cannot be opened was changed")
		}
		if err != nil {
			return err
		}
		var text string
		err = tx.QueryRowContext(t.Context(), `SELECT env FROM revisions WHERE stack = 'dev' AND rev = ?`, n).Scan(&text)
		if len(text) < 11 || text[:11] != `{"sealed":"` {
			t.Errorf("the plain one is still plain: %.40s", text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.keyFile(), former, 0o600); err != nil {
		t.Fatal(err)
	}
	r = h.revisions(store.OS)
	copies := records.NewRevisions(storetest.New(t), filepath.Join(h.home, "revisions")).SealWith(vault.NewBox(h.keyFile(), store.OS))
	for _, stack := range []string{"dev", "prod", "test"} {
		for what, r := range map[string]*records.Revisions{"the database": r, "a copy": copies} {
			if got, err := r.Get(t.Context(), "shop", stack, 1); err != nil || got.Unreadable == nil {
				t.Errorf("%s of %s opens with the former key: %v", what, stack, err)
			}
		}
	}
}

// TestNothingToRenew: without a key there is none to renew, and none is made.
func TestNothingToRenew(t *testing.T) {
	h := &renewals{home: t.TempDir(), db: storetest.New(t)}
	for _, r := range []*records.Revisions{h.revisions(store.OS), records.NewRevisions(h.db, ""), records.NewRevisions(h.db, "").SealWith(flipper{})} {
		if n, err := r.Renew(t.Context()); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := r.Finish(t.Context()); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if _, err := os.Stat(h.keyFile()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
}

// refuser is a disk that refuses its nth change.
type refuser struct {
	store.Disk
	at int
}

func (d *refuser) step() error {
	if d.at--; d.at == 0 {
		return errCut
	}
	return nil
}

func (d *refuser) Write(name string, data []byte) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Disk.Write(name, data)
}

func (d *refuser) Rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Disk.Rename(from, to)
}

func (d *refuser) SyncDir(dir string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Disk.SyncDir(dir)
}

// TestARefusedRenewal: at whichever step the disk of the key refuses, all stays readable, for the daemon that goes on as well
// as for the next one, which brings it to its end.
func TestARefusedRenewal(t *testing.T) {
	for step := 1; ; step++ {
		h := newRenewals(t)
		r := h.revisions(&refuser{store.OS, step})
		_, err := r.Renew(t.Context())
		if err == nil {
			if step != 7 { // each of the two times that the key is written: its text, its name, its folder
				t.Errorf("there were %d steps", step-1)
			}
			return
		}
		if f := fault.From(err); f.Reason != store.NotDurable {
			t.Errorf("step %d: %v", step, err)
		}
		h.whole(t, fmt.Sprintf("refused at step %d", step))
		if n, err := r.Add(t.Context(), revision("dev", 5000), 1); err != nil {
			t.Errorf("step %d: revision %d: %v", step, n, err)
		}
		if _, err := h.revisions(store.OS).Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if keys := h.whole(t, fmt.Sprintf("refused at step %d, then ended", step)); keys != 1 {
			t.Errorf("step %d: %d keys are left", step, keys)
		}
		if got, err := h.revisions(store.OS).Latest(t.Context(), "shop", "dev"); err != nil || got.Unreadable != nil {
			t.Errorf("step %d: what was kept meanwhile: %v, %v", step, got.Unreadable, err)
		}
	}
}

// TestMain lets the test binary be the program that gets killed.
func TestMain(m *testing.M) {
	if home := os.Getenv("STORE_TEST_RENEW"); home != "" {
		renewForEver(home)
	}
	goleak.VerifyTestMain(m)
}

// renewForEver renews the key of a home again and again.
func renewForEver(home string) {
	db, err := store.Open(filepath.Join(home, "omnitron.db"), quiet)
	for err == nil {
		r := (&renewals{home: home, db: db}).revisions(store.OS)
		if _, err = r.Finish(context.Background()); err == nil {
			_, err = r.Renew(context.Background())
		}
		fmt.Println("renewed")
	}
	fmt.Println(err)
	os.Exit(1)
}

// TestKillWhileRenewing kills who renews, at any moment: all is readable afterwards, and a renewal that was cut short is
// brought to its end.
func TestKillWhileRenewing(t *testing.T) {
	h := newRenewals(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	short := 0
	for round := range 30 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TEST_RENEW="+h.home)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 8)
		if _, err := out.Read(line); err != nil || string(line) != "renewed\n" {
			t.Fatalf("round %d: %q, %v", round, line, err)
		}
		time.Sleep(time.Duration(random.IntN(40_000)) * time.Microsecond) // at a random moment
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if h.whole(t, fmt.Sprintf("round %d", round)) > 1 {
			short++
		}
	}
	if short == 0 {
		t.Error("no renewal was cut short: the test looks at nothing")
	}
	if _, err := h.revisions(store.OS).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys := h.whole(t, "at the end"); keys != 1 {
		t.Errorf("%d keys are left", keys)
	}
}
