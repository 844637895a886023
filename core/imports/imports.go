// Package imports makes an omnitron.yaml of what another supervisor was told: Procfile, supervisord, pm2, systemd, compose,
// cron, process-compose, npm scripts. It reads texts that are handed to it and runs nothing of the project. What does not
// come over is listed with the reason; nothing is left out silently, because every key that no rule of a format's table
// takes is listed as one that is not known.
package imports

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
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

// format is a kind of file that can be imported.
type format struct {
	name  string                       // how it is called with --from
	about string                       // what it is
	match func(base, text string) bool // whether a file is of it
	read  func(*reading) error         // what it says, into the draft
	known map[string]map[string]rule   // section → key → rule, for those that have tables
}

// formats in the order in which files are asked for.
var formats = []format{procfile, supervisord, pm2, systemd, crontab, processCompose, compose, packageJSON, goMod}

// Formats names the formats, with what they are.
func Formats() [][2]string {
	var out [][2]string
	for _, f := range formats {
		out = append(out, [2]string{f.name, f.about})
	}
	return out
}

// Result is a file made of others.
type Result struct {
	Formats []string     `json:"formats" jsonschema:"what was read: procfile, supervisord, pm2 and so on"`
	Sources []string     `json:"sources" jsonschema:"files that were read"`
	YAML    string       `json:"yaml" jsonschema:"the omnitron.yaml"`
	Apps    int          `json:"apps" jsonschema:"how many apps are in it"`
	Carried int          `json:"carried" jsonschema:"how many settings came over"`
	Changed []draft.Note `json:"changed" jsonschema:"what came over and is not quite the same"`
	Left    []draft.Note `json:"left" jsonschema:"what did not come over, with the reason"`
	Written string       `json:"written,omitempty" jsonschema:"the file that was written"`
}

// reading is one import.
type reading struct {
	World
	*draft.Draft
	path string // of the file, absolute
	text string
	seen map[string]bool // files that were read, by path
}

// Import makes one file of sources. from is a format's name, or "" to tell it by each file's name and content. Faults:
// invalid (import_invalid, import_unknown).
func Import(w World, from string, files ...config.File) (*Result, error) {
	d, used, seen := draft.New(), []string{}, map[string]bool{}
	for _, file := range files {
		f, err := w.formatOf(from, file)
		if err != nil {
			return nil, err
		}
		r := &reading{World: w, Draft: d, path: file.Path, text: file.Text, seen: seen}
		if err := source.Check(w.shown(file.Path), file.Text); err != nil {
			return nil, err
		}
		if seen[file.Path] { // another one has brought it in
			continue
		}
		seen[file.Path] = true
		if !slices.Contains(used, f.name) {
			used = append(used, f.name)
		}
		r.Sources = append(r.Sources, r.shown(file.Path))
		if err := f.read(r); err != nil {
			return nil, err
		}
	}
	if len(d.Apps()) == 0 && len(d.Left) == 0 {
		return nil, source.Place{File: strings.Join(d.Sources, ", ")}.Wrong("there is no program in it")
	}
	out, err := d.Write(filepath.Join(w.Dir, "omnitron.yaml"), strings.Join(d.Sources, ", "), w.Home, w.Read)
	if err != nil {
		return nil, err
	}
	return &Result{Formats: used, Sources: d.Sources, YAML: out.YAML, Apps: out.Apps, Carried: out.Carried, Changed: notNil(out.Changed), Left: notNil(out.Left)}, nil
}

// formatOf tells what a file is.
func (w World) formatOf(from string, file config.File) (*format, error) {
	i := slices.IndexFunc(formats, func(f format) bool {
		return from == f.name || from == "" && f.match(filepath.Base(file.Path), file.Text)
	})
	if i >= 0 {
		return &formats[i], nil
	}
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	if from != "" {
		e := fault.New(fault.Invalid, "there is no format %q", from).WithReason("import_unknown").WithHint("one of: %s", strings.Join(names, ", "))
		if near := fault.Near(from, names); near != "" {
			e = e.WithCandidates(near)
		}
		return nil, e
	}
	return nil, fault.New(fault.Invalid, "it cannot be told what %s is", w.shown(file.Path)).WithReason("import_unknown").
		WithHint("say it: omnitron import --from %s %s", names[0], filepath.Base(file.Path)).WithCandidates(names...)
}

func notNil(n []draft.Note) []draft.Note {
	if n == nil {
		return []draft.Note{}
	}
	return n
}

// shown is a path as reports have it.
func (w World) shown(path string) string {
	if rel, err := filepath.Rel(w.Dir, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

func (r *reading) at(line int) source.Place { return source.Place{File: r.shown(r.path), Line: line} }

// dir is the folder of the file.
func (r *reading) dir() string { return filepath.Dir(r.path) }

// open reads a file beside the source; false where there is none. Faults: invalid (import_invalid).
func (r *reading) open(path string) (string, bool, error) {
	text, err := r.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, source.Place{File: r.shown(path)}.Wrong("cannot read it: %v", err)
	}
	return text, true, nil
}

// within is a path for the file that is written: relative to its folder where it lies in it.
func (r *reading) within(path string) draft.Text {
	if rel, err := filepath.Rel(r.Dir, path); err == nil && filepath.IsLocal(rel) {
		if rel == "." {
			return "."
		}
		return draft.Text("./" + rel)
	}
	return draft.Text(path)
}

// place sets the folder of an app, which is base where the source says none.
func (r *reading) place(a *draft.App, from source.Place, what, base, dir string) {
	if dir == "" && base == r.Dir {
		return
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(base, dir)
	}
	if filepath.Clean(dir) == r.Dir {
		return
	}
	a.Set(from, what, "cwd", r.within(dir))
}
