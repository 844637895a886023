package imports

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

var packageJSON = format{
	name: "package.json", about: "package.json: its scripts that stay: start, or else dev or serve, and workers",
	match: func(base, _ string) bool { return base == "package.json" },
	read:  readPackageJSON,
}

var workers = regexp.MustCompile(`^((start|dev|serve):)?(worker|queue|scheduler|jobs?|consumer)s?(:[a-z]+)?$|^(start|serve):[a-z0-9_-]+$`)

func readPackageJSON(r *reading) error {
	root, err := source.JSON(r.shown(r.path), r.text)
	if err != nil {
		return err
	}
	scripts := root.Find("scripts")
	if scripts == nil || scripts.Kind != source.Map || len(scripts.Pairs) == 0 {
		return r.at(0).Wrong("it has no scripts")
	}
	manager := "npm"
	for file, m := range map[string]string{"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lockb": "bun", "bun.lock": "bun"} {
		if _, err := r.Read(filepath.Join(r.dir(), file)); err == nil {
			manager = m
		}
	}
	if m, _, _ := strings.Cut(root.Get("packageManager"), "@"); slices.Contains([]string{"npm", "pnpm", "yarn", "bun"}, m) {
		manager = m
	}
	main := ""
	for _, name := range []string{"start", "serve", "dev"} {
		if main == "" && scripts.Get(name) != "" {
			main = name
		}
	}
	for _, p := range scripts.Pairs {
		if p.Key != main && !workers.MatchString(p.Key) || p.Value.Kind != source.Scalar || p.Value.Text == "" {
			r.Drop(p.Place, p.Key, "it is taken for a script that is run by hand, and not for a program that stays")
			continue
		}
		name := p.Key
		if name == main {
			if name = root.Get("name"); name == "" {
				name = filepath.Base(r.dir())
			}
			if _, last, ok := strings.Cut(name, "/"); ok {
				name = last
			}
		}
		a := r.App(p.Place, name)
		a.Set(p.Place, p.Key, "command", argv([]string{manager, "run", p.Key}))
		r.place(a, p.Place, "folder", r.dir(), "")
	}
	if w := root.Find("workspaces"); w != nil {
		r.Drop(w.Place, "workspaces", "name the package.json of those that run to omnitron import too")
	}
	if main == "" && len(r.Apps()) == 0 {
		r.Drop(scripts.Place, "scripts", "there is none of start, serve, dev, and nothing that looks like a worker")
	}
	return nil
}

var goMod = format{
	name: "go.mod", about: "go.mod: the main packages of a module, in its folder and below cmd",
	match: func(base, _ string) bool { return base == "go.mod" },
	read:  readGoMod,
}

var (
	moduleLine  = regexp.MustCompile(`(?m)^module[ \t]+"?([^\s"]+)"?`)
	packageMain = regexp.MustCompile(`(?m)^package[ \t]+main\b`)
)

func readGoMod(r *reading) error {
	m := moduleLine.FindStringSubmatch(r.text)
	if m == nil {
		return r.at(0).Wrong("it names no module")
	}
	found := map[string]bool{}
	for _, pattern := range []string{"*.go", "cmd/*/*.go"} {
		files, err := r.Glob(filepath.Join(r.dir(), filepath.FromSlash(pattern)))
		if err != nil {
			return r.at(0).Wrong("cannot look for packages: %v", err)
		}
		slices.Sort(files)
		for _, file := range files {
			dir := filepath.Dir(file)
			if strings.HasSuffix(file, "_test.go") || found[dir] {
				continue
			}
			text, there, err := r.open(file)
			if err != nil || !there {
				return err
			}
			if !packageMain.MatchString(text) {
				continue
			}
			found[dir] = true
			rel, err := filepath.Rel(r.dir(), dir)
			if err != nil {
				return r.at(0).Wrong("%v", err)
			}
			name := filepath.Base(m[1])
			if rel != "." {
				name = filepath.Base(dir)
			}
			if !bareWords.MatchString(rel) || strings.Contains(rel, " ") {
				r.Drop(source.Place{File: r.shown(file)}, rel, "its folder has a name that a shell would not take as it is")
				continue
			}
			at := source.Place{File: r.shown(file)}
			a := r.App(at, name)
			bin := "bin/" + a.Name
			a.Set(at, "package main", "command", draft.Text("go build -o "+bin+" ./"+filepath.ToSlash(rel)+" && exec ./"+bin))
			r.place(a, at, "folder", r.dir(), "")
		}
	}
	if len(found) == 0 {
		r.Drop(r.at(0), m[1], "there is no main package in its folder, nor in one below cmd")
	}
	return nil
}
