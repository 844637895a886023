package cli

import (
	"errors"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// unknown is the fault of a word that is no command below cmd.
func unknown(cmd *cobra.Command, word string, more ...string) error {
	names := more
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
			names = append(names, c.Aliases...)
		}
	}
	e := fault.New(fault.Invalid, "%s has no command %q", cmd.CommandPath(), word).WithReason("unknown_command").
		WithHint("%s --help", cmd.CommandPath())
	if near := fault.Near(word, names); near != "" {
		return e.WithCandidates(near)
	}
	if !cmd.HasParent() {
		if places := elsewhere(cmd, word); len(places) > 0 {
			return e.WithCandidates(places...)
		}
	}
	return e
}

// elsewhere finds the word among the verbs of the services: list is no command, but apps list is.
func elsewhere(root *cobra.Command, word string) []string {
	var places []string
	for _, group := range root.Commands() {
		for _, c := range group.Commands() {
			if c.Name() == word && len(places) < 5 {
				places = append(places, group.Name()+" "+word)
			}
		}
	}
	return places
}

// flagFault makes a fault of what cobra says of flags. args are those of the whole command line: a word that is no
// command explains an unknown flag better than the flag does.
func flagFault(cmd *cobra.Command, err error, args []string) error {
	if cmd.HasSubCommands() && cmd.Annotations["method"] == "" {
		if _, rest, ferr := cmd.Root().Find(args); ferr == nil {
			for _, word := range rest {
				if word != "" && !strings.HasPrefix(word, "-") {
					return unknown(cmd, word)
				}
			}
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
