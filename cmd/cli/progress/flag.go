package progress

import (
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/spf13/cobra"
)

// mode is a way of showing progress, checked when it is typed.
type mode struct{ to *string }

func (m mode) String() string { return "" }
func (m mode) Type() string   { return strings.Join(Modes, "|") }
func (m mode) Set(s string) error {
	if !slices.Contains(Modes, s) {
		return fault.New(fault.Invalid, "%q is none of %s", s, strings.Join(Modes, ", "))
	}
	*m.to = s
	return nil
}

// Flag adds --progress to a command.
func Flag(cmd *cobra.Command, to *string) {
	cmd.Flags().Var(mode{to}, "progress", "how to show apps coming up (default auto)")
	// It fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions(Modes, cobra.ShellCompDirectiveNoFileComp))
}
