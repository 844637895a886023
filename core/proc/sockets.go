package proc

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// Listener is a listening socket that the keeper keeps open between the programs that use it. We hold a duplicate, so that the
// death of either is survived.
type Listener struct {
	ID       string // opaque to the keeper
	Network  string // tcp | unix
	Address  string // ip:port, or an absolute path
	Mode     int    // permissions of the path
	UID, GID int    // owner of the path; -1: the keeper's
	Shut     int    // how often a program has shut it down for everybody
	Broken   bool   // it was shut down and does not listen any more
}

// held is a socket with our duplicate.
type held struct {
	body protocol.SocketBody
	fd   int
}

func socketOf(b protocol.SocketBody) Listener {
	return Listener{ID: b.ID, Network: b.Network, Address: b.Address, Mode: b.Mode, UID: b.UID, GID: b.GID, Shut: b.Shut, Broken: b.Broken}
}

// Listen has the keeper listen, unless it does already. Faults: conflict (address_in_use), denied (not_permitted), invalid
// (no_such_address, bad_spec, path_too_long; not_supported: the keeper is too old), limited (no_resources), internal
// (socket_failed), deadline and cancelled (keeper_slow).
func (k *Keeper) Listen(ctx context.Context, s Listener) error {
	k.mu.Lock()
	h, open := k.sockets[s.ID]
	able := k.info.Has("sockets")
	k.mu.Unlock()
	if open && !h.body.Broken {
		return nil
	}
	if !able {
		return fault.New(fault.Invalid, "the keeper that runs is too old to keep sockets open").WithReason("not_supported").WithHint("omnitron down, then up: a new keeper comes with the new daemon")
	}
	_, err := k.call(ctx, protocol.Listen, protocol.SocketBody{ID: s.ID, Network: s.Network, Address: s.Address, Mode: s.Mode, UID: s.UID, GID: s.GID})
	return err
}

// Unlisten closes a socket; programs that have it go on with it. A Listen that comes after it is carried out after it.
func (k *Keeper) Unlisten(id string) {
	k.mu.Lock()
	h, open := k.sockets[id]
	delete(k.sockets, id)
	k.mu.Unlock()
	if open {
		unix.Close(h.fd)
	}
	k.say(protocol.Unlisten, protocol.SocketBody{ID: id})
}

// Sockets gives the sockets that are open, sorted by id.
func (k *Keeper) Sockets() []Listener {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Listener, 0, len(k.sockets))
	for _, h := range k.sockets {
		out = append(out, socketOf(h.body))
	}
	slices.SortFunc(out, func(a, b Listener) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// keep makes the keeper's word about a socket ours. fds become ours, or are closed when we hold it already.
func (k *Keeper) keep(f protocol.Frame, fds []int) {
	var b protocol.SocketBody
	if err := json.Unmarshal(f.Body, &b); err != nil || b.ID == "" {
		protocol.CloseAll(fds)
		k.o.Log.Error("cannot read what the keeper says", "type", f.Type, "err", err)
		return
	}
	k.mu.Lock()
	h, known := k.sockets[b.ID]
	switch {
	case len(fds) == 1 && known && !h.body.Broken:
		protocol.CloseAll(fds)
		h.body = b
	case len(fds) == 1:
		if known {
			unix.Close(h.fd)
		}
		h = held{body: b, fd: fds[0]}
	case known:
		h.body = b
	default: // news of one that was closed meanwhile
		k.mu.Unlock()
		protocol.CloseAll(fds)
		return
	}
	news := known && b.Shut > k.sockets[b.ID].body.Shut
	k.sockets[b.ID] = h
	k.mu.Unlock()
	if news {
		k.tell(Event{Kind: "socket_shut", ID: b.ID, Path: b.Address, Broken: b.Broken})
	}
}

// letGoSockets gives our duplicates back: who stops talking to the keeper must not hold an address that is given up later.
func (k *Keeper) letGoSockets() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, h := range k.sockets {
		unix.Close(h.fd)
		delete(k.sockets, id)
	}
}

// handDownSockets gives a new keeper the sockets that we hold.
func (k *Keeper) handDownSockets(l *link) error {
	k.mu.Lock()
	dups := map[int]protocol.SocketBody{}
	for _, h := range k.sockets {
		if fd, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			dups[fd] = h.body
		}
	}
	k.mu.Unlock()
	var failed error
	for fd, body := range dups {
		if failed == nil {
			failed = l.send(protocol.Frame{Type: protocol.Socket}, body, []int{fd})
		}
		unix.Close(fd)
	}
	return failed
}
