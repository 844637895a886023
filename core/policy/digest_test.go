package policy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		``:                             `{}`,
		`  `:                           `{}`,
		`{}`:                           `{}`,
		` { "b" : 1 , "a" : [ ] } `:    `{"a":[],"b":1}`,
		`{"a":1.0,"b":1e2,"c":-0.0}`:   `{"a":1,"b":100,"c":0}`,
		`{"a":1e21,"b":1.5e-7}`:        `{"a":1e+21,"b":1.5e-7}`,
		`{"a":9007199254740993}`:       `{"a":9007199254740993}`,
		`{"a":-0}`:                     `{"a":0}`,
		`{"a":"\u00e9\u000a\/\u001f"}`: "{\"a\":\"é\\n/\\u001f\"}",
		`{"\u20ac":1,"\r":2,"\ud83d\ude00":3,"1":4,"\u0080":5,"\ufb33":6,"\u00f6":7}`:                   "{\"\\r\":2,\"1\":4,\"\u0080\":5,\"ö\":7,\"€\":1,\"😀\":3,\"\ufb33\":6}", // RFC 8785, 3.2.3
		`{"confirm":"t","dry_run":true,"idempotency_key":"k","a":{"confirm":1,"dry_run":2},"names":[]}`: `{"a":{"confirm":1,"dry_run":2},"names":[]}`,
		`{"a":[true,false,null,{"z":1,"y":2}]}`:                                                         `{"a":[true,false,null,{"y":2,"z":1}]}`,
	} {
		if got, err := Canonical(json.RawMessage(in)); err != nil || string(got) != want {
			t.Errorf("%s gives %s, %v; want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{`{`, `{"a":1}{}`, `{"a":1,"a":2}`, `{"x":{"a":1,"a":1}}`, `{"confirm":1,"confirm":2}`, `{"a":1e999}`, `nope`} {
		if got, err := Canonical(json.RawMessage(bad)); err == nil {
			t.Errorf("%s gives %s", bad, got)
		}
	}
}

func TestDigest(t *testing.T) {
	a, errA := Digest(json.RawMessage(`{"names":["api"],"wait":true,"confirm":"x"}`))
	b, errB := Digest(json.RawMessage(` {"wait":true, "names":["api"], "idempotency_key":"y"}`))
	c, errC := Digest(json.RawMessage(`{"names":["api"],"wait":false}`))
	if errA != nil || errB != nil || errC != nil || a != b || a == c || !strings.HasPrefix(a, "sha256:") {
		t.Errorf("%s %s %s", a, b, c)
	}
	if d, err := Digest(json.RawMessage(`{`)); err == nil {
		t.Errorf("half of an input has the digest %s", d)
	}
}

// The canonical form says the same as the text it was made from, and is its own canonical form.
func TestCanonicalKeepsTheMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Deferred(func() *rapid.Generator[any] { return anyJSON(3) }).Draw(t, "value")
		text, err := json.Marshal(map[string]any{"v": value})
		if err != nil {
			t.Fatal(err)
		}
		once, err := Canonical(text)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := Canonical(once)
		if err != nil || string(once) != string(twice) {
			t.Fatalf("%s becomes %s, then %s (%v)", text, once, twice, err)
		}
		var before, after any
		if err := json.Unmarshal(text, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(once, &after); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(before, after) { // -0 and 0 are equal
			t.Fatalf("%s means %v, its canonical form %s means %v", text, before, once, after)
		}
	})
}

func anyJSON(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.String().AsAny(), rapid.Float64().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
	}
	if depth == 0 {
		return rapid.OneOf(leaves...)
	}
	return rapid.OneOf(append(leaves, rapid.SliceOfN(anyJSON(depth-1), 0, 4).AsAny(), rapid.MapOfN(rapid.String(), anyJSON(depth-1), 0, 4).AsAny())...)
}
