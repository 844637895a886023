// Package toolstest is a small service with a row of every kind, and everything around it that a registry needs, in
// memory. Planes and the pipeline are tested with it.
package toolstest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Toys is the table of the toy service.
var Toys = op.Of("toys", "A box of toys.",
	op.Unary("ping", op.Public, op.Reads, (*Box).Ping, "Say that the box is there.",
		op.Shows("Is it there?", `{}`)),
	op.Unary("list", op.Viewer, op.Reads, (*Box).List, "List toys.",
		op.Resource("omnitron://toys", "toys"), op.Core(), op.Top("box"), op.Keywords("show playthings inventory"), op.Alias("toys.ls"),
		op.Shows("All of them.", `{}`), op.Shows("The first.", `{"limit":1}`),
		op.Fails("No toy has that colour.", `{"color":"plaid"}`, "invalid")),
	op.Unary("get", op.Viewer, op.Reads, (*Box).Get, "Show one toy.",
		op.Resource("omnitron://toys/{name}", "toys"), op.Core(),
		op.Shows("The car.", `{"name":"car"}`), op.Fails("There is no kite.", `{"name":"kite"}`, "not_found")),
	op.Unary("add", op.Admin, op.Adds, (*Box).Add, "Put a new toy into the box.", op.Global(),
		op.Shows("A kite.", `{"name":"kite","color":"red"}`), op.Fails("There is a car already.", `{"name":"car","color":"red"}`, "conflict")),
	op.Unary("paint", op.Operator, op.Sets, (*Box).Paint, "Give toys a colour.", op.Planned((*Box).PlanPaint), op.Undo("toys.paint"),
		op.Shows("A blue car.", `{"names":["car"],"color":"blue"}`), op.Fails("There is no kite.", `{"names":["kite"],"color":"blue"}`, "not_found")),
	op.Unary("stop", op.Operator, op.Interrupts, (*Box).Stop, "Stop toys that are moving.", op.Planned((*Box).PlanStop), op.Top("halt"), op.Core(),
		op.Keywords("halt freeze kill"),
		op.Shows("Stop the car.", `{"names":["car"]}`), op.Fails("There is no kite.", `{"names":["kite"]}`, "not_found")),
	op.Unary("smash", op.Admin, op.Destroys, (*Box).Smash, "Break toys for good.", op.Planned((*Box).PlanSmash),
		op.Shows("Break the drum.", `{"names":["drum"]}`), op.Fails("There is no kite.", `{"names":["kite"]}`, "not_found")),
	op.Unary("wind", op.Operator, op.Adds, (*Box).Wind, "Wind a toy up, which takes a while.", op.Job(),
		op.Shows("Wind the car up.", `{"name":"car"}`), op.Fails("There is no kite.", `{"name":"kite"}`, "not_found")),
	op.Unary("lock", op.Operator, op.Sets, (*Box).Lock, "Lock the box.", op.Global(), op.Local(),
		op.Shows("Lock it.", `{"password":"sesame"}`), op.Fails("The password is short.", `{"password":"a"}`, "invalid")),
	op.Unary("fail", op.Viewer, op.Reads, (*Box).Fail, "Fail in the way asked for.",
		op.Shows("Do not fail.", `{"how":"not"}`), op.Fails("Fall over.", `{"how":"panic"}`, "internal"), op.Fails("Fail.", `{"how":"error"}`, "internal")),
	op.Stream("watch", op.Viewer, op.Reads, (*Box).Watch, "Watch toys as they are counted.",
		op.Shows("Three ticks.", `{"ticks":3}`), op.Fails("Not so many.", `{"ticks":-1}`, "invalid")),
)

// Toy is one toy.
type Toy struct {
	Name   string   `json:"name" table:"1" jsonschema:"name of the toy"`
	Color  string   `json:"color" table:"2" enum:"red,blue,green" jsonschema:"its color"`
	Moving bool     `json:"moving" table:"3" jsonschema:"whether it moves"`
	Tags   []string `json:"tags" jsonschema:"what is written on it"`
}

type (
	// Nothing is an input without fields.
	Nothing struct{}
	// Pong answers a ping.
	Pong struct {
		Toys int `json:"toys" jsonschema:"how many toys there are"`
	}
	// Filter narrows a list.
	Filter struct {
		op.Page
		Color string `json:"color,omitempty" enum:"red,blue,green" jsonschema:"only toys of that color"`
	}
	// Fresh describes a toy that does not exist yet.
	Fresh struct {
		Name  string `json:"name" cli:"arg" pattern:"^[a-z]{1,20}$" jsonschema:"name of the toy"`
		Color string `json:"color" enum:"red,blue,green" jsonschema:"its color"`
	}
	// Coat is what to paint and how.
	Coat struct {
		op.Selection
		Color string `json:"color" enum:"red,blue,green" jsonschema:"the new color"`
		Coats int    `json:"coats,omitempty" min:"1" max:"9" default:"1" jsonschema:"how often to paint"`
	}
	// Several is an answer about several toys.
	Several struct {
		Items []Toy `json:"items" table:"1" jsonschema:"the toys, as they are now"`
	}
	// Password locks the box.
	Password struct {
		Password string `json:"password" secret:"true" min:"4" jsonschema:"what opens the box again"`
	}
	// Locked answers that the box is locked.
	Locked struct {
		Locked bool `json:"locked" jsonschema:"whether the box is locked"`
	}
	// Way is how to fail.
	Way struct {
		How string `json:"how" enum:"not,error,panic,wait,deadline,shared" jsonschema:"how to fail"`
	}
	// Ticks bounds a watch.
	Ticks struct {
		Ticks int `json:"ticks,omitempty" min:"0" max:"100000" jsonschema:"how many items; 0: without end"`
		Lose  int `json:"lose,omitempty" min:"0" jsonschema:"how many items to lose in each"`
	}
	// Tick is an item of a watch.
	Tick struct {
		N      int    `json:"n" jsonschema:"number of the item"`
		Missed int64  `json:"missed,omitempty" jsonschema:"items lost before this one"`
		Cursor string `json:"cursor" jsonschema:"where to go on"`
	}
)

// Lost makes a Tick op.Lossy.
func (t Tick) Lost() int64 { return t.Missed }

// Validate checks what no schema says.
func (c Coat) Validate() error {
	if c.Color == "green" && c.Coats > 3 {
		return fault.New(fault.Invalid, "so much green does not dry").WithReason("too_green")
	}
	return nil
}

// Box is the toy service.
type Box struct {
	mu     sync.Mutex
	toys   []Toy
	seqs   []int64
	Moves  uint64        // generation of every toy
	Inside chan struct{} // Fail says here that it has begun to wait, when not nil
}

// NewBox gives a box with a car, a doll and a drum.
func NewBox() *Box {
	return &Box{Moves: 1, toys: []Toy{{Name: "car", Color: "red", Moving: true}, {Name: "doll", Color: "blue", Tags: []string{"old"}}, {Name: "drum", Color: "red"}}}
}

// Toys gives what is in the box.
func (b *Box) Toys() []Toy {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.toys)
}

// Seqs gives the record numbers with which calls arrived, in their order.
func (b *Box) Seqs() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.seqs)
}

// Ping answers.
func (b *Box) Ping(context.Context, Nothing) (Pong, error) { return Pong{len(b.Toys())}, nil }

// List gives the toys of a color.
func (b *Box) List(_ context.Context, in Filter) (op.List[Toy], error) {
	var out op.List[Toy]
	for _, t := range b.Toys() {
		if in.Color == "" || in.Color == t.Color {
			out.Items = append(out.Items, t)
		}
	}
	if in.Limit > 0 && len(out.Items) > in.Limit {
		out.Items, out.Truncated, out.NextCursor = out.Items[:in.Limit], true, "more"
	}
	return out, nil
}

// Get gives one toy.
func (b *Box) Get(ctx context.Context, _ op.One) (Toy, error) {
	return b.each(ctx, func(*Toy) {})[0], nil
}

// Add puts a toy into the box. Faults: conflict.
func (b *Box) Add(_ context.Context, in Fresh) (Toy, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.toys {
		if t.Name == in.Name {
			return Toy{}, fault.New(fault.Conflict, "there is a toy %q already", in.Name)
		}
	}
	t := Toy{Name: in.Name, Color: in.Color}
	b.toys = append(b.toys, t)
	return t, nil
}

// Paint paints.
func (b *Box) Paint(ctx context.Context, in Coat) (Several, error) {
	return Several{b.each(ctx, func(t *Toy) { t.Color = in.Color })}, nil
}

// PlanPaint previews Paint.
func (b *Box) PlanPaint(ctx context.Context, in Coat) (*op.Plan, error) {
	return b.plan(ctx, func(t Toy) (string, string) { return t.Color, in.Color }), nil
}

// Stop stops.
func (b *Box) Stop(ctx context.Context, _ op.Selection) (Several, error) {
	return Several{b.each(ctx, func(t *Toy) { t.Moving = false })}, nil
}

// PlanStop previews Stop.
func (b *Box) PlanStop(ctx context.Context, _ op.Selection) (*op.Plan, error) {
	return b.plan(ctx, func(t Toy) (string, string) {
		return map[bool]string{true: "moving", false: "still"}[t.Moving], "still"
	}), nil
}

// Smash removes toys.
func (b *Box) Smash(ctx context.Context, _ op.Selection) (Several, error) {
	gone := b.each(ctx, func(*Toy) {})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.toys = slices.DeleteFunc(b.toys, func(t Toy) bool {
		return slices.ContainsFunc(gone, func(g Toy) bool { return g.Name == t.Name })
	})
	return Several{gone}, nil
}

// PlanSmash previews Smash.
func (b *Box) PlanSmash(ctx context.Context, _ op.Selection) (*op.Plan, error) {
	return b.plan(ctx, func(Toy) (string, string) { return "whole", "gone" }), nil
}

// Wind answers with a job.
func (b *Box) Wind(ctx context.Context, _ op.One) (op.JobRef, error) {
	return op.JobRef{ID: "job-" + b.each(ctx, func(*Toy) {})[0].Name}, nil
}

// Lock locks.
func (b *Box) Lock(context.Context, Password) (Locked, error) { return Locked{true}, nil }

var shared = fault.New(fault.Conflict, "always the same")

// Fail fails.
func (b *Box) Fail(ctx context.Context, in Way) (Pong, error) {
	switch in.How {
	case "error":
		return Pong{}, errors.New("the secret is sesame")
	case "panic":
		panic("toys fell over")
	case "shared":
		return Pong{}, shared
	case "wait", "deadline":
		if b.Inside != nil {
			b.Inside <- struct{}{}
		}
		<-ctx.Done()
		return Pong{}, ctx.Err()
	}
	return Pong{}, nil
}

// Watch counts.
func (b *Box) Watch(ctx context.Context, in Ticks) iter.Seq2[Tick, error] {
	return func(yield func(Tick, error) bool) {
		for n := 1; in.Ticks == 0 || n <= in.Ticks; n++ {
			if err := ctx.Err(); err != nil {
				yield(Tick{}, err)
				return
			}
			if !yield(Tick{N: n, Missed: int64(in.Lose), Cursor: strings.Repeat("i", n%8)}, nil) {
				return
			}
		}
	}
}

// each changes the targets of the call and gives them as they are then.
func (b *Box) each(ctx context.Context, change func(*Toy)) []Toy {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq := op.SeqOf(ctx); seq != 0 {
		b.seqs = append(b.seqs, seq)
	}
	var out []Toy
	for _, target := range op.TargetsOf(ctx) {
		for i := range b.toys {
			if "box/dev/"+b.toys[i].Name == target.Key {
				change(&b.toys[i])
				out = append(out, b.toys[i])
			}
		}
	}
	return out
}

func (b *Box) plan(ctx context.Context, change func(Toy) (from, to string)) *op.Plan {
	p := &op.Plan{}
	for _, t := range b.each(ctx, func(*Toy) {}) {
		if from, to := change(t); from != to {
			p.Items = append(p.Items, op.Item{Target: "box/dev/" + t.Name, From: from, To: to})
		}
	}
	return p
}

// Resolve finds toys by their names: the pipeline's resolver.
func (b *Box) Resolve(_ context.Context, names []op.Selector, _ op.ProjectRef, _ op.StackRef) ([]op.Target, error) {
	toys := b.Toys()
	var out []op.Target
	add := func(t Toy) {
		out = append(out, op.Target{Key: "box/dev/" + t.Name, Project: "box", Stack: "dev", Generation: b.Moves})
	}
	if len(names) == 0 {
		for _, t := range toys {
			add(t)
		}
	}
	for _, name := range names {
		i := slices.IndexFunc(toys, func(t Toy) bool { return t.Name == string(name) || "box/dev/"+t.Name == string(name) })
		if i < 0 {
			return nil, fault.New(fault.NotFound, "no toy %q in box/dev", name).WithReason("unknown_app")
		}
		add(toys[i])
	}
	return out, nil
}
