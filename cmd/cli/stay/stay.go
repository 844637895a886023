// Package stay holds the commands that keep Omnitron on a machine: install, uninstall and upgrade.
package stay

import (
	"fmt"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/spf13/cobra"
)

// Commands are those of them that are offered here.
func Commands(s *session.Session) []*cobra.Command {
	var all []*cobra.Command
	if s.Staying.Install != nil {
		all = append(all, install(s), uninstall(s))
	}
	if s.Staying.Upgrade != nil {
		all = append(all, upgrade(s))
	}
	return all
}

func install(s *session.Session) *cobra.Command {
	var o session.InstallOptions
	var show bool
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Have the daemon started at boot, and now",
		Long: `Have the daemon started at boot, and now: as root by a systemd unit of the system, else by one of yours, where systemd does not
run by cron. Apps that run are not touched, and after a reboot those come up that were to run. To do it again changes nothing.
Local: no method.`,
		Example: "  sudo omnitron install\n  omnitron install --linger          yours, also while you are not logged in\n  omnitron install --print           the unit, and nothing is done",
		Args:    method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.DryRun = o.DryRun || show
			done, err := s.Staying.Install(cmd.Context(), s.Home, o)
			if err != nil {
				return err
			}
			return s.ShowValue(cmd.Context(), done, func(render.Options) {
				if show {
					for _, f := range done.Files {
						fmt.Fprint(s.Stdout, f.Text)
					}
					return
				}
				tell(s, done, "installed: the daemon of "+done.Home+" is started at boot")
			})
		},
	}
	flags(cmd, &o)
	cmd.Flags().BoolVar(&o.Linger, "linger", false, "let your services run without you being logged in (loginctl enable-linger)")
	cmd.Flags().BoolVar(&o.NoStart, "no-start", false, "do not start it now")
	cmd.Flags().BoolVar(&show, "print", false, "print what would be written, and do nothing")
	return session.Here(cmd, "run it on that machine")
}

func uninstall(s *session.Session) *cobra.Command {
	var o session.InstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take back what install did",
		Long: `Take back what install did. A systemd service is stopped, its apps in order; what should run is remembered, and omnitron up starts
it again without a service. What cron has started goes on. The home and all that is in it stays.
Local: no method.`,
		Args: method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := s.Staying.Uninstall(cmd.Context(), s.Home, o)
			if err != nil {
				return err
			}
			return s.ShowValue(cmd.Context(), done, func(render.Options) {
				tell(s, done, "uninstalled: nothing starts the daemon of "+done.Home+" at boot")
			})
		},
	}
	flags(cmd, &o)
	return session.Here(cmd, "run it on that machine")
}

func flags(cmd *cobra.Command, o *session.InstallOptions) {
	cmd.Flags().StringVar(&o.Manager, "manager", "", "systemd or cron; default: systemd where it runs")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and do nothing")
	managers := []string{"systemd", "cron"}
	// It fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("manager", cobra.FixedCompletions(managers, cobra.ShellCompDirectiveNoFileComp))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		switch o.Manager {
		case "", "systemd", "cron":
			return nil
		}
		e := fault.New(fault.Invalid, "--manager: %q is neither systemd nor cron", o.Manager).WithReason("bad_flag")
		if near := fault.Near(o.Manager, managers); near != "" {
			e = e.WithCandidates(near)
		}
		return e
	}
}

// tell says what was done, or would be.
func tell(s *session.Session, done session.Installed, all string) {
	would := ""
	if done.DryRun {
		would = "would: "
	}
	for _, f := range done.Files {
		fmt.Fprintf(s.Stdout, "%s%-9s %s\n", would, f.Done, f.Path)
	}
	for _, argv := range done.Ran {
		words := make([]string, len(argv))
		for i, a := range argv {
			words[i] = field.Quote(a)
		}
		fmt.Fprintf(s.Stdout, "%s%-9s %s\n", would, "ran", strings.Join(words, " "))
	}
	for _, n := range done.Notes {
		s.Note("note: %s", n)
	}
	switch {
	case done.DryRun && done.Changed:
		fmt.Fprintln(s.Stdout, "nothing was done")
	case !done.Changed:
		fmt.Fprintln(s.Stdout, "nothing to do: it is so already")
	default:
		fmt.Fprintln(s.Stdout, all)
	}
}

func upgrade(s *session.Session) *cobra.Command {
	var o session.UpgradeOptions
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Put another version in the place of the installed one; apps live on",
		Long: `Put another version of omnitron in the place of the installed one, have a daemon of it take over, and then its keeper. Apps live on:
same processes, no line of output lost. A file needs its checksum, given or beside it as FILE.sha256, and has to run here. If the
new daemon does not answer within 15 seconds, program, database and daemon of before are put back.
Without --from this very program is put in the place of the installed one. What dpkg has installed is upgraded by its package.
Local: no method; the call is daemon.restart.`,
		Example: "  omnitron upgrade --from ./omnitron              with ./omnitron.sha256 beside it\n  ./bin/omnitron upgrade              this program replaces the one that the daemon runs",
		Args:    method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := s.Staying.Upgrade(cmd.Context(), s.Home, o)
			if err != nil {
				return err
			}
			return s.ShowValue(cmd.Context(), done, func(render.Options) {
				from := done.From
				if from == "" {
					from = "nothing"
				}
				switch {
				case done.DryRun:
					fmt.Fprintf(s.Stdout, "would replace %s: %s by %s; nothing was done\n", done.Path, from, done.To)
				case !done.Changed && done.Daemon != "replaced":
					fmt.Fprintf(s.Stdout, "nothing to do: %s is %s already\n", done.Path, done.To)
				default:
					fmt.Fprintf(s.Stdout, "%s is %s, was %s; daemon: %s\n", done.Path, done.To, from, done.Daemon)
				}
			})
		},
	}
	cmd.Flags().StringVar(&o.From, "from", "", "`file` of the other version; default: this program")
	cmd.Flags().StringVar(&o.SHA256, "sha256", "", "checksum of the file, in hex; default: as FILE.sha256 has it")
	cmd.Flags().StringVar(&o.To, "to", "", "the program to replace; default: the one that the daemon runs, else this one")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "check the file, and do nothing")
	return session.Here(cmd, "run it on that machine")
}
