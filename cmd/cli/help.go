package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of the root's help.
const (
	everyday = "everyday"
	services = "services"
)

// verbsOf is the annotation of a service's group that lists its verbs.
const verbsOf = "verbs"

// help writes what a command is, how it is used and what it takes.
func help(w io.Writer, cmd *cobra.Command) {
	var b strings.Builder
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	b.WriteString(strings.TrimSpace(text) + "\n\nusage\n")
	if !cmd.HasAvailableSubCommands() || cmd.Annotations["method"] != "" || cmd.Name() == "mcp" {
		b.WriteString("  " + cmd.UseLine() + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("  " + cmd.CommandPath() + " <command>\n")
	}
	if len(cmd.Aliases) > 0 {
		b.WriteString("\nalso\n  " + strings.Join(cmd.Aliases, ", ") + "\n")
	}
	children(&b, cmd)
	if flags := ownFlags(cmd).FlagUsages(); flags != "" {
		b.WriteString("\nflags\n" + flags)
	}
	if cmd.Example != "" {
		b.WriteString("\nexamples\n" + cmd.Example + "\n")
	}
	if cmd.HasParent() {
		b.WriteString("\nFlags of every command: omnitron help flags\n")
	} else {
		b.WriteString("\nhelp\n  omnitron help <command>     omnitron help flags     omnitron help exit-codes     omnitron explain <what>\n")
	}
	io.WriteString(w, b.String())
}

// ownFlags are the flags that a command takes and not every command does: those of the commands above it too.
func ownFlags(cmd *cobra.Command) *pflag.FlagSet {
	common := cmd.Root().PersistentFlags()
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	add := func(f *pflag.Flag) {
		if common.Lookup(f.Name) != f {
			own.AddFlag(f)
		}
	}
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return own
}

func children(b *strings.Builder, cmd *cobra.Command) {
	groups := []struct{ id, title string }{{everyday, "commands"}, {services, "all methods, by service"}, {"", "commands"}}
	width := 0
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			width = max(width, len(c.Name()))
		}
	}
	for _, g := range groups {
		var lines strings.Builder
		for _, c := range cmd.Commands() {
			text := c.Short
			if g.id == services {
				text = c.Annotations[verbsOf]
			}
			if c.IsAvailableCommand() && (c.GroupID == g.id || g.id == services && text != "") {
				fmt.Fprintf(&lines, "  %-*s  %s\n", width, c.Name(), text)
			}
		}
		if lines.Len() > 0 {
			b.WriteString("\n" + g.title + "\n" + lines.String())
		}
	}
}

// Reference is the help of the whole tree, for goldens and for the documentation.
func Reference(root *cobra.Command) string {
	var b strings.Builder
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		fmt.Fprintf(&b, "## %s\n\n", cmd.CommandPath())
		help(&b, cmd)
		b.WriteString("\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				walk(c)
			}
		}
	}
	walk(root)
	b.WriteString("## omnitron help flags\n\n" + flagsTopic(root) + "\n## omnitron help exit-codes\n\n" + exitCodes)
	return b.String()
}

func flagsTopic(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("Every command takes these.\n\n" + root.PersistentFlags().FlagUsages() + "\nenvironment\n")
	for _, v := range config.EnvVars {
		fmt.Fprintf(&b, "  %-20s %s\n", v.Name, v.Doc)
	}
	return b.String()
}

const exitCodes = `  0    done; also: there was nothing to do
  1    failed: not_found, conflict, failed, limited, internal
  2    the daemon is not reachable: unavailable
  3    not authenticated or not allowed: unauthenticated, denied
  4    held: waits for a person, or a person said no
  5    timed out; the work goes on: deadline
  6    plan --exit-code: changes are pending
  64   wrong usage or invalid input, wherever it is found
  130  interrupted
`

// helpCommand is help with topics. Cobra's own answers an unknown topic with exit code 0.
func helpCommand(s *session.Session, root *cobra.Command) *cobra.Command {
	topics := map[string]func() string{
		"flags":      func() string { return flagsTopic(root) },
		"exit-codes": func() string { return exitCodes },
	}
	return &cobra.Command{
		Use: "help [command]", Short: "Help for a command, or: flags, exit-codes", GroupID: everyday,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && topics[args[0]] != nil {
				_, err := io.WriteString(s.Stdout, topics[args[0]]())
				return err
			}
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 && cmd.HasSubCommands() {
				return method.Unknown(cmd, args[len(args)-1], "flags", "exit-codes")
			}
			if len(rest) > 0 {
				return fault.New(fault.Invalid, "%s has no commands below it", cmd.CommandPath()).WithReason("unknown_command").
					WithHint("%s --help", cmd.CommandPath())
			}
			help(s.Stdout, cmd)
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			cmd, _, err := root.Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range cmd.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}
