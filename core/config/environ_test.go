package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestHome(t *testing.T) {
	for _, c := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"HOME": "/home/ann"}, "/home/ann/.omnitron"},
		{map[string]string{"HOME": "/home/ann", "OMNITRON_HOME": "/var/o"}, "/var/o"},
		{nil, ""},
	} {
		if got := Home(func(name string) string { return c.vars[name] }); got != c.want {
			t.Errorf("%v: %q, want %q", c.vars, got, c.want)
		}
	}
}

// given are variables that the supervisor sets and the sample app reads.
var given = []string{"OMNITRON_INSTANCE", "PORT"}

// TestEnvVars reads the whole source: every variable that it reads is declared, and every one that is declared is read.
func TestEnvVars(t *testing.T) {
	read := map[string]string{}
	set := token.NewFileSet()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (slices.Contains([]string{"evals", "testdata", "bin"}, d.Name()) || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 || !reads(call.Fun) {
				return true
			}
			if l, ok := call.Args[0].(*ast.BasicLit); ok {
				name, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				read[name] = set.Position(l.Pos()).String()
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	declared := func(name string) bool {
		return slices.ContainsFunc(EnvVars, func(v EnvVar) bool { return v.Name == name })
	}
	for name, at := range read {
		if !declared(name) && !slices.Contains(given, name) {
			t.Errorf("%s: %s is read, and not in EnvVars", at, name)
		}
	}
	for _, v := range EnvVars {
		if read[v.Name] == "" {
			t.Errorf("%s is in EnvVars, and nobody reads it", v.Name)
		}
		if v.Doc == "" || strings.HasSuffix(v.Doc, ".") {
			t.Errorf("%s: %q", v.Name, v.Doc)
		}
	}
}

// reads reports whether a function reads a variable of the environment: os.Getenv, os.LookupEnv, or what stands for them.
func reads(fun ast.Expr) bool {
	name := ""
	switch f := fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	return strings.EqualFold(name, "getenv") || strings.EqualFold(name, "lookupenv")
}
