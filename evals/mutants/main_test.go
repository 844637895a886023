package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPatches holds the patches to the tree as it is: each applies, leaves a file that parses, and names tests that are
// there. Whether they fail is what `make mutants` shows.
func TestPatches(t *testing.T) {
	all, err := mutants(patches)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Errorf("there are %d mutants", len(all))
	}
	root := filepath.Join("..", "..")
	for _, m := range all {
		text, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		broken, err := m.apply(string(text))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if strings.HasSuffix(m.file, ".go") {
			if _, err := parser.ParseFile(token.NewFileSet(), m.file, broken, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
		for name := range strings.SplitSeq(m.test.run, "|") {
			if !hasTest(t, filepath.Join(root, m.test.pkg), name) {
				t.Errorf("%s: %s has no test %s", m.name, m.test.pkg, name)
			}
		}
	}
}

// hasTest looks for a test function in the test files of a folder; a slash begins the name of a part of it.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	name, _, _ = strings.Cut(name, "/")
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if want.Match(text) {
			return true
		}
	}
	return false
}

func TestParse(t *testing.T) {
	const head = "Why: it matters\nFile: a.go\nTest: ./a TestA\n\n"
	m, err := parse("m", head+" if x {\n-\treturn 1\n+\treturn 2\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.apply("if y {\n\treturn 1\n}\nif x {\n\treturn 1\n}\n")
	if want := "if y {\n\treturn 1\n}\nif x {\n\treturn 2\n}\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, text := range []string{"", "if x {\n", "if x {\n\treturn 1\nif x {\n\treturn 1\n"} {
		if got, err := m.apply(text); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
	for _, text := range []string{"", head, head + " a\n", head + "-a\n+a\n", head + "a\n", "Why: x\n\n-a\n+b\n", "Who: me\n" + head + "-a\n+b\n"} {
		if m, err := parse("m", text); err == nil {
			t.Errorf("%q became %+v", text, m)
		}
	}
}

// TestPatience: what a test may take on a broken tree is a few times what it says to take on the whole one.
func TestPatience(t *testing.T) {
	for out, want := range map[string]time.Duration{
		"ok  \tgithub.com/omnitron-dev/omnitron/core/proc\t4.500s\n": 23500 * time.Millisecond,
		"ok  \texample.com/a\t170.000s\n":                            longest,
		"no word of it":                                              10 * time.Second,
	} {
		if got := (sound{took: took(out)}).patience(); got != want {
			t.Errorf("%q: %s, want %s", out, got, want)
		}
	}
}
