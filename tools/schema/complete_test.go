package schema_test

import (
	"encoding/json"
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/schema"
)

type leaf struct {
	Tags []string          `json:"tags" jsonschema:"x"`
	Env  map[string]string `json:"env" jsonschema:"x"`
	Opt  []string          `json:"opt,omitempty" jsonschema:"x"`
}

type tree struct {
	Leaf2
	One   leaf            `json:"one" jsonschema:"x"`
	Ptr   *leaf           `json:"ptr,omitempty" jsonschema:"x"`
	Many  []leaf          `json:"many" jsonschema:"x"`
	ByKey map[string]leaf `json:"by_key,omitempty" jsonschema:"x"`
	Free  any             `json:"free,omitempty" schema:"any" jsonschema:"x"`
}

// Leaf2 is embedded.
type Leaf2 struct {
	More []int `json:"more" jsonschema:"x"`
}

func TestCompleteFillsWhatWouldBeNull(t *testing.T) {
	in := tree{Ptr: &leaf{}, Many: []leaf{{}, {Tags: []string{"t"}}}, ByKey: map[string]leaf{"k": {}}}
	before, _ := json.Marshal(in)
	got, err := json.Marshal(schema.Complete(in))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"more":[],"one":{"tags":[],"env":{}},"ptr":{"tags":[],"env":{}},"many":[{"tags":[],"env":{}},{"tags":["t"],"env":{}}],"by_key":{"k":{"tags":[],"env":{}}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if after, _ := json.Marshal(in); string(after) != string(before) {
		t.Errorf("the original was changed: %s", after)
	}
	if p := of[tree](t).Fits(got); len(p) > 0 {
		t.Error(p)
	}
	if p := of[tree](t).Fits(before); len(p) == 0 {
		t.Error("without Complete it should not fit")
	}
}

func TestCompleteLeavesTheRestAlone(t *testing.T) {
	full := &tree{}
	if schema.Complete(nil) != nil {
		t.Error("nil stays nil")
	}
	full.More, full.One, full.Many = []int{1}, leaf{Tags: []string{}, Env: map[string]string{}}, []leaf{}
	if schema.Complete(full) != any(full) {
		t.Error("what is complete is handed through")
	}
	got, _ := json.Marshal(schema.Complete(op.List[leaf]{}))
	if string(got) != `{"items":[],"truncated":false}` {
		t.Errorf("got %s", got)
	}
	got, _ = json.Marshal(schema.Complete((*tree)(nil)))
	if string(got) != "null" {
		t.Errorf("got %s", got)
	}
}
