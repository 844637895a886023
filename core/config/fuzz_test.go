package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.txtar", "testdata/bad/*.txtar"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatal(pattern, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			yaml, env := "", ""
			for _, file := range txtar.Parse(text).Files {
				switch filepath.Ext(file.Name) {
				case ".yaml":
					yaml = string(file.Data)
				case ".env":
					env = string(file.Data)
				}
			}
			f.Add(yaml, env)
		}
	}
	f.Fuzz(func(t *testing.T, text, env string) {
		src := config.Source{Files: []config.File{{Path: dir + "/omnitron.yaml", Text: text}}, EnvFiles: map[string]string{dir + "/.env": env}, Env: map[string]string{"X": "1", "HOME": "/home/ann"}, Home: "/home/ann"}
		began := time.Now()
		_, refErr := config.References(src)
		def, _, err := config.Load(src)
		if took := time.Since(began); took > 30*time.Second {
			t.Fatalf("took %v", took)
		}
		switch e, ok := errors.AsType[*config.Errors](err); {
		case err == nil:
			if refErr != nil {
				t.Fatalf("loads, but its references are refused: %v", refErr)
			}
			again, _, err := config.Load(src)
			if err != nil {
				t.Fatal(err)
			}
			a, _ := json.Marshal(def)
			if b, _ := json.Marshal(again); string(a) != string(b) {
				t.Fatalf("two loads differ:\n%s\n%s", a, b)
			}
			if _, _, err := config.Load(config.Source{Files: []config.File{{Path: dir + "/omnitron.yaml", Text: string(config.Show(def))}}, Home: "/home/ann"}); err != nil {
				t.Fatalf("what is shown of it does not load:\n%s\n%v", config.Show(def), err)
			}
			if changes := config.Diff(def, again); len(changes) > 0 {
				t.Fatalf("no change, yet %v", changes)
			}
		case !ok:
			t.Fatalf("%T: %v", err, err)
		default:
			positioned(t, e)
			if f := fault.From(err); f.Code != fault.Invalid || len(f.Problems) != len(e.Problems) {
				t.Fatalf("%+v", f)
			}
		}
	})
}

// However much is wrong, the answer is short and soon there.
func TestManyProblems(t *testing.T) {
	var apps, lines strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&apps, "{nam: %d, x: '${N%d}'},", i, i)
		fmt.Fprintf(&lines, "  - {name: a, dependsOn: [a, b, '${N}'], env: {OMNITRON_X: 1}}\n")
	}
	for what, text := range map[string]string{"one line": "apps: [" + apps.String() + "]", "many lines": "apps:\n" + lines.String()} {
		began := time.Now()
		_, _, err := config.Load(config.Source{Files: []config.File{{Path: dir + "/omnitron.yaml", Text: text}}})
		e, ok := errors.AsType[*config.Errors](err)
		if !ok {
			t.Fatal(err)
		}
		if len(e.Problems) != 100 || e.More < 9000 || !strings.Contains(e.Error(), fmt.Sprintf("and %d more", e.More)) || len(e.Error()) > 100_000 {
			t.Errorf("%s: %d problems and %d more in %d bytes", what, len(e.Problems), e.More, len(e.Error()))
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s: took %v", what, took)
		}
	}
}
