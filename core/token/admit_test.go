package token_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
)

func named(user string) token.Named {
	return token.Named{Name: "laptop", User: user, Role: op.Admin, Channel: op.Agent}
}

func TestWhoACredentialStandsFor(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	w.user("bob", op.Viewer)
	scope := op.Scope{Projects: []string{"shop"}, Methods: []string{"apps.*"}}
	agent, _ := w.issue(token.Named{Name: "claude", User: "alice", Role: op.Admin, Channel: op.Agent, Scope: scope})
	app, made := w.issue(token.Named{Name: "ci", User: "alice", Role: op.Operator, Channel: op.App, Expires: w.clock().Add(time.Hour)})
	small, _ := w.issue(token.Named{Name: "graphs", User: "bob", Role: op.Viewer, Channel: op.App})
	signed := w.in("alice")
	for what, c := range map[string]struct {
		bearer  string
		user    string
		channel op.Channel
		ceiling op.Role
		role    op.Role
		console bool
		expires time.Time
	}{
		"a password":      {signed.Access, "alice", op.Person, op.Admin, op.Admin, true, w.clock().Add(15 * time.Minute)},
		"an agent":        {agent, "alice", op.Agent, op.Admin, op.Operator, false, w.clock().Add(90 * 24 * time.Hour)},
		"a program":       {app, "alice", op.App, op.Operator, op.Operator, false, w.clock().Add(time.Hour)},
		"one of a viewer": {small, "bob", op.App, op.Viewer, op.Viewer, false, w.clock().Add(90 * 24 * time.Hour)},
	} {
		id := w.admit(c.bearer)
		who := id.Caller
		if who.User != c.user || who.Channel != c.channel || who.Ceiling != c.ceiling || who.Role != c.role || who.Console != c.console || who.UID != -1 || who.Token == "" || !id.Expires.Equal(c.expires) {
			t.Errorf("%s: %+v until %s", what, who, id.Expires)
		}
		if token.OwnUser(who) != c.user || (token.OwnSession(who) == signed.Session) != c.console {
			t.Errorf("%s: whose is it? %q %q", what, token.OwnUser(who), token.OwnSession(who))
		}
	}
	if who := w.admit(agent).Caller; len(who.Scope.Projects) != 1 || len(who.Scope.Methods) != 1 {
		t.Errorf("the scope is lost: %+v", who)
	}
	if !strings.HasPrefix(app, "omt_"+made.ID+"_") || len(app) != 4+10+1+52+1+8 {
		t.Errorf("%d characters: %s", len(app), app)
	}
	if who := (op.Caller{User: "alice", UID: 0, Token: "session:" + signed.Session}); token.OwnUser(who) != "" || token.OwnSession(who) != "" {
		t.Error("a caller on the socket says that it signed in")
	}
}

func TestAChannelIsOnlyLowered(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	agent, _ := w.issue(named("alice"))
	n := named("alice")
	n.Channel = op.App
	app, _ := w.issue(n)
	person := w.in("alice").Access
	for _, c := range []struct {
		bearer string
		to     op.Channel
		role   op.Role // 0: refused
	}{
		{person, op.Person, op.Admin}, {person, op.App, op.Admin}, {person, op.Agent, op.Operator}, {app, op.App, op.Admin}, {app, op.Agent, op.Operator}, {app, op.Person, 0},
		{agent, op.Agent, op.Operator}, {agent, op.App, 0}, {agent, op.Person, 0}, {person, op.Peer, 0}, {person, "root", 0},
	} {
		id, err := w.Admit(t.Context(), c.bearer, here, c.to)
		switch {
		case c.role == 0 && (!fault.Is(err, fault.Denied) || reason(err) != "channel_raised"):
			t.Errorf("%.6s to %s: %v %v", c.bearer, c.to, id, err)
		case c.role != 0 && (err != nil || id.Caller.Channel != c.to || id.Caller.Role != c.role || id.Caller.Ceiling != op.Admin || id.Caller.Console != (c.to == op.Person)):
			t.Errorf("%.6s to %s: %+v %v", c.bearer, c.to, id, err)
		}
	}
}

// TestRevocation takes something away in every way there is, and sees who was admitted told at once, and who comes refused.
func TestRevocation(t *testing.T) {
	type told struct {
		session, agent bool   // who is told
		then, thenTok  string // what each answers then; "" for let in
	}
	role, off, secret := op.Viewer, true, other
	for what, c := range map[string]struct {
		do   func(w *world, c token.Credentials, n token.Named) error
		want told
	}{
		"token": {func(w *world, _ token.Credentials, n token.Named) error {
			_, err := w.Revoke(t.Context(), n.ID)
			return err
		}, told{false, true, "", "revoked"}},
		"by name": {func(w *world, _ token.Credentials, _ token.Named) error {
			_, err := w.Revoke(t.Context(), "laptop")
			return err
		}, told{false, true, "", "revoked"}},
		"session": {func(w *world, c token.Credentials, _ token.Named) error { return w.End(t.Context(), c.Session) }, told{true, false, "revoked", ""}},
		"user": {func(w *world, _ token.Credentials, _ token.Named) error {
			_, err := w.Delete(t.Context(), "alice", false)
			return err
		}, told{true, true, "revoked", "bad_token"}},
		"all": {func(w *world, _ token.Credentials, _ token.Named) error {
			_, _, err := w.RevokeUser(t.Context(), "alice")
			return err
		}, told{true, true, "revoked", "revoked"}},
		"role": {func(w *world, _ token.Credentials, _ token.Named) error {
			_, err := w.Update(t.Context(), "alice", token.Change{Role: &role})
			return err
		}, told{true, true, "", ""}},
		"disabled": {func(w *world, _ token.Credentials, _ token.Named) error {
			_, err := w.Update(t.Context(), "alice", token.Change{Disabled: &off})
			return err
		}, told{true, true, "revoked", "revoked"}},
		"password": {func(w *world, _ token.Credentials, _ token.Named) error {
			_, err := w.Update(t.Context(), "alice", token.Change{Password: &secret})
			return err
		}, told{true, false, "revoked", ""}},
		"keys": {func(w *world, _ token.Credentials, _ token.Named) error {
			_, err := w.Rotate(t.Context(), true)
			return err
		}, told{true, false, "bad_token", ""}},
		"nothing": {func(w *world, _ token.Credentials, _ token.Named) error {
			_, err := w.Rotate(t.Context(), false)
			return err
		}, told{false, false, "", ""}},
	} {
		w := newWorld(t)
		w.user("root", op.Admin)
		w.user("alice", op.Admin)
		signed := w.in("alice")
		text, n := w.issue(named("alice"))
		strangers, _ := w.issue(token.Named{Name: "x", User: "root", Role: op.Viewer, Channel: op.App})
		s, a, stranger := w.admit(signed.Access), w.admit(text), w.admit(strangers)
		if err := c.do(w, signed, n); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if over(s) != c.want.session || over(a) != c.want.agent || over(stranger) {
			t.Errorf("%s: told %v %v %v", what, over(s), over(a), over(stranger))
		}
		for range 2 { // also for the next daemon
			for bearer, want := range map[string]string{signed.Access: c.want.then, text: c.want.thenTok} {
				id, err := w.Admit(t.Context(), bearer, here, "")
				if reason(err) != want || (err == nil) != (want == "") {
					t.Errorf("%s: %.6s: %v, want %q", what, bearer, err, want)
				}
				if id != nil && what == "role" && (id.Caller.Ceiling != op.Viewer || id.Caller.Role != op.Viewer) {
					t.Errorf("the role is not the one of now: %+v", id.Caller)
				}
			}
			w.again()
		}
	}
}

// seal gives a text its checksum, as anybody can.
func seal(text string) string { return fmt.Sprintf("%s_%08x", text, crc32.ChecksumIEEE([]byte(text))) }

func TestNamedTokens(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Operator)
	for want, n := range map[string]token.Named{
		"user_unknown": {Name: "x", User: "nobody", Role: op.Viewer, Channel: op.Agent}, "bad_role": {Name: "x", User: "alice", Role: op.Node, Channel: op.Agent},
		"role": {Name: "x", User: "alice", Role: op.Admin, Channel: op.Agent}, "bad_channel": {Name: "x", User: "alice", Role: op.Viewer, Channel: op.Person},
		"bad_life": {Name: "x", User: "alice", Role: op.Viewer, Channel: op.Agent, Expires: w.clock().Add(-time.Second)},
	} {
		if text, _, err := w.Issue(t.Context(), n); reason(err) != want || text != "" {
			t.Errorf("%s: %v", want, err)
		}
	}
	n := token.Named{Name: "ci", User: "alice", Role: op.Viewer, Channel: op.App, Expires: w.clock().Add(time.Hour), Scope: op.Scope{Stacks: []string{"dev"}}}
	text, made := w.issue(n)
	forged, _, _ := w.Issue(t.Context(), n) // good, and of another id
	forged = text[:15] + forged[15:]
	for _, bad := range []string{text[:len(text)-1], text + "0", strings.ToUpper(text), forged, seal(forged[:len(forged)-9]), text[:len(text)-8] + "0000000g"} {
		w.refused(bad, "bad_token")
	}
	for _, n := range w.Named() {
		if n.ID != made.ID {
			must(w.Revoke(t.Context(), n.ID))(t)
		}
	}
	w.pass(time.Minute)
	w.admit(text)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.again()
	if got := must(w.Token("ci"))(t); !got.Used.Equal(w.clock()) || len(got.Scope.Stacks) != 1 || got.ID != made.ID || got.User != "alice" {
		t.Errorf("%+v", got)
	}
	w.issue(n)
	if _, err := w.Token("ci"); reason(err) != "ambiguous" {
		t.Errorf("two of a name: %v", err)
	}
	if _, err := w.Token("cj"); reason(err) != "token_unknown" || fault.From(err).Candidates == nil {
		t.Errorf("none: %v", err)
	}
	w.pass(time.Hour)
	w.refused(text, "expired")
	w.pass(31 * 24 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil || len(w.Named()) != 0 {
		t.Errorf("kept for ever: %v", w.Named())
	}
}

func TestBrowsers(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	c := w.in("alice")
	cookie, key, err := w.Browse(t.Context(), c.Session)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		id, err := w.AdmitBrowser(cookie, key, here)
		if err != nil || !id.Caller.Console || id.Caller.User != "alice" || id.Caller.Channel != op.Person {
			t.Fatalf("%+v %v", id, err)
		}
		for _, bad := range [][2]string{{cookie, ""}, {cookie, cookie}, {key, key}, {"", key}, {key, cookie}} {
			if id, err := w.AdmitBrowser(bad[0], bad[1], here); id != nil || !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("%v %v", id, err)
			}
		}
		w.refused(cookie, "bad_token")
		w.refused(key, "bad_token")
		w.again()
	}
	id, _ := w.AdmitBrowser(cookie, key, here)
	if err := w.End(t.Context(), c.Session); err != nil || !over(id) {
		t.Errorf("it lives on: %v", err)
	}
	if _, err := w.AdmitBrowser(cookie, key, here); reason(err) != "bad_token" {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	w.keys.sealed = true
	w.user("alice", op.Admin)
	text, _ := w.issue(named("alice"))
	w.admit(text) // needs no key
	if _, err := w.SignIn(t.Context(), "alice", here, ""); reason(err) != "vault_sealed" || len(w.Sessions("")) != 0 {
		t.Errorf("signing in without keys: %v", err)
	}
	if err := w.Ready(t.Context()); reason(err) != "vault_sealed" {
		t.Error(err)
	}
	w.refused("eyJ.eyJ.xxx", "vault_sealed")
	w.keys.sealed = false
	first := w.in("alice").Access
	kids := func() (all []string) {
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal(must(w.JWKS(t.Context()))(t), &set); err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys {
			if x, err := base64.RawURLEncoding.DecodeString(k["x"]); err != nil || len(x) != 32 || k["kty"] != "OKP" || k["crv"] != "Ed25519" || k["alg"] != "EdDSA" || k["use"] != "sig" || len(k) != 6 {
				t.Errorf("%v", k)
			}
			all = append(all, k["kid"])
		}
		return all
	}
	if len(kids()) != 1 {
		t.Errorf("%v", kids())
	}
	before := kids()[0]
	r := must(w.Rotate(t.Context(), false))(t)
	if got := kids(); len(got) != 2 || got[0] != before || got[1] != r.Key || !r.Former.Equal(w.clock().Add(16*time.Minute)) {
		t.Errorf("%v %+v", got, r)
	}
	w.again()
	w.admit(first) // of the former key
	w.admit(w.in("alice").Access)
	w.pass(16 * time.Minute)
	if got := kids(); len(got) != 1 || got[0] != r.Key {
		t.Errorf("after the overlap: %v", got)
	}
	if err := w.Sweep(t.Context()); err != nil || w.keys.all["token.signing."+before] != nil {
		t.Errorf("the former key is kept: %v", err)
	}
	w.pass(30 * 24 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil || len(kids()) != 2 {
		t.Errorf("it is not renewed by itself: %v %v", err, kids())
	}
}

// TestTwin: an account that is called like a user of the socket is told apart from him, whatever it shows.
func TestTwin(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"root", "alice"} {
		w.user(name, op.Admin)
		text, _, err := w.Issue(t.Context(), token.Named{Name: "n", User: name, Role: op.Viewer, Channel: op.Agent, Expires: w.clock().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.SignIn(t.Context(), name, here, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, bearer := range []string{text, c.Access} {
			id, err := w.Admit(t.Context(), bearer, here, "")
			if err != nil || id.Caller.User != name || id.Caller.Twin != (name == "root") {
				t.Errorf("%s: %+v %v", name, id, err)
			}
		}
	}
}
