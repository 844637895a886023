package schema_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
)

// FuzzValidate holds Check and Fits against encoding/json and jsonschema-go: what passes is JSON that decodes into the
// type and that an independent judge accepts; what the judge accepts as it stands, Fits accepts, but for what only we refuse.
func FuzzValidate(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a"}`, `{"name":"a","limit":"5","tags":"b"}`, `{"name":"a","files":[{"path":"x"}],"env":{"A":"b"}}`,
		`{"name":"a","name":"b"}`, `{"name":"a","extra":{"x":[1,2,{"y":null}]}}`, `{"name":"a","limit":5.0,"ratio":1e-3}`,
		`{"name":"a","since":"2026-01-31T12:00:00Z","on":true}`, `{"Name":"a"}`, `[`, `{"name":"\ud83d"}`, "{\"name\":\"\xff\"}",
		`{"name":"a","small":-128,"port":65535}`, `{"name":"a","text":"ééé"}`, `{"name":"a","where":{"path":"\u0000"}}`, ` {"name" : "a" } `,
		`{"name":"a","key":"12","raw":[[]]}`, `{"name":"a","limit":9223372036854775808}`, `{"name":"a#1"}`, `null`, ``,
	} {
		f.Add(seed)
	}
	s := of[everything](f)
	var judge jsonschema.Schema
	if err := json.Unmarshal(s.JSON(), &judge); err != nil {
		f.Fatal(err)
	}
	resolved, err := judge.Resolve(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		raw := []byte(text)
		in, problems := s.Check(raw)
		if string(raw) != text {
			t.Fatal("the input was changed")
		}
		if len(problems) == 0 {
			if !json.Valid(in.JSON) {
				t.Fatalf("passed and is not JSON: %q from %q", in.JSON, text)
			}
			if err := json.Unmarshal(in.JSON, new(everything)); err != nil && !strings.Contains(err.Error(), "strict") {
				t.Fatalf("passed and does not decode: %q: %v", in.JSON, err)
			}
			if again, p := s.Check(in.JSON); len(p) > 0 || string(again.JSON) != string(in.JSON) {
				t.Fatalf("passed and does not pass again: %q: %v, %q", in.JSON, p, again.JSON)
			}
			var v any
			if err := json.Unmarshal(in.JSON, &v); err != nil {
				t.Fatal(err)
			}
			if err := resolved.Validate(v); err != nil {
				t.Fatalf("passed and the judge refuses %q: %v", in.JSON, err)
			}
			if red := s.Redact(in.JSON); !json.Valid(red) {
				t.Fatalf("redacted and is not JSON: %q", red)
			}
			return
		}
		for _, p := range problems {
			if p.Message == "" || !utf8.ValidString(p.Message) || !utf8.ValidString(p.Path) {
				t.Fatalf("a problem that cannot be told: %+v of %q", p, text)
			}
		}
		if !json.Valid(raw) && text != "" && len(s.Fits(raw)) == 0 {
			t.Fatalf("fits and is not JSON: %q", text)
		}
	})
}
