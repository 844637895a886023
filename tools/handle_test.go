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

func TestAnswersAreWrapped(t *testing.T) {
	w := toolstest.New(t)
	out := outcome(t, w, toolstest.Owner(), "toys.paint", `{"names":["car"],"color":"blue"}`, op.Done)
	if got := asJSON(t, out); got != `{"status":"done","result":{"items":[{"name":"car","color":"blue","moving":true,"tags":[]}]}}` {
		t.Errorf("%s", got)
	}
	job := outcome(t, w, toolstest.Owner(), "toys.wind", `{"name":"car"}`, op.Running)
	if job.Job == nil || job.Job.ID != "job-car" || job.Result != nil {
		t.Errorf("%+v", job)
	}
	read := does(t, w, toolstest.Owner(), "toys.get", `{"name":"doll"}`)
	if got := asJSON(t, read); got != `{"name":"doll","color":"blue","moving":false,"tags":["old"]}` {
		t.Errorf("a read is not wrapped: %s", got)
	}
	if w.Toys()[0].Tags != nil {
		t.Error("making an answer complete changed what the service keeps")
	}
}

func watch(ctx context.Context, w *toolstest.World, in string, emit op.Emit) (any, error) {
	return w.Registry.Do(op.WithCaller(ctx, toolstest.Owner()), tools.Call{Method: "toys.watch", In: []byte(in), Emit: emit})
}

func TestStreamsPassTheSameStages(t *testing.T) {
	w := toolstest.New(t)
	var got []int
	out, err := watch(t.Context(), w, `{"ticks":"3","lose":2}`, func(item any) error {
		got = append(got, item.(toolstest.Tick).N)
		return nil
	})
	if err != nil || asJSON(t, out) != `{"count":3,"dropped":6}` || len(got) != 3 {
		t.Errorf("%s %v %v", asJSON(t, out), err, got)
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Method != "toys.watch" || e[0].Decision != "allow" {
		t.Errorf("%+v", e)
	}
	if _, err := watch(t.Context(), w, `{"ticks":-1}`, nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestStreamsEndWithTheirReader(t *testing.T) {
	w := toolstest.New(t)
	n := 0
	_, err := watch(t.Context(), w, `{}`, func(any) error {
		if n++; n == 5 {
			return errors.New("connection reset")
		}
		return nil
	})
	if err == nil || n != 5 {
		t.Errorf("%v after %d items", err, n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = watch(ctx, w, `{}`, func(any) error { cancel(); return nil })
	if !fault.Is(err, fault.Cancelled) {
		t.Errorf("%v", err)
	}
}

func TestPanicsAreContained(t *testing.T) {
	w := toolstest.New(t)
	f := fails(t, w, toolstest.Owner(), "toys.fail", `{"how":"panic"}`, fault.Internal, "")
	if f.Message != "something went wrong inside the daemon" {
		t.Errorf("%q", f.Message)
	}
	does(t, w, toolstest.Owner(), "toys.fail", `{"how":"not"}`)
}
