// Package sockets has the keeper open the listening sockets that an app declares, and says whose each is. They are named by their
// address too: where another definition moves one, the old stays open as long as something runs that was given it.
package sockets

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
)

// Keeper is the part of *proc.Keeper that keeps sockets open.
type Keeper interface {
	Listen(ctx context.Context, s proc.Listener) error
	Unlisten(id string)
	Sockets() []proc.Listener
}

// ID names a socket of a process: project/stack/app:process+name=address.
func ID(key, process string, s config.Socket) string {
	return key + ":" + process + "+" + s.Name + "=" + s.Address
}

// Parse is the inverse of ID, but for the address.
func Parse(id string) (key, process, name string) {
	key, rest, _ := strings.Cut(id, ":")
	process, rest, _ = strings.Cut(rest, "+")
	name, _, _ = strings.Cut(rest, "=")
	return key, process, name
}

// IDs gives the names of a process's sockets: as its program sees them, and as the keeper does.
func IDs(key, process string, def *config.Process) (names, ids []string) {
	for _, s := range def.Sockets {
		names, ids = append(names, s.Name), append(ids, ID(key, process, s))
	}
	return names, ids
}

// Open opens the sockets of a process that are not open. Faults: conflict (address_in_use, with who listens there), and those of
// the keeper's Listen.
func Open(ctx context.Context, k Keeper, key, process string, def *config.Process, who account.Account) error {
	for _, s := range def.Sockets {
		err := k.Listen(ctx, proc.Listener{ID: ID(key, process, s), Network: s.Network, Address: s.Address, Mode: s.Mode, UID: who.UID, GID: who.GID})
		f, ok := errors.AsType[*fault.Error](err)
		switch {
		case err == nil:
			continue
		case !ok || f.Reason != "address_in_use":
			return err
		}
		return fault.New(fault.Conflict, "the address %s of the socket %q is taken by %s", s.Address, s.Name, taker(k, s)).WithReason("address_in_use").
			WithHint("end it, or give the socket another address")
	}
	return nil
}

// taker names who listens where a socket should be, as far as we may see it.
func taker(k Keeper, s config.Socket) string {
	port := func(address string) uint16 {
		at, _ := netip.ParseAddrPort(address) // of a path there is none
		return at.Port()
	}
	for _, o := range k.Sockets() {
		if o.Network == s.Network && (o.Address == s.Address || s.Network == "tcp" && port(o.Address) == port(s.Address)) {
			key, process, name := Parse(o.ID)
			return "the socket " + name + " of " + key + ":" + process
		}
	}
	if s.Network == "unix" {
		return ports.PathListener(s.Address)
	}
	return ports.Listener(int(port(s.Address)))
}
