package docs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/docs"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestPagesAreCurrent(t *testing.T) {
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		t.Fatal(err)
	}
	if stale := docs.Check("../../docs", methods); len(stale) > 0 {
		t.Errorf("stale: %s; run make docs and commit what it wrote", strings.Join(stale, ", "))
	}
}

func toys(t *testing.T) []*tools.Method {
	t.Helper()
	methods, err := tools.Describe(toolstest.Toys.Specs())
	if err != nil {
		t.Fatal(err)
	}
	return methods
}

func TestCheckFindsStalePages(t *testing.T) {
	dir, methods := t.TempDir(), toys(t)
	if stale := docs.Check(dir, methods); !slices.Equal(stale, []string{"access.md", "tools.md"}) {
		t.Errorf("missing pages: %v", stale)
	}
	if err := docs.Write(dir, methods); err != nil {
		t.Fatal(err)
	}
	if stale := docs.Check(dir, methods); len(stale) > 0 {
		t.Errorf("just written: %v", stale)
	}
	page := filepath.Join(dir, "tools.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if stale := docs.Check(dir, methods); !slices.Equal(stale, []string{"tools.md"}) {
		t.Errorf("an edited page: %v", stale)
	}
	if stale := docs.Check(dir, methods[1:]); len(stale) != 2 {
		t.Errorf("a method that is gone is on every page: %v", stale)
	}
	if err := docs.Write(filepath.Join(dir, "no", "such"), methods); err == nil {
		t.Error("writing nowhere succeeded")
	}
}

func TestPagesSayWhatTheMethodsSay(t *testing.T) {
	pages := docs.Pages(toys(t))
	for name, lines := range map[string][]string{
		"tools.md": {
			"### toys.paint", "Give toys a colour.", "Role **operator** · sets · has a plan · undone by `toys.paint`",
			"| `color` \\* | red \\| blue \\| green | the new color |", "| `coats` | integer, default 1 | how often to paint |",
			"- `{\"names\":[\"kite\"],\"color\":\"blue\"}` There is no kite. Answers `not_found`.",
			"Role **viewer** · reads · stream", "formerly `toys.ls`", "on the unix socket only, no tool", "resource `omnitron://toys/{name}`", "answers with a job",
		},
		"access.md": {"| toys.lock | operator | sets | unix socket |", "| toys.smash | admin | destroys | everywhere |", "public: 1"},
	} {
		for _, line := range lines {
			if !strings.Contains(string(pages[name]), line) {
				t.Errorf("%s does not say %q:\n%s", name, line, pages[name])
			}
		}
	}
}
