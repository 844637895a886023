package tcp

import (
	"net/netip"
	"sync"
)

// places bounds connections before anything is allocated for one: in all, of an address, and those that have not said who
// they are.
type places struct {
	all, address   int
	strangers, few int // in all, and of an address

	mu      sync.Mutex
	open    int
	unknown int
	by      map[netip.Addr]*place
}

type place struct{ open, unknown int }

// whole gives what counts as one address: whoever has an IPv6 address has the whole /64.
func whole(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// enter takes a place for a stranger, or reports false.
func (p *places) enter(from netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	from = whole(from)
	at := p.by[from]
	if at == nil {
		at = &place{}
	}
	if p.open >= p.all || p.unknown >= p.strangers || at.open >= p.address || at.unknown >= p.few {
		return false
	}
	p.by[from] = at
	p.open, p.unknown, at.open, at.unknown = p.open+1, p.unknown+1, at.open+1, at.unknown+1
	return true
}

// known says that a stranger is none any more.
func (p *places) known(from netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unknown--
	p.by[whole(from)].unknown--
}

// leave gives a place back.
func (p *places) leave(from netip.Addr, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from = whole(from)
	at := p.by[from]
	p.open, at.open = p.open-1, at.open-1
	if !known {
		p.unknown, at.unknown = p.unknown-1, at.unknown-1
	}
	if at.open == 0 {
		delete(p.by, from)
	}
}
