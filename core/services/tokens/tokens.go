// Package tokens keeps the named tokens of programs: agents' clients, scrapers, CI.
package tokens

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("tokens", "Tokens for programs that come over the network: agents' clients, scrapers, CI.",
	op.Unary("list", op.Admin, op.Reads, (*Service).List, "List the named tokens, without what they are.",
		op.Global(), op.Keywords("api keys bearer credentials who used"), op.Shows("all", `{}`), op.Fails("a cursor of something else", `{"cursor":"x"}`, "invalid")),
	op.Unary("create", op.Admin, op.Adds, (*Service).Create, "Make a named token for a program; it is shown once.",
		op.Global(), op.Planned((*Service).PlanCreate), op.Undo("tokens.revoke"), op.Keywords("api key bearer mint claude cursor ci scraper connect agent client"),
		op.Shows("for an agent of alice's", `{"name":"claude","for":"alice","role":"operator","client":"claude"}`), op.Fails("for nobody", `{"name":"x","for":"nobody"}`, "not_found")),
	op.Unary("revoke", op.Admin, op.Destroys, (*Service).Revoke, "End a named token, at once and everywhere.",
		op.Global(), op.Planned((*Service).PlanRevoke), op.Keywords("delete remove end api key bearer"),
		op.Shows("one by its name", `{"name":"laptop"}`), op.Fails("one that is not there", `{"name":"nope"}`, "not_found")),
)

// Service implements Methods.
type Service struct {
	tokens   *token.Tokens
	bus      *bus.Bus
	endpoint func() (url, authority string)
	now      func() time.Time
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) { return &Service{h.Tokens, h.Bus, h.Endpoint, time.Now}, nil }

// Token is a named token without its text.
type Token struct {
	ID       string    `json:"id" table:"1" jsonschema:"its id, which is a part of its text"`
	Name     string    `json:"name" table:"1" jsonschema:"what it is for: foreign text"`
	For      string    `json:"for" table:"1" jsonschema:"user that it acts for"`
	Role     string    `json:"role" table:"1" enum:"viewer,operator,admin" jsonschema:"the most it may do; less when its user may less"`
	Channel  string    `json:"channel" table:"1" enum:"agent,app" jsonschema:"agent: acts as operator at most, what is above waits for a person; app: acts with its role"`
	Projects []string  `json:"projects,omitempty" table:"2" jsonschema:"projects that it is limited to"`
	Stacks   []string  `json:"stacks,omitempty" table:"2" jsonschema:"stacks that it is limited to"`
	Methods  []string  `json:"methods,omitempty" table:"2" jsonschema:"methods that it is limited to"`
	Created  time.Time `json:"created" table:"3" unit:"time" jsonschema:"when it was made"`
	Expires  time.Time `json:"expires_at" table:"2" unit:"time" jsonschema:"when it ends"`
	Used     time.Time `json:"used,omitzero" table:"1" unit:"time" jsonschema:"when it was shown last; absent: never"`
	Revoked  time.Time `json:"revoked,omitzero" table:"2" unit:"time" jsonschema:"when it was revoked"`
}

func shown(n token.Named) Token {
	return Token{n.ID, n.Name, n.User, n.Role.String(), string(n.Channel), n.Scope.Projects, n.Scope.Stacks, n.Scope.Methods, n.Created, n.Expires, n.Used, n.Revoked}
}

// Search says which tokens are wanted.
type Search struct {
	op.Page
	All bool `json:"all,omitempty" cli:"short=A" jsonschema:"also those that have ended"`
}

const defaultLimit = 100

// List gives the tokens, the newest first. Faults: invalid (bad_cursor).
func (s *Service) List(_ context.Context, in Search) (op.List[Token], error) {
	out := op.List[Token]{Items: []Token{}}
	all := s.tokens.Named()
	from := 0
	if in.Cursor != "" {
		if from = slices.IndexFunc(all, func(n token.Named) bool { return n.ID == in.Cursor }) + 1; from == 0 {
			return out, fault.New(fault.Invalid, "%q is no cursor of this list", in.Cursor).WithReason("bad_cursor").WithHint("pass next_cursor of the answer before")
		}
	}
	limit := in.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	now := s.now()
	for _, n := range all[from:] {
		if !in.All && (!n.Revoked.IsZero() || !now.Before(n.Expires)) {
			continue
		}
		if len(out.Items) == limit {
			out.Truncated, out.NextCursor = true, out.Items[limit-1].ID
			break
		}
		out.Items = append(out.Items, shown(n))
	}
	return out, nil
}

// Fresh is a token that is to be made.
type Fresh struct {
	Name     string   `json:"name" cli:"arg" min:"1" max:"63" pattern:"^[A-Za-z0-9][A-Za-z0-9._ -]*$" jsonschema:"what it is for"`
	For      string   `json:"for,omitempty" complete:"users" max:"63" jsonschema:"user; default: the caller, or the only one"`
	Role     string   `json:"role,omitempty" enum:"viewer,operator,admin" default:"viewer" jsonschema:"the most it may do"`
	Channel  string   `json:"channel,omitempty" enum:"agent,app" default:"agent" jsonschema:"app: a program that decides nothing"`
	Projects []string `json:"projects,omitempty" complete:"projects" max:"64" jsonschema:"only these; globs work"`
	Stacks   []string `json:"stacks,omitempty" max:"64" jsonschema:"only these"`
	Methods  []string `json:"methods,omitempty" max:"64" jsonschema:"only these: apps.*, *.list"`
	Days     int      `json:"days,omitempty" min:"1" max:"3650" default:"90" jsonschema:"how long it is good"`
	Client   string   `json:"client,omitempty" enum:"claude,cursor" jsonschema:"also give what connects it"`
	URL      string   `json:"url,omitempty" max:"2048" pattern:"^https?://[^\\s\"'<>]+$" jsonschema:"default: this daemon's"`
}

// Validate looks at the globs.
func (f Fresh) Validate() error {
	for _, g := range slices.Concat(f.Projects, f.Stacks, f.Methods) {
		if _, err := path.Match(g, ""); err != nil || g == "" {
			return fault.New(fault.Invalid, "%q is no pattern", g).WithReason("input").WithHint("a name, or one with * or ?: shop, apps.*, *.list")
		}
	}
	return nil
}

func (f Fresh) scope() op.Scope {
	return op.Scope{Projects: f.Projects, Stacks: f.Stacks, Methods: f.Methods}
}

// within refuses a token that has wider limits than the one that asks for it: what limits a program would limit it only
// until it had made itself another.
func (f Fresh) within(limits op.Scope) error {
	if f.scope().Within(limits) {
		return nil
	}
	return fault.New(fault.Denied, "the token that asks is limited to the methods %s, and one that it makes is too", strings.Join(limits.Methods, ", ")).WithReason("scope").
		WithHint("say methods: those, or some of them")
}

// Made is a token with its text.
type Made struct {
	Token   string    `json:"token" secret:"true" table:"1" jsonschema:"the bearer; it is not kept and not shown again"`
	ID      string    `json:"id" table:"1" jsonschema:"its id"`
	Name    string    `json:"name" table:"1" jsonschema:"what it is for"`
	For     string    `json:"for" table:"1" jsonschema:"user that it acts for"`
	Role    string    `json:"role" table:"1" enum:"viewer,operator,admin" jsonschema:"the most it may do"`
	Channel string    `json:"channel" table:"2" enum:"agent,app" jsonschema:"agent or app"`
	Expires time.Time `json:"expires_at" table:"1" unit:"time" jsonschema:"when it ends"`
	Connect string    `json:"connect,omitempty" secret:"true" table:"1" jsonschema:"what connects the client: a command for claude, a piece of mcp.json for cursor"`
	Note    string    `json:"note,omitempty" table:"1" jsonschema:"what is to be seen to"`
}

// user is whom a token acts for. Faults: not_found (user_unknown), invalid (which_user).
func (s *Service) user(ctx context.Context, said string) (token.Account, error) {
	if said == "" {
		said = token.OwnUser(op.CallerOf(ctx))
	}
	if said != "" {
		return s.tokens.Account(said)
	}
	all := s.tokens.Accounts()
	switch len(all) {
	case 1:
		return all[0], nil
	case 0:
		return token.Account{}, fault.New(fault.NotFound, "there is no user yet that a token could act for").WithReason("user_unknown").
			WithHint("make one first: %s", fault.Do("users.create", "name", "alice", "role", "admin"))
	}
	var names []string
	for _, a := range all {
		names = append(names, a.Name)
	}
	return token.Account{}, fault.New(fault.Invalid, "for which user? there are several").WithReason("ambiguous").WithCandidates(names...).WithHint("say for")
}

// Create makes a token. Faults: not_found (user_unknown), invalid (ambiguous), denied (role, scope), limited (too_many_tokens),
// internal (state_not_durable).
func (s *Service) Create(ctx context.Context, in Fresh) (Made, error) {
	a, err := s.user(ctx, in.For)
	if err == nil {
		err = in.within(op.CallerOf(ctx).Scope)
	}
	if err != nil {
		return Made{}, err
	}
	text, n, err := s.tokens.Issue(ctx, token.Named{Name: in.Name, User: a.Name, Role: op.ParseRole(in.Role), Channel: op.Channel(in.Channel),
		Scope: in.scope(), Expires: s.now().AddDate(0, 0, in.Days)})
	if err != nil {
		return Made{}, err
	}
	out := Made{Token: text, ID: n.ID, Name: n.Name, For: n.User, Role: n.Role.String(), Channel: string(n.Channel), Expires: n.Expires}
	if in.Client != "" {
		url, authority := in.URL, ""
		if url == "" {
			url, authority = s.address()
		}
		out.Connect = connect(in.Client, url, text)
		out.Note = trust(url, authority)
	}
	s.bus.Publish(bus.Event{Topic: "tokens", Type: "created", Text: fmt.Sprintf("the token %s was made for %s", n.Name, n.User), Data: map[string]any{"id": n.ID, "name": n.User}})
	return out, nil
}

// address is where this daemon's HTTP plane is, and the file of the authority that a client has to trust for it, if there is one.
func (s *Service) address() (url, authority string) {
	if s.endpoint != nil {
		if base, authority := s.endpoint(); base != "" {
			return strings.TrimSuffix(base, "/") + "/mcp", authority
		}
	}
	return "http://127.0.0.1:9800/mcp", ""
}

// trust says what a client needs beside the line that connects it: no authority of the world knows the daemon's own, and
// both clients run on node, which takes more of them by its environment.
func trust(url, authority string) string {
	switch {
	case !strings.HasPrefix(url, "https://"):
		return ""
	case authority == "":
		return "the client has to trust the certificate that is shown there"
	}
	return "the client has to trust the daemon's own authority: start it with NODE_EXTRA_CA_CERTS='" + strings.ReplaceAll(authority, "'", `'\''`) + "' in its environment; on another machine, with a copy of that file"
}

// connect is what a person pastes to connect a client. Cursor finds the transport by itself; others that read such a file want
// to be told it.
func connect(client, url, text string) string {
	if client == "cursor" {
		return fmt.Sprintf(`{"mcpServers": {"omnitron": {"type": "http", "url": %q, "headers": {"Authorization": "Bearer %s"}}}}`, url, text)
	}
	return fmt.Sprintf(`claude mcp add --transport http omnitron '%s' --header 'Authorization: Bearer %s'`, url, text)
}

// PlanCreate says what would be made.
func (s *Service) PlanCreate(ctx context.Context, in Fresh) (*op.Plan, error) {
	a, err := s.user(ctx, in.For)
	if err == nil {
		err = in.within(op.CallerOf(ctx).Scope)
	}
	if err != nil {
		return nil, err
	}
	if !a.Role.Covers(op.ParseRole(in.Role)) {
		return nil, fault.New(fault.Denied, "%s is %s, and a token has no more than its user", a.Name, a.Role).WithReason("role")
	}
	return &op.Plan{Items: []op.Item{{Target: in.Name, To: fmt.Sprintf("a token of %s, %s, channel %s, for %d days", a.Name, in.Role, in.Channel, in.Days)}}}, nil
}

// Which says which token is meant.
type Which struct {
	Name string `json:"name" cli:"arg" complete:"tokens" max:"63" jsonschema:"id, or name where only one has it"`
}

// Revoke ends a token, at once and on every plane. Faults: not_found (token_unknown), invalid (ambiguous), internal
// (state_not_durable).
func (s *Service) Revoke(ctx context.Context, in Which) (Token, error) {
	n, err := s.tokens.Revoke(ctx, in.Name)
	if err != nil {
		return Token{}, err
	}
	s.bus.Publish(bus.Event{Topic: "tokens", Type: "revoked", Text: fmt.Sprintf("the token %s of %s was revoked", n.Name, n.User), Data: map[string]any{"id": n.ID, "name": n.User}})
	return shown(n), nil
}

// PlanRevoke names what would be gone.
func (s *Service) PlanRevoke(_ context.Context, in Which) (*op.Plan, error) {
	n, err := s.tokens.Token(in.Name)
	if err != nil {
		return nil, err
	}
	if !n.Revoked.IsZero() {
		return &op.Plan{Items: []op.Item{}}, nil
	}
	return &op.Plan{Items: []op.Item{{Target: n.ID, From: fmt.Sprintf("%s of %s", n.Name, n.User), To: "revoked"}}}, nil
}
