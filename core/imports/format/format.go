// Package format is what the formats of other supervisors have in common: how a file is told from others and read, and the
// tables that say of each key what becomes of it. A key that no rule of a table takes is listed as one that is not known.
package format

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// World is what an import can see.
type World struct {
	Dir       string                                 // the folder that omnitron.yaml is to lie in, absolute
	Home      string                                 // what ~ stands for
	Read      draft.Reader                           // a file's text
	Glob      func(pattern string) ([]string, error) // files by a pattern
	Listening func(pid int) []int                    // the ports that a living process and its children listen on; may be nil
}

// Shown is a path as reports have it.
func (w World) Shown(path string) string {
	if rel, err := filepath.Rel(w.Dir, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

// Format is a kind of file that can be imported.
type Format struct {
	Name  string                       // how it is called with --from
	About string                       // what it is
	Match func(base, text string) bool // whether a file is of it
	Read  func(*Reading) error         // what it says, into the draft; faults: invalid (import_invalid)
	Known map[string]map[string]Rule   // section → key → rule, for those that have tables
}

// Reading is the import of one file.
type Reading struct {
	World
	*draft.Draft
	Path string // of the file, absolute
	Text string
	Seen map[string]bool // files that were read, by path
}

// Of is the reading of another file, into the same draft.
func (r *Reading) Of(path, text string) *Reading {
	return &Reading{World: r.World, Draft: r.Draft, Path: path, Text: text, Seen: r.Seen}
}

// At is a line of the file; 0 is the file as a whole.
func (r *Reading) At(line int) source.Place { return source.Place{File: r.Shown(r.Path), Line: line} }

// Folder is the one that the file lies in.
func (r *Reading) Folder() string { return filepath.Dir(r.Path) }

// Open reads a file beside the source; false where there is none. Faults: invalid (import_invalid).
func (r *Reading) Open(path string) (string, bool, error) {
	text, err := r.World.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, source.Place{File: r.Shown(path)}.Wrong("cannot read it: %v", err)
	}
	return text, true, nil
}

// Within is a path for the file that is written: relative to its folder where it lies in it.
func (r *Reading) Within(path string) draft.Text {
	if rel, err := filepath.Rel(r.Dir, path); err == nil && filepath.IsLocal(rel) {
		if rel == "." {
			return "."
		}
		return draft.Text("./" + rel)
	}
	return draft.Text(path)
}

// Cwd sets the folder of an app, which is base where the source says none. what is the source's word for it.
func (r *Reading) Cwd(a *draft.App, from source.Place, what, base, dir string) {
	if dir == "" && base == r.Dir {
		return
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(base, dir)
	}
	if filepath.Clean(dir) == r.Dir {
		return
	}
	a.Set(from, what, "cwd", r.Within(dir))
}
