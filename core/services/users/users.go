// Package users keeps the accounts of those who sign in over the network.
package users

import (
	"context"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("users", "Accounts of those who sign in over the network; the owner of the home needs none on its socket.",
	op.Unary("list", op.Admin, op.Reads, (*Service).List, "List the users who may sign in.",
		op.Global(), op.Keywords("accounts people who logins"), op.Shows("all", `{}`), op.Fails("a cursor of something else", `{"cursor":"NOT A NAME"}`, "invalid")),
	op.Unary("get", op.Admin, op.Reads, (*Service).Get, "Show one user: role, password, sessions and tokens.",
		op.Global(), op.Keywords("account show details"), op.Shows("alice", `{"name":"alice"}`), op.Fails("one that is not there", `{"name":"nobody"}`, "not_found")),
	op.Unary("create", op.Admin, op.Adds, (*Service).Create, "Make a user, who then signs in with the password.",
		op.Global(), op.Planned((*Service).PlanCreate), op.Undo("users.delete"), op.Keywords("add account new first admin"),
		op.Shows("one who looks", `{"name":"carol","role":"viewer","password":"correct horse battery"}`), op.Fails("one that is there", `{"name":"alice","password":"correct horse battery"}`, "conflict")),
	op.Unary("update", op.Admin, op.Sets, (*Service).Update, "Change the role or password of a user, or keep him out; at once and everywhere.",
		op.Global(), op.Planned((*Service).PlanUpdate), op.Keywords("change role password reset disable enable unlock lock"),
		op.Shows("another role", `{"name":"bob","role":"operator"}`), op.Fails("one that is not there", `{"name":"nobody","role":"viewer"}`, "not_found")),
	op.Unary("delete", op.Admin, op.Destroys, (*Service).Delete, "Delete a user with all sessions and tokens.",
		op.Global(), op.Planned((*Service).PlanDelete), op.Keywords("remove account"),
		op.Shows("bob", `{"name":"bob"}`), op.Fails("the last admin", `{"name":"alice"}`, "conflict")),
)

// Service implements Methods.
type Service struct {
	tokens *token.Tokens
	bus    *bus.Bus
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) { return &Service{h.Tokens, h.Bus}, nil }

// User is an account.
type User struct {
	Name     string    `json:"name" table:"1" jsonschema:"name"`
	Role     string    `json:"role" table:"1" enum:"viewer,operator,admin" jsonschema:"what the user may do at most"`
	Disabled bool      `json:"disabled" table:"1" jsonschema:"whether the user is kept out"`
	Locked   bool      `json:"locked" table:"1" jsonschema:"whether so many wrong passwords came in a row that somebody has to unlock it"`
	Failures int       `json:"failures" table:"3" jsonschema:"wrong passwords in a row"`
	Created  time.Time `json:"created" table:"2" unit:"time" jsonschema:"when it was made"`
	Changed  time.Time `json:"password_set" table:"2" unit:"time" jsonschema:"when the password was set"`
	Sessions int       `json:"sessions" table:"2" jsonschema:"how many sessions there are"`
	Tokens   int       `json:"tokens" table:"2" jsonschema:"how many named tokens count"`
}

func (s *Service) shown(a token.Account) User {
	u := User{Name: a.Name, Role: a.Role.String(), Disabled: a.Disabled, Locked: a.Locked(), Failures: a.Failures, Created: a.Created, Changed: a.Changed, Sessions: len(s.tokens.Sessions(a.Name))}
	for _, n := range s.tokens.Named() {
		if n.User == a.Name && n.Revoked.IsZero() {
			u.Tokens++
		}
	}
	return u
}

const defaultLimit = 100

// List gives the users by name. Faults: invalid (bad_cursor).
func (s *Service) List(_ context.Context, in op.Page) (op.List[User], error) {
	out := op.List[User]{Items: []User{}}
	if in.Cursor != "" && token.CheckName(in.Cursor) != nil {
		return out, fault.New(fault.Invalid, "%q is no cursor of this list", in.Cursor).WithReason("bad_cursor").WithHint("pass next_cursor of the answer before")
	}
	limit := in.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	all := s.tokens.Accounts()
	out.Total = len(all)
	for _, a := range all {
		if a.Name <= in.Cursor {
			continue
		}
		if len(out.Items) == limit {
			out.Truncated, out.NextCursor = true, out.Items[limit-1].Name
			break
		}
		out.Items = append(out.Items, s.shown(a))
	}
	return out, nil
}

// Name says which user is meant.
type Name struct {
	Name string `json:"name" cli:"arg" complete:"users" max:"63" jsonschema:"user"`
}

// Get gives one user. Faults: not_found (user_unknown).
func (s *Service) Get(_ context.Context, in Name) (User, error) {
	a, err := s.tokens.Account(in.Name)
	if err != nil {
		return User{}, err
	}
	return s.shown(a), nil
}

// Fresh is a user that is to be made.
type Fresh struct {
	Name     string `json:"name" cli:"arg" max:"63" jsonschema:"name in lower case"`
	Role     string `json:"role,omitempty" enum:"viewer,operator,admin" default:"viewer" jsonschema:"what the user may do at most"`
	Password string `json:"password" secret:"true" max:"1024" jsonschema:"15 characters at least"`
}

// Create makes a user. Faults: invalid (bad_user, weak_password), conflict (user_exists), limited (sign_in_busy), internal
// (state_not_durable).
func (s *Service) Create(ctx context.Context, in Fresh) (User, error) {
	a, err := s.tokens.Create(ctx, in.Name, op.ParseRole(in.Role), in.Password)
	if err != nil {
		return User{}, err
	}
	s.tell("created", a.Name, "the user "+a.Name+" was made, as "+a.Role.String())
	return s.shown(a), nil
}

// PlanCreate says who would be made.
func (s *Service) PlanCreate(_ context.Context, in Fresh) (*op.Plan, error) {
	if err := token.CheckName(in.Name); err != nil {
		return nil, err
	}
	if err := token.CheckPassword(in.Name, in.Password); err != nil {
		return nil, err
	}
	if _, err := s.tokens.Account(in.Name); err == nil {
		return nil, fault.New(fault.Conflict, "there is a user %q already", in.Name).WithReason("user_exists").WithHint("%s", fault.Do("users.get", "name", in.Name))
	}
	return &op.Plan{Items: []op.Item{{Target: in.Name, To: in.Role}}}, nil
}

// Changes are what is to be different of a user; what is left out stays.
type Changes struct {
	Name
	Role     string `json:"role,omitempty" enum:"viewer,operator,admin" jsonschema:"another role"`
	Password string `json:"password,omitempty" secret:"true" max:"1024" jsonschema:"another password"`
	Disabled *bool  `json:"disabled,omitempty" jsonschema:"keep out"`
	Unlock   bool   `json:"unlock,omitempty" jsonschema:"forget the wrong passwords"`
}

// Validate wants a change.
func (c Changes) Validate() error {
	if c.Role == "" && c.Password == "" && c.Disabled == nil && !c.Unlock {
		return fault.New(fault.Invalid, "nothing is to change").WithReason("input").WithHint("say what: role, password, disabled or unlock")
	}
	return nil
}

func (c Changes) change() token.Change {
	out := token.Change{Disabled: c.Disabled, Unlock: c.Unlock}
	if c.Role != "" {
		role := op.ParseRole(c.Role)
		out.Role = &role
	}
	if c.Password != "" {
		out.Password = &c.Password
	}
	return out
}

// Update changes a user, at once and on every plane. Faults: not_found (user_unknown), invalid (weak_password), conflict
// (last_admin), limited (sign_in_busy), internal (state_not_durable).
func (s *Service) Update(ctx context.Context, in Changes) (User, error) {
	a, err := s.tokens.Update(ctx, in.Name.Name, in.change())
	if err != nil {
		return User{}, err
	}
	s.tell("updated", a.Name, "the user "+a.Name+" was changed")
	return s.shown(a), nil
}

// PlanUpdate says what would be different.
func (s *Service) PlanUpdate(_ context.Context, in Changes) (*op.Plan, error) {
	a, err := s.tokens.Account(in.Name.Name)
	if err != nil {
		return nil, err
	}
	p := &op.Plan{Items: []op.Item{}}
	add := func(what, from, to string) {
		if from != to {
			p.Items = append(p.Items, op.Item{Target: a.Name + ": " + what, From: from, To: to})
		}
	}
	if in.Role != "" {
		add("role", a.Role.String(), in.Role)
	}
	if in.Password != "" {
		if err := token.CheckPassword(a.Name, in.Password); err != nil {
			return nil, err
		}
		add("password", "", "another one; his sessions end")
	}
	if in.Disabled != nil {
		add("sign-in", allowed(a.Disabled), allowed(*in.Disabled))
	}
	if in.Unlock && a.Failures > 0 {
		add("wrong passwords", "counted", "forgotten")
	}
	return p, nil
}

func allowed(disabled bool) string {
	if disabled {
		return "kept out"
	}
	return "allowed"
}

// Gone says which user is to go.
type Gone struct {
	Name
	Last bool `json:"last,omitempty" jsonschema:"even the last admin"`
}

// Deleted is who was deleted.
type Deleted struct {
	Name     string `json:"name" table:"1" jsonschema:"name of the user"`
	Sessions int    `json:"sessions" table:"1" jsonschema:"how many sessions ended with it"`
	Tokens   int    `json:"tokens" table:"1" jsonschema:"how many tokens ended with it"`
}

// Delete ends a user. Faults: not_found (user_unknown), conflict (last_admin), internal (state_not_durable).
func (s *Service) Delete(ctx context.Context, in Gone) (Deleted, error) {
	a, err := s.tokens.Account(in.Name.Name)
	if err != nil {
		return Deleted{}, err
	}
	was := s.shown(a)
	if _, err := s.tokens.Delete(ctx, a.Name, in.Last); err != nil {
		return Deleted{}, err
	}
	s.tell("deleted", a.Name, "the user "+a.Name+" was deleted")
	return Deleted{a.Name, was.Sessions, was.Tokens}, nil
}

// PlanDelete names who would be gone.
func (s *Service) PlanDelete(_ context.Context, in Gone) (*op.Plan, error) {
	if err := s.tokens.Deletable(in.Name.Name, in.Last); err != nil {
		return nil, err
	}
	a, err := s.tokens.Account(in.Name.Name)
	if err != nil {
		return nil, err
	}
	return &op.Plan{Items: []op.Item{{Target: a.Name, From: a.Role.String(), To: "deleted"}}}, nil
}

func (s *Service) tell(kind, name, text string) {
	s.bus.Publish(bus.Event{Topic: "users", Type: kind, Text: text, Data: map[string]any{"name": name}})
}
