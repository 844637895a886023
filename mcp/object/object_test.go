package object

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzObject holds the functions against encoding/json on whatever is a valid object without a name twice.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, ` { "a" : 1 , "b":[{"c":"}\""}],"d\n":null,"e":-1.5e3,"f":true }`, `{"\u0061":{"x":{}},"b":"\\"}`, "{\"a\":1\n,\t\"b\": \"]\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var want map[string]json.RawMessage
		in = bytes.TrimSpace(in)
		if !utf8.Valid(in) || !json.Valid(in) || !Is(in) || json.Unmarshal(in, &want) != nil {
			return
		}
		got := map[string]json.RawMessage{}
		n := 0
		Visit(in, func(k string, v json.RawMessage) bool { got[k] = v; n++; return true })
		if n != len(want) {
			return // a name twice: not ours to decide
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n got %s\nwant %s", in, got, want)
		}
		for k := range want {
			if !bytes.Equal(Get(in, k), want[k]) {
				t.Fatalf("%s: %q is %s", in, k, Get(in, k))
			}
			without, found := Delete(in, k)
			var rest map[string]json.RawMessage
			if err := json.Unmarshal(without, &rest); err != nil || !found || rest[k] != nil || len(rest) != len(want)-1 {
				t.Fatalf("%s without %q is %s", in, k, without)
			}
			var changed map[string]json.RawMessage
			if err := json.Unmarshal(Set(in, k, json.RawMessage(`[7]`)), &changed); err != nil || string(changed[k]) != "[7]" || len(changed) != len(want) {
				t.Fatalf("%s with %q set is %s", in, k, Set(in, k, json.RawMessage(`[7]`)))
			}
		}
	})
}

func TestString(t *testing.T) {
	in := json.RawMessage(`{"a":"x\n","b":5,"c":{"d":"e"}}`)
	if String(in, "a") != "x\n" || String(in, "b") != "" || String(Get(in, "c"), "d") != "e" || Get(json.RawMessage(`[1]`), "a") != nil || Get(nil, "a") != nil {
		t.Error("wrong")
	}
	same, found := Delete(in, "z")
	if found || string(same) != string(in) {
		t.Errorf("nothing was there to delete: %s", same)
	}
}
