package records_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// flipper seals by turning every bit over; lost is one without its key.
type flipper struct{ lost bool }

func (f flipper) Seal(text, binding []byte) ([]byte, error) {
	return flip(append(append([]byte{}, binding...), text...)), nil
}

func (f flipper) Open(sealed, binding []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(flip(sealed), binding)
	if f.lost || !ok {
		return nil, errors.New("the key does not fit")
	}
	return text, nil
}

func flip(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		out[i] = ^c
	}
	return out
}

// TestSealedRevisions: nothing of a revision is on the disk as it is, in the database or in its copy; it is as it was for
// whoever has the key, and told to be unreadable to whoever has not.
func TestSealedRevisions(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "revisions")
	db := storetest.Open(t, filepath.Join(home, "omnitron.db"))
	r := records.NewRevisions(db, dir).SealWith(flipper{})
	rev := revision("dev", 1)
	rev.Definition, rev.Env, rev.Files = json.RawMessage(`{"a":"hush-definition"}`), json.RawMessage(`{"A":"hush-env"}`), json.RawMessage(`[{"text":"hush-file"}]`)
	n, err := r.Add(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Add(t.Context(), rev); err != nil || again != n {
		t.Errorf("the same definition once more is revision %d, not %d: %v", again, n, err)
	}
	err = filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("hush-")) {
			t.Errorf("%s shows it", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, get := range map[string]func(*records.Revisions) (records.Revision, error){
		"get": func(r *records.Revisions) (records.Revision, error) {
			return r.Get(t.Context(), rev.Project, rev.Stack, n)
		},
		"latest": func(r *records.Revisions) (records.Revision, error) {
			return r.Latest(t.Context(), rev.Project, rev.Stack)
		},
		"a copy": func(*records.Revisions) (records.Revision, error) {
			return records.NewRevisions(storetest.New(t), dir).SealWith(flipper{}).Get(t.Context(), rev.Project, rev.Stack, n)
		},
	} {
		got, err := get(r)
		if err != nil || got.Unreadable != nil || string(got.Definition)+string(got.Files)+string(got.Env) != string(rev.Definition)+string(rev.Files)+string(rev.Env) {
			t.Errorf("%s gives %s %s %s, %v, %v", what, got.Definition, got.Files, got.Env, got.Unreadable, err)
		}
	}
	got, err := records.NewRevisions(db, dir).SealWith(flipper{lost: true}).Latest(t.Context(), rev.Project, rev.Stack)
	if err != nil || got.Unreadable == nil || !strings.Contains(got.Unreadable.Error(), "does not fit") || got.Definition != nil {
		t.Errorf("without the key: %s, %v, %v", got.Definition, got.Unreadable, err)
	}
	if _, err := records.NewRevisions(db, dir).Add(t.Context(), rev); err != nil { // as it was kept before
		t.Fatal(err)
	}
	if got, err := r.Latest(t.Context(), rev.Project, rev.Stack); err != nil || string(got.Definition) != string(rev.Definition) {
		t.Errorf("a plain one: %s, %v", got.Definition, err)
	}
	err = db.Update(t.Context(), func(tx *sql.Tx) error { // what belongs to another stack
		_, err := tx.ExecContext(t.Context(), `UPDATE revisions SET stack = 'prod' WHERE rev = ?`, n)
		return err
	})
	if got, gerr := r.Get(t.Context(), rev.Project, "prod", n); err != nil || gerr != nil || got.Unreadable == nil {
		t.Errorf("a moved one: %s, %v, %v", got.Definition, err, gerr)
	}
}
