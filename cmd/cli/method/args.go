package method

import (
	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// NoArgs refuses arguments, as a fault.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return Unknown(cmd, args[0])
	}
	return fault.New(fault.Invalid, "%s does not take %q", cmd.CommandPath(), args[0]).WithReason("unknown_argument").
		WithHint("%s --help", cmd.CommandPath())
}

// Exactly wants one argument.
func Exactly(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fault.New(fault.Invalid, "%s needs <%s>", cmd.CommandPath(), what).WithReason("missing_argument").WithHint("%s --help", cmd.CommandPath())
		}
		return NoArgs(cmd, args[1:])
	}
}

// AppNames completes arguments with the names of apps.
func AppNames(s *session.Session) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		return Live(cmd.Context(), s, "apps", args, word), cobra.ShellCompDirectiveNoFileComp
	}
}

// Has reports whether all these methods exist.
func Has(s *session.Session, ids ...string) bool {
	for _, id := range ids {
		if _, ok := s.Spec(id); !ok {
			return false
		}
	}
	return true
}
