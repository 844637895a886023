package tools_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestInternalErrorsStayInside(t *testing.T) {
	var log bytes.Buffer
	w := toolstest.New(t, func(d *tools.Deps) { d.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	for how, text := range map[string]string{"error": "the secret is sesame", "panic": "toys fell over"} {
		log.Reset()
		f := fails(t, w, toolstest.Owner(), "toys.fail", `{"how":"`+how+`"}`, fault.Internal, "")
		if strings.Contains(asJSON(t, f), text) {
			t.Errorf("the caller sees %s", asJSON(t, f))
		}
		if !strings.Contains(log.String(), text) || !strings.Contains(log.String(), f.Call) {
			t.Errorf("the log has not both the text and the call: %s", log.String())
		}
		if how == "panic" && !strings.Contains(log.String(), "toys.go") {
			t.Errorf("the log has no stack: %s", log.String())
		}
		if strings.Count(log.String(), "level=ERROR") != 1 {
			t.Errorf("logged more than once: %s", log.String())
		}
	}
	log.Reset()
	fails(t, w, toolstest.Owner(), "toys.get", `{"name":"kite"}`, fault.NotFound, "unknown_app")
	if log.Len() > 0 {
		t.Errorf("a fault is the caller's business: %s", log.String())
	}
}

func TestFaultsAreNotShared(t *testing.T) {
	w := toolstest.New(t)
	one := fails(t, w, toolstest.Owner(), "toys.fail", `{"how":"shared"}`, fault.Conflict, "")
	two := fails(t, w, toolstest.Owner(), "toys.fail", `{"how":"shared"}`, fault.Conflict, "")
	if one.Call == two.Call {
		t.Error("two calls with one id")
	}
}

func TestCancelledCallsAreSettled(t *testing.T) {
	w := toolstest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.Inside = make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := w.Do(ctx, toolstest.Owner(), "toys.fail", `{"how":"wait"}`)
		done <- err
	}()
	<-w.Inside
	cancel()
	if err := <-done; !fault.Is(err, fault.Cancelled) {
		t.Errorf("%v", err)
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Code != "cancelled" {
		t.Errorf("%+v", e)
	}
}

func TestSessionsAreCounted(t *testing.T) {
	w := toolstest.New(t)
	s := w.Sessions.Open(toolstest.Agent(), func() {})
	defer s.Close()
	does(t, w, toolstest.Agent(), "toys.list", `{}`)
	does(t, w, toolstest.Agent(), "toys.paint", `{"color":"red"}`)
	does(t, w, toolstest.Agent(), "toys.stop", `{}`)
	does(t, w, toolstest.Agent(), "toys.smash", `{}`)
	does(t, w, toolstest.Agent(), "toys.paint", `{"color":"red","dry_run":true}`)
	fails(t, w, toolstest.Agent(), "toys.get", `{"name":"kite"}`, fault.NotFound, "unknown_app")
	got := w.Sessions.List()
	if len(got) != 1 {
		t.Fatal(got)
	}
	i := got[0]
	if i.Calls != 6 || i.Changed != 1 || i.Held != 1 || i.Failed != 1 || i.InFlight != 0 || i.LastCall != "toys.get" {
		t.Errorf("%+v", i)
	}
}

func TestFailuresOfAChangeAreOnRecord(t *testing.T) {
	w := toolstest.New(t)
	fails(t, w, toolstest.Owner(), "toys.add", `{"name":"car","color":"red"}`, fault.Conflict, "")
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Code != "conflict" || e[0].Open || e[0].Seq == 0 {
		t.Errorf("%+v", e)
	}
}
