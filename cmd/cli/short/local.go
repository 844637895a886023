package short

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func kill(s *session.Session) *cobra.Command {
	if s.Kill == nil {
		return nil
	}
	return &cobra.Command{
		Use:   "kill",
		Short: "End the daemon by force; apps live on",
		Long: `End the daemon with SIGKILL, for good: it is not started again by itself. Apps live on with the keeper, their output is
kept, and the next up or start finds them as they are. To stop apps as well: omnitron down.
Local: no method.`,
		Args: method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := s.Kill(cmd.Context(), s.Home)
			if err != nil {
				return err
			}
			return s.ShowValue(cmd.Context(), k, func(render.Options) {
				if !k.Was {
					fmt.Fprintln(s.Stdout, "nothing to kill: no daemon runs")
					return
				}
				fmt.Fprintf(s.Stdout, "killed the daemon (pid %d); apps live on until: omnitron up\n", k.PID)
			})
		},
	}
}

func version(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "The version of this program",
		Long:  "The version of this program. That of the daemon: omnitron daemon version.\nLocal: no method.",
		Args:  method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := s.Version
			return s.ShowValue(cmd.Context(), v, func(render.Options) {
				line := "omnitron " + v.Version
				if v.Commit != "" {
					line += " (" + v.Commit + ")"
				}
				fmt.Fprintf(s.Stdout, "%s %s %s/%s\n", line, v.Go, v.OS, v.Arch)
			})
		},
	}
}

func completion(s *session.Session) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion <bash|zsh|fish>",
		Short: "A completion script for your shell, with live names",
		Long: `Print a completion script. It knows commands, flags, and the names of apps with their states while a daemon runs.
Local: no method.`,
		Example:   "  source <(omnitron completion bash)\n  omnitron completion zsh > \"${fpath[1]}/_omnitron\"\n  omnitron completion fish > ~/.config/fish/completions/omnitron.fish",
		Args:      method.Exactly("shell"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			script := map[string]func(io.Writer) error{
				"bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
				"zsh":  root.GenZshCompletion,
				"fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
			}[args[0]]
			if script == nil {
				e := fault.New(fault.Invalid, "there is no completion for %q", args[0]).WithReason("bad_value").WithHint("omnitron completion bash|zsh|fish")
				if near := fault.Near(args[0], shells); near != "" {
					e = e.WithCandidates(near)
				}
				return e
			}
			return script(s.Stdout)
		},
	}
}
