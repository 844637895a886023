// Package imports makes an omnitron.yaml of what another supervisor was told: Procfile, supervisord, pm2, systemd, compose,
// cron, process-compose, npm scripts. It reads texts that are handed to it and runs nothing of the project. What does not
// come over is listed with the reason; nothing is left out silently, because every key that no rule of a format's table
// takes is listed as one that is not known.
package imports

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/machine"
	"github.com/omnitron-dev/omnitron/core/imports/node"
	"github.com/omnitron-dev/omnitron/core/imports/project"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// World is what an import can see.
type World = format.World

// formats in the order in which files are asked for.
var formats = []format.Format{
	project.Procfile, machine.Supervisord, node.PM2, machine.Systemd, machine.Crontab, project.ProcessCompose, project.Compose, node.PackageJSON, project.GoMod,
}

// Formats names the formats, with what they are.
func Formats() [][2]string {
	var out [][2]string
	for _, f := range formats {
		out = append(out, [2]string{f.Name, f.About})
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

// Import makes one file of sources. from is a format's name, or "" to tell it by each file's name and content. Faults:
// invalid (import_invalid, import_unknown).
func Import(w World, from string, files ...config.File) (*Result, error) {
	d, used, seen := draft.New(), []string{}, map[string]bool{}
	for _, file := range files {
		f, err := formatOf(w, from, file)
		if err != nil {
			return nil, err
		}
		r := &format.Reading{World: w, Draft: d, Path: file.Path, Text: file.Text, Seen: seen}
		if err := source.Check(w.Shown(file.Path), file.Text); err != nil {
			return nil, err
		}
		if seen[file.Path] { // another one has brought it in
			continue
		}
		seen[file.Path] = true
		if !slices.Contains(used, f.Name) {
			used = append(used, f.Name)
		}
		r.Sources = append(r.Sources, r.Shown(file.Path))
		if err := f.Read(r); err != nil {
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
func formatOf(w World, from string, file config.File) (*format.Format, error) {
	i := slices.IndexFunc(formats, func(f format.Format) bool {
		return from == f.Name || from == "" && f.Match(filepath.Base(file.Path), file.Text)
	})
	if i >= 0 {
		return &formats[i], nil
	}
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.Name
	}
	if from != "" {
		e := fault.New(fault.Invalid, "there is no format %q", from).WithReason("import_unknown").WithHint("one of: %s", strings.Join(names, ", "))
		if near := fault.Near(from, names); near != "" {
			e = e.WithCandidates(near)
		}
		return nil, e
	}
	return nil, fault.New(fault.Invalid, "it cannot be told what %s is", w.Shown(file.Path)).WithReason("import_unknown").
		WithHint("say it: omnitron import --from %s %s", names[0], filepath.Base(file.Path)).WithCandidates(names...)
}

func notNil(n []draft.Note) []draft.Note {
	if n == nil {
		return []draft.Note{}
	}
	return n
}
