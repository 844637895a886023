package remote

import (
	"context"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// granted is what auth.signin and auth.refresh answer, as far as it is kept.
type granted struct {
	Status op.Status `json:"status"`
	Result struct {
		Access  string    `json:"access_token"`
		Expires time.Time `json:"expires_at"`
		Refresh string    `json:"refresh_token"`
	} `json:"result"`
}

func (g granted) credentials() (credentials, error) {
	r := g.Result
	if g.Status != op.Done || r.Access == "" || r.Refresh == "" {
		return credentials{}, fault.New(fault.Internal, "the daemon's answer to the sign-in cannot be read").WithReason("bad_answer").WithHint("omnitron version shows what this program is")
	}
	return credentials{Access: r.Access, Expires: r.Expires, Refresh: r.Refresh}, nil
}

func signIn(ctx context.Context, c *wire.Client, who SignIn) (credentials, error) {
	var g granted
	if err := c.Call(ctx, "auth.signin", map[string]any{"name": who.User, "password": who.Password}, &g); err != nil {
		return credentials{}, err
	}
	return g.credentials()
}

func refresh(ctx context.Context, c *wire.Client, old credentials) (credentials, error) {
	var g granted
	if err := c.Call(ctx, "auth.refresh", map[string]any{"refresh_token": old.Refresh}, &g); err != nil {
		return credentials{}, err
	}
	return g.credentials()
}

// hello says who calls on a connection.
func hello(ctx context.Context, c *wire.Client, cr credentials, l Launch) (Welcome, error) {
	bearer := cr.Token
	if bearer == "" {
		bearer = cr.Access
	}
	launch := map[string]any{}
	if l.Role != "" {
		launch["role"] = l.Role
	}
	if l.ReadOnly {
		launch["read_only"] = true
	}
	if len(l.Toolsets) > 0 {
		launch["toolsets"] = l.Toolsets
	}
	in := map[string]any{"token": bearer, "launch": launch}
	if l.Channel != "" {
		in["channel"] = l.Channel
	}
	var w Welcome
	err := c.Call(ctx, "auth.hello", in, &w)
	return w, err
}
