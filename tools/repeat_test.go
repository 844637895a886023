package tools_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
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

func TestAKeyInUseIsAConflict(t *testing.T) {
	w := toolstest.New(t)
	claim := records.Claim{Principal: toolstest.Owner().Principal(), Method: "toys.paint", Key: "k1"}
	claim.Digest, _ = policy.Digest([]byte(`{"names":["car"],"color":"blue","coats":1}`))
	if _, found, err := w.Keys.Take(t.Context(), claim); found || err != nil {
		t.Fatal(found, err)
	}
	fails(t, w, toolstest.Owner(), "toys.paint", `{"names":["car"],"color":"blue","idempotency_key":"k1"}`, fault.Conflict, "in_progress")
	if w.Toys()[0].Color != "red" {
		t.Error("it had an effect")
	}
	if _, found, err := w.Keys.Take(t.Context(), claim); !found || !fault.Is(err, fault.Conflict) {
		t.Error("a refused call freed the key of another", found, err)
	}
}

// The real store keeps the answer over a restart of the daemon, as it was told.
func TestRepeatOutlivesTheDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "omnitron.db")
	in := `{"names":["car"],"color":"blue","idempotency_key":"k1"}`
	var answers [2]string
	for i := range answers {
		db := storetest.Open(t, path)
		w := toolstest.New(t, func(d *tools.Deps) { d.Keys = records.NewKeys(db) })
		answers[i] = asJSON(t, does(t, w, toolstest.Owner(), "toys.paint", in))
		if effects := len(w.Seqs()); effects != 1-i {
			t.Errorf("run %d had %d effects", i, effects)
		}
	}
	if answers[0] != answers[1] {
		t.Errorf("first %s, then %s", answers[0], answers[1])
	}
}
