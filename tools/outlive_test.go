package tools_test

import (
	"context"
	"errors"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// outliver is a service whose methods end with their context or when they are let go.
type outliver struct{ inside, let chan struct{} }

type empty struct{}

func (o *outliver) wait(ctx context.Context) (empty, error) {
	o.inside <- struct{}{}
	select {
	case <-ctx.Done():
		return empty{}, ctx.Err()
	case <-o.let:
		return empty{}, nil
	}
}

// TestChangesOutliveACredential: what is on record runs to its end when its caller's credential is ended, and no read does;
// who cancels, cancels both.
func TestChangesOutliveACredential(t *testing.T) {
	o := &outliver{inside: make(chan struct{}), let: make(chan struct{}, 1)}
	service := op.Of("waits", "Waits.",
		op.Unary("change", op.Operator, op.Sets, func(o *outliver, ctx context.Context, _ empty) (empty, error) { return o.wait(ctx) }, "Change something slowly.", op.Global()),
		op.Unary("look", op.Viewer, op.Reads, func(o *outliver, ctx context.Context, _ empty) (empty, error) { return o.wait(ctx) }, "Look slowly.", op.Global()))
	w := toolstest.New(t)
	r, err := tools.New(service.Bind(o), w.Registry.Deps)
	if err != nil {
		t.Fatal(err)
	}
	revoked := fault.New(fault.Unauthenticated, "revoked").WithReason("revoked")
	for _, c := range []struct {
		method string
		cause  error
		ends   bool
	}{{"waits.look", revoked, true}, {"waits.change", revoked, false}, {"waits.look", errors.New("gone"), true}, {"waits.change", errors.New("gone"), true}} {
		ctx, cut := context.WithCancelCause(op.WithCaller(t.Context(), toolstest.Owner()))
		done := make(chan error, 1)
		go func() {
			_, err := r.Do(ctx, tools.Call{Method: c.method})
			done <- err
		}()
		<-o.inside
		cut(c.cause)
		if !c.ends {
			o.let <- struct{}{}
		}
		if err := <-done; (err != nil) != c.ends {
			t.Errorf("%s after %v: %v", c.method, c.cause, err)
		}
	}
}
