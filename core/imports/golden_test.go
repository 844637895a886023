package imports

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// world is a folder as an import sees it.
func world(dir string) World {
	return World{Dir: dir, Home: "/home/me", Read: config.ReadFile, Glob: filepath.Glob}
}

// given are the files of a fixture that are named to import, by what order.txt says, else the one that is there.
func given(t *testing.T, dir string) []config.File {
	t.Helper()
	names, err := os.ReadFile(filepath.Join(dir, "import.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var files []config.File
	for _, name := range strings.Fields(string(names)) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, config.File{Path: filepath.Join(dir, name), Text: string(text)})
	}
	return files
}

func report(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v of %v: %d apps, %d carried\n", r.Formats, r.Sources, r.Apps, r.Carried)
	for _, n := range r.Changed {
		fmt.Fprintf(&b, "changed %s [%s] %s: %s\n", n.Where, n.App, n.What, n.Why)
	}
	for _, n := range r.Left {
		fmt.Fprintf(&b, "left %s [%s] %s: %s\n", n.Where, n.App, n.What, n.Why)
	}
	return b.String()
}

// right demands that a file passes as omnitron config check has it.
func right(t *testing.T, w World, text string) *config.Definition {
	t.Helper()
	src := config.Source{Files: []config.File{{Path: filepath.Join(w.Dir, "omnitron.yaml"), Text: text}}, EnvFiles: map[string]string{}, Home: w.Home}
	refs, err := config.References(src)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, ref := range refs {
		if env, err := w.Read(ref); err == nil {
			src.EnvFiles[ref] = env
		}
	}
	def, _, err := config.Load(src)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return def
}

// TestGolden imports every fixture, and compares file and report with what they were when somebody looked at them.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/*/import.txt")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, name := range dirs {
		dir, err := filepath.Abs(filepath.Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimPrefix(filepath.Dir(name), "testdata/"), func(t *testing.T) {
			w := world(dir)
			r, err := Import(w, "", given(t, dir)...)
			if err != nil {
				t.Fatal(err)
			}
			right(t, w, r.YAML)
			compare(t, filepath.Join(dir, "want.yaml"), strings.ReplaceAll(r.YAML, dir, "/fixture"))
			compare(t, filepath.Join(dir, "want.txt"), strings.ReplaceAll(report(r), dir, "/fixture"))
		})
	}
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: -want +got\n%s", filepath.Base(path), d)
	}
}

// TestWrong has each broken file refused with its line.
func TestWrong(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"Procfile", "web: run\n\nwhat is this\n", "Procfile:3: "},
		{"Procfile", "# nothing\n", "Procfile: there is no program"},
		{"Procfile", "web: a\xffb\n", "Procfile:1: the file is not UTF-8"},
		{"Procfile", "a: b\nweb: a\x00b\n", "Procfile:2: there is a NUL"},
		{"supervisord.conf", "[program:x]\ncommand = a 'b\n", "supervisord.conf:2: "},
		{"supervisord.conf", "[program:x]\ncommand = a %(what)s\n", "supervisord.conf:2: it is not known here what %(what)s"},
		{"supervisord.conf", "[program:x]\nautostart = no\n", "supervisord.conf:1: [program:x] has no command"},
		{"supervisord.conf", "[program:x\n", "supervisord.conf:1: "},
		{"supervisord.conf", "[program:x]\ncommand=a\nenvironment=A\n", "supervisord.conf:3: "},
		{"x.service", "[Unit]\nDescription=x\n", "x.service: it has no [Service]"},
		{"x.service", "[Service]\nhello\n", "x.service:2: "},
		{"x.timer", "[Timer]\nOnCalendar=daily\n", "x.timer:1: its service, x.service, is not beside it"},
		{"crontab", "MAILTO=me\n* * * * echo\n", "crontab:2: "},
		{"crontab", "@sometimes echo\n", "crontab:1: "},
		{"ecosystem.config.js", "\nmodule.exports = {apps: [}", "ecosystem.config.js:2: "},
		{"ecosystem.json", "{\n\"apps\": [1]}", "ecosystem.json:2: "},
		{"ecosystem.config.yaml", "apps:\n  - name: a\n   script: x\n", "ecosystem.config.yaml:"},
		{"what.is.this", "x", "cannot be told"},
	} {
		dir := t.TempDir()
		_, err := Import(world(dir), "", config.File{Path: filepath.Join(dir, c.file), Text: c.text})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

// TestKeys has every key that a table knows either come over or be listed, and the keys that it does not know be listed.
func TestKeys(t *testing.T) {
	for _, f := range formats {
		for section, table := range f.known {
			for key := range table {
				text, ok := fixtureOf(f.name, section, key)
				if !ok {
					t.Errorf("%s: no fixture for the key %s of %s", f.name, key, section)
					continue
				}
				dir := t.TempDir()
				name, body, _ := strings.Cut(text, "\n")
				r, err := Import(world(dir), "", config.File{Path: filepath.Join(dir, name), Text: body})
				if err != nil {
					t.Errorf("%s: %s %s: %v\n%s", f.name, section, key, err, body)
					continue
				}
				right(t, world(dir), r.YAML)
				without, ok := fixtureOf(f.name, section, "")
				if !ok {
					t.Fatalf("%s has no fixture of nothing", f.name)
				}
				_, body, _ = strings.Cut(without, "\n")
				plain, err := Import(world(dir), "", config.File{Path: filepath.Join(dir, name), Text: body})
				if err != nil {
					t.Fatal(err)
				}
				if r.YAML == plain.YAML && len(r.Left) == len(plain.Left) && len(r.Changed) == len(plain.Changed) {
					t.Errorf("%s: the key %s of %s changes nothing and is not listed", f.name, key, section)
				}
			}
			text, ok := fixtureOf(f.name, section, "surely_unknown")
			if !ok {
				t.Fatalf("%s has no fixture of an unknown key", f.name)
			}
			name, body, _ := strings.Cut(text, "\n")
			dir := t.TempDir()
			r, err := Import(world(dir), "", config.File{Path: filepath.Join(dir, name), Text: body})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Left, func(n noteT) bool { return n.What == "surely_unknown" && strings.Contains(n.Why, "not known") }) {
				t.Errorf("%s: an unknown key of %s is not listed: %v", f.name, section, r.Left)
			}
		}
	}
}
