package http

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
)

// The methods by which a person signs in and out.
const (
	signIn  = "auth.signin"
	signOut = "auth.signout"
)

// browser begins the session of a browser by POST and ends it by DELETE, from a page of this origin only. Signing in is the call
// that it is everywhere; what it answers stays here, and the browser gets a cookie that pages cannot read and a key for its page.
func (x *exchange) browser() {
	origin := x.s.origin(x.r, x.proxied)
	if x.r.Header.Get("Origin") != origin {
		x.fail(fault.New(fault.Denied, "a browser session begins and ends on a page of this daemon").WithReason("origin"))
		return
	}
	cookie := &http.Cookie{Name: x.s.cookieName(), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: strings.HasPrefix(origin, "https:")}
	if x.r.Method == http.MethodDelete {
		x.leave(cookie)
		return
	}
	answer, err := x.s.Registry.Do(x.r.Context(), tools.Call{Method: signIn, In: x.body})
	o, done := answer.(op.Outcome)
	if err != nil || !done || o.Status != op.Done {
		if err == nil {
			x.json(statusFor(answer), answer)
			return
		}
		x.fail(fault.From(err))
		return
	}
	var in struct {
		Session string    `json:"session"`
		Until   time.Time `json:"refresh_until"`
	}
	raw, err := encode(o.Result)
	if err == nil {
		err = json.Unmarshal(raw, &in)
	}
	var key string
	if err == nil {
		cookie.Value, key, err = x.s.Browser.Browse(x.r.Context(), in.Session)
	}
	if err != nil {
		x.fail(fault.From(err))
		return
	}
	cookie.Expires = in.Until
	http.SetCookie(x.w, cookie)
	x.json(http.StatusOK, map[string]any{"key": key, "expires_at": in.Until})
}

// leave ends the session of whoever has its cookie and key.
func (x *exchange) leave(cookie *http.Cookie) {
	if why := x.authenticate(signedIn); why != nil {
		x.refuse(why)
		return
	}
	x.caller.Session = ""
	if _, err := x.s.Registry.Do(op.WithCaller(x.r.Context(), x.caller), tools.Call{Method: signOut}); err != nil {
		x.fail(fault.From(err))
		return
	}
	cookie.MaxAge = -1
	http.SetCookie(x.w, cookie)
	x.json(http.StatusOK, struct{}{})
}
