package short

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

var (
	roles    = []string{"viewer", "operator", "admin"}
	profiles = []string{"core", "full", "readonly"}
	clients  = []string{"claude", "cursor", "vscode"}
)

// launchFlags are what an MCP connection can be started with.
type launchFlags struct {
	role, profile string
	toolsets      []string
	readOnly      bool
}

func (l *launchFlags) bind(cmd *cobra.Command) {
	set := cmd.PersistentFlags()
	set.StringVar(&l.role, "role", "", "hard ceiling of rights: "+strings.Join(roles, ", "))
	set.StringVar(&l.profile, "profile", "", "which tools are listed: "+strings.Join(profiles, ", ")+" (default core)")
	set.StringSliceVar(&l.toolsets, "toolsets", nil, "services whose tools are listed, such as apps,logs")
	set.BoolVar(&l.readOnly, "read-only", false, "nothing but reads")
	for name, values := range map[string][]string{"role": roles, "profile": profiles} {
		// It fails only for a flag that does not exist.
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// check refuses words that are no role, profile or service. Fault: invalid.
func (l *launchFlags) check(s *session.Session) error {
	if err := oneOf("--role", l.role, roles); err != nil {
		return err
	}
	if err := oneOf("--profile", l.profile, profiles); err != nil {
		return err
	}
	var services []string
	for _, spec := range s.Specs {
		services = append(services, spec.Service)
	}
	for _, t := range l.toolsets {
		if err := oneOf("--toolsets", t, slices.Compact(services)); err != nil {
			return err
		}
	}
	return nil
}

func oneOf(flag, word string, words []string) error {
	if word == "" || slices.Contains(words, word) {
		return nil
	}
	e := fault.New(fault.Invalid, "%s: %q is none of %s", flag, word, strings.Join(words, ", ")).WithReason("bad_value")
	if near := fault.Near(word, words); near != "" {
		e = e.WithCandidates(near)
	}
	return e
}

func (l *launchFlags) args(s *session.Session) []string {
	args := []string{"mcp"}
	if s.Remote != "" {
		args = append(args, "--remote", s.Remote)
	}
	if l.role != "" {
		args = append(args, "--role", l.role)
	}
	if l.profile != "" {
		args = append(args, "--profile", l.profile)
	}
	if len(l.toolsets) > 0 {
		args = append(args, "--toolsets", strings.Join(l.toolsets, ","))
	}
	if l.readOnly {
		args = append(args, "--read-only")
	}
	return args
}

func mcp(s *session.Session) *cobra.Command {
	if s.MCP == nil {
		return nil
	}
	var l launchFlags
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Speak MCP on standard input and output, for an AI agent",
		Long: `Speak the Model Context Protocol on standard input and output. Starts the daemon when there is none, and outlives it.
An agent acts as operator; what destroys, and what changes configuration or rights, waits for a person. A role given here is a
hard ceiling.
Local: no method.`,
		Example: "  claude mcp add omnitron -- omnitron mcp\n  omnitron mcp config --client cursor",
		Args:    method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.check(s); err != nil {
				return err
			}
			launch := session.Launch{Role: l.role, Profile: l.profile, Toolsets: l.toolsets, ReadOnly: l.readOnly}
			if s.Remote != "" {
				return s.Remotes.MCP(cmd.Context(), s.Home, s.Remote, launch)
			}
			return s.MCP(cmd.Context(), s.Home, launch)
		},
	}
	l.bind(cmd)
	var client string
	config := &cobra.Command{
		Use:   "config",
		Short: "What to write into an agent's settings",
		Long:  "Print the settings with which a client finds this program. The flags of mcp become part of them.\nLocal: no method.",
		Args:  method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.check(s); err != nil {
				return err
			}
			if err := oneOf("--client", client, clients); err != nil {
				return err
			}
			return s.ShowValue(cmd.Context(), settings(s, client, l.args(s)), func(o render.Options) {
				// The value was encoded a moment ago.
				_ = render.Document(s.Stdout, render.JSON, encode(settings(s, client, l.args(s))), true)
				s.Note("%s", place(s, client, l.args(s)))
			})
		},
	}
	config.Flags().StringVar(&client, "client", "claude", "client: "+strings.Join(clients, ", "))
	_ = config.RegisterFlagCompletionFunc("client", cobra.FixedCompletions(clients, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(config)
	return cmd
}

// line is what starts the agent's end, wherever the client starts it: a client from a desktop has neither this shell's PATH
// nor its OMNITRON_HOME.
func line(s *session.Session, args []string) (program string, all []string) {
	if program = s.Executable; program == "" {
		program = "omnitron"
	}
	home := s.Home
	if home == "" {
		home = os.Getenv("OMNITRON_HOME")
	}
	if home == "" {
		return program, args
	}
	if abs, err := filepath.Abs(home); err == nil {
		home = abs
	}
	return program, append([]string{"--home", home}, args...)
}

// settings is what the client's file has to contain.
func settings(s *session.Session, client string, args []string) map[string]any {
	program, args := line(s, args)
	server := map[string]any{"command": program, "args": args}
	if client == "vscode" {
		server["type"] = "stdio"
		return map[string]any{"servers": map[string]any{"omnitron": server}}
	}
	return map[string]any{"mcpServers": map[string]any{"omnitron": server}}
}

// place says where the settings go.
func place(s *session.Session, client string, args []string) string {
	switch client {
	case "cursor":
		return "put it into ~/.cursor/mcp.json, or .cursor/mcp.json of the project"
	case "vscode":
		return "put it into .vscode/mcp.json of the project"
	}
	program, args := line(s, args)
	words := []string{field.Quote(program)}
	for _, a := range args {
		words = append(words, field.Quote(a))
	}
	return "put it into .mcp.json of the project, or: claude mcp add omnitron -- " + strings.Join(words, " ")
}
