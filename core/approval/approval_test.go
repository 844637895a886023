package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// world is a repository and its clock.
type world struct {
	*Approvals
	t    *testing.T
	db   database
	time time.Time
	sub  *bus.Sub
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: storetest.New(t), time: time.Unix(1_800_000_000, 0)}
	w.open()
	return w
}

// open opens the repository, as a daemon does that was started anew.
func (w *world) open() {
	w.t.Helper()
	b := bus.New(1, 100)
	w.Approvals = New(w.db, policy.StoredKeys(w.db), b, func() time.Time { return w.time })
	w.sub = b.Subscribe(bus.Filter{Topics: []string{Topic}}, 100)
	w.t.Cleanup(w.sub.Close)
}

// events are the types of those that came since the last look.
func (w *world) events() (types []string) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		ev, _, err := w.sub.Next(gone)
		if err != nil {
			return types
		}
		types = append(types, ev.Type)
	}
}

var ann = op.Caller{User: "ann", Channel: op.Person}

func call() policy.Binding {
	return policy.Binding{
		Caller: op.Caller{User: "ann", Channel: op.Agent, Client: "claude 1", Session: "s1", Plane: "stdio", Token: "t1"},
		Method: "logs.purge", Input: json.RawMessage(`{"names":["api"]}`), Args: json.RawMessage(`{"names":["api"]}`), Rule: "agents-destroy", Why: "what is destroyed cannot be brought back",
		Targets: []op.Target{{Key: "shop/dev/api", Generation: 3}}, Plan: &op.Plan{Items: []op.Item{{Target: "shop/dev/api", From: "its output", To: "nothing"}}},
	}
}

// present makes the call, as the pipeline does.
func (w *world) present(b policy.Binding) Answer {
	w.t.Helper()
	a, err := w.try(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) try(b policy.Binding) (Answer, error) {
	in, answer, err := w.Present(b, "call-1")
	if err != nil {
		return Answer{}, err
	}
	if err := w.db.Update(w.t.Context(), in); err != nil {
		return Answer{}, err
	}
	return answer(), nil
}

func (w *world) held(b policy.Binding) op.ApprovalRef {
	w.t.Helper()
	a := w.present(b)
	if a.Through || a.Refused != nil || a.Ref.ID == "" {
		w.t.Fatalf("it does not wait: %+v", a)
	}
	return a.Ref
}

func (w *world) through(b policy.Binding) {
	w.t.Helper()
	if a := w.present(b); !a.Through {
		w.t.Errorf("it does not go through: %+v", a)
	}
}

func (w *world) decide(by op.Caller, id string, yes bool) error {
	w.t.Helper()
	_, err := w.Decide(op.WithCaller(w.t.Context(), by), id, yes, "a note")
	return err
}

func (w *world) approve(id string) {
	w.t.Helper()
	if err := w.decide(ann, id, true); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) is(what string, err error, code fault.Code, reason string) {
	w.t.Helper()
	if f := fault.From(err); f == nil || f.Code != code || f.Reason != reason {
		w.t.Errorf("%s: %v, want %s %s", what, err, code, reason)
	}
}

func (w *world) list(by op.Caller, f Filter) []Approval {
	w.t.Helper()
	all, _, err := w.List(op.WithCaller(w.t.Context(), by), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// TestOneYesOneCall is the whole way: held, approved, through once, asked again.
func TestOneYesOneCall(t *testing.T) {
	w := newWorld(t)
	first := w.held(call())
	if first.ExpiresAt.Sub(w.time) != Patience || !strings.HasPrefix(first.ID, "ap-") || first.Why != call().Why || first.Rule != "agents-destroy" {
		t.Errorf("%+v", first)
	}
	if again := w.held(call()); again != first {
		t.Errorf("the equal call waits for %+v, not for %+v", again, first)
	}
	w.approve(first.ID)
	w.through(call())
	second := w.held(call())
	if second.ID == first.ID {
		t.Error("a used approval is asked for again")
	}
	if diff := cmp.Diff([]string{"created", "approved", "used", "created"}, w.events()); diff != "" {
		t.Error(diff)
	}
	h, err := w.Get(op.WithCaller(t.Context(), ann), first.ID)
	if err != nil || h.Status != Used || h.Call != "call-1" || h.DecidedBy != "ann" || h.Note != "a note" || h.UsedAt.IsZero() {
		t.Errorf("%+v, %v", h, err)
	}
	w.is("deciding on what was used", w.decide(ann, first.ID, false), fault.Conflict, "already_decided")
}

// TestAnotherCall: an approval is good for no call but the one that it was given for.
func TestAnotherCall(t *testing.T) {
	for name, change := range map[string]func(*policy.Binding){
		"user":       func(b *policy.Binding) { b.Caller.User = "bob" },
		"channel":    func(b *policy.Binding) { b.Caller.Channel = op.App },
		"session":    func(b *policy.Binding) { b.Caller.Token = "t2" },
		"method":     func(b *policy.Binding) { b.Method = "apps.remove" },
		"input":      func(b *policy.Binding) { b.Input = json.RawMessage(`{"names":["api","db"]}`) },
		"generation": func(b *policy.Binding) { b.Targets[0].Generation++ },
		"target":     func(b *policy.Binding) { b.Targets[0].Key = "shop/dev/db" },
		"plan":       func(b *policy.Binding) { b.Plan.Items[0].To = "everything" },
	} {
		w := newWorld(t)
		ref := w.held(call())
		w.approve(ref.ID)
		other := call()
		change(&other)
		if a := w.present(other); a.Through || a.Ref.ID == ref.ID {
			t.Errorf("another %s: %+v", name, a)
		}
		w.through(call()) // and it took nothing away
	}
	w := newWorld(t)
	w.approve(w.held(call()).ID)
	same := call()
	same.Caller.Session, same.Caller.Client, same.Args, same.Why = "s2", "claude 2", nil, ""
	same.Input = json.RawMessage(` {"confirm":"x", "names":["api"]} `)
	w.through(same)
}

func TestTime(t *testing.T) {
	w := newWorld(t)
	silent := w.held(call())
	w.time = w.time.Add(Patience)
	w.is("too late", w.decide(ann, silent.ID, true), fault.Conflict, "expired")
	late := w.held(call())
	if late.ID == silent.ID {
		t.Error("the call made again waits for what has run out")
	}
	w.time = w.time.Add(Patience - time.Second)
	w.approve(late.ID)
	w.time = w.time.Add(Use)
	if a := w.present(call()); a.Through || a.Ref.ID == late.ID {
		t.Errorf("after ten minutes: %+v", a)
	}
	w.events()
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"expired", "expired"}, w.events()); diff != "" {
		t.Error(diff)
	}
	if err := w.Sweep(t.Context()); err != nil || len(w.events()) > 0 {
		t.Error("they are ended twice", err)
	}
	w = newWorld(t)
	ref := w.held(call())
	w.approve(ref.ID)
	w.time = w.time.Add(Use - time.Second)
	w.approve(ref.ID) // a second yes adds no time
	w.time = w.time.Add(time.Second)
	if a := w.present(call()); a.Through {
		t.Error("a second yes made the first last longer")
	}
	w.time = w.time.Add(memory)
	w.held(call())
	if all := w.list(ann, Filter{}); len(all) != 1 {
		t.Errorf("%d are kept", len(all))
	}
}

func TestNo(t *testing.T) {
	w := newWorld(t)
	ref := w.held(call())
	if err := w.decide(ann, ref.ID, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a := w.present(call())
		if a.Through || a.Refused == nil {
			t.Fatalf("%+v", a)
		}
		w.is("denied", a.Refused, fault.Held, "denied_by_person")
		if !strings.Contains(a.Refused.Message, "ann") || !strings.Contains(a.Refused.Message, "a note") {
			t.Error(a.Refused)
		}
	}
	w.is("yes after no", w.decide(ann, ref.ID, true), fault.Conflict, "already_decided")
	if err := w.decide(ann, ref.ID, false); err != nil {
		t.Errorf("no after no: %v", err)
	}
	w.time = w.time.Add(Patience)
	if again := w.held(call()); again.ID == ref.ID {
		t.Error("half an hour later it is the same question")
	}
	if diff := cmp.Diff([]string{"created", "denied", "created"}, w.events()); diff != "" {
		t.Error(diff)
	}
}

func TestWhoDecides(t *testing.T) {
	w := newWorld(t)
	own := call()
	own.Caller = op.Caller{User: "ann", Channel: op.Person}
	mine, agents := w.held(own), w.held(call())
	for _, yes := range []bool{true, false} {
		for _, ch := range []op.Channel{op.Agent, op.App, op.Peer, ""} {
			w.is("by "+string(ch), w.decide(op.Caller{User: "bob", Channel: ch, Ceiling: op.Admin, Role: op.Admin}, agents.ID, yes), fault.Denied, "not_a_person")
		}
		w.is("his own", w.decide(ann, mine.ID, yes), fault.Denied, "self_approval")
		twin := ann
		twin.Twin = true
		w.is("his own, with an account of his name", w.decide(twin, mine.ID, yes), fault.Denied, "self_approval")
		w.is("nothing", w.decide(ann, "ap-none", yes), fault.NotFound, "approval_unknown")
	}
	if err := w.decide(op.Caller{User: "bob", Channel: op.Person}, mine.ID, true); err != nil {
		t.Errorf("another person: %v", err)
	}
	w.Take(setting.Policy{Approvers: setting.ApproversConsole})
	w.is("on the bare socket", w.decide(ann, agents.ID, true), fault.Denied, "console_needed")
	console := ann
	console.Console = true
	if err := w.decide(console, agents.ID, true); err != nil {
		t.Errorf("signed in: %v", err)
	}
}

// TestWhoSees: a person sees all, everybody else what he asked himself.
func TestWhoSees(t *testing.T) {
	w := newWorld(t)
	ref := w.held(call())
	for by, want := range map[op.Channel]int{op.Person: 1, op.Agent: 0, op.App: 0} {
		bob := op.Caller{User: "bob", Channel: by}
		if n := len(w.list(bob, Filter{Open: true})); n != want {
			t.Errorf("%s bob sees %d", by, n)
		}
		if _, err := w.Get(op.WithCaller(t.Context(), bob), ref.ID); (err == nil) != (want == 1) {
			t.Errorf("%s bob: %v", by, err)
		}
	}
	if n := len(w.list(call().Caller, Filter{Open: true})); n != 1 {
		t.Errorf("who asked sees %d", n)
	}
	bob := call()
	bob.Caller.User = "*"
	w.held(bob)
	if n := len(w.list(bob.Caller, Filter{})); n != 1 {
		t.Errorf("an account called * sees %d", n)
	}
}

// TestSameName: two who are called the same and are not the same, a user of the socket and an account, see nothing of each
// other's, whichever of them asked and whether or not the daemon knew then that they are two.
func TestSameName(t *testing.T) {
	w := newWorld(t)
	account := func(b policy.Binding, twin bool) policy.Binding {
		b.Caller.UID, b.Caller.Twin, b.Caller.Plane, b.Caller.Token = -1, twin, "http", "token:t2"
		return b
	}
	own, other, before := call(), account(call(), true), account(call(), false)
	before.Method = "logs.before"
	of := map[string]op.Caller{w.held(own).ID: own.Caller, w.held(other).ID: other.Caller, w.held(before).ID: other.Caller}
	if len(of) != 3 {
		t.Fatalf("they share approvals: %v", of)
	}
	for name, by := range map[string]op.Caller{"socket": own.Caller, "account": other.Caller} {
		var want []string
		for id, who := range of {
			mine := who.UID == by.UID
			if mine {
				want = append(want, id)
			}
			ctx := op.WithCaller(t.Context(), by)
			if _, err := w.Get(ctx, id); (err == nil) != mine {
				t.Errorf("%s gets %s: %v", name, id, err)
			}
			if _, err := w.Wait(ctx, id, time.Millisecond); fault.Is(err, fault.NotFound) == mine {
				t.Errorf("%s waits for %s: %v", name, id, err)
			}
		}
		var seen []string
		for _, h := range w.list(by, Filter{}) {
			seen = append(seen, h.ID)
		}
		slices.Sort(want)
		slices.Sort(seen)
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("%s sees %s", name, diff)
		}
	}
	kinds := map[string]int{}
	for _, h := range w.list(ann, Filter{}) {
		kinds[h.Kind]++
	}
	if diff := cmp.Diff(map[string]int{"socket": 1, "account": 2}, kinds); diff != "" {
		t.Errorf("a person cannot tell them apart: %s", diff)
	}
	for range MaxOpen - 1 { // what one has waiting takes nothing from the other
		own.Method += "x"
		w.held(own)
	}
	other.Method = "logs.other"
	w.held(other)
	twin := op.Caller{User: "ann", UID: -1, Twin: true, Channel: op.Person, Console: true}
	for id := range of {
		if err := w.decide(twin, id, true); err != nil {
			t.Fatal(err)
		}
		if h, err := w.Get(op.WithCaller(t.Context(), ann), id); err != nil || h.DecidedBy != "account:ann" {
			t.Errorf("decided by %q, %v", h.DecidedBy, err)
		}
	}
}

func TestListShowsWhatAPersonNeeds(t *testing.T) {
	w := newWorld(t)
	ref := w.held(call())
	want := Approval{ID: ref.ID, Status: Pending, Method: "logs.purge", Args: json.RawMessage(`{"names":["api"]}`), Who: "ann", Kind: "socket", Channel: "agent", Client: "claude 1", Session: "s1", Plane: "stdio",
		Targets: []string{"shop/dev/api"}, Plan: call().Plan.Items, Rule: "agents-destroy", Why: call().Why, Expires: ref.ExpiresAt, Created: w.time}
	if diff := cmp.Diff([]Approval{want}, w.list(ann, Filter{Open: true})); diff != "" {
		t.Error(diff)
	}
	for i := range 5 {
		b := call()
		b.Method, b.Plan = fmt.Sprint("new.m", i), nil
		w.time = w.time.Add(time.Second)
		w.held(b)
	}
	page, more, err := w.List(op.WithCaller(t.Context(), ann), Filter{Open: true, Limit: 4})
	if err != nil || !more || len(page) != 4 || page[0].Method != "new.m4" || page[0].Plan == nil {
		t.Fatalf("first page: %+v, %v, %v", page, more, err)
	}
	rest, more, err := w.List(op.WithCaller(t.Context(), ann), Filter{Open: true, Before: page[3].Created, Limit: 4})
	if err != nil || more || len(rest) != 2 || rest[1].ID != ref.ID {
		t.Errorf("the rest: %+v, %v, %v", rest, more, err)
	}
	w.approve(ref.ID)
	if n, all := len(w.list(ann, Filter{Open: true})), len(w.list(ann, Filter{})); n != 5 || all != 6 {
		t.Errorf("%d wait, of %d", n, all)
	}
}

func TestNotTooMany(t *testing.T) {
	w := newWorld(t)
	b := call()
	for i := range MaxOpen {
		b.Method = fmt.Sprint("new.m", i)
		w.held(b)
	}
	b.Method = "one.more"
	_, err := w.try(b)
	w.is("one more", err, fault.Limited, "too_many_held")
	b.Method = "new.m0"
	w.held(b) // waits already
	other := call()
	other.Caller.User = "bob"
	w.held(other)
	w.time = w.time.Add(Patience)
	b.Method = "one.more"
	w.held(b)
}

type sealedVault struct{}

func (sealedVault) Key(string) ([]byte, error) {
	return nil, fault.New(fault.Unavailable, "the vault is sealed").WithReason("vault_sealed")
}

// TestWithoutItsKeyNothingGoesThrough: what was approved before is as good as nothing, and neither is anything held.
func TestWithoutItsKeyNothingGoesThrough(t *testing.T) {
	w := newWorld(t)
	w.Approvals.keys = sealedVault{}
	in, answer, err := w.Present(policy.Binding{Caller: op.Caller{User: "a", Channel: op.Agent}, Method: "logs.purge"}, "c1")
	if in != nil || answer != nil || fault.From(err).Reason != "vault_sealed" {
		t.Errorf("%v", err)
	}
}

func TestAScopedCallerSeesOnlyWhatLiesWithin(t *testing.T) {
	w := newWorld(t)
	who := op.Caller{User: "alice", Channel: op.Agent}
	var ids []string
	for _, key := range []string{"shop/dev/web", "blog/dev/web", ""} {
		b := policy.Binding{Caller: who, Method: "logs.purge", Input: []byte(`{}`), Rule: key}
		if key != "" {
			project, _, _ := strings.Cut(key, "/")
			b.Targets = []op.Target{{Key: key, Project: project, Stack: "dev"}}
		}
		in, answer, err := w.Present(b, "c")
		if err == nil {
			err = w.db.Update(t.Context(), in)
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, answer().Ref.ID)
	}
	who.Scope = op.Scope{Projects: []string{"shop"}}
	ctx := op.WithCaller(t.Context(), who)
	all, more, err := w.List(ctx, Filter{Open: true})
	if err != nil || more || len(all) != 1 || all[0].ID != ids[0] {
		t.Errorf("%v %v", all, err)
	}
	for i, id := range ids {
		if _, err := w.Get(ctx, id); (err == nil) != (i == 0) || err != nil && !fault.Is(err, fault.NotFound) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
