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
	Read:  readPackageJSON, Known: map[string]map[string]format.Rule{"package": packageKeys},
}

const (
	aboutPackage = "it is about the package, and not about how it is run"
	ofInstall    = "it is about what is installed: have that done before up"
	ofTools      = "it is read by the tools that it is about"
)

// packageKeys is what becomes of the keys beside scripts.
var packageKeys = map[string]format.Rule{
	"scripts": format.Done, "name": format.Done, "packageManager": format.Done,
	"workspaces":  format.No("name the package.json of those that run to omnitron import too"),
	"description": format.No(aboutPackage), "version": format.No(aboutPackage), "private": format.No(aboutPackage), "license": format.No(aboutPackage), "author": format.No(aboutPackage),
	"contributors": format.No(aboutPackage), "maintainers": format.No(aboutPackage), "funding": format.No(aboutPackage), "homepage": format.No(aboutPackage), "bugs": format.No(aboutPackage),
	"repository": format.No(aboutPackage), "keywords": format.No(aboutPackage), "files": format.No(aboutPackage), "directories": format.No(aboutPackage), "man": format.No(aboutPackage),
	"main": format.No(aboutPackage), "module": format.No(aboutPackage), "browser": format.No(aboutPackage), "types": format.No(aboutPackage), "typings": format.No(aboutPackage),
	"exports": format.No(aboutPackage), "imports": format.No(aboutPackage), "type": format.No(aboutPackage), "sideEffects": format.No(aboutPackage), "publishConfig": format.No(aboutPackage),
	"bin":          format.No("it is what others run of the package, and not what stays"),
	"dependencies": format.No(ofInstall), "devDependencies": format.No(ofInstall), "peerDependencies": format.No(ofInstall), "peerDependenciesMeta": format.No(ofInstall),
	"optionalDependencies": format.No(ofInstall), "bundledDependencies": format.No(ofInstall), "bundleDependencies": format.No(ofInstall), "overrides": format.No(ofInstall), "resolutions": format.No(ofInstall),
	"trustedDependencies": format.No(ofInstall), "pnpm": format.No(ofInstall), "os": format.No(ofInstall), "cpu": format.No(ofInstall), "libc": format.No(ofInstall),
	"engines": format.No("which node is there is not looked at"), "devEngines": format.No("which node is there is not looked at"), "volta": format.No("which node is there is not looked at"),
	"config":       format.No("the package manager hands it to its scripts by itself"),
	"eslintConfig": format.No(ofTools), "prettier": format.No(ofTools), "jest": format.No(ofTools), "babel": format.No(ofTools), "browserslist": format.No(ofTools), "lint-staged": format.No(ofTools),
	"husky": format.No(ofTools), "nodemonConfig": format.No(ofTools), "tsup": format.No(ofTools), "ava": format.No(ofTools), "mocha": format.No(ofTools), "c8": format.No(ofTools), "nyc": format.No(ofTools),
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
		if verb, of, ok := around(p.Key); ok && scripts.Find(of) != nil {
			r.Drop(p.Place, p.Key, "the package manager may run it "+verb+" "+of+", and is left to")
			continue
		}
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
	r.Drops(root, packageKeys)
	if main == "" && len(r.Apps()) == 0 {
		r.Drop(scripts.Place, "scripts", "there is none of start, serve, dev, and nothing that looks like a worker")
	}
	return nil
}

// around tells prestart and poststart, which npm runs around start.
func around(key string) (verb, of string, ok bool) {
	if of, ok = strings.CutPrefix(key, "pre"); ok && of != "" {
		return "before", of, true
	}
	of, ok = strings.CutPrefix(key, "post")
	return "after", of, ok && of != ""
}
