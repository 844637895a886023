package tools_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// door is opened by whoever knows the word.
type door struct {
	proofs int
	seen   op.Caller // by the handler
}

func (d *door) Open(ctx context.Context, _ toolstest.Password) (toolstest.Locked, error) {
	d.seen = op.CallerOf(ctx)
	return toolstest.Locked{}, nil
}

func (d *door) Prove(_ context.Context, in toolstest.Password) (op.Caller, error) {
	if d.proofs++; in.Password != "sesame" {
		return op.Caller{}, fault.New(fault.Unauthenticated, "no").WithReason("bad_credentials")
	}
	return op.Caller{User: "ali", Channel: op.Person, Ceiling: op.Admin}, nil
}

var doors = op.Of("auth", "A door.",
	op.Unary("signin", op.Public, op.Adds, (*door).Open, "Open the door.", op.Global(), op.Proves((*door).Prove), op.Shows("x", `{"password":"sesame"}`)))

// behind gives a door and the way to it.
func behind(t *testing.T) (*door, *toolstest.World, func(who op.Caller, in string) error) {
	t.Helper()
	d, w := &door{}, toolstest.New(t)
	r, err := tools.New(doors.Bind(d), tools.Deps{Log: slog.New(slog.DiscardHandler), Ledger: w.Ledger, Policy: w.Policy, Tokens: w.Tokens, Approvals: w.Held, Resolver: w.Box, Keys: w.Keys, Sessions: w.Sessions})
	if err != nil {
		t.Fatal(err)
	}
	return d, w, func(who op.Caller, in string) error {
		_, err := r.Do(op.WithCaller(t.Context(), who), tools.Call{Method: "auth.signin", In: json.RawMessage(in)})
		return err
	}
}

// TestWhoProvesHimselfIsOnRecord: strangers are counted by where they come from, and whoever has shown who he is has a
// record in his name, before it has an effect.
func TestWhoProvesHimselfIsOnRecord(t *testing.T) {
	d, w, open := behind(t)
	stranger := op.Caller{Plane: "tcp", From: netip.MustParseAddr("192.0.2.7")}
	for _, in := range []string{`{"password":"simsim"}`, `{"password":1}`, `{"password":"sesame","idempotency_key":"k"}`, `{"password":"sesame","dry_run":true}`} {
		if err := open(stranger, in); err == nil {
			t.Errorf("%s opens it", in)
		}
	}
	for _, e := range w.Ledger.Entries() {
		if e.Method != "(connect)" || e.User != "192.0.2.7" || e.Plane != "tcp" || e.Args != nil || e.Seq != 0 {
			t.Errorf("a stranger has a record of his own: %+v", e)
		}
	}
	if n := len(w.Ledger.Entries()); n != 4 || d.proofs != 1 || d.seen.User != "" {
		t.Errorf("%d records, %d proofs, %+v", n, d.proofs, d.seen)
	}
	if err := open(stranger, `{"password":"sesame"}`); err != nil {
		t.Fatal(err)
	}
	e := w.Ledger.Entries()[4]
	if e.User != "ali" || e.UID != -1 || e.Channel != "person" || e.Seq == 0 || e.Open || e.Decision != "allow" || string(e.Args) != `{"password":"•••"}` {
		t.Errorf("%+v %s", e, e.Args)
	}
	if d.seen.User != "ali" || d.seen.Channel != op.Person || d.seen.From != stranger.From || d.seen.Ceiling != 0 {
		t.Errorf("the handler is told %+v", d.seen)
	}
	if err := open(stranger, `{"password":"sesame"}`); err != nil { // the places of a stranger were given back
		t.Error(err)
	}
}

func TestWhoMayNotSignInProvesNothing(t *testing.T) {
	d, w, open := behind(t)
	w.Policy.Verdicts = map[string]policy.Verdict{"auth.signin": policy.Deny}
	if err := open(toolstest.Agent(), `{"password":"sesame"}`); !fault.Is(err, fault.Denied) || d.proofs != 0 {
		t.Errorf("%v, %d guesses", err, d.proofs)
	}
}

func TestNoRecordNoSignIn(t *testing.T) {
	d, w, open := behind(t)
	w.Ledger.Err = context.DeadlineExceeded
	if err := open(op.Caller{Plane: "tcp"}, `{"password":"sesame"}`); err == nil || d.seen.User != "" {
		t.Errorf("%v: it was opened without a record", err)
	}
}
