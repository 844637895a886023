package token

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// How much may be guessed.
const (
	guessWindow     = 15 * time.Minute
	guessesAccount  = 10   // wrong passwords of an account in the window
	guessesAddress  = 30   // wrong passwords from an address in the window
	guessesInARow   = 100  // wrong passwords of an account, ever, before a person has to unlock it
	bearersAddress  = 100  // bearers that are none, from an address in the window, before it is told nothing but to wait
	guardRoom       = 4096 // names, and addresses, that are told apart
	guessedTooOften = "too_many_guesses"
)

// guard counts guesses, of names whether or not they exist, and of addresses. It is asked before a password is hashed.
type guard struct {
	clock func() time.Time
	began time.Time

	mu        sync.Mutex
	names     map[string]*tries
	addresses map[netip.Addr]*tries
	bearers   map[netip.Addr]*tries
}

// tries are when the guesses in the window were, since the guard began, the oldest first.
type tries struct{ at []time.Duration }

func newGuard(clock func() time.Time) *guard {
	return &guard{clock: clock, began: clock(), names: map[string]*tries{}, addresses: map[netip.Addr]*tries{}, bearers: map[netip.Addr]*tries{}}
}

// now is the time since the guard began: whoever sets the clock changes nothing.
func (g *guard) now() time.Duration { return g.clock().Sub(g.began) }

// block is what counts as one address: who has one IPv6 address has a whole /64.
func block(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// of gives the tries of a key without those that have left the window. A map that is full forgets what has left it, and
// else takes nobody new apart.
func of[K comparable](m map[K]*tries, key K, now time.Duration) *tries {
	t := m[key]
	if t == nil && len(m) >= guardRoom {
		for k, t := range m {
			if t.trim(now); len(t.at) == 0 {
				delete(m, k)
			}
		}
		if len(m) >= guardRoom {
			var rest K
			key, t = rest, m[rest]
		}
	}
	if t == nil {
		t = &tries{}
		m[key] = t
	}
	t.trim(now)
	return t
}

func (t *tries) trim(now time.Duration) {
	n := 0
	for n < len(t.at) && now-t.at[n] >= guessWindow {
		n++
	}
	t.at = t.at[n:]
}

// wait is how long until there is room for one more, 0 for now.
func (t *tries) wait(most int, now time.Duration) time.Duration {
	if len(t.at) < most {
		return 0
	}
	return guessWindow - (now - t.at[len(t.at)-most])
}

func (t *tries) forget(at time.Duration) {
	for i := range t.at {
		if t.at[i] == at {
			t.at = append(t.at[:i:i], t.at[i+1:]...)
			return
		}
	}
}

// password takes one guess of a name from an address, before it is checked. right gives it back: it was none. Faults:
// limited (too_many_guesses).
func (g *guard) password(name string, from netip.Addr) (right func(), err error) {
	from = block(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	n, a := of(g.names, name, now), of(g.addresses, from, now)
	if wait := max(n.wait(guessesAccount, now), a.wait(guessesAddress, now)); wait > 0 {
		return nil, tooMany(wait)
	}
	n.at, a.at = append(n.at, now), append(a.at, now)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		n.forget(now)
		a.forget(now)
	}, nil
}

// bearer counts a bearer that is none. One that is good is never held back by others from its address.
func (g *guard) bearer(from netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	t := of(g.bearers, block(from), now)
	if wait := t.wait(bearersAddress, now); wait > 0 {
		return tooMany(wait)
	}
	t.at = append(t.at, now)
	return nil
}

// unlock forgets the guesses of a name.
func (g *guard) unlock(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.names, name)
}

func tooMany(wait time.Duration) error {
	return fault.New(fault.Limited, "too many wrong guesses").WithReason(guessedTooOften).WithRetryAfter(math.Ceil(wait.Seconds())).
		WithHint("wait; on the daemon's own socket nothing is limited")
}
