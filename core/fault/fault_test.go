package fault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
)

func TestJSONForm(t *testing.T) {
	f := fault.New(fault.NotFound, "no app %q", "wbe").WithReason("unknown_app").WithHint("did you mean %s?", "web").WithCandidates("web").
		WithItems([]int{1}).WithRetryAfter(0.5).WithApproval("ap-1")
	f.Call, f.Problems = "01JD", []fault.Problem{{Path: "names[0]", Message: "m", Allowed: []string{"a"}, Near: "a"}}
	got, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"code":"not_found","reason":"unknown_app","message":"no app \"wbe\"","hint":"did you mean web?","call":"01JD","candidates":["web"],"retry_after_s":0.5,` +
		`"problems":[{"path":"names[0]","message":"m","allowed":["a"],"near":"a"}],"items":[1],"approval":"ap-1"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, _ := json.Marshal(fault.New(fault.Denied, "no")); string(got) != `{"code":"denied","message":"no"}` {
		t.Errorf("got %s", got)
	}
}

func TestFrom(t *testing.T) {
	if fault.From(nil) != nil || fault.CodeOf(nil) != "" || fault.Is(nil, fault.Internal) {
		t.Error("nil is no fault")
	}
	f := fault.New(fault.Conflict, "busy")
	if got := fault.From(fmt.Errorf("cannot start: %w", f)); got != f {
		t.Errorf("a wrapped fault is found: %v", got)
	}
	secret := errors.New("password is hunter2")
	got := fault.From(secret)
	if got.Code != fault.Internal || got.Message == secret.Error() || !errors.Is(got, secret) {
		t.Errorf("another error becomes internal without its text, and keeps it as its cause: %+v", got)
	}
	if !fault.Is(fault.Wrap(context.Canceled, fault.Cancelled, "gone"), fault.Cancelled) || !errors.Is(fault.Wrap(context.Canceled, fault.Cancelled, "gone"), context.Canceled) {
		t.Error("Wrap keeps its cause")
	}
}

func TestCodesAreAllDifferent(t *testing.T) {
	seen := map[fault.Code]bool{}
	for _, c := range fault.Codes {
		if seen[c] || c == "" {
			t.Errorf("%q is there twice", c)
		}
		seen[c] = true
	}
	if len(seen) != 12 {
		t.Errorf("%d codes; a new one needs a row in every plane's table", len(seen))
	}
}

func TestNear(t *testing.T) {
	apps := []string{"api", "web", "worker", "mailer", "shop/dev/queue", ""}
	for word, want := range map[string]string{
		"wbe": "web", "wep": "web", "aip": "api", "worke": "worker", "wokrer": "worker", "MAILER": "mailer", "mail": "mailer", "queue": "shop/dev/queue",
		"zzz": "", "": "", "x": "", "database": "", "xy": "",
	} {
		if got := fault.Near(word, apps); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := fault.Near("stop", []string{"step", "shop", "stop"}); got != "step" {
		t.Errorf("of two equally close the first: %q", got)
	}
	long := string(make([]byte, 300))
	if got := fault.Near(long, []string{long[:299] + "x"}); got != "" {
		t.Error("long words are not compared")
	}
}
