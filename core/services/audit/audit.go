// Package audit shows the record of calls.
package audit

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("audit", "The record of calls: who did what, and what came of it.",
	op.Unary("list", op.Admin, op.Reads, (*Service).List, "List calls: who, what, on what, decision and result.",
		op.Global(), op.Keywords("record log who did calls trail accountability"), op.Shows("the last ones", `{"limit":5}`), op.Fails("a cursor of something else", `{"cursor":"x"}`, "invalid")),
	op.Unary("verify", op.Admin, op.Reads, (*Service).Verify, "Look whether the record of calls was changed, and name the first bad row.",
		op.Global(), op.Timeout(10*time.Minute), op.Keywords("tamper integrity chain hash mac proof"), op.Shows("is it whole", `{}`), op.Fails("a head of nothing", `{"against":"x"}`, "invalid")),
)

// Service implements Methods.
type Service struct{ calls *ledger.Ledger }

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) { return &Service{h.Ledger}, nil }

// Search says which calls are wanted.
type Search struct {
	op.Page
	Since    time.Time `json:"since,omitzero" jsonschema:"from, RFC 3339"`
	Until    time.Time `json:"until,omitzero" jsonschema:"to, RFC 3339"`
	Who      string    `json:"who,omitempty" jsonschema:"account, or token:ID"`
	Channel  string    `json:"channel,omitempty" enum:"person,agent,app,node" jsonschema:"kind of caller"`
	Method   string    `json:"method,omitempty" jsonschema:"apps.stop, or apps.*"`
	Decision string    `json:"decision,omitempty" enum:"allow,confirm,hold,deny,confirmed,approved,refused,repeated,dry_run" jsonschema:"only with this decision"`
	Result   string    `json:"result,omitempty" jsonschema:"fault code, or ok"`
	App      string    `json:"app,omitempty" complete:"apps" jsonschema:"project/stack/app"`
	Changes  bool      `json:"changes,omitempty" jsonschema:"changing calls only"`
	Forward  bool      `json:"forward,omitempty" jsonschema:"oldest first"`
}

// Call is one call on record.
type Call struct {
	Seq        int64           `json:"seq" table:"5" jsonschema:"its place in the record"`
	At         time.Time       `json:"at" table:"1" unit:"time" jsonschema:"when it came"`
	Call       string          `json:"call" table:"6" jsonschema:"call id"`
	Who        string          `json:"who" table:"1" jsonschema:"account"`
	Channel    string          `json:"channel" table:"2" jsonschema:"kind of caller"`
	Client     string          `json:"client,omitempty" table:"4" jsonschema:"what the client calls itself: foreign text"`
	Plane      string          `json:"plane" table:"4" jsonschema:"unix, stdio, tcp or http"`
	Session    string          `json:"session,omitempty" jsonschema:"session id"`
	From       string          `json:"from,omitempty" table:"3" jsonschema:"address that it came from; absent on the daemon's own socket"`
	Credential string          `json:"credential,omitempty" table:"4" jsonschema:"what the caller signed in with: token:ID, as in tokens.list, or session:ID, as in auth.sessions"`
	Method     string          `json:"method" table:"1" jsonschema:"method"`
	Targets    []string        `json:"targets,omitempty" table:"2" jsonschema:"apps that it was about"`
	Args       json.RawMessage `json:"args,omitempty" schema:"any" jsonschema:"input, with what is secret taken out"`
	Decision   string          `json:"decision" table:"2" jsonschema:"allow, confirm, hold, deny, or what took its place: confirmed, approved, refused, repeated, dry_run"`
	Result     string          `json:"result" table:"1" jsonschema:"ok, a fault code, or open while it runs"`
	Reason     string          `json:"reason,omitempty" table:"3" jsonschema:"reason of the fault"`
	Count      int64           `json:"count,omitempty" table:"4" jsonschema:"how many calls this row stands for, if not for one: refusals are summed per minute and address"`
	TookMS     float64         `json:"took_ms" table:"3" unit:"ms" jsonschema:"how long it took, in milliseconds"`
}

// List gives calls, newest first or oldest first. Pages neither lose nor double a row while calls go on. Faults: invalid (bad_cursor).
func (s *Service) List(ctx context.Context, in Search) (op.List[Call], error) {
	out := op.List[Call]{Items: []Call{}}
	var from int64
	if in.Cursor != "" {
		n, err := strconv.ParseInt(in.Cursor, 10, 64)
		if err != nil {
			return out, fault.New(fault.Invalid, "%q is no cursor of this list", in.Cursor).WithReason("bad_cursor").WithHint("pass next_cursor of the answer before")
		}
		from = n
	}
	f := ledger.Filter{Since: in.Since, Until: in.Until, Who: in.Who, Channel: in.Channel, Method: in.Method,
		Decision: in.Decision, Code: in.Result, Target: in.App, Changes: in.Changes, Forward: in.Forward, Limit: in.Limit}
	if f.Forward {
		f.After = from
	} else {
		f.Before = from
	}
	calls, next, err := s.calls.List(ctx, f)
	if err != nil {
		return out, err
	}
	for _, e := range calls {
		c := Call{Seq: e.Seq, At: e.Time, Call: e.Call, Who: e.User, Channel: e.Channel, Client: e.Client, Plane: e.Plane, Session: e.Session, From: e.Address, Credential: e.Credential, Method: e.Method,
			Targets: e.Targets, Args: e.Args, Decision: e.Decision, Result: e.Code, Reason: e.Reason, Count: e.Count, TookMS: float64(e.Took.Microseconds()) / 1000}
		switch {
		case e.Open:
			c.Result = "open"
		case c.Result == "":
			c.Result = "ok"
		}
		out.Items = append(out.Items, c)
	}
	if next > 0 {
		out.Truncated, out.NextCursor = true, strconv.FormatInt(next, 10)
	}
	return out, nil
}
