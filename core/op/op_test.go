package op_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
)

type service struct{ name string }

type in struct {
	N int `json:"n"`
}

func (i in) Validate() error {
	if i.N == 13 {
		return errors.New("unlucky")
	}
	return nil
}

type plain struct {
	N int `json:"n"`
}

type out struct{ From string }

func (s *service) Get(_ context.Context, i in) (out, error)    { return out{s.name}, nil }
func (s *service) Set(_ context.Context, i plain) (out, error) { return out{s.name}, nil }
func (s *service) Preview(_ context.Context, i plain) (*op.Plan, error) {
	return &op.Plan{Digest: s.name}, nil
}
func (s *service) Other(_ context.Context, i in) (*op.Plan, error) { return nil, nil }
func (s *service) Count(ctx context.Context, i plain) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for n := range i.N {
			if n == 3 {
				yield(0, errors.New("three is too many"))
				return
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}

var table = op.Of("things", "Things.",
	op.Unary("get", op.Viewer, op.Reads, (*service).Get, "Get it.", op.Resource("omnitron://things", "a", "b"), op.Timeout(time.Second), op.Alias("x.y", "z.y"),
		op.Top("get"), op.Core(), op.Keywords("fetch"), op.Shows("One.", `{}`), op.Fails("Two.", `{"n":13}`, "invalid")),
	op.Unary("set", op.Admin, op.Sets, (*service).Set, "Set it.", op.Planned((*service).Preview), op.Undo("things.set"), op.Global(), op.Local(), op.Job()),
	op.Stream("count", op.Operator, op.Reads, (*service).Count, "Count."),
)

func TestSpecs(t *testing.T) {
	s := table.Specs()
	if len(s) != 3 || s[0].ID() != "things.get" || s[0].Tool() != "things_get" || s[2].ID() != "things.count" {
		t.Fatalf("%+v", s)
	}
	get, set, count := s[0], s[1], s[2]
	if get.Role != op.Viewer || get.Effect != op.Reads || get.Doc != "Get it." || get.In != reflect.TypeFor[in]() || get.Out != reflect.TypeFor[out]() ||
		get.Resource != "omnitron://things" || len(get.Topics) != 2 || get.Timeout != time.Second || len(get.Aliases) != 2 || get.Top != "get" || !get.Core ||
		get.Keywords != "fetch" || len(get.Examples) != 2 || get.Examples[1].Fails != "invalid" || get.Plannable || get.Stream || get.Local {
		t.Errorf("%+v", get)
	}
	if !set.Plannable || set.Undo != "things.set" || !set.Global || !set.Local || !set.Job {
		t.Errorf("%+v", set)
	}
	if !count.Stream || count.Out != reflect.TypeFor[int]() {
		t.Errorf("%+v", count)
	}
}

func TestBoundMethodsCallTheService(t *testing.T) {
	ms := table.Bind(&service{"s1"})
	for _, raw := range []string{`{"n":1}`, ``} {
		got, err := ms[0].Handle(t.Context(), json.RawMessage(raw), nil)
		if err != nil || got != (out{"s1"}) {
			t.Errorf("%q: %v %v", raw, got, err)
		}
	}
	if err := ms[0].Check(json.RawMessage(`{"n":13}`)); err == nil {
		t.Error("Validate was not asked")
	}
	if err := ms[0].Check(json.RawMessage(`{"n":12}`)); err != nil {
		t.Error(err)
	}
	if ms[1].Check != nil {
		t.Error("an input without Validate has no check")
	}
	if p, err := ms[1].Plan(t.Context(), json.RawMessage(`{}`)); err != nil || p.Digest != "s1" {
		t.Errorf("%v %v", p, err)
	}
	if ms[0].Plan != nil {
		t.Error("a method without a plan has one")
	}
}

func TestAnInputThatDoesNotDecodeIsTheCallersFault(t *testing.T) {
	ms := table.Bind(&service{})
	_, handled := ms[0].Handle(t.Context(), json.RawMessage(`{"n":"x"}`), nil)
	_, planned := ms[1].Plan(t.Context(), json.RawMessage(`{"n":"x"}`))
	for _, err := range []error{handled, planned, ms[0].Check(json.RawMessage(`{"n":"x"}`))} {
		if bad, ok := errors.AsType[*op.InputError](err); !ok || bad.Error() == "" || bad.Unwrap() == nil {
			t.Errorf("%v", err)
		}
	}
}

func TestStreams(t *testing.T) {
	count := table.Bind(&service{})[2]
	var got []any
	collect := func(item any) error { got = append(got, item); return nil }
	if _, err := count.Handle(t.Context(), json.RawMessage(`{"n":2}`), collect); err != nil || len(got) != 2 || got[1] != 1 {
		t.Errorf("%v %v", got, err)
	}
	if _, err := count.Handle(t.Context(), json.RawMessage(`{"n":9}`), collect); err == nil || err.Error() != "three is too many" {
		t.Errorf("%v", err)
	}
	gone := errors.New("gone")
	if _, err := count.Handle(t.Context(), json.RawMessage(`{"n":2}`), func(any) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := count.Handle(ctx, json.RawMessage(`{"n":1}`), collect); !errors.Is(err, context.Canceled) {
		t.Errorf("a stream that ends because its caller left says so: %v", err)
	}
	if _, err := count.Handle(t.Context(), json.RawMessage(`{"n":"x"}`), collect); err == nil {
		t.Error("a bad input is an error")
	}
}

func TestAPlanTakesTheInputOfItsMethod(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a plan of another input was taken")
		}
	}()
	op.Unary("set", op.Admin, op.Sets, (*service).Set, "Set it.", op.Planned((*service).Other))
}

func TestRoles(t *testing.T) {
	rungs := []op.Role{op.Public, op.Viewer, op.Operator, op.Admin}
	for i, have := range rungs {
		for j, need := range rungs {
			if have.Covers(need) != (i >= j) {
				t.Errorf("%s covers %s: %v", have, need, have.Covers(need))
			}
		}
		if have.Covers(op.Node) || op.Node.Covers(have) != (have == op.Public) {
			t.Errorf("node is on no rung: %s", have)
		}
		if op.ParseRole(have.String()) != have {
			t.Errorf("%s", have)
		}
	}
	if !op.Node.Covers(op.Node) || op.Role(0).Covers(op.Viewer) || !op.Role(0).Covers(op.Public) {
		t.Error("node covers node, nobody covers public only")
	}
	if op.ParseRole("") != 0 || op.ParseRole("root") != 0 {
		t.Error("an unknown role is none")
	}
}

func TestEffects(t *testing.T) {
	for e, want := range map[op.Effect]string{op.Reads: "reads", op.Adds: "adds", op.Sets: "sets", op.Interrupts: "interrupts", op.Destroys: "destroys"} {
		if e.String() != want || e.Changes() != (e != op.Reads) {
			t.Errorf("%s", e)
		}
	}
}

func TestContext(t *testing.T) {
	ctx := t.Context()
	if op.CallerOf(ctx).Channel != "" || op.CallOf(ctx) != "" || op.TargetsOf(ctx) != nil || op.SeqOf(ctx) != 0 {
		t.Error("an empty context says something")
	}
	ctx = op.WithCaller(ctx, op.Caller{User: "alice", Channel: op.Agent})
	ctx = op.WithSeq(op.WithTargets(op.WithCall(ctx, "c1"), []op.Target{{Key: "a/b/c"}}), 7)
	if op.CallerOf(ctx).Principal() != "alice/agent" || op.CallOf(ctx) != "c1" || op.TargetsOf(ctx)[0].Key != "a/b/c" || op.SeqOf(ctx) != 7 {
		t.Error("something is lost")
	}
}
