package records

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
)

// copies keeps the revisions that are in use a second time, as <dir>/<project>/<stack>/<rev>.json: what runs must be known
// even when the database was damaged. Without a folder it keeps none.
type copies struct{ dir string }

// revisionCopy is the content of a file.
type revisionCopy struct {
	Version    int             `json:"version"`
	Project    string          `json:"project"`
	Stack      string          `json:"stack"`
	Rev        int64           `json:"rev"`
	Created    time.Time       `json:"created"`
	By         string          `json:"by"`
	Definition json.RawMessage `json:"definition"`
	Files      json.RawMessage `json:"files"`
	Env        json.RawMessage `json:"env"`
}

func (c copies) path(project, stack string, rev int64) string {
	return filepath.Join(c.dir, project, stack, strconv.FormatInt(rev, 10)+".json")
}

// write returns when the copy is durable.
func (c copies) write(r Revision) error {
	if c.dir == "" {
		return nil
	}
	text, err := json.Marshal(revisionCopy{1, r.Project, r.Stack, r.Rev, r.Created, r.By, orNull(r.Definition), orNull(r.Files), orNull(r.Env)})
	if err != nil {
		return fmt.Errorf("cannot encode a revision: %w", err)
	}
	path := c.path(r.Project, r.Stack, r.Rev)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := store.OS.Write(path+".tmp", text); err != nil {
		_ = store.OS.Remove(path + ".tmp") // so that half a copy does not fill the disk of others
		return err
	}
	if err := store.OS.Rename(path+".tmp", path); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Dir(dir), c.dir, filepath.Dir(c.dir)} { // any of them may be new
		if err := store.OS.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// read gives a copy; fs.ErrNotExist where there is none, or none that makes sense.
func (c copies) read(project, stack string, rev int64) (Revision, error) {
	if c.dir == "" {
		return Revision{}, fs.ErrNotExist
	}
	data, err := store.OS.Read(c.path(project, stack, rev))
	if err != nil {
		return Revision{}, err
	}
	var f revisionCopy
	if err := json.Unmarshal(data, &f); err != nil || f.Version != 1 || f.Project != project || f.Stack != stack || f.Rev != rev {
		return Revision{}, fmt.Errorf("%s is damaged: %w", c.path(project, stack, rev), errors.Join(fs.ErrNotExist, err))
	}
	return Revision{Project: f.Project, Stack: f.Stack, Rev: f.Rev, Created: f.Created, By: f.By, Definition: f.Definition, Files: f.Files, Env: f.Env}, nil
}

// each reads every copy that makes sense, in the order of their names, until fn fails.
func (c copies) each(fn func(Revision) error) error {
	if c.dir == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(c.dir, "*", "*", "*.json"))
	if err != nil {
		return fmt.Errorf("cannot list the copies of revisions: %w", err)
	}
	for _, path := range files {
		stack := filepath.Dir(path)
		number, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".json"), 10, 64)
		if err != nil {
			continue
		}
		r, err := c.read(filepath.Base(filepath.Dir(stack)), filepath.Base(stack), number)
		switch {
		case errors.Is(err, fs.ErrNotExist): // nobody can use it
		case err != nil:
			return fmt.Errorf("cannot read the copy of a revision: %w", err)
		default:
			if err := fn(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// retain removes the copies of a stack but for some. What is newer than all of these is being written for somebody else, and
// stays. What cannot be removed is tried again with the next revision.
func (c copies) retain(project, stack string, keep []int64) {
	if c.dir == "" {
		return
	}
	dir := filepath.Dir(c.path(project, stack, 0))
	es, _ := os.ReadDir(dir) // none is nothing to remove
	for _, e := range es {
		number, _, _ := strings.Cut(e.Name(), ".")
		if rev, err := strconv.ParseInt(number, 10, 64); err != nil || len(keep) == 0 || rev < slices.Max(keep) && !slices.Contains(keep, rev) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	if len(keep) == 0 {
		_ = os.Remove(dir) // only if they are empty
		_ = os.Remove(filepath.Dir(dir))
	}
}
