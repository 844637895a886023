package project

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// GoMod is the main packages of a module of Go.
var GoMod = format.Format{
	Name: "go.mod", About: "go.mod: the main packages of a module, in its folder and below cmd",
	Match: func(base, _ string) bool { return base == "go.mod" },
	Read:  readGoMod,
}

var (
	moduleLine  = regexp.MustCompile(`(?m)^module[ \t]+"?([^\s"]+)"?`)
	packageMain = regexp.MustCompile(`(?m)^package[ \t]+main\b`)
)

var directives = []string{"go", "toolchain", "godebug", "require", "replace", "exclude", "retract", "tool", "ignore"}

// listDirectives lists what a go.mod says beside its name. go build reads it by itself.
func listDirectives(r *format.Reading) {
	var known []string
	block := false
	for i, line := range source.Lines(r.Text) {
		line, _, _ = strings.Cut(line, "//")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case block:
			block = words[0] != ")"
		default:
			word := strings.TrimSuffix(words[0], "(")
			block = strings.HasSuffix(strings.TrimSpace(line), "(")
			switch {
			case word == "module" || slices.Contains(known, word):
			case slices.Contains(directives, word):
				known = append(known, word)
			default:
				r.Drop(r.At(i+1), word, "this directive is not known here")
			}
		}
	}
	if len(known) > 0 {
		r.Differs(r.At(0), strings.Join(known, ", "), "go build reads them at each start; nothing of them is in omnitron.yaml")
	}
	r.Differs(r.At(0), "main packages", "they are looked for in the folder of go.mod and in those below cmd, and nowhere else")
}

func readGoMod(r *format.Reading) error {
	m := moduleLine.FindStringSubmatch(r.Text)
	if m == nil {
		return r.At(0).Wrong("it names no module")
	}
	listDirectives(r)
	found := map[string]bool{}
	for _, pattern := range []string{"*.go", "cmd/*/*.go"} {
		files, err := r.Glob(filepath.Join(r.Folder(), filepath.FromSlash(pattern)))
		if err != nil {
			return r.At(0).Wrong("cannot look for packages: %v", err)
		}
		slices.Sort(files)
		for _, file := range files {
			dir := filepath.Dir(file)
			if strings.HasSuffix(file, "_test.go") || found[dir] {
				continue
			}
			text, there, err := r.Open(file)
			if err != nil || !there {
				return err
			}
			if !packageMain.MatchString(text) {
				continue
			}
			found[dir] = true
			rel, err := filepath.Rel(r.Folder(), dir)
			if err != nil {
				return r.At(0).Wrong("%v", err)
			}
			name := filepath.Base(m[1])
			if rel != "." {
				name = filepath.Base(dir)
			}
			if !bareWords.MatchString(rel) || strings.Contains(rel, " ") {
				r.Drop(source.Place{File: r.Shown(file)}, rel, "its folder has a name that a shell would not take as it is")
				continue
			}
			at := source.Place{File: r.Shown(file)}
			a := r.App(at, name)
			bin := "bin/" + a.Name
			a.Set(at, "package main", "command", draft.Text("go build -o "+bin+" ./"+filepath.ToSlash(rel)+" && exec ./"+bin))
			r.Cwd(a, at, "folder", r.Folder(), "")
		}
	}
	if len(found) == 0 {
		r.Drop(r.At(0), m[1], "there is no main package in its folder, nor in one below cmd")
	}
	return nil
}
