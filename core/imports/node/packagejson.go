package node

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// PackageJSON is package.json: its scripts that stay.
var PackageJSON = format.Format{
	Name: "package.json", About: "package.json: its scripts that stay: start, or else dev or serve, and workers",
	Match: func(base, _ string) bool { return base == "package.json" },
	Read:  readPackageJSON,
}

var workers = regexp.MustCompile(`^((start|dev|serve):)?(worker|queue|scheduler|jobs?|consumer)s?(:[a-z]+)?$|^(start|serve):[a-z0-9_-]+$`)

func readPackageJSON(r *format.Reading) error {
	root, err := source.JSON(r.Shown(r.Path), r.Text)
	if err != nil {
		return err
	}
	scripts := root.Find("scripts")
	if scripts == nil || scripts.Kind != source.Map || len(scripts.Pairs) == 0 {
		return r.At(0).Wrong("it has no scripts")
	}
	manager := "npm"
	for file, m := range map[string]string{"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lockb": "bun", "bun.lock": "bun"} {
		if _, err := r.Read(filepath.Join(r.Folder(), file)); err == nil {
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
				name = filepath.Base(r.Folder())
			}
			if _, last, ok := strings.Cut(name, "/"); ok {
				name = last
			}
		}
		a := r.App(p.Place, name)
		a.Set(p.Place, p.Key, "command", format.Argv([]string{manager, "run", p.Key}))
		r.Cwd(a, p.Place, "folder", r.Folder(), "")
	}
	if w := root.Find("workspaces"); w != nil {
		r.Drop(w.Place, "workspaces", "name the package.json of those that run to omnitron import too")
	}
	if main == "" && len(r.Apps()) == 0 {
		r.Drop(scripts.Place, "scripts", "there is none of start, serve, dev, and nothing that looks like a worker")
	}
	return nil
}
