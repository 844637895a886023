package project

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Config looks at files: whether they are right, what they say with everything resolved, and their schemas.
func Config(s *session.Session) *cobra.Command {
	if s.Config.Resolve == nil || s.Config.Show == nil || s.Config.Schema == nil {
		return nil
	}
	var files []string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show and describe omnitron.yaml",
		Long:  "Check, show and describe omnitron.yaml. Reading it runs nothing.\nLocal: no method.",
		Args:  method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.Machine() {
				return fault.New(fault.Invalid, "%s needs a command", cmd.CommandPath()).WithReason("missing_command").WithHint("omnitron config --help")
			}
			return cmd.Help()
		},
	}
	cmd.PersistentFlags().StringArrayVarP(&files, "config", "c", nil, "`file` instead of the one found (repeatable)")
	cmd.AddCommand(
		&cobra.Command{
			Use: "check [file…]", Short: "Say everything that is wrong with the file, or that it is right",
			Long: "Say everything that is wrong with the file, or that it is right. Without a file that is the project's, and config.yaml of the home.",
			RunE: func(cmd *cobra.Command, args []string) error {
				given := append(slices.Clone(files), args...)
				own, looked, rest, err := settingsRight(s, given)
				if err != nil {
					return err
				}
				src, err := read(s, rest)
				if looked && (len(rest) < len(given) && len(rest) == 0 || err != nil && fault.From(err).Reason == "no_config") {
					return s.ShowValue(cmd.Context(), map[string]any{"ok": true, "files": []string{own}, "warnings": []config.Warning{}}, func(render.Options) {
						fmt.Fprintf(s.Stdout, "%s is right: the daemon's settings\n", render.Escape(own))
					})
				}
				if err != nil {
					return err
				}
				raw, warnings, err := s.Config.Resolve(src)
				if err != nil {
					return err
				}
				var def struct{ Apps []struct{} }
				if err := json.Unmarshal(raw, &def); err != nil {
					return fault.New(fault.Internal, "the definition cannot be read: %v", err)
				}
				if warnings == nil {
					warnings = []config.Warning{}
				}
				paths := make([]string, len(src.Files))
				for i, f := range src.Files {
					paths[i] = f.Path
				}
				return s.ShowValue(cmd.Context(), map[string]any{"ok": true, "files": paths, "warnings": warnings}, func(o render.Options) {
					for _, w := range warnings {
						fmt.Fprintf(s.Stdout, "%s %s: %s\n", o.Style.Paint(render.Warn, "warning:"), render.Escape(w.Where), render.EscapeLines(w.Message))
					}
					for i, p := range paths {
						if rel, err := filepath.Rel(s.Dir, p); err == nil && !strings.HasPrefix(rel, "..") {
							paths[i] = rel
						}
					}
					is := "is"
					if len(paths) > 1 {
						is = "are"
					}
					fmt.Fprintf(s.Stdout, "%s %s right: %s\n", render.Escape(strings.Join(paths, ", ")), is, apps(len(def.Apps)))
				})
			},
		},
		&cobra.Command{
			Use: "show", Short: "The file as it is understood: resolved, defaults filled in, secrets masked", Args: method.NoArgs,
			Long: `Show the file as it is understood: resolved, defaults filled in, secrets masked.

Masked are the values of variables whose names look secret and the passwords in URLs, wherever they stand, in env, env files and
commands. A {secret: name} is shown as that. No daemon is asked, so a value of the vault that was also written into a file under a
harmless name is not known to be one.`,
			RunE: func(cmd *cobra.Command, _ []string) error {
				src, err := read(s, files)
				if err != nil {
					return err
				}
				raw, _, err := s.Config.Resolve(src)
				if err != nil {
					return err
				}
				text, err := s.Config.Show(src)
				if err != nil {
					return err
				}
				return s.Show(cmd.Context(), raw, nil, func(_ any, o render.Options) {
					if o.Width > 0 { // in a file it has to stay what it is
						text = []byte(render.EscapeLines(string(text)))
					}
					_, _ = s.Stdout.Write(text) // as with every print: who closed it does not want it
				})
			},
		},
		&cobra.Command{
			Use: "schema", Short: "The JSON Schema of omnitron.yaml, for editors", Args: method.NoArgs,
			Long: "Print the JSON Schema of omnitron.yaml. An editor uses it when the file begins with\n  # yaml-language-server: $schema=./omnitron.schema.json",
			RunE: func(cmd *cobra.Command, _ []string) error {
				raw, err := s.Config.Schema()
				if err != nil {
					return err
				}
				return s.Show(cmd.Context(), raw, nil, func(any, render.Options) {
					_ = render.Document(s.Stdout, render.JSON, raw, true)
				})
			},
		})
	return cmd
}

func apps(n int) string {
	if n == 1 {
		return "1 app"
	}
	return fmt.Sprintf("%d apps", n)
}
