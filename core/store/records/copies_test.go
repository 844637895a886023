package records_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// copiesIn lists the copies below dir.
func copiesIn(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path) // both begin with dir
			found = append(found, rel)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func TestRevisionsComeBackFromTheirCopies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "revisions")
	r := records.NewRevisions(storetest.New(t), dir)
	for n := 1; n <= 5; n++ {
		if _, err := r.Add(t.Context(), revision("dev", n), 2); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"shop/dev/2.json", "shop/dev/5.json"}, copiesIn(t, dir)); diff != "" {
		t.Errorf("copies of what is in use (2) and of the newest:\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "shop/dev/5.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a copy, which may hold secrets, has mode %v, %v", info.Mode(), err)
	}

	lost := records.NewRevisions(storetest.New(t), dir) // another database: the first was damaged
	want := revision("dev", 5)
	want.Rev = 5
	got, err := lost.Get(t.Context(), "shop", "dev", 5)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v\n%s", err, diff)
	}
	if _, err := lost.Get(t.Context(), "shop", "dev", 4); !fault.Is(err, fault.NotFound) {
		t.Errorf("one without a copy: %v", err)
	}
	heads, err := lost.Heads(t.Context())
	if err != nil || len(heads) != 1 || heads[0].Rev != 5 {
		t.Errorf("it is not in the database again: %v, %v", heads, err)
	}
	if n, err := lost.Add(t.Context(), revision("dev", 6), 5); err != nil || n != 6 {
		t.Errorf("the next number is %d, %v", n, err)
	}
	if err := lost.Delete(t.Context(), "shop", "dev"); err != nil {
		t.Fatal(err)
	}
	if left := copiesIn(t, dir); len(left) != 0 {
		t.Errorf("copies of a deleted stack: %v", left)
	}
}

func TestDamagedCopyIsNone(t *testing.T) {
	dir := t.TempDir()
	if _, err := records.NewRevisions(storetest.New(t), dir).Add(t.Context(), revision("dev", 1)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "shop/dev/1.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"half": string(text[:len(text)/2]), "zeroes": strings.Repeat("\x00", len(text)), "another's": strings.Replace(string(text), `"rev":1`, `"rev":2`, 1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := records.NewRevisions(storetest.New(t), dir).Get(t.Context(), "shop", "dev", 1); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCopyThatCannotBeWritten: no revision without its copy.
func TestCopyThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	r := records.NewRevisions(storetest.New(t), dir)
	if _, err := r.Add(t.Context(), revision("dev", 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "shop/dev/2.json.tmp"), 0o700); err != nil { // where the copy is written first
		t.Fatal(err)
	}
	if n, err := r.Add(t.Context(), revision("dev", 2), 1); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("%d, %v", n, err)
	}
	if last, err := r.Latest(t.Context(), "shop", "dev"); err != nil || last.Rev != 1 {
		t.Errorf("the newest is %d, %v", last.Rev, err)
	}
	if diff := cmp.Diff([]string{"shop/dev/1.json"}, copiesIn(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// uncommitted undoes what it has done.
type uncommitted struct{ *store.Store }

func (u uncommitted) Update(ctx context.Context, fn func(*sql.Tx) error) error {
	return u.Store.Update(ctx, func(tx *sql.Tx) error { return errors.Join(fn(tx), errors.New("no")) })
}

// TestRevisionThatWasNotCommitted: its copy is replaced by the next one of its number.
func TestRevisionThatWasNotCommitted(t *testing.T) {
	dir := t.TempDir()
	db := storetest.New(t)
	if n, err := records.NewRevisions(uncommitted{db}, dir).Add(t.Context(), revision("dev", 1)); err == nil {
		t.Fatalf("revision %d was committed", n)
	}
	if n, err := records.NewRevisions(db, dir).Add(t.Context(), revision("dev", 2)); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	want := revision("dev", 2)
	want.Rev = 1
	got, err := records.NewRevisions(storetest.New(t), dir).Get(t.Context(), "shop", "dev", 1)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
