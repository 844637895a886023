package method

import (
	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Unknown is the fault of a word that is no command below cmd.
func Unknown(cmd *cobra.Command, word string, more ...string) error {
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
