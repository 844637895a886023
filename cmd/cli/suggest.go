package cli

import (
	"errors"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagFault makes a fault of what cobra says of flags. args are those of the whole command line: a word that is no
// command explains an unknown flag better than the flag does.
func flagFault(cmd *cobra.Command, err error, args []string) error {
	if cmd.HasSubCommands() && cmd.Annotations["method"] == "" {
		if _, rest, ferr := cmd.Root().Find(args); ferr == nil && len(rest) > 0 && rest[0] != "" && !strings.HasPrefix(rest[0], "-") {
			return method.Unknown(cmd, rest[0])
		}
	}
	hint := cmd.CommandPath() + " --help"
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := missing.GetSpecifiedName()
		if missing.GetSpecifiedShortnames() != "" {
			return fault.New(fault.Invalid, "%s has no flag -%s", cmd.CommandPath(), name).WithReason("unknown_flag").WithHint("%s", hint)
		}
		var names []string
		add := func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		}
		cmd.Flags().VisitAll(add)
		cmd.InheritedFlags().VisitAll(add)
		e := fault.New(fault.Invalid, "%s has no flag --%s", cmd.CommandPath(), name).WithReason("unknown_flag").WithHint("%s", hint)
		if near := fault.Near(name, names); near != "" {
			return e.WithCandidates("--" + near)
		}
		return e
	}
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		cause := bad.Unwrap()
		if f, ok := errors.AsType[*fault.Error](cause); ok {
			return fault.New(fault.Invalid, "--%s: %s", bad.GetFlag().Name, f.Message).WithReason("bad_value").WithHint("%s", hint)
		}
		return fault.New(fault.Invalid, "--%s: %q does not fit", bad.GetFlag().Name, bad.GetValue()).WithReason("bad_value").WithHint("%s", hint)
	}
	return fault.New(fault.Invalid, "%v", err).WithReason("bad_flag").WithHint("%s", hint)
}
