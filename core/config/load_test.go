package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/omnitron-dev/omnitron/core/config"
)

var update = flag.Bool("update", false, "rewrite the golden sections of testdata")

const dir = "/srv/shop"

// fixture is a txtar: its comment holds "stack: x", "user: x" and "env: NAME=value" lines, its files lie in dir, the
// last section is what Load must say.
type fixture struct {
	path    string
	archive *txtar.Archive
	src     config.Source
}

func fixtures(t *testing.T, pattern string) []fixture {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures at %s (%v)", pattern, err)
	}
	var out []fixture
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f := fixture{path: path, archive: txtar.Parse(text)}
		f.src = config.Source{Dir: dir, Home: "/home/ann", EnvFiles: map[string]string{}, Env: map[string]string{}}
		for _, line := range strings.Split(string(f.archive.Comment), "\n") {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "stack":
				f.src.Stack = value
			case "user":
				f.src.User = value
			case "env":
				name, v, _ := strings.Cut(value, "=")
				f.src.Env[name] = v
			}
		}
		for _, file := range f.archive.Files {
			switch at := filepath.Join(dir, file.Name); {
			case strings.HasSuffix(file.Name, ".yaml"):
				f.src.Files = append(f.src.Files, config.File{Path: at, Text: string(file.Data)})
			case file.Name != "errors" && file.Name != "definition":
				f.src.EnvFiles[at] = string(file.Data)
			}
		}
		out = append(out, f)
	}
	return out
}

// golden compares got with a section of the fixture, or writes it there.
func (f fixture) golden(t *testing.T, section, got string) {
	t.Helper()
	for i, file := range f.archive.Files {
		if file.Name != section {
			continue
		}
		if diff := cmp.Diff(string(file.Data), got); diff != "" && !*update {
			t.Errorf("%s: %s is different (-want +got, go test -update rewrites it):\n%s", f.path, section, diff)
		}
		f.archive.Files[i].Data = []byte(got)
		f.write(t)
		return
	}
	if !*update {
		t.Fatalf("%s has no section %q; go test -update writes it", f.path, section)
	}
	f.archive.Files = append(f.archive.Files, txtar.File{Name: section, Data: []byte(got)})
	f.write(t)
}

func (f fixture) write(t *testing.T) {
	t.Helper()
	if !*update {
		return
	}
	if err := os.WriteFile(f.path, txtar.Format(f.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestGood(t *testing.T) {
	for _, f := range fixtures(t, "testdata/good/*.txtar") {
		t.Run(filepath.Base(f.path), func(t *testing.T) {
			def, warnings, err := config.Load(f.src)
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			for i := range def.Apps {
				if len(def.Apps[i].Hash) != 64 {
					t.Errorf("%s has the hash %q", def.Apps[i].Key, def.Apps[i].Hash)
				}
				def.Apps[i].Hash = "" // it moves with every field that is added; its rules have a test of their own
			}
			text, err := json.MarshalIndent(def, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, w := range warnings {
				fmt.Fprintf(&b, "warning: %s: %s\n", w.Where, w.Message)
			}
			f.golden(t, "definition", b.String()+string(text)+"\n")
		})
	}
}

func TestBad(t *testing.T) {
	for _, f := range fixtures(t, "testdata/bad/*.txtar") {
		t.Run(filepath.Base(f.path), func(t *testing.T) {
			_, _, err := config.Load(f.src)
			e, ok := errors.AsType[*config.Errors](err)
			if !ok {
				t.Fatalf("accepted, or another error: %v", err)
			}
			positioned(t, e)
			f.golden(t, "errors", e.Error()+"\n")
		})
	}
}

// positioned demands that every problem has a place inside its file.
func positioned(t *testing.T, e *config.Errors) {
	t.Helper()
	if len(e.Problems) == 0 {
		t.Error("an error without a problem")
	}
	for _, p := range e.Problems {
		lines := strings.Split(p.File.Text, "\n")
		if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len([]rune(lines[p.Line-1]))+1 {
			t.Errorf("%s: no such place; the problem is %q", p.Pos, p.Message)
		}
		if p.Message == "" || strings.Contains(p.Message, "%!") && !strings.Contains(p.File.Text, "%!") {
			t.Errorf("%s: message %q", p.Pos, p.Message)
		}
	}
}

// TestDaemonKeepsLittle: a daemon that a shell starts does not carry the shell's secrets around.
func TestDaemonKeepsLittle(t *testing.T) {
	got := config.DaemonEnv([]string{"PATH=/bin", "HOME=/h", "LC_ALL=C", "AWS_SECRET_ACCESS_KEY=x", "OMNITRON_HOME=/o", "GOGC=50", "CREDENTIALS_DIRECTORY=/run/c", "DATABASE_URL=x"})
	if want := "PATH=/bin HOME=/h LC_ALL=C OMNITRON_HOME=/o GOGC=50 CREDENTIALS_DIRECTORY=/run/c"; strings.Join(got, " ") != want {
		t.Errorf("it keeps %v", got)
	}
}
