package tools_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

const hushed = `pass "word" 1`

// safe is a service whose answers quote a secret, on purpose or not.
type safe struct{ opened int }

type (
	combination struct {
		Value string `json:"value" secret:"true" jsonschema:"a secret"`
	}
	gossip struct {
		Text string         `json:"text" jsonschema:"what was overheard"`
		Data map[string]any `json:"data" schema:"any" jsonschema:"more of it"`
	}
	question struct {
		About string `json:"about,omitempty" jsonschema:"what about"`
	}
)

func (s *safe) Make(context.Context, question) (combination, error) {
	s.opened++
	return combination{hushed}, nil
}

func (s *safe) Hear(_ context.Context, q question) (gossip, error) {
	if q.About == "nothing" {
		return gossip{Text: "nothing"}, nil
	}
	return gossip{"they say " + hushed, map[string]any{"list": []any{hushed, 1}}}, nil
}

func (s *safe) Fail(context.Context, question) (gossip, error) {
	f := fault.New(fault.Failed, "cannot use %s", hushed).WithHint("not with %s", hushed).WithCandidates(hushed).WithItems([]gossip{{Text: hushed}})
	f.Problems = []fault.Problem{{Path: "x", Message: hushed}}
	return gossip{}, f
}

func (s *safe) Listen(context.Context, question) iter.Seq2[gossip, error] {
	return func(yield func(gossip, error) bool) { yield(gossip{Text: hushed}, nil) }
}

var safes = op.Of("safes", "Safes.",
	op.Unary("make", op.Admin, op.Adds, (*safe).Make, "Make a combination.", op.Global()),
	op.Unary("hear", op.Viewer, op.Reads, (*safe).Hear, "Hear what people say."),
	op.Unary("fail", op.Viewer, op.Reads, (*safe).Fail, "Fail loudly."),
	op.Unary("tell", op.Operator, op.Adds, (*safe).Hear, "Hear it, and change something.", op.Global()),
	op.Stream("listen", op.Viewer, op.Reads, (*safe).Listen, "Listen to what people say."),
)

func newSafe(t *testing.T, changes ...func(*tools.Deps)) (*safe, *toolstest.World) {
	t.Helper()
	s := &safe{}
	var deps tools.Deps
	w := toolstest.New(t, append(changes, func(d *tools.Deps) {
		d.Secrets = redact.NewLive(func() [][]byte { return [][]byte{[]byte(hushed)} })
		deps = *d
	})...)
	r, err := tools.New(safes.Bind(s), deps)
	if err != nil {
		t.Fatal(err)
	}
	w.Registry = r
	return s, w
}

// TestAnswersHideSecrets: whatever an answer, an item, a fault or a record quotes, no secret is in it.
func TestAnswersHideSecrets(t *testing.T) {
	_, w := newSafe(t)
	owner := toolstest.Owner()
	for _, method := range []string{"safes.hear", "safes.tell"} {
		got := asJSON(t, does(t, w, owner, method, `{"about":"pass \"word\" 1"}`))
		if strings.Contains(got, "word") || strings.Count(got, redact.Mark) != 2 {
			t.Errorf("%s answers %s", method, got)
		}
	}
	if got := does(t, w, owner, "safes.hear", `{}`); asJSON(t, got) == "" || got.(gossip).Text != "they say "+redact.Mark {
		t.Errorf("the answer is no longer of its type: %#v", got)
	}
	if got := asJSON(t, does(t, w, owner, "safes.hear", `{"about":"nothing"}`)); strings.Contains(got, redact.Mark) {
		t.Errorf("where there is nothing to hide: %s", got)
	}
	_, err := w.Registry.Do(op.WithCaller(t.Context(), owner), tools.Call{Method: "safes.fail"})
	if got := asJSON(t, fault.From(err)); strings.Contains(got, "word") || strings.Count(got, redact.Mark) != 5 {
		t.Errorf("the fault is %s", got)
	}
	var items []string
	_, err = w.Registry.Do(op.WithCaller(t.Context(), owner), tools.Call{Method: "safes.listen", Emit: func(item any) error {
		items = append(items, asJSON(t, item))
		return nil
	}})
	if got := strings.Join(items, " "); err != nil || strings.Contains(got, "word") || !strings.Contains(got, redact.Mark) {
		t.Errorf("the items are %s, %v", got, err)
	}
	for _, e := range w.Ledger.Entries() {
		if strings.Contains(string(e.Args), "word") {
			t.Errorf("the record of %s holds %s", e.Method, e.Args)
		}
	}
	if got := asJSON(t, does(t, w, owner, "safes.make", `{}`)); !strings.Contains(got, "word") {
		t.Errorf("what is asked for is hidden: %s", got)
	}
}

// TestSecretsAreShownOnce: an answer that holds a secret is not kept for whoever says the same key again.
func TestSecretsAreShownOnce(t *testing.T) {
	db := storetest.Open(t, t.TempDir()+"/omnitron.db")
	s, w := newSafe(t, func(d *tools.Deps) { d.Keys = records.NewKeys(db) })
	owner := toolstest.Owner()
	in := `{"idempotency_key":"k1"}`
	if got := asJSON(t, does(t, w, owner, "safes.make", in)); !strings.Contains(got, "word") {
		t.Fatalf("the first answer is %s", got)
	}
	fails(t, w, owner, "safes.make", in, fault.Conflict, "shown_once")
	if s.opened != 1 {
		t.Errorf("it had its effect %d times", s.opened)
	}
	claim := records.Claim{Principal: owner.Principal(), Method: "safes.make", Key: "k1"}
	claim.Digest, _ = policy.Digest([]byte(`{}`))
	answer, found, err := records.NewKeys(db).Take(t.Context(), claim)
	if err != nil || !found || strings.Contains(string(answer), "word") || !strings.Contains(string(answer), "done") {
		t.Errorf("kept: %s, %v, %v", answer, found, err)
	}
}
