package short

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func remote(s *session.Session) *cobra.Command {
	if s.Remotes.Dial == nil {
		return nil
	}
	cmd := &cobra.Command{
		Use:   "remote",
		Short: "Daemons of other machines: add, list, remove, test",
		Long: `Know daemons of other machines by an alias, so that every command can be sent there: omnitron ls --remote prod. Aliases, keys
and credentials are kept in this home, where nobody else can read them.
Local: no method.`,
		Args: method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.Machine() {
				return fault.New(fault.Invalid, "%s needs a command", cmd.CommandPath()).WithReason("missing_command").WithHint("omnitron remote --help")
			}
			return cmd.Help()
		},
	}
	names := Aliases(s)
	cmd.AddCommand(addRemote(s),
		&cobra.Command{
			Use: "list", Short: "List the remotes of this home", Long: "List the remotes of this home, without asking them.\nLocal: no method.", Args: method.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				all, err := s.Remotes.List(s.Home)
				if err != nil {
					return err
				}
				return s.ShowValue(cmd.Context(), struct {
					Items []session.Remote `json:"items" table:"1"`
				}{append([]session.Remote{}, all...)}, nil)
			},
		},
		&cobra.Command{
			Use: "remove <alias>", Short: "Forget a remote, its key and its credentials",
			Long: "Forget a remote, its key and its credentials. A token that was given for it stays good: revoke it there.\nLocal: no method.",
			Args: method.Exactly("alias"), ValidArgsFunction: names,
			RunE: func(cmd *cobra.Command, args []string) error {
				r, err := s.Remotes.Remove(cmd.Context(), s.Home, args[0])
				if err != nil {
					return err
				}
				return s.ShowValue(cmd.Context(), r, func(render.Options) { fmt.Fprintf(s.Stdout, "%s is forgotten\n", args[0]) })
			},
		},
		&cobra.Command{
			Use: "test <alias>", Short: "Connect to a remote, and say as whom and how long that took",
			Long: "Connect to a remote, check its key, sign in and make a call.\nLocal: no method; the call is daemon.version.",
			Args: method.Exactly("alias"), ValidArgsFunction: names,
			RunE: func(cmd *cobra.Command, args []string) error {
				ctx, cancel := s.Bounded(cmd.Context())
				defer cancel()
				r, err := s.Remotes.Test(ctx, s.Home, args[0])
				if err != nil {
					return err
				}
				return s.ShowValue(ctx, r, func(render.Options) {
					fmt.Fprintf(s.Stdout, "%s: %s, %s in %d ms, as %s\n", r.Alias, r.Address, r.Version, r.TookMS, who(r.RemoteUser))
				})
			},
		})
	return cmd
}

// Aliases completes the names of remotes.
func Aliases(s *session.Session) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, _ := s.Remotes.List(s.Home) // without it nothing is offered
		var out []string
		for _, r := range all {
			out = append(out, r.Alias)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// who says as whom somebody is signed in.
func who(u session.RemoteUser) string {
	return fmt.Sprintf("%s (%s, %s)", render.Escape(u.User), u.Channel, u.Role)
}

// adding is what remote add was asked to do.
type adding struct {
	*session.Session
	pin, tokenFile, user string
}

func addRemote(s *session.Session) *cobra.Command {
	a := &adding{Session: s}
	cmd := &cobra.Command{
		Use:   "add <alias> <host:port>",
		Short: "Add a remote: check its key, sign in, and keep both",
		Long: `Add the daemon of another machine. Its key is shown, and kept once you have said that it is the right one: compare it with what
omnitron status --jq .planes says on that machine. Without --token-file you sign in with a name and a password. An alias that is
there already is signed in again.
Local: no method; the sign-in is auth.signin.`,
		Example: "  omnitron remote add prod ops.example.com:9700\n  omnitron remote add ci 10.0.0.5 --token-file token.txt --pin sha256/…",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return fault.New(fault.Invalid, "%s needs <alias> and <host:port>", cmd.CommandPath()).WithReason("missing_argument").WithHint("omnitron remote add prod ops.example.com:9700")
			}
			return method.NoArgs(cmd, args[2:])
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), args[0], args[1]) },
	}
	set := cmd.Flags()
	set.StringVar(&a.pin, "pin", "", "the `key` that the daemon has to show, instead of asking")
	set.StringVar(&a.tokenFile, "token-file", "", "`file` with a token to sign in with; - is standard input")
	set.StringVar(&a.user, "user", "", "`name` to sign in with; default: the name here")
	return cmd
}

func (a *adding) run(ctx context.Context, alias, address string) error {
	if a.tokenFile != "" && a.user != "" {
		return fault.New(fault.Invalid, "--token-file and --user do not go together: a token says whose it is").WithReason("bad_flag")
	}
	ctx, cancel := a.Bounded(ctx)
	defer cancel()
	key, err := a.Remotes.Key(ctx, address)
	if err != nil {
		return err
	}
	if err := a.agree(ctx, alias, key); err != nil {
		return err
	}
	in := session.NewRemote{Alias: alias, Address: key.Address, Pin: key.Pin}
	if a.tokenFile != "" {
		if in.Token, err = a.token(); err != nil {
			return err
		}
	} else {
		if in.User = a.user; in.User == "" {
			in.User = a.Getenv("USER")
		}
		if in.User == "" {
			return fault.New(fault.Invalid, "it is not known who signs in").WithReason("missing_argument").WithHint("--user NAME, or --token-file FILE")
		}
		if in.Password, err = a.Secret(ctx, "password of "+in.User, false); err != nil {
			return err
		}
	}
	u, err := a.Remotes.Add(ctx, a.Home, in)
	if err != nil {
		return err
	}
	return a.ShowValue(ctx, u, func(render.Options) {
		fmt.Fprintf(a.Stdout, "%s is added: you are %s there\n", alias, who(u))
		a.Note("try it: omnitron ls --remote %s", alias)
	})
}

// agree has the key confirmed. Faults: denied (key_changed), invalid (confirmation_needed), cancelled (declined).
func (a *adding) agree(ctx context.Context, alias string, key session.RemoteKey) error {
	all, err := a.Remotes.List(a.Home)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Alias != alias || r.Address != key.Address {
			continue
		}
		if r.Pin != key.Pin {
			return fault.New(fault.Denied, "%s shows the key %s, and %s was added with %s", key.Address, key.Pin, alias, r.Pin).WithReason("key_changed").
				WithHint("compare it with what its machine says: omnitron status --jq .planes\nif it is the same, then add it again: omnitron remote remove %s\nif not, somebody is in between: do not sign in", alias)
		}
		return nil // it was agreed to before
	}
	switch {
	case a.pin == key.Pin:
		return nil
	case a.pin != "":
		return fault.New(fault.Denied, "%s shows the key %s, not the one of --pin", key.Address, key.Pin).WithReason("key_changed").
			WithHint("compare it with what its machine says: omnitron status --jq .planes")
	}
	a.Note("%s shows the key %s", key.Address, key.Pin)
	a.Note("on its machine this has to be said too: omnitron status --jq .planes")
	if a.Machine() || !a.CanAsk() {
		return fault.New(fault.Invalid, "the key of %s is not known yet, and there is nobody to ask", key.Address).WithReason("confirmation_needed").
			WithHint("once you have compared it: --pin %s", key.Pin)
	}
	yes, err := a.Ask(ctx, "is it the same?")
	if err == nil && !yes {
		err = session.Declined()
	}
	return err
}

// maxToken bounds what is read as a token.
const maxToken = 16 << 10

// token reads the token from its file.
func (a *adding) token() (string, error) {
	from, name := a.Stdin, "standard input"
	if a.tokenFile != "-" {
		f, err := os.Open(a.tokenFile)
		if err != nil {
			return "", fault.Wrap(err, fault.Invalid, "cannot read the token: %v", err).WithReason("config_unreadable")
		}
		defer f.Close()
		from, name = f, a.tokenFile
	}
	if from == nil {
		from = strings.NewReader("")
	}
	raw, err := io.ReadAll(io.LimitReader(from, maxToken+1))
	text := strings.TrimSpace(string(raw))
	switch {
	case err != nil:
		return "", fault.Wrap(err, fault.Invalid, "cannot read the token from %s: %v", name, err).WithReason("config_unreadable")
	case text == "" || len(raw) > maxToken || strings.ContainsAny(text, " \t\r\n"):
		return "", fault.New(fault.Invalid, "%s holds no token: it has to be one word", name).WithReason("bad_value").WithHint("omnitron tokens create        on its machine gives one")
	}
	return text, nil
}
