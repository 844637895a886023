package tools_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRepeatAnswersOnceDone(t *testing.T) {
	w := toolstest.New(t)
	first := does(t, w, toolstest.Owner(), "toys.add", `{"name":"kite","color":"red","idempotency_key":"k1"}`)
	again := does(t, w, toolstest.Owner(), "toys.add", ` {"idempotency_key":"k1", "color":"red","name":"kite"} `)
	if asJSON(t, first) != asJSON(t, again) {
		t.Errorf("first %s, then %s", asJSON(t, first), asJSON(t, again))
	}
	if len(w.Toys()) != 4 {
		t.Errorf("%d toys", len(w.Toys()))
	}
	if e := w.Ledger.Entries(); len(e) != 2 || e[0].Seq == 0 || e[1].Seq != 0 || e[1].Decision != tools.Repeated {
		t.Errorf("%+v", e)
	}
	fails(t, w, toolstest.Owner(), "toys.add", `{"name":"ball","color":"red","idempotency_key":"k1"}`, fault.Conflict, "key_reused")
	other := toolstest.Owner()
	other.User = "bob"
	fails(t, w, other, "toys.add", `{"name":"kite","color":"red","idempotency_key":"k1"}`, fault.Conflict, "")
}

func TestRepeatForgetsWhatHadNoEffect(t *testing.T) {
	w := toolstest.New(t)
	fails(t, w, toolstest.Owner(), "toys.add", `{"name":"car","color":"red","idempotency_key":"k1"}`, fault.Conflict, "")
	does(t, w, toolstest.Owner(), "toys.add", `{"name":"kite","color":"red","idempotency_key":"k1"}`)
	does(t, w, toolstest.Owner(), "toys.smash", `{"names":["car"],"idempotency_key":"k2","dry_run":true}`)
	does(t, w, toolstest.Owner(), "toys.smash", `{"names":["drum"],"idempotency_key":"k2"}`)
	does(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"],"idempotency_key":"k3"}`)
	does(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"],"idempotency_key":"k3","confirm":"tok-1"}`)
	if w.Toys()[0].Moving {
		t.Error("the confirmed call with the same key did not happen")
	}
}

func TestRepeatForgetsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := toolstest.New(t, limited(func(l *tools.Limits) { l.KeysAtOne = 10 }))
		paint := func(key int) string {
			return fmt.Sprintf(`{"names":["car"],"color":"blue","idempotency_key":"k%d"}`, key)
		}
		does(t, w, toolstest.Owner(), "toys.paint", paint(0))
		<-time.After(24*time.Hour - time.Second)
		does(t, w, toolstest.Owner(), "toys.paint", paint(0))
		if n := len(w.Seqs()); n != 1 {
			t.Errorf("%d effects within 24 h", n)
		}
		<-time.After(time.Second)
		does(t, w, toolstest.Owner(), "toys.paint", paint(0))
		if n := len(w.Seqs()); n != 2 {
			t.Errorf("%d effects after 24 h", n)
		}
		for key := range 30 {
			does(t, w, toolstest.Owner(), "toys.paint", paint(key))
		}
		does(t, w, toolstest.Owner(), "toys.paint", paint(29))
		if n := len(w.Seqs()); n != 31 {
			t.Errorf("%d effects; the newest keys are remembered", n)
		}
	})
}
