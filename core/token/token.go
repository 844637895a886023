// Package token says who a credential stands for.
package token

import (
	"context"
	"net/netip"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
)

// Identity is who a credential stands for.
type Identity struct {
	Caller  op.Caller       // without Plane, Session and Client, which the plane adds
	Expires time.Time       // when the credential ends by itself
	Revoked <-chan struct{} // closed once it counts no more: its token, session, family, user or role was ended or changed
}

// Authority tells bearers apart. The network planes ask it; everything else they do is theirs.
type Authority interface {
	// Admit gives the identity that a bearer (an access token or a named token) stands for. from is where it came from; a
	// channel that is not "" lowers the identity's to it. The faults are unauthenticated (no_token, bad_token, expired,
	// revoked) and limited (too many guesses from there).
	Admit(ctx context.Context, bearer string, from netip.Addr, lower op.Channel) (*Identity, error)
}
