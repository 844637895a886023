package token

import (
	"context"
	"net/netip"
)

type fromKey struct{}

// From gives ctx the address that a call comes from: what is asked without a credential is limited by it.
func From(ctx context.Context, from netip.Addr) context.Context {
	return context.WithValue(ctx, fromKey{}, from)
}

// FromOf is the address that a call comes from; invalid where it comes from this machine's socket.
func FromOf(ctx context.Context) netip.Addr {
	from, _ := ctx.Value(fromKey{}).(netip.Addr)
	return from
}
