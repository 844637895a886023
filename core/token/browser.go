package token

import (
	"context"
	"crypto/subtle"
	"net/netip"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Browse gives a session what a browser needs: a cookie, which every program on the same host gets to see, and a key,
// which only the page of the origin keeps. Neither is good without the other. Faults: not_found (session_unknown),
// internal (state_not_durable).
func (t *Tokens) Browse(ctx context.Context, id string) (cookie, key string, err error) {
	t.write.Lock()
	defer t.write.Unlock()
	s := t.sessions[id]
	if s == nil {
		return "", "", fault.New(fault.NotFound, "there is no session %q", id).WithReason("session_unknown").WithHint("sign in again")
	}
	cookie, key = newSecret(), newSecret()
	c, k := digest(cookie), digest(key)
	if err := t.exec(ctx, "UPDATE sessions SET cookie = ?, key = ? WHERE id = ?", c[:], k[:], id); err != nil {
		return "", "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.cookies, s.cookie)
	s.cookie, s.key, s.Browser = c, k, true
	t.cookies[c] = s
	return cookie, key, nil
}

// AdmitBrowser gives the identity that a cookie stands for together with its key. Faults: unauthenticated (no_token,
// bad_token), limited (too_many_guesses).
func (t *Tokens) AdmitBrowser(cookie, key string, from netip.Addr) (*Identity, error) {
	if cookie == "" {
		return nil, unusable("nobody has signed in").WithReason("no_token")
	}
	c, k := digest(cookie), digest(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.cookies[c]
	if now := t.now(); s != nil && now.Before(s.Expires) && !s.account.Disabled && subtle.ConstantTimeCompare(s.key[:], k[:]) == 1 {
		s.Seen = now
		return t.identity(s, s.Expires), nil
	}
	if err := t.guard.bearer(from); err != nil {
		return nil, err
	}
	return nil, unusable("the session of this browser was ended, or it was not begun on this page").WithReason("bad_token")
}
