package draft

import (
	"io/fs"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

func none(string) (string, error) { return "", fs.ErrNotExist }

// anything is text that YAML, ${} and terminals would like to take for something else.
var anything = rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~\n\t]{0,40}`), rapid.StringMatching(`[${}:'"\\#\[\],&*!|>%@ \-?a\n]{0,20}`),
	rapid.SampledFrom([]string{"", "~", "yes", "null", "0x1f", "1e3", ".5", "1_000", "2001-01-01", "- a", "a: b", "a #b", "${X}", "$${X}", "$$", "$", "\u2028", "\ufeff", "\x85", "\x1b[31m", "\U0001f600", "=", "<<"}))

// TestText has any text come out of omnitron.yaml as it went in, or its app be listed.
func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(anything, 1, 4).Draw(t, "words")
		value := anything.Draw(t, "value")
		d := New()
		a := d.App(source.Place{File: "x", Line: 1}, "a")
		list := Argv{Text("program")}
		for _, w := range words {
			list = append(list, Text(w))
		}
		a.Set(a.From, "command", "command", list)
		a.Env(a.From, "value", "VALUE", Text(value))
		a.Left(a.From, value, value) // in a comment it must stay one
		w, err := d.Write("/p/omnitron.yaml", value, "/home/me", none)
		if err != nil {
			t.Fatal(err)
		}
		def, _, err := config.Load(config.Source{Files: []config.File{{Path: "/p/omnitron.yaml", Text: w.YAML}}, Env: map[string]string{"X": "expanded"}})
		if err != nil {
			t.Fatalf("%v\n%s", err, w.YAML)
		}
		if len(def.Apps) == 0 {
			if len(w.Left) < 2 {
				t.Fatalf("the app is gone and not listed: %v", w.Left)
			}
			return
		}
		p := def.Apps[0].Processes[0]
		if !slices.Equal(p.Argv, append([]string{"program"}, words...)) {
			t.Fatalf("argv %q became %q\n%s", words, p.Argv, w.YAML)
		}
		if got, ok := p.Env["VALUE"]; got != value && (ok || len(w.Left) < 2) {
			t.Fatalf("value %q became %q\n%s", value, got, w.YAML)
		}
	})
}

// TestNotYet has what the configuration does not know refused by the configuration itself, and the rest stand.
func TestNotYet(t *testing.T) {
	d := New()
	a := d.App(source.Place{File: "x", Line: 1}, "My App")
	a.Set(a.From, "run", "command", Argv{Text("x")})
	never := a.Set(a.From, "thing", "surely_no_key", Word("1"))
	a.Set(a.From, "", "instances", Word("3")).If = never
	a.Set(a.From, "", "enabled", Word("false")).Else = never
	a.Set(a.From, "stop", "stop.timeout", Text("no time"))
	a.Set(a.From, "stop", "stop.signal", Text("INT"))
	w, err := d.Write("/p/omnitron.yaml", "x", "", none)
	if err != nil {
		t.Fatal(err)
	}
	def, _, err := config.Load(config.Source{Files: []config.File{{Path: "/p/omnitron.yaml", Text: w.YAML}}})
	if err != nil {
		t.Fatal(err)
	}
	app := def.Apps[0]
	if app.Name != "my-app" || app.Enabled || app.Processes[0].Instances != 1 || app.Processes[0].Stop.Signal != "SIGINT" {
		t.Errorf("%+v\n%s", app, w.YAML)
	}
	if len(w.Left) != 3 {
		t.Errorf("left %v", w.Left)
	}
}

// TestNames has names made to fit, and each its own.
func TestNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := New()
		for _, name := range rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]string{"a", "A", "a b", "!", ""}), rapid.String()), 1, 8).Draw(t, "names") {
			a := d.App(source.Place{File: "x"}, name)
			a.Set(a.From, "", "command", Argv{Text("x")})
		}
		w, err := d.Write("/p/omnitron.yaml", "x", "", none)
		if err != nil {
			t.Fatal(err)
		}
		if w.Apps != len(d.Apps()) {
			t.Fatalf("%d of %d apps\n%s", w.Apps, len(d.Apps()), w.YAML)
		}
	})
}
