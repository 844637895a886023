package cli

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the golden files")

// walk visits every command of the tree that help shows.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			walk(c, visit)
		}
	}
}

func words(cmd *cobra.Command) []string { return strings.Fields(cmd.CommandPath())[1:] }

// failure reads the one document that a failure is.
func failure(t *testing.T, out string) *fault.Error {
	t.Helper()
	var doc struct{ Error *fault.Error }
	d := json.NewDecoder(strings.NewReader(out))
	if err := d.Decode(&doc); err != nil || doc.Error == nil {
		t.Fatalf("stdout is no failure document: %q (%v)", out, err)
	}
	if d.More() {
		t.Fatalf("more than one document on stdout: %q", out)
	}
	return doc.Error
}

// TestBogusWords walks the whole tree: below no group does a mistyped word succeed, and every one of them is said with
// a suggestion where there is a near word.
func TestBogusWords(t *testing.T) { everyTree(t, bogusWords) }

// everyTree runs a test with the methods made for it and with the daemon's own.
func everyTree(t *testing.T, test func(t *testing.T, b *bench)) {
	for name, specs := range map[string][]op.Spec{"toy": specs(), "catalog": catalog.Specs()} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.specs = specs
			test(t, b)
		})
	}
}

func bogusWords(t *testing.T, b *bench) {
	n := 0
	walk(New(b.specs, b.env), func(cmd *cobra.Command) {
		if !cmd.HasAvailableSubCommands() {
			return
		}
		n++
		args := words(cmd)
		if name := cmd.CommandPath(); name != "omnitron logs" { // there a word is the name of an app
			r := b.run(t, append(args, "bogusword", "-o", "json")...)
			if f := failure(t, r.out); r.code != 64 || f.Code != fault.Invalid {
				t.Errorf("%s bogusword: exit %d, %v", name, r.code, f)
			}
			r = b.run(t, append(args, "bogusword")...)
			if r.code != 64 || r.out != "" || !strings.Contains(r.err, `"bogusword"`) {
				t.Errorf("%s bogusword: exit %d, stdout %q, stderr %q", name, r.code, r.out, r.err)
			}
			first := ""
			for _, c := range cmd.Commands() {
				if c.IsAvailableCommand() && len(c.Name()) > 3 {
					first = c.Name()
				}
			}
			r = b.run(t, append(args, first+"x")...)
			if r.code != 64 || !strings.Contains(r.err, "did you mean \""+first+"\"?") {
				t.Errorf("%s %sx: exit %d, stderr %q", name, first, r.code, r.err)
			}
		}
	})
	if n < 5 {
		t.Errorf("only %d groups were walked", n)
	}
}

// TestBogusFlags walks the whole tree with a flag that does not exist and with one that is mistyped.
func TestBogusFlags(t *testing.T) { everyTree(t, bogusFlags) }

func bogusFlags(t *testing.T, b *bench) {
	walk(New(b.specs, b.env), func(cmd *cobra.Command) {
		r := b.run(t, append(words(cmd), "--bogusflag")...)
		if r.code != 64 || r.out != "" || !strings.Contains(r.err, "has no flag --bogusflag") {
			t.Errorf("%s --bogusflag: exit %d, stdout %q, stderr %q", cmd.CommandPath(), r.code, r.out, r.err)
		}
		r = b.run(t, append(words(cmd), "--outptu", "json")...)
		if r.code != 64 || !strings.Contains(r.err, `did you mean "--output"?`) {
			t.Errorf("%s --outptu: exit %d, stderr %q", cmd.CommandPath(), r.code, r.err)
		}
		r = b.run(t, append(append([]string{"--json"}, words(cmd)...), "--bogusflag")...)
		if f := failure(t, r.out); r.code != 64 || f.Reason != "unknown_flag" {
			t.Errorf("%s --json --bogusflag: exit %d, %+v", cmd.CommandPath(), r.code, f)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if len(f.Name) > 4 && f.Value.Type() != "" && !f.Hidden {
				r := b.run(t, append(words(cmd), "--"+f.Name+"q")...)
				if r.code != 64 || !strings.Contains(r.err, "did you mean") {
					t.Errorf("%s --%sq: exit %d, stderr %q", cmd.CommandPath(), f.Name, r.code, r.err)
				}
			}
		})
	})
	if len(b.calls) > 0 {
		t.Errorf("wrong usage reached the daemon: %v", b.calls)
	}
}

func TestEveryMethodHasACommand(t *testing.T) {
	root := New(specs(), newBench(t).env)
	for _, spec := range specs() {
		cmd, rest, err := root.Find([]string{spec.Service, spec.Verb})
		if err != nil || len(rest) > 0 || cmd.Annotations["method"] != spec.ID() {
			t.Errorf("%s: found %q, %v, %v", spec.ID(), cmd.CommandPath(), rest, err)
		}
	}
	for name, id := range map[string]string{"ls": "apps.list", "start": "apps.start", "restart": "apps.restart", "why": "apps.explain", "logs": "logs.query", "events": "events.follow", "since": "events.list", "status": "daemon.status"} {
		cmd, _, err := root.Find([]string{name})
		if err != nil || cmd.Annotations["method"] != id || !strings.Contains(cmd.Long, "Method "+id) {
			t.Errorf("short form %s: %q behind it, %v; help %q", name, cmd.Annotations["method"], err, cmd.Long)
		}
	}
	if cmd, _, err := root.Find([]string{"apps", "launch"}); err != nil || cmd.Annotations["method"] != "apps.start" {
		t.Errorf("a former name leads to %q, %v", cmd.CommandPath(), err)
	}
}

func TestUnknownWordElsewhere(t *testing.T) {
	r := newBench(t).run(t, "purge")
	if r.code != 64 || !strings.Contains(r.err, `did you mean "logs purge"?`) {
		t.Errorf("exit %d, stderr %q", r.code, r.err)
	}
	r = newBench(t).run(t, "apsp", "--follow")
	if r.code != 64 || !strings.Contains(r.err, `did you mean "apps"?`) {
		t.Errorf("an unknown word with a flag behind it: exit %d, stderr %q", r.code, r.err)
	}
}

func TestHelp(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "commands\n"}, {[]string{"help"}, "all methods, by service"}, {[]string{"apps"}, "list"}, {[]string{"help", "apps", "start"}, "Method apps.start: role operator, effect sets"},
		{[]string{"start", "--help"}, "Short for `omnitron apps start`"}, {[]string{"help", "exit-codes"}, "130  interrupted"}, {[]string{"help", "flags"}, "OMNITRON_HOME"},
		{[]string{"apps", "start", "-h"}, "omnitron apps start api --timeout 60s"},
	} {
		r := b.run(t, c.args...)
		if r.code != 0 || r.err != "" || !strings.Contains(r.out, c.want) {
			t.Errorf("%v: exit %d, stderr %q, %q is not in\n%s", c.args, r.code, r.err, c.want, r.out)
		}
	}
	if r := b.run(t, "help", "exit-code"); r.code != 64 || !strings.Contains(r.err, "exit-codes") {
		t.Errorf("an unknown topic: exit %d, %q", r.code, r.err)
	}
	if r := b.run(t, "apps", "--json"); r.code != 64 || failure(t, r.out).Reason != "missing_command" {
		t.Errorf("a group for a program: exit %d, %q", r.code, r.out)
	}
}

// TestReference compares the help of the whole tree with the golden file.
// Help of a command that there is not is no help.
func TestHelpOfNothing(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{{"nosuch", "--help"}, {"apps", "nosuch", "-h"}, {"config", "nosuch", "--help"}, {"mcp", "nosuch", "--help"}} {
		if r := b.run(t, args...); r.code != 64 || r.out != "" || !strings.Contains(r.err, `no command "nosuch"`) {
			t.Errorf("%q: exit %d, %q, %q", args, r.code, r.out, r.err)
		}
	}
	if r := b.run(t, "logs", "web", "--help"); r.code != 0 || !strings.Contains(r.out, "usage") {
		t.Errorf("logs web --help: exit %d, %q", r.code, r.err)
	}
}

// What the commands below a command take as well is in the help of both.
func TestHelpShowsSharedFlags(t *testing.T) {
	b := newBench(t)
	for line, flag := range map[string]string{"mcp": "--read-only", "mcp config": "--role", "config": "--config", "config check": "--config"} {
		for _, args := range [][]string{append(strings.Fields(line), "--help"), append([]string{"help"}, strings.Fields(line)...)} {
			if r := b.run(t, args...); r.code != 0 || !strings.Contains(r.out, flag) || strings.Contains(r.out, "--no-color") {
				t.Errorf("%q: exit %d, no %s in %q", args, r.code, flag, r.out)
			}
		}
	}
}

func TestReference(t *testing.T) {
	got := Reference(New(specs(), newBench(t).env))
	path := filepath.Join("testdata", "help.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("help has changed; -update takes it over:\n%s", diff)
	}
}

func TestExitCodes(t *testing.T) {
	want := map[fault.Code]int{
		fault.Invalid: 64, fault.NotFound: 1, fault.Conflict: 1, fault.Internal: 1, fault.Unavailable: 2, fault.Failed: 1, fault.Cancelled: 130,
		fault.Unauthenticated: 3, fault.Denied: 3, fault.Held: 4, fault.Deadline: 5, fault.Limited: 1,
	}
	for _, code := range fault.Codes {
		b := newBench(t)
		b.on("apps.list", fault.New(code, "it went wrong").WithReason("for_a_test"))
		if r := b.run(t, "ls"); r.code != want[code] || r.out != "" || !strings.Contains(r.err, "it went wrong") {
			t.Errorf("%s: exit %d, want %d; stdout %q, stderr %q", code, r.code, want[code], r.out, r.err)
		}
		r := b.run(t, "ls", "--json")
		if f := failure(t, r.out); r.code != want[code] || f.Code != code || f.Reason != "for_a_test" || r.err != "" {
			t.Errorf("%s for a program: exit %d, %+v, stderr %q", code, r.code, f, r.err)
		}
		if session.ExitCode(code) != want[code] {
			t.Errorf("ExitCode(%s) = %d", code, session.ExitCode(code))
		}
	}
}

// TestExamplesCanBePasted types every example that help shows and compares what reaches the daemon with the input that
// the declaration shows.
func TestExamplesCanBePasted(t *testing.T) {
	n := 0
	for _, spec := range catalog.Specs() {
		fields := field.Of(spec.In)
		for _, e := range spec.Examples {
			want := map[string]any{}
			if err := json.Unmarshal([]byte(e.In), &want); err != nil {
				t.Fatalf("%s: %v", spec.ID(), err)
			}
			line := field.Line("omnitron "+spec.Service+" "+spec.Verb, fields, want)
			if e.Fails != "" || strings.ContainsAny(line, `'\`) || want["dry_run"] != nil {
				continue
			}
			n++
			b := newBench(t)
			b.specs = catalog.Specs()
			b.on(spec.ID(), done(map[string]any{}))
			if !spec.Effect.Changes() {
				b.on(spec.ID(), map[string]any{})
			}
			b.items[spec.ID()] = func(context.Context, map[string]any, func(any) bool) error { return nil }
			b.items["events.follow"] = func(ctx context.Context, _ map[string]any, _ func(any) bool) error {
				if spec.ID() == "events.follow" {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}
			words := append(strings.Fields(line)[1:], "--json")
			if spec.Effect == op.Destroys {
				words = append(words, "--yes")
			}
			typed := ""
			for _, f := range fields {
				if v, ok := want[f.Name].(string); ok && f.Secret { // asked for, here from standard input
					typed += v + "\n"
				}
			}
			r := b.runIn(t.Context(), typed, words...)
			ins := b.named(spec.ID())
			if r.code != 0 || len(ins) != 1 {
				t.Errorf("%s: exit %d, called with %v; %s", line, r.code, ins, r.out)
				continue
			}
			if diff := cmp.Diff(want, ins[0]); diff != "" {
				t.Errorf("%s sends another input:\n%s", line, diff)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d examples were typed", n)
	}
}
