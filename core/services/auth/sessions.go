package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
)

// Session is somebody who signed in with a password.
type Session struct {
	ID      string    `json:"id" table:"1" jsonschema:"session id"`
	Name    string    `json:"name" table:"1" jsonschema:"user"`
	Created time.Time `json:"created" table:"2" unit:"time" jsonschema:"when it began"`
	Seen    time.Time `json:"seen" table:"1" unit:"time" jsonschema:"when it was used last"`
	Expires time.Time `json:"expires_at" table:"3" unit:"time" jsonschema:"when it ends unless it is refreshed"`
	Address string    `json:"address,omitempty" table:"1" jsonschema:"where it was begun"`
	Client  string    `json:"client,omitempty" table:"2" jsonschema:"what the client calls itself: foreign text"`
	Browser bool      `json:"browser,omitempty" table:"3" jsonschema:"whether a browser has it"`
	Own     bool      `json:"own,omitempty" table:"3" jsonschema:"whether it is the caller's own"`
}

const defaultLimit = 100

// Sessions lists sessions, the newest first. Faults: invalid (bad_cursor).
func (s *Service) Sessions(ctx context.Context, in op.Page) (op.List[Session], error) {
	c := op.CallerOf(ctx)
	whose := c.User
	if c.Role.Covers(op.Admin) && !c.Scope.Bounded() {
		whose = ""
	}
	out := op.List[Session]{Items: []Session{}}
	all := s.tokens.Sessions(whose)
	out.Total = len(all)
	if in.Cursor != "" {
		at := slices.IndexFunc(all, func(o token.Session) bool { return o.ID == in.Cursor })
		if at < 0 {
			return out, fault.New(fault.Invalid, "%q is no cursor of this list", in.Cursor).WithReason("bad_cursor").WithHint("pass next_cursor of the answer before")
		}
		all = all[at+1:]
	}
	limit := in.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	for _, o := range all {
		if len(out.Items) == limit {
			out.Truncated, out.NextCursor = true, out.Items[limit-1].ID
			break
		}
		out.Items = append(out.Items, Session{o.ID, o.User, o.Created, o.Seen, o.Expires, o.Address, o.Client, o.Browser, o.ID == token.OwnSession(c)})
	}
	return out, nil
}

// What says what is to be ended.
type What struct {
	Session string `json:"session,omitempty" cli:"arg?" jsonschema:"session id"`
	Name    string `json:"name,omitempty" complete:"users" jsonschema:"or a user: all of his"`
}

// Validate wants one of them.
func (w What) Validate() error {
	if (w.Session == "") == (w.Name == "") {
		return fault.New(fault.Invalid, "say which session, or which user").WithReason("input").WithHint("%s", fault.Do("auth.sessions"))
	}
	return nil
}

// Revoked is what was ended.
type Revoked struct {
	Sessions int `json:"sessions" table:"1" jsonschema:"how many sessions"`
	Tokens   int `json:"tokens" table:"1" jsonschema:"how many named tokens"`
}

// Revoke ends a session, or all of a user's, at once and on every plane. Faults: not_found (session_unknown, user_unknown),
// internal (state_not_durable).
func (s *Service) Revoke(ctx context.Context, in What) (Revoked, error) {
	if in.Session != "" {
		if err := s.tokens.End(ctx, in.Session); err != nil {
			return Revoked{}, err
		}
		s.tell("revoked", "", "a session was ended")
		return Revoked{Sessions: 1}, nil
	}
	sessions, tokens, err := s.tokens.RevokeUser(ctx, in.Name)
	if err != nil {
		return Revoked{}, err
	}
	s.tell("revoked", in.Name, fmt.Sprintf("the %d sessions and %d tokens of %s were ended", sessions, tokens, in.Name))
	return Revoked{sessions, tokens}, nil
}

// PlanRevoke names what would be ended.
func (s *Service) PlanRevoke(_ context.Context, in What) (*op.Plan, error) {
	p := &op.Plan{Items: []op.Item{}}
	if in.Name != "" {
		if _, err := s.tokens.Account(in.Name); err != nil {
			return nil, err
		}
	}
	for _, o := range s.tokens.Sessions(in.Name) {
		if in.Session == "" || o.ID == in.Session {
			p.Items = append(p.Items, op.Item{Target: "session " + o.ID, From: o.User, To: "ended"})
		}
	}
	if in.Session != "" {
		if len(p.Items) == 0 {
			return nil, fault.New(fault.NotFound, "there is no session %q", in.Session).WithReason("session_unknown").WithHint("%s", fault.Do("auth.sessions"))
		}
		return p, nil
	}
	for _, n := range s.tokens.Named() {
		if n.User == in.Name && n.Revoked.IsZero() {
			p.Items = append(p.Items, op.Item{Target: "token " + n.ID, From: n.Name, To: "revoked"})
		}
	}
	slices.SortFunc(p.Items, func(a, b op.Item) int { return strings.Compare(a.Target, b.Target) })
	return p, nil
}
