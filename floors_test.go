package omnitron_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// floors orders the folders: a package imports only packages of floors below its own, and of its own folder. The longest
// prefix counts.
var floors = map[string]int{
	"core/fault": -1, "core/op": 0,
	"core": 1, "core/host": 2, "core/services": 3,
	"tools": 4, "transports/wire": 4,
	"tools/catalog": 5, "tools/docs": 5,
	"mcp": 6, "transports": 6, "cmd/cli": 6,
	"cmd": 7, "evals": 7, "tools/docs/gen": 7, ".": 7,
}

// homes says where a third-party library may be imported; tests may import any of them.
var homes = map[string][]string{
	"github.com/mark3labs/mcp-go":      {"mcp"},
	"github.com/spf13/cobra":           {"cmd"},
	"github.com/spf13/pflag":           {"cmd/cli"},
	"github.com/itchyny/gojq":          {"cmd/cli"},
	"github.com/google/jsonschema-go":  {"tools/schema"},
	"github.com/goccy/go-yaml":         {"core/config", "core/imports", "cmd/cli"},
	"github.com/dop251/goja":           {"core/imports/script"},
	"modernc.org/sqlite":               {"core/store"},
	"github.com/pressly/goose/v3":      {"core/store"},
	"github.com/klauspost/compress":    {"core/journal"},
	"github.com/netresearch/go-cron":   {"core/sched"},
	"golang.org/x/sys":                 {"core", "cmd", "transports", "evals"},
	"golang.org/x/term":                {"cmd/cli"},
	"golang.org/x/crypto":              {"core/vault", "core/token"},
	"golang.org/x/text":                {"core/token"},
	"github.com/golang-jwt/jwt/v5":     {"core/token"},
	"github.com/coreos/go-systemd/v22": {"cmd/boot", "cmd/daemon"},
}

// goers may start goroutines; everything else is called, and returns.
var goers = []string{"core/keeper", "core/life", "core/supervisor", "core/proc", "core/job", "transports/wire", "transports/http", "mcp", "evals", "core/store/storetest", "core/host/hosttest"}

// still are rooms in the house of one that may: they are told, and tell, and do nothing by themselves.
var still = []string{"core/supervisor/account", "core/supervisor/errand", "core/supervisor/intent", "core/supervisor/launch", "core/supervisor/mailbox", "core/supervisor/naming",
	"core/supervisor/needs", "core/supervisor/plan", "core/supervisor/ports", "core/supervisor/restart", "core/supervisor/sockets", "core/supervisor/target", "core/supervisor/view"}

// A room, which is a package, has at most so many files, and a file so many lines; tests and generated code do not count. What
// has grown beyond that is two things.
const (
	roomFiles = 12
	fileLines = 400
)

func TestFloors(t *testing.T) { report(t, checkImports(t, os.DirFS("."))) }

func TestGoStatements(t *testing.T) { report(t, checkGo(t, os.DirFS("."))) }

func TestPackageComments(t *testing.T) { report(t, checkComments(t, os.DirFS("."))) }

func TestRooms(t *testing.T) { report(t, checkRooms(t, os.DirFS("."))) }

func TestTopLevel(t *testing.T) {
	allowed := []string{"mcp", "tools", "core", "transports", "cmd", "evals", "docs", "go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "floors_test.go", "bin"}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n := e.Name(); !strings.HasPrefix(n, ".") && !slices.Contains(allowed, n) {
			t.Errorf("%s does not belong at the top level", n)
		}
	}
}

func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

// TestPlanted plants a violation of each rule and sees it found: these tests can fail.
func TestPlanted(t *testing.T) {
	mod := &fstest.MapFile{Data: []byte("module example.org/m\n")}
	for name, c := range map[string]struct {
		check func(*testing.T, fs.FS) []string
		files map[string]string
		want  int
	}{
		"core imports tools":        {checkImports, map[string]string{"core/a/a.go": `package a; import _ "example.org/m/tools"`}, 1},
		"a service imports another": {checkImports, map[string]string{"core/services/a/a.go": `package a; import _ "example.org/m/core/services/b"`}, 1},
		"planes import each other":  {checkImports, map[string]string{"mcp/a.go": `package mcp; import _ "example.org/m/transports/unix"`}, 1},
		"a library far from home":   {checkImports, map[string]string{"core/a/a.go": `package a; import _ "github.com/spf13/cobra"`}, 1},
		"an unlisted library":       {checkImports, map[string]string{"core/a/a.go": `package a; import _ "example.com/x"`}, 1},
		"what is allowed":           {checkImports, map[string]string{"tools/a.go": `package tools; import _ "example.org/m/core/op"`, "core/a/a.go": `package a; import ("context"; _ "example.org/m/core/a/b")`}, 0},
		"a goroutine in a service":  {checkGo, map[string]string{"core/services/a/a.go": "package a\nfunc f() { go f() }"}, 1},
		"a WaitGroup.Go in a plane": {checkGo, map[string]string{"transports/unix/a.go": "package unix\nimport \"sync\"\nfunc f() { var w sync.WaitGroup; w.Go(f) }"}, 1},
		"a goroutine in life":       {checkGo, map[string]string{"core/life/a.go": "package life\nfunc f() { go f() }"}, 0},
		"a goroutine in a runner":   {checkGo, map[string]string{"core/supervisor/runner/a.go": "package runner\nfunc f() { go f() }"}, 0},
		"a goroutine in a plan":     {checkGo, map[string]string{"core/supervisor/plan/a.go": "package plan\nfunc f() { go f() }"}, 1},
		"no package comment":        {checkComments, map[string]string{"core/a/a.go": "package a"}, 1},
		"a room of 13 files":        {checkRooms, room(13, 1), 1},
		"a room of 12 files":        {checkRooms, room(12, 400), 0},
		"a file of 401 lines":       {checkRooms, room(1, 401), 1},
		"long tests":                {checkRooms, map[string]string{"core/a/a_test.go": "package a" + strings.Repeat("\n", 500)}, 0},
		"long generated code":       {checkRooms, map[string]string{"core/a/a.go": "// Code generated by a. DO NOT EDIT.\n\npackage a" + strings.Repeat("\n", 500)}, 0},
		"a package comment":         {checkComments, map[string]string{"core/a/a.go": "// Package a does a.\npackage a", "core/a/b.go": "package a"}, 0},
	} {
		tree := fstest.MapFS{"go.mod": mod}
		for f, text := range c.files {
			tree[f] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := c.check(t, tree); len(got) != c.want {
			t.Errorf("%s: %d findings, want %d: %v", name, len(got), c.want, got)
		}
	}
}

// room makes a package of so many files, each of so many lines.
func room(files, lines int) map[string]string {
	all := map[string]string{}
	for i := range files {
		all[fmt.Sprintf("core/a/a%d.go", i)] = "package a" + strings.Repeat("\n", lines)
	}
	return all
}

// files parses the Go files of a tree.
func files(t *testing.T, tree fs.FS, mode parser.Mode, tests bool, each func(name string, f *ast.File, set *token.FileSet)) {
	t.Helper()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || name != "." && strings.HasPrefix(d.Name(), ".") || name == "bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || !tests && strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, name, text, mode)
		if err == nil {
			each(name, f, set)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func floor(dir string) (folder string, n int) {
	for folder = dir; ; folder = path.Dir(folder) {
		if n, ok := floors[folder]; ok {
			return folder, n
		}
	}
}

// below gives the first folder below prefix that dir lies in: services are each a house of their own.
func below(dir, prefix string) string {
	rest, ok := strings.CutPrefix(dir, prefix+"/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

func checkImports(t *testing.T, tree fs.FS) (problems []string) {
	mod, err := fs.ReadFile(tree, "go.mod")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(mod), "\n")
	module := strings.TrimPrefix(first, "module ") + "/"
	files(t, tree, parser.ImportsOnly, false, func(name string, f *ast.File, _ *token.FileSet) {
		dir := path.Dir(filepath.ToSlash(name))
		from, high := floor(dir)
		for _, spec := range f.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value) // the parser has seen that it is a string
			dep, ours := strings.CutPrefix(imp, module)
			if !ours {
				if p := checkHome(dir, imp); p != "" {
					problems = append(problems, name+": "+p)
				}
				continue
			}
			to, low := floor(dep)
			siblings := low == high && (from != to && !strings.HasPrefix(dir, to) && !strings.HasPrefix(dep, from) ||
				from == "core/services" && below(dir, from) != below(dep, from) ||
				from == "transports" && below(dir, from) != below(dep, from))
			if low > high || siblings {
				problems = append(problems, fmt.Sprintf("%s: floor %d (%s) must not import %s of floor %d", name, high, from, dep, low))
			}
		}
	})
	return problems
}

// checkHome says what is wrong with importing a third-party library in dir.
func checkHome(dir, imp string) string {
	first, _, _ := strings.Cut(imp, "/")
	if !strings.Contains(first, ".") || dir == "evals" || strings.HasPrefix(dir, "evals/") { // programs that test, with whatever helps
		return ""
	}
	for lib, dirs := range homes {
		if imp != lib && !strings.HasPrefix(imp, lib+"/") {
			continue
		}
		for _, home := range dirs {
			if dir == home || strings.HasPrefix(dir, home+"/") {
				return ""
			}
		}
		return imp + " lives in " + strings.Join(dirs, ", ")
	}
	return imp + " has no home: add it to floors_test.go, and say in an ADR what else was looked at"
}

func checkGo(t *testing.T, tree fs.FS) (problems []string) {
	files(t, tree, 0, false, func(name string, f *ast.File, set *token.FileSet) {
		dir := path.Dir(name)
		for _, g := range goers {
			if (dir == g || strings.HasPrefix(dir, g+"/")) && !slices.Contains(still, dir) {
				return
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				problems = append(problems, set.Position(n.Pos()).String()+": a goroutine is started; that is for "+strings.Join(goers, ", "))
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" && len(n.Args) == 1 && (!counted(dir) || waitGroup(f)) {
					problems = append(problems, set.Position(n.Pos()).String()+": a goroutine is started by Go")
				}
			}
			return true
		})
	})
	return problems
}

// counted reports whether a folder may use wire.Group, which bounds, counts and waits for what it runs.
func counted(dir string) bool {
	return strings.HasPrefix(dir, "transports/unix") || strings.HasPrefix(dir, "transports/tcp")
}

// waitGroup reports whether a file uses sync, whose WaitGroup starts goroutines; wire.Group, which is counted and
// waited for, is another matter.
func waitGroup(f *ast.File) bool {
	for _, i := range f.Imports {
		if i.Path.Value == `"sync"` {
			return true
		}
	}
	return false
}

func checkComments(t *testing.T, tree fs.FS) (problems []string) {
	has := map[string]bool{}
	files(t, tree, parser.PackageClauseOnly|parser.ParseComments, false, func(name string, f *ast.File, _ *token.FileSet) {
		dir := path.Dir(name)
		has[dir] = has[dir] || f.Doc != nil && (strings.HasPrefix(f.Doc.Text(), "Package "+f.Name.Name) || strings.HasPrefix(f.Doc.Text(), "Command "))
	})
	for dir, ok := range has {
		if !ok {
			problems = append(problems, dir+": no package comment")
		}
	}
	return problems
}

func checkRooms(t *testing.T, tree fs.FS) (problems []string) {
	rooms := map[string]int{}
	files(t, tree, parser.ParseComments, false, func(name string, f *ast.File, set *token.FileSet) {
		dir := path.Dir(name)
		if ast.IsGenerated(f) {
			return
		}
		rooms[dir]++
		if n := set.File(f.FileStart).LineCount(); n > fileLines {
			problems = append(problems, fmt.Sprintf("%s has %d lines, and the most is %d", name, n, fileLines))
		}
	})
	for dir, n := range rooms {
		if n > roomFiles {
			problems = append(problems, fmt.Sprintf("%s has %d files, and the most is %d: it is two rooms", dir, n, roomFiles))
		}
	}
	return problems
}
