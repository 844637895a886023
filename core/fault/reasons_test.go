package fault

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// composed are reasons that no literal says: the supervisor makes them of the name of a command.
var composed = map[string]string{
	"start_failed": "start", "stop_failed": "stop", "restart_failed": "restart", "reload_failed": "reload", "scale_failed": "scale", "apply_failed": "apply",
}

// TestReasons reads the whole source: each reason that it gives is explained, and each one that is explained is given.
func TestReasons(t *testing.T) {
	given := reasons(t, filepath.Join("..", ".."))
	if len(given) < 100 {
		t.Fatalf("only %d reasons were found: the scan does not see them", len(given))
	}
	for word, places := range given {
		if _, ok := Reasons[word]; !ok {
			t.Errorf("%s: reason %q is not explained in Reasons", places[0], word)
		}
	}
	for word, r := range Reasons {
		if given[word] == nil && composed[word] == "" {
			t.Errorf("reason %q is explained and never given", word)
		}
		for _, text := range []string{r.Means, r.Next} {
			if !strings.HasSuffix(text, ".") || strings.Contains(text, "\n") || strings.TrimSpace(text) != text {
				t.Errorf("%s: %q is no sentence", word, text)
			}
		}
		if strings.ToLower(word) != word || strings.ContainsAny(word, " -.") {
			t.Errorf("%q is no word of its own in snake_case", word)
		}
	}
}

// TestScan: the scan sees every way in which a reason is given.
func TestScan(t *testing.T) {
	for text, want := range map[string]string{
		`var e = fault.New(c, "x").WithReason("one")`:              "one",
		`const Two = "two"; var e = f.WithReason(store.Two)`:       "two",
		`var e = &protocol.Error{Code: "x", Reason: "three"}`:      "three",
		`var e = fault.Error{Reason: "four"}`:                      "four",
		`var e = refusal("invalid", "five", "text")`:               "five",
		`var r = Result{Reason: "not one", code: "six"}`:           "six",
		`func f() { if a, code = g(), "seven"; true { } }`:         "seven",
		`func f() { r.Reason, r.code = "not one either", "eight"}`: "eight",
		`var r = view.Result{Reason: "not one", Code: "nine"}`:     "nine",
	} {
		found := map[string][]string{}
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package supervisor\n"+text, 0)
		if err != nil {
			t.Fatal(err)
		}
		consts := map[string]string{}
		constants(file, consts)
		scan(file, consts, func(word string, _ token.Pos) { found[word] = nil })
		if got := strings.Join(slices.Collect(maps.Keys(found)), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// reasons gives every reason that the source gives, with its places.
func reasons(t *testing.T, root string) map[string][]string {
	t.Helper()
	set, consts, found := token.NewFileSet(), map[string]string{}, map[string][]string{}
	var files []*ast.File
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"evals", "testdata", "toolstest", "hosttest", "bin"}, d.Name()), d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return filepath.SkipDir
		case d.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err == nil {
			files = append(files, file)
			constants(file, consts)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		scan(file, consts, func(word string, at token.Pos) { found[word] = append(found[word], set.Position(at).String()) })
	}
	return found
}

// constants collects the constants that are texts, by their names.
func constants(file *ast.File, into map[string]string) {
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, name := range v.Names {
				if i < len(v.Values) {
					if text, ok := literal(v.Values[i]); ok {
						into[name.Name] = text
					}
				}
			}
		}
	}
}

// scan finds the reasons that a file gives: as an argument of WithReason or refusal, in a literal of an Error, and as the
// code of a result of the supervisor.
func scan(file *ast.File, consts map[string]string, found func(string, token.Pos)) {
	take := func(e ast.Expr) {
		word, ok := literal(e)
		if !ok {
			word, ok = consts[last(e)]
		}
		if ok && word != "" {
			found(word, e.Pos())
		}
	}
	ours := slices.Contains([]string{"supervisor", "runner", "view"}, file.Name.Name)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch name := last(n.Fun); {
			case name == "WithReason" && len(n.Args) == 1:
				take(n.Args[0])
			case name == "refusal" && len(n.Args) > 2:
				take(n.Args[1])
			}
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				key := last(kv.Key)
				if key == "Reason" && last(n.Type) == "Error" || ours && (key == "code" || key == "Code" && last(n.Type) == "Result") {
					take(kv.Value)
				}
			}
		case *ast.AssignStmt:
			for i, to := range n.Lhs {
				if ours && strings.EqualFold(last(to), "code") && len(n.Rhs) == len(n.Lhs) {
					take(n.Rhs[i])
				}
			}
		}
		return true
	})
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// last is the last name of an expression: of x.Y it is Y.
func last(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}
