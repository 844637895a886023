// Package cli is the command line: a command for every method, made from its declaration, and the short forms that
// people know. It is a client of the daemon's socket like any other.
package cli

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sort"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/cmd/cli/short"
	"github.com/omnitron-dev/omnitron/cmd/cli/short/project"
	"github.com/omnitron-dev/omnitron/cmd/cli/stay"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/spf13/cobra"
)

// What a program that embeds the command line hands in.
type (
	Env      = session.Env
	Client   = session.Client
	Terminal = session.Terminal
	Version  = session.Version
	Killed   = session.Killed
	Launch   = session.Launch
	Demo     = session.Demo
	Config   = session.Config
	Local    = session.Local
	Remotes  = session.Remotes
)

// New makes the whole command tree.
func New(specs []op.Spec, env Env) *cobra.Command { return tree(session.New(specs, env), nil) }

// Main runs one command line and gives the exit code. Ctrl-C cancels the call at the daemon; a second one ends the
// program.
func Main(ctx context.Context, specs []op.Spec, env Env, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	args = append([]string{}, args...) // of nil cobra would make the process's own
	s := session.New(specs, env)
	root := tree(s, args)
	root.SetArgs(args)
	var unknown error // cobra takes no fault for an answer once help is asked for
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if word := cmd.Flags().Arg(0); word != "" && cmd.HasSubCommands() && cmd.Annotations["method"] == "" {
			unknown = method.Unknown(cmd, word)
			return
		}
		help(s.Stdout, cmd)
	})
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = unknown
	}
	s.Close()
	if s.Format() == "" {
		s.Guess(args)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return s.Finish(err)
}

// tree makes the commands of a session. args are the command line, for better words about what is wrong with it, and
// because only the commands that it can mean are made in full; nil makes all of them.
func tree(s *session.Session, args []string) *cobra.Command {
	root := &cobra.Command{
		Use: "omnitron", Short: "Run your apps, keep them running, see why they stopped",
		Long:          "Omnitron runs your apps, keeps them running and shows why they stopped.",
		SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return s.Settle(cmd) },
	}
	root.SetIn(s.Stdin)
	root.SetOut(s.Stdout)
	root.SetErr(s.Stderr)
	root.AddGroup(&cobra.Group{ID: everyday}, &cobra.Group{ID: services})
	root.RunE = group(s)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { help(s.Stdout, cmd) })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagFault(cmd, err, args) })
	s.Bind(root.PersistentFlags())
	completeFlags(s, root)

	withRun, beside := short.Groups(s), short.Beside(s)
	var made []*method.Command
	for _, name := range serviceNames(s.Specs) {
		cmd, verbs := service(s, name, withRun[name])
		cmd.AddCommand(beside[name]...)
		root.AddCommand(cmd)
		made = append(made, verbs...)
	}
	for _, cmd := range append(short.Commands(s), stay.Commands(s)...) {
		place(root, cmd)
	}
	for _, spec := range s.Specs {
		if name := shortName(spec); name != "" {
			c := method.New(s, spec, name, short.Before(s, spec))
			if name == "start" {
				project.Paths(s, c.Command)
			}
			place(root, c.Command)
			made = append(made, c)
		}
	}
	for _, c := range made {
		if args == nil || typed(c.Command, args) {
			c.Bind()
		}
	}
	for _, l := range s.Local {
		local(s, root, l)
	}
	root.SetHelpCommand(helpCommand(s, root))
	return root
}

// completeFlags offers the values of the flags that every command has.
func completeFlags(s *session.Session, root *cobra.Command) {
	live := func(kind string) cobra.CompletionFunc {
		return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return method.Live(cmd.Context(), s, kind, nil, word), cobra.ShellCompDirectiveNoFileComp
		}
	}
	for name, offer := range map[string]cobra.CompletionFunc{
		"output":  cobra.FixedCompletions(render.Formats, cobra.ShellCompDirectiveNoFileComp),
		"project": live("projects"), "stack": live("stacks"),
	} {
		// It fails only for a flag that does not exist.
		_ = root.RegisterFlagCompletionFunc(name, offer)
	}
	if s.Remotes.List != nil {
		_ = root.RegisterFlagCompletionFunc("remote", short.Aliases(s)) // as above
	}
}

// typed reports whether a command line can mean a command: its name is one of the words.
func typed(cmd *cobra.Command, args []string) bool {
	return slices.ContainsFunc(args, func(word string) bool { return word == cmd.Name() || cmd.HasAlias(word) })
}

// shortName is the short form of a method: what its row says, else what people expect.
func shortName(spec op.Spec) string {
	if spec.Top != "" {
		return spec.Top
	}
	return short.Usual[spec.ID()]
}

// place puts a short form below root, unless the name is taken.
func place(root, cmd *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() == cmd.Name() {
			return
		}
	}
	cmd.GroupID = everyday
	root.AddCommand(cmd)
}

func serviceNames(specs []op.Spec) []string {
	seen := map[string]bool{}
	var names []string
	for _, spec := range specs {
		if !seen[spec.Service] {
			seen[spec.Service] = true
			names = append(names, spec.Service)
		}
	}
	sort.Strings(names)
	return names
}

// service is the group of a service's methods. A short form with the service's name is what the group itself does.
func service(s *session.Session, name string, run *cobra.Command) (*cobra.Command, []*method.Command) {
	var verbs []string
	var below []*method.Command
	for _, spec := range s.Specs {
		if spec.Service != name {
			continue
		}
		verbs = append(verbs, spec.Verb)
		if run == nil && shortName(spec) == name {
			run = method.New(s, spec, name, short.Before(s, spec)).Bind().Command
		}
		c := method.New(s, spec, name+" "+spec.Verb, short.Before(s, spec))
		for _, alias := range spec.Aliases {
			if svc, verb, ok := strings.Cut(alias, "."); ok && svc == name {
				c.Aliases = append(c.Aliases, verb)
			}
		}
		below = append(below, c)
	}
	cmd := run
	if cmd == nil {
		cmd = &cobra.Command{Use: name, Short: strings.Join(verbs, ", "), Args: cobra.ArbitraryArgs, RunE: group(s), GroupID: services}
		cmd.Long = "Methods of " + name + "."
	} else {
		cmd.GroupID = everyday
		inner := cmd.Args
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := inner(cmd, args)
			if err != nil && len(args) > 0 {
				return method.Unknown(cmd, args[0])
			}
			return err
		}
	}
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[verbsOf] = strings.Join(verbs, ", ")
	for _, c := range below {
		cmd.AddCommand(c.Command)
	}
	return cmd, below
}

// group is what a command does that has commands below it and nothing of its own: it shows its help, and it refuses a
// word that is no command. (Cobra would print help and exit with 0 for that.)
func group(s *session.Session) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return method.Unknown(cmd, args[0])
		}
		if s.Machine() {
			return fault.New(fault.Invalid, "%s needs a command", cmd.CommandPath()).WithReason("missing_command").WithHint("%s --help", cmd.CommandPath())
		}
		help(s.Stdout, cmd)
		return nil
	}
}

// local puts a command that is no method at its place.
func local(s *session.Session, root *cobra.Command, l Local) {
	at := root
	for _, name := range l.Path[:len(l.Path)-1] {
		var next *cobra.Command
		for _, c := range at.Commands() {
			if c.Name() == name {
				next = c
			}
		}
		if next == nil {
			next = &cobra.Command{Use: name, Short: "Commands of " + name, Args: cobra.ArbitraryArgs, RunE: group(s)}
			at.AddCommand(next)
		}
		at = next
	}
	cmd := &cobra.Command{
		Use: strings.TrimSpace(l.Path[len(l.Path)-1] + " " + l.Args), Short: l.Short, Long: l.Long, Hidden: l.Hidden, DisableFlagParsing: l.NoFlags,
		RunE: func(cmd *cobra.Command, args []string) error { return l.Run(cmd.Context(), s.Home, cmd, args) },
	}
	cmd.Args = cobra.ArbitraryArgs
	if l.Args == "" {
		cmd.Args = method.NoArgs
	}
	if at == root {
		cmd.GroupID = everyday
	}
	if l.Flags != nil {
		l.Flags(cmd)
	}
	at.AddCommand(session.Here(cmd, "run it on that machine"))
}
