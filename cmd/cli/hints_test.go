package cli

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/spf13/cobra"
)

// advised is a text of the source that tells what to do next.
type advised struct {
	place string
	text  string
	plane bool // it may reach callers that are not at a shell
}

// called is a call that the source names for hints.
type called struct {
	place, method string
	inputs        []string
}

// TestHints reads the whole source: each command that a hint names exists and has these flags, each call that a hint names
// exists and has these inputs, and what reaches every plane names no command of the shell where there is a method.
func TestHints(t *testing.T) {
	texts, calls := advice(t, filepath.Join("..", ".."))
	for word, r := range fault.Reasons {
		texts = append(texts, advised{place: "reason " + word, text: r.Next})
	}
	if len(texts) < 150 || len(calls) < 20 {
		t.Fatalf("only %d texts and %d calls were found: the scan does not see them", len(texts), len(calls))
	}
	b := newBench(t)
	root := New(catalog.Specs(), b.env)
	root.InitDefaultHelpCmd()
	named := 0
	for _, a := range texts {
		for _, words := range commands(a.text) {
			named++
			cmd, wrong := command(root, words)
			switch {
			case wrong != "":
				t.Errorf("%s: %q: %s", a.place, a.text, wrong)
			case a.plane && methodOf(cmd) != "" && !strings.Contains(a.text, "a person"):
				t.Errorf("%s: %q is for the shell alone: name a call of %s", a.place, a.text, methodOf(cmd))
			}
		}
	}
	if named < 60 {
		t.Errorf("only %d commands were found in them", named)
	}
	for _, c := range calls {
		spec, ok := specOf(c.method)
		if !ok {
			t.Errorf("%s: there is no method %s", c.place, c.method)
			continue
		}
		for _, name := range c.inputs {
			if _, ok := field.Find(field.Of(spec.In), name); !ok {
				t.Errorf("%s: %s takes no %s", c.place, c.method, name)
			}
		}
	}
}

// TestHintsScan: the walk finds what is wrong.
func TestHintsScan(t *testing.T) {
	root := New(catalog.Specs(), newBench(t).env)
	for text, right := range map[string]bool{
		"omnitron ls --all        every project": true, "omnitron lst": false, "omnitron ls --al": false, "omnitron up -c FILE.": true, "omnitron why -c x": false,
		"a person resumes it with: omnitron agents resume %s": true, "omnitron agents reusme x": false, "omnitron mcp --role.": true,
		"omnitron up in the folder; omnitron bogus": false,
	} {
		wrong := ""
		for _, words := range commands(text) {
			if _, w := command(root, words); w != "" {
				wrong = w
			}
		}
		if (wrong == "") != right {
			t.Errorf("%q: %q", text, wrong)
		}
	}
}

// TestSpelledHints gives every call that the source names as a command, and types that: it is understood.
func TestSpelledHints(t *testing.T) {
	b := newBench(t)
	b.specs = catalog.Specs()
	b.answers["apps.get"] = func(_ context.Context, _ map[string]any) (any, error) {
		return nil, fault.New(fault.NotFound, "no app").WithHint("%s        all\nfor example %s", fault.Do("apps.list", "all", true), fault.Do("apps.list", "project", "a b"))
	}
	if r := b.run(t, "apps", "get", "x"); !strings.Contains(r.err, "try   omnitron ls --all        all\n        for example omnitron ls --project 'a b'\n") {
		t.Errorf("for a person: %q", r.err)
	}
	if f := failure(t, b.run(t, "apps", "get", "x", "-o", "json").out); f.Hint != "omnitron ls --all        all\nfor example omnitron ls --project 'a b'" {
		t.Errorf("for a program: %q", f.Hint)
	}
	b.on("apps.explain", `{"key":"shop/dev/api","state":"stopped","summary":"api is stopped","since":"2026-11-24T12:00:00Z","restarts":0,"exits":[],"stderr":[],"changes":[],"next_steps":["apps.start {\"names\":[\"api\"]}"],"truncated":false}`)
	if r := b.run(t, "why", "api", "--jq", ".next_steps[]"); r.code != 0 || r.out != "omnitron start api\n" {
		t.Errorf("next steps: exit %d, %q, %q", r.code, r.out, r.err)
	}
	b.on("daemon.doctor", `{"ok":false,"checks":[{"name":"keeper","status":"error","what":"none","why":"no","fix":"daemon.restart {}"}]}`)
	if r := b.run(t, "doctor", "--jq", ".checks[].fix"); r.out != "omnitron daemon restart\n" {
		t.Errorf("a fix: exit %d, %q, %q", r.code, r.out, r.err)
	}
}

func specOf(id string) (op.Spec, bool) {
	for _, s := range catalog.Specs() {
		if s.ID() == id {
			return s, true
		}
	}
	return op.Spec{}, false
}

// methodOf is the method that a command is, or "".
func methodOf(cmd *cobra.Command) string {
	if id := cmd.Annotations["method"]; id != "" {
		return id
	}
	for _, s := range catalog.Specs() {
		if s.Top != "" && cmd.CommandPath() == "omnitron "+s.Top {
			return s.ID()
		}
	}
	return ""
}

var (
	typedCommand = regexp.MustCompile(`(?:^|[\s(` + "`" + `])omnitron((?: [^\s,;:)` + "`" + `]+)+)`)
)

// commands are the commands that a text names, each as the words after omnitron up to the next pause.
func commands(text string) (all [][]string) {
	for _, m := range typedCommand.FindAllStringSubmatch(text, -1) {
		words := strings.Fields(m[1])
		for i, w := range words {
			words[i] = strings.TrimSuffix(w, ".")
		}
		if words[0] == "--" { // of another program, and ours behind it
			words = words[2:]
		}
		if words[0] != "…" {
			all = append(all, words)
		}
	}
	return all
}

// command finds the command that words name, and says what is wrong with them.
func command(root *cobra.Command, words []string) (*cobra.Command, string) {
	cmd := root
	at := 0
	for ; at < len(words); at++ {
		var next *cobra.Command
		for _, c := range cmd.Commands() {
			if c.Name() == words[at] {
				next = c
			}
		}
		if next == nil {
			break
		}
		cmd = next
	}
	group := cmd == root || cmd.HasSubCommands() && !strings.Contains(cmd.Use, " ")
	if group && at < len(words) && !strings.HasPrefix(words[at], "-") {
		return cmd, "there is no command omnitron " + strings.Join(words, " ")
	}
	for _, w := range words[at:] {
		if w == "--" { // what follows is another program's
			break
		}
		name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
		switch {
		case !strings.HasPrefix(w, "-") || name == "help" || name == "h":
		case strings.HasPrefix(w, "--") && cmd.Flag(name) == nil, !strings.HasPrefix(w, "--") && cmd.Flags().ShorthandLookup(name) == nil && cmd.InheritedFlags().ShorthandLookup(name) == nil:
			return cmd, cmd.CommandPath() + " has no flag " + w
		}
	}
	return cmd, ""
}

// advice gathers what the source tells to do next, and the calls that it names.
func advice(t *testing.T, root string) (texts []advised, calls []called) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if strings.HasPrefix(rel, "evals"+string(filepath.Separator)) {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		everywhere := !strings.HasPrefix(rel, "cmd"+string(filepath.Separator))
		add := func(n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, _ := strconv.Unquote(lit.Value)
					texts = append(texts, advised{fset.Position(lit.Pos()).String(), text, everywhere})
				}
				return true
			})
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				name := ""
				switch fun := n.Fun.(type) {
				case *ast.SelectorExpr:
					name = fun.Sel.Name
				case *ast.Ident:
					name = fun.Name
				}
				switch name {
				case "WithHint":
					for _, arg := range n.Args {
						add(arg)
					}
				case "Do", "hint":
					if c, ok := callIn(n); ok {
						c.place = fset.Position(n.Pos()).String()
						calls = append(calls, c)
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "Fix" || key.Name == "Hint" || key.Name == "Example") {
					add(n.Value)
				}
			case *ast.CompositeLit:
				if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "warning" {
					add(n)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts, calls
}

var methodID = regexp.MustCompile(`^[a-z]+\.[a-z]+$`)

// callIn reads the call that an expression makes, when its method is written there.
func callIn(n *ast.CallExpr) (c called, ok bool) {
	for i, arg := range n.Args {
		lit, is := arg.(*ast.BasicLit)
		if i%2 == 0 && i > 0 || !is || lit.Kind != token.STRING {
			continue
		}
		text, _ := strconv.Unquote(lit.Value)
		switch {
		case i == 0:
			c.method = text
		default:
			c.inputs = append(c.inputs, text)
		}
	}
	return c, methodID.MatchString(c.method)
}
