package session

import (
	"context"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/spf13/cobra"
)

// Remotes are the daemons of other machines that a home knows. What is nil is not offered.
type Remotes struct {
	// Dial connects to one and signs in. Faults: not_found (remote_unknown), denied (key_changed), unauthenticated
	// (signed_out), unavailable (remote_unreachable).
	Dial func(ctx context.Context, home, alias string) (Client, error)
	// Key gives the key that is shown at an address, which it completes.
	Key func(ctx context.Context, address string) (RemoteKey, error)
	// Add keeps a remote once it has taken the sign-in.
	Add func(ctx context.Context, home string, r NewRemote) (RemoteUser, error)
	// List gives those that are kept.
	List func(home string) ([]Remote, error)
	// Remove forgets one and its credentials.
	Remove func(ctx context.Context, home, alias string) (Remote, error)
	// Test connects to one, and says as whom and how long that took.
	Test func(ctx context.Context, home, alias string) (RemoteTest, error)
	// MCP speaks MCP on standard input and output in this process, for the agent of a remote daemon.
	MCP func(ctx context.Context, home, alias string, launch Launch) error
}

// RemoteKey is what a daemon shows of itself.
type RemoteKey struct {
	Address string
	Pin     string
}

// NewRemote is one to be added. Without a token somebody signs in by password.
type NewRemote struct{ Alias, Address, Pin, Token, User, Password string }

// RemoteUser is who has signed in.
type RemoteUser struct {
	Alias   string    `json:"alias"`
	Address string    `json:"address"`
	Pin     string    `json:"pin"`
	User    string    `json:"user"`
	Channel string    `json:"channel"`
	Role    string    `json:"role"`
	Expires time.Time `json:"expires_at,omitzero" unit:"time"`
}

// Remote is one that is kept.
type Remote struct {
	Alias   string    `json:"alias" table:"1"`
	Address string    `json:"address" table:"2"`
	User    string    `json:"user" table:"3"`
	Pin     string    `json:"pin" table:"4"`
	Added   time.Time `json:"added" table:"5" unit:"time"`
}

// RemoteTest is what a test of a remote found.
type RemoteTest struct {
	RemoteUser
	Version string `json:"version"`
	TookMS  int64  `json:"took_ms"`
}

// here marks a command that is about this machine, and says what to do instead at a remote one.
const here = "here"

// Here marks a command that does not go with --remote; instead says what does.
func Here(cmd *cobra.Command, instead string) *cobra.Command {
	if cmd != nil {
		if cmd.Annotations == nil {
			cmd.Annotations = map[string]string{}
		}
		cmd.Annotations[here] = instead
	}
	return cmd
}

// away makes the session speak with a remote daemon: nothing of this machine is started, looked at or ended for it. Fault:
// invalid (not_remote).
func (s *Session) away(cmd *cobra.Command) error {
	if s.Remote == "" {
		return nil
	}
	for c := cmd; c != nil; c = c.Parent() {
		if instead, is := c.Annotations[here]; is {
			return fault.New(fault.Invalid, "%s is about this machine and does not go with --remote", cmd.CommandPath()).WithReason("not_remote").
				WithHint("%s", strings.ReplaceAll(instead, "ALIAS", s.Remote))
		}
	}
	if s.Remotes.Dial == nil {
		return fault.New(fault.Invalid, "this program knows no remotes").WithReason("not_remote")
	}
	s.EnsureDaemon, s.Revive, s.Sweep, s.Held, s.Hung, s.Kill, s.Doctor = nil, nil, nil, nil, nil, nil, nil
	s.Gone = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() } // it is waited for
	return nil
}

// dial connects to the daemon that the command line means.
func (s *Session) dial(ctx context.Context) (Client, error) {
	if s.Remote != "" && s.Remotes.Dial != nil {
		return s.Remotes.Dial(ctx, s.Home, s.Remote)
	}
	return s.Dial(ctx, s.Home)
}
