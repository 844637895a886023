// Package importtest puts the formats to the test: fixtures with what they were when somebody looked at them, files that are
// broken, and each key of each table.
package importtest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/imports"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// World is a folder as an import sees it.
func World(dir string) imports.World {
	return imports.World{Dir: dir, Home: "/home/me", Read: config.ReadFile, Glob: filepath.Glob}
}

// given are the files of a fixture that import.txt names, in its order.
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

func report(r *imports.Result) string {
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

// Right demands that a file passes as omnitron config check has it.
func Right(t *testing.T, w imports.World, text string) {
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
	if _, _, err := config.Load(src); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// Golden imports every fixture of a room, and compares file and report with what they were when somebody looked at them.
func Golden(t *testing.T) {
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
			w := World(dir)
			r, err := imports.Import(w, "", given(t, dir)...)
			if err != nil {
				t.Fatal(err)
			}
			Right(t, w, r.YAML)
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
	was, is := strings.SplitAfter(string(want), "\n"), strings.SplitAfter(got, "\n")
	for i := range max(len(was), len(is)) {
		if w, g := at(was, i), at(is, i); w != g {
			t.Errorf("%s:%d: %q was %q; whole:\n%s", filepath.Base(path), i+1, g, w, got)
			return
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// Refused has each broken file refused with its line: its name, its text, and what the refusal says.
func Refused(t *testing.T, files ...[3]string) {
	t.Helper()
	for _, c := range files {
		dir := t.TempDir()
		_, err := imports.Import(World(dir), "", config.File{Path: filepath.Join(dir, c[0]), Text: c[1]})
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%q: got %v, want %q", c[1], err, c[2])
		}
	}
}

// Fixture gives a file of a format, by a section of its tables, with a key: the name of the file, and the text. The key "" is
// the file without any.
type Fixture func(section, key string) (name, text string)

// Keys has every key that a table of a format knows either come over or be listed, and the keys that it does not know be listed.
func Keys(t *testing.T, f format.Format, fixture Fixture) {
	t.Helper()
	if len(f.Known) == 0 {
		t.Errorf("%s has no table", f.Name)
	}
	of := func(section, key string) *imports.Result {
		t.Helper()
		name, text := fixture(section, key)
		dir := t.TempDir()
		r, err := imports.Import(World(dir), f.Name, config.File{Path: filepath.Join(dir, name), Text: text})
		if err != nil {
			t.Fatalf("%s: %s %s: %v\n%s", f.Name, section, key, err, text)
		}
		Right(t, World(dir), r.YAML)
		return r
	}
	for section, table := range f.Known {
		for key := range table {
			r, plain := of(section, key), of(section, "")
			if r.YAML == plain.YAML && len(r.Left) == len(plain.Left) && len(r.Changed) == len(plain.Changed) {
				t.Errorf("%s: the key %s of %s changes nothing and is not listed", f.Name, key, section)
			}
		}
		r := of(section, "surely_unknown")
		if !slices.ContainsFunc(r.Left, func(n draft.Note) bool { return n.What == "surely_unknown" && strings.Contains(n.Why, "not known") }) {
			t.Errorf("%s: an unknown key of %s is not listed: %v", f.Name, section, r.Left)
		}
	}
}
