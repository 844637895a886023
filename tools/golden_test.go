package tools_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden is the part of a method that callers depend on.
type golden struct {
	Tool      string          `json:"tool"`
	Doc       string          `json:"doc"`
	Role      string          `json:"role"`
	Effect    string          `json:"effect"`
	Traits    []string        `json:"traits,omitempty"`
	Resource  string          `json:"resource,omitempty"`
	Topics    []string        `json:"topics,omitempty"`
	Timeout   string          `json:"timeout,omitempty"`
	InSchema  json.RawMessage `json:"in"`
	OutSchema json.RawMessage `json:"out"`
}

// goldens gives the files of a surface by their path.
func goldens(t *testing.T, methods []*tools.Method) map[string][]byte {
	t.Helper()
	files := map[string][]byte{"access.golden": access(methods), "names.golden": names(methods), "policy.golden": verdicts(methods)}
	for _, m := range methods {
		g := golden{Tool: m.Tool(), Doc: m.Doc, Role: m.Role.String(), Effect: m.Effect.String(), Resource: m.Resource, Topics: m.Topics, InSchema: m.InSchema, OutSchema: m.OutSchema}
		for name, on := range map[string]bool{
			"any scope": m.AnyScope, "core": m.Core, "global": m.Global, "job": m.Job, "local": m.Local, "plan": m.Plannable, "stream": m.Stream, "targets": m.Targets,
		} {
			if on {
				g.Traits = append(g.Traits, name)
			}
		}
		slices.Sort(g.Traits)
		if m.Timeout > 0 {
			g.Timeout = m.Timeout.String()
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(g); err != nil {
			t.Fatal(err)
		}
		files[filepath.Join("tools", m.Tool()+".json")] = b.Bytes()
	}
	return files
}

func access(methods []*tools.Method) []byte {
	var lines []string
	for _, m := range methods {
		where := "everywhere"
		if m.Local {
			where = "socket"
		}
		lines = append(lines, fmt.Sprintf("%-24s %-8s %-10s %s", m.ID(), m.Role, m.Effect, where))
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, "\n") + "\n")
}

func names(methods []*tools.Method) []byte {
	var lines []string
	for _, m := range methods {
		line := fmt.Sprintf("%-24s %-24s omnitron %s %s", m.ID(), m.Tool(), m.Service, m.Verb)
		if m.Top != "" {
			line += " | omnitron " + m.Top
		}
		for _, a := range m.Aliases {
			line += " | formerly " + a
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, "\n") + "\n")
}

// compare gives what differs between dir and files: missing, changed and left-over ones.
func compare(dir string, files map[string][]byte) []string {
	var bad []string
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case err != nil:
			bad = append(bad, name+" is missing")
		case !bytes.Equal(have, want):
			bad = append(bad, name+" differs")
		}
	}
	for _, name := range present(dir) {
		if _, ok := files[name]; !ok {
			bad = append(bad, name+" is of no method")
		}
	}
	slices.Sort(bad)
	return bad
}

func present(dir string) []string {
	var found []string
	for _, pattern := range []string{"*", "tools/*"} {
		paths, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are good
		for _, p := range paths {
			if info, err := os.Stat(p); err == nil && !info.IsDir() {
				rel, _ := filepath.Rel(dir, p)
				found = append(found, rel)
			}
		}
	}
	return slices.DeleteFunc(found, func(name string) bool {
		return !strings.HasSuffix(name, ".golden") && !strings.HasPrefix(name, "tools/")
	})
}

func rewrite(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for _, name := range present(dir) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "tools"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGoldenSurface(t *testing.T) {
	files := goldens(t, describe(t, catalog.Specs()))
	if *update {
		rewrite(t, "testdata", files)
	}
	if bad := compare("testdata", files); len(bad) > 0 {
		t.Errorf("the surface is not what the golden files say; run make golden, read the diff, commit it:\n%s", strings.Join(bad, "\n"))
	}
}

func TestGoldenFilesAreChecked(t *testing.T) {
	dir := t.TempDir()
	specs := toolstest.Toys.Specs()
	files := goldens(t, describe(t, specs))
	if bad := compare(dir, files); len(bad) != len(files) {
		t.Errorf("missing files: %q", bad)
	}
	rewrite(t, dir, files)
	if bad := compare(dir, files); len(bad) > 0 {
		t.Fatalf("just written: %q", bad)
	}
	if bad := compare(dir, goldens(t, describe(t, specs[1:]))); !slices.Contains(bad, "tools/toys_ping.json is of no method") {
		t.Errorf("a method that is gone: %q", bad)
	}
	changed := slices.Clone(specs)
	changed[0].Role = op.Viewer
	bad := compare(dir, goldens(t, describe(t, changed)))
	if !slices.Equal(bad, []string{"access.golden differs", "policy.golden differs", "tools/toys_ping.json differs"}) {
		t.Errorf("a changed role: %q", bad)
	}
	changed[0].Role, changed[0].Aliases = op.Public, []string{"toys.pong"}
	if bad := compare(dir, goldens(t, describe(t, changed))); !slices.Equal(bad, []string{"names.golden differs"}) {
		t.Errorf("a new alias: %q", bad)
	}
	rewrite(t, dir, goldens(t, describe(t, specs[1:])))
	if bad := compare(dir, goldens(t, describe(t, specs[1:]))); len(bad) > 0 {
		t.Errorf("rewriting leaves nothing behind: %q", bad)
	}
}
