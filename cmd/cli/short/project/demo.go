package project

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Demo brings the sample project up and walks through what a newcomer would look at.
func Demo(s *session.Session) *cobra.Command {
	if s.Demo == nil || !method.Has(s, "apps.apply", "apps.start", "apps.list") {
		return nil
	}
	return &cobra.Command{
		Use:   "demo",
		Short: "Run a sample project, one of whose apps crashes on purpose, and show what is to be seen",
		Long: `Run a sample project in a home of its own, show the table of its apps and why one of them crashes, and say what to type next.
More than one method: apps.apply, apps.start, apps.list, apps.explain.`,
		Args: method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), s) },
	}
}

func runDemo(ctx context.Context, s *session.Session) error {
	d, err := s.Demo(ctx, s.Home)
	if err != nil {
		return err
	}
	s.Home, s.Dir, s.Project = d.Home, d.Dir, ""
	u := &bringUp{Session: s}
	upErr := u.run(ctx) // one app fails, and that is the point
	if upErr != nil && !fault.Is(upErr, fault.Failed) {
		return upErr
	}
	if s.Machine() {
		return upErr
	}
	s.Note("")
	if err := read1(ctx, s, "apps.list", map[string]any{}); err != nil {
		return err
	}
	if f := session.Fault(orNil(upErr)); upErr != nil && method.Has(s, "apps.explain") {
		for _, name := range failedNames(f) {
			s.Note("\nWhy is %s down? `omnitron why %s` says:\n", name, name)
			if err := read1(ctx, s, "apps.explain", map[string]any{"name": name}); err != nil {
				return err
			}
		}
	}
	omnitron := called(s) + " --home " + field.Quote(d.Home)
	fmt.Fprintf(s.Stdout, `
next
  cd %s
  %[2]s ls               what is running
  %[2]s logs -f          follow all output
  %[2]s restart api      restart one app
  %[2]s down             stop everything, leave nothing behind
`, field.Quote(d.Dir), omnitron)
	return nil
}

// called is how this program is typed: by its name when that is what the shell finds, else by its path.
func called(s *session.Session) string {
	for _, dir := range filepath.SplitList(s.Getenv("PATH")) {
		found, err := filepath.EvalSymlinks(filepath.Join(dir, "omnitron"))
		if err != nil {
			continue
		}
		if found == s.Executable {
			return "omnitron"
		}
		break // another program of that name
	}
	if s.Executable == "" {
		return "omnitron"
	}
	return field.Quote(s.Executable)
}

func orNil(err error) error {
	if err == nil {
		return fault.New(fault.Failed, "")
	}
	return err
}

// failedNames gives the keys of the targets of a fault that failed.
func failedNames(f *fault.Error) []string {
	var items []struct {
		Key string `json:"key"`
		OK  bool   `json:"ok"`
	}
	if decode(f.Items, &items) != nil {
		return nil
	}
	var names []string
	for _, it := range items {
		if !it.OK && it.Key != "" {
			names = append(names, it.Key)
		}
	}
	return names
}

// read1 shows the answer of a read as its own command would.
func read1(ctx context.Context, s *session.Session, id string, in map[string]any) error {
	spec, ok := s.Spec(id)
	if !ok {
		return nil
	}
	return method.New(s, spec, spec.Service+" "+spec.Verb, nil).Do(ctx, s.Fit(id, in))
}

// decode reads a value through its JSON.
func decode(v any, into any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot read an answer: %w", err)
	}
	return json.Unmarshal(raw, into)
}
