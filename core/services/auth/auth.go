// Package auth lets people sign in and out over the network. On the daemon's own socket nobody signs in: its owner is known.
package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("auth", "Signing in and out, and the sessions of those who did.",
	op.Unary("signin", op.Public, op.Adds, (*Service).SignIn, "Sign in with a password: begins a session and gives its tokens.",
		op.Global(), op.AnyScope(), op.Proves((*Service).ProveSignIn), op.Keywords("login log in password session token"),
		op.Shows("alice", `{"name":"alice","password":"correct horse battery"}`), op.Fails("a wrong password", `{"name":"alice","password":"not the right one"}`, "unauthenticated")),
	op.Unary("signout", op.Viewer, op.Sets, (*Service).SignOut, "End the session of the caller; its tokens are no good any more.",
		op.Global(), op.AnyScope(), op.Keywords("logout log out leave end session"), op.Shows("leave", `{}`)),
	op.Unary("refresh", op.Public, op.Adds, (*Service).Refresh, "Get the next tokens of a session for its refresh token.",
		op.Global(), op.AnyScope(), op.Proves((*Service).ProveRefresh), op.Keywords("renew token session"),
		op.Shows("the next ones", `{"refresh_token":"`+Sample+`"}`), op.Fails("what is none", `{"refresh_token":"omr_nope"}`, "unauthenticated")),
	op.Unary("whoami", op.Viewer, op.Reads, (*Service).Whoami, "Show who the caller is, and what it may do.",
		op.Global(), op.AnyScope(), op.Keywords("me user role rights identity token"), op.Shows("me", `{}`)),
	op.Unary("sessions", op.Viewer, op.Reads, (*Service).Sessions, "List own sessions, and every one for an admin.",
		op.Global(), op.AnyScope(), op.Keywords("logins signed in devices where"), op.Shows("all", `{}`), op.Fails("a cursor of something else", `{"cursor":"x"}`, "invalid")),
	op.Unary("revoke", op.Admin, op.Destroys, (*Service).Revoke, "End a session, or every session and token of a user; at once and everywhere.",
		op.Global(), op.Planned((*Service).PlanRevoke), op.Keywords("end session kick logout force token user"),
		op.Shows("everything of a user", `{"name":"bob"}`), op.Fails("a session that is not there", `{"session":"nope"}`, "not_found")),
	op.Unary("password", op.Viewer, op.Sets, (*Service).Password, "Set another password of one's own.",
		op.Global(), op.AnyScope(), op.Keywords("change passwd credential"), op.Fails("on the socket, where nobody signed in", `{"password":"correct horse battery","new_password":"staple of wet paper"}`, "conflict"),
		op.Shows("another one", `{"password":"correct horse battery","new_password":"staple of wet paper"}`)),
	op.Unary("rotate", op.Admin, op.Sets, (*Service).Rotate, "Sign access tokens with a new key; what the former one signed goes on until it ends.",
		op.Global(), op.Planned((*Service).PlanRotate), op.Keywords("key jwt signing renew jwks"), op.Shows("a new key", `{}`), op.Fails("what is no answer", `{"at_once":"perhaps"}`, "invalid")),
)

// Sample stands in examples for a refresh token.
const Sample = "omr_mzxw6ytboi2dgnbvgy3tqojqmfrggzdfmztwq2lknnwg23tpoa2d_00000000"

// Service implements Methods.
type Service struct {
	tokens *token.Tokens
	bus    *bus.Bus
	now    func() time.Time
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) { return &Service{h.Tokens, h.Bus, time.Now}, nil }

// Nothing is the input of methods that need none.
type Nothing struct{}

// Login is a name with its password.
type Login struct {
	Name     string `json:"name" cli:"arg" max:"63" jsonschema:"name of the user"`
	Password string `json:"password" secret:"true" max:"1024" jsonschema:"the password"`
}

// Credentials are what a session gives.
type Credentials struct {
	Name         string    `json:"name" table:"1" jsonschema:"name of the user"`
	Role         string    `json:"role" table:"1" enum:"viewer,operator,admin" jsonschema:"what the user may do at most"`
	Session      string    `json:"session" table:"2" jsonschema:"id of the session"`
	AccessToken  string    `json:"access_token" secret:"true" table:"1" jsonschema:"the bearer: Authorization over HTTP, auth.hello over TCP"`
	ExpiresAt    time.Time `json:"expires_at" table:"1" unit:"time" jsonschema:"when it ends"`
	RefreshToken string    `json:"refresh_token" secret:"true" table:"1" jsonschema:"good once, for auth.refresh and nothing else"`
	RefreshUntil time.Time `json:"refresh_until" table:"2" unit:"time" jsonschema:"when that ends"`
}

func given(c token.Credentials) Credentials {
	return Credentials{c.User, c.Role.String(), c.Session, c.Access, c.Expires, c.Refresh, c.Until}
}

// local reports whether a caller is on the daemon's own socket, which no limit keeps out.
func local(c op.Caller) bool {
	return c.UID >= 0 && (c.Plane == "unix" || c.Plane == "stdio") && c.Channel != ""
}

// ProveSignIn checks a password. Faults: unauthenticated (bad_credentials), limited (too_many_guesses, sign_in_busy), internal
// (state_not_durable).
func (s *Service) ProveSignIn(ctx context.Context, in Login) (op.Caller, error) {
	c := op.CallerOf(ctx)
	a, err := s.tokens.Check(ctx, in.Name, in.Password, c.From, local(c))
	return op.Caller{User: a.Name, Channel: op.Person}, err
}

// SignIn begins a session of who has proved who he is. Faults: those of ProveSignIn; unavailable (vault_sealed,
// vault_damaged).
func (s *Service) SignIn(ctx context.Context, _ Login) (Credentials, error) {
	c := op.CallerOf(ctx)
	got, err := s.tokens.SignIn(ctx, c.User, c.From, c.Client)
	if err != nil {
		return Credentials{}, err
	}
	s.tell("signed_in", c.User, c.User+" signed in")
	return given(got), nil
}

// Renewal is a refresh token.
type Renewal struct {
	RefreshToken string `json:"refresh_token" secret:"true" max:"256" jsonschema:"of the last sign-in or refresh"`
}

// ProveRefresh finds whose a refresh token is. Faults: unauthenticated (bad_token), limited (too_many_guesses).
func (s *Service) ProveRefresh(ctx context.Context, in Renewal) (op.Caller, error) {
	c := op.CallerOf(ctx)
	a, err := s.tokens.Owner(ctx, in.RefreshToken, c.From, local(c))
	return op.Caller{User: a.Name, Channel: op.Person}, err
}

// Refresh gives the next tokens of a session. The same call again within ten seconds gives the same ones; later it ends
// the session, for then somebody has a copy. Faults: those of ProveRefresh; unauthenticated (refresh_reused), unavailable
// (vault_sealed, vault_damaged).
func (s *Service) Refresh(ctx context.Context, in Renewal) (Credentials, error) {
	got, err := s.tokens.Renew(ctx, in.RefreshToken)
	if err != nil {
		return Credentials{}, err
	}
	return given(got), nil
}

// Ended says whether there was a session.
type Ended struct {
	Ended bool   `json:"ended" table:"1" jsonschema:"false: the caller had not signed in with a password"`
	Note  string `json:"note,omitempty" table:"2" jsonschema:"why not"`
}

// SignOut ends the session of the caller.
func (s *Service) SignOut(ctx context.Context, _ Nothing) (Ended, error) {
	c := op.CallerOf(ctx)
	id := token.OwnSession(c)
	if id == "" {
		return Ended{Note: "this " + string(c.Channel) + " did not sign in with a password: there is no session to end"}, nil
	}
	if err := s.tokens.End(ctx, id); err != nil && !fault.Is(err, fault.NotFound) {
		return Ended{}, err
	}
	s.tell("signed_out", c.User, c.User+" signed out")
	return Ended{Ended: true}, nil
}

// Me is who the caller is.
type Me struct {
	Name     string   `json:"name" table:"1" jsonschema:"user, or on the daemon's own socket the system's user"`
	Channel  string   `json:"channel" table:"1" enum:"person,agent,app,node" jsonschema:"person, agent, app or node"`
	Rights   string   `json:"rights" table:"1" jsonschema:"role that is the most it may do"`
	Role     string   `json:"role" table:"1" jsonschema:"role that it acts with; what lies between is held for a person"`
	Plane    string   `json:"plane" table:"2" jsonschema:"unix, stdio, tcp or http"`
	Console  bool     `json:"console" table:"3" jsonschema:"whether it signed in with a password, as policy.approvers: console asks for"`
	Session  string   `json:"session,omitempty" table:"3" jsonschema:"its session, when it signed in with a password"`
	ReadOnly bool     `json:"read_only,omitempty" table:"3" jsonschema:"whether it only reads"`
	Projects []string `json:"projects,omitempty" table:"2" jsonschema:"projects that its token is limited to"`
	Stacks   []string `json:"stacks,omitempty" table:"2" jsonschema:"stacks that its token is limited to"`
	Methods  []string `json:"methods,omitempty" table:"2" jsonschema:"methods that its token is limited to"`
}

// Whoami tells the caller who it is.
func (s *Service) Whoami(ctx context.Context, _ Nothing) (Me, error) {
	c := op.CallerOf(ctx)
	return Me{Name: c.User, Channel: string(c.Channel), Rights: c.Ceiling.String(), Role: c.Role.String(), Plane: c.Plane, Console: c.Console, Session: token.OwnSession(c), ReadOnly: c.ReadOnly,
		Projects: c.Scope.Projects, Stacks: c.Scope.Stacks, Methods: c.Scope.Methods}, nil
}

func (s *Service) tell(kind, name, text string) {
	s.bus.Publish(bus.Event{Topic: "auth", Type: kind, Text: text, Data: map[string]any{"name": name}})
}

// Change is one password for another.
type Change struct {
	Password    string `json:"password" secret:"true" max:"1024" jsonschema:"that of now"`
	NewPassword string `json:"new_password" secret:"true" max:"1024" jsonschema:"15 characters at least"`
}

// Changed says what a change of the password has ended.
type Changed struct {
	Sessions int `json:"sessions" table:"1" jsonschema:"how many other sessions were ended"`
}

// Password sets another password of the caller's. Faults: conflict (no_account), unauthenticated (bad_credentials), invalid
// (weak_password), limited (too_many_guesses, sign_in_busy), internal (state_not_durable).
func (s *Service) Password(ctx context.Context, in Change) (Changed, error) {
	c := op.CallerOf(ctx)
	id := token.OwnSession(c)
	if id == "" {
		return Changed{}, fault.New(fault.Conflict, "this caller did not sign in with a password").WithReason("no_account").
			WithHint("an admin sets one: %s", fault.Do("users.update", "name", "alice"))
	}
	before := len(s.tokens.Sessions(c.User))
	if err := s.tokens.SetPassword(ctx, id, in.Password, in.NewPassword, c.From); err != nil {
		return Changed{}, err
	}
	s.tell("password", c.User, c.User+" set another password")
	return Changed{max(0, before-len(s.tokens.Sessions(c.User)))}, nil
}

// Renewing says how to change the key.
type Renewing struct {
	AtOnce bool `json:"at_once,omitempty" jsonschema:"what the former key signed is void; sessions go on with auth.refresh"`
}

// Renewed is what became of the keys.
type Renewed struct {
	Key    string    `json:"kid" table:"1" jsonschema:"id of the new key, its kid"`
	Former time.Time `json:"former_until" table:"1" unit:"time" jsonschema:"until when what the former one has signed counts"`
}

// Rotate takes a new signing key. Faults: unavailable (vault_sealed, vault_damaged), internal (state_not_durable).
func (s *Service) Rotate(ctx context.Context, in Renewing) (Renewed, error) {
	r, err := s.tokens.Rotate(ctx, in.AtOnce)
	if err != nil {
		return Renewed{}, err
	}
	s.tell("rotated", "", "access tokens are signed with a new key")
	return Renewed{r.Key, r.Former}, nil
}

// PlanRotate says what becomes of the former key.
func (s *Service) PlanRotate(ctx context.Context, in Renewing) (*op.Plan, error) {
	if err := s.tokens.Ready(ctx); err != nil {
		return nil, err
	}
	to := fmt.Sprintf("a new one; what the former has signed counts for %s more", token.Overlap)
	if in.AtOnce {
		to = "a new one; what the former has signed is no good any more"
	}
	return &op.Plan{Items: []op.Item{{Target: "signing key", To: to}}}, nil
}
