package schema_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/schema"
)

type level string

func (level) Values() []string { return []string{"info", "warn"} }

type address struct{ host string }

func (a address) MarshalText() ([]byte, error)  { return []byte(a.host), nil }
func (a *address) UnmarshalText(b []byte) error { a.host = string(b); return nil }

type Shared struct {
	Limit int `json:"limit,omitempty" min:"1" max:"100" default:"20" jsonschema:"how many"`
}

type inner struct {
	Path string `json:"path" jsonschema:"where"`
}

type everything struct {
	Shared
	Name   op.Selector       `json:"name" jsonschema:"which"`
	Color  string            `json:"color,omitempty" enum:"red,blue" jsonschema:"color"`
	Level  level             `json:"level,omitempty" jsonschema:"level"`
	Text   string            `json:"text,omitempty" min:"2" max:"5" jsonschema:"text"`
	Word   string            `json:"word,omitempty" pattern:"^[a-z]+$" default:"x" jsonschema:"word"`
	Ratio  float64           `json:"ratio,omitempty" min:"0" max:"0.5" jsonschema:"ratio"`
	Small  int8              `json:"small,omitempty" jsonschema:"small"`
	Port   uint16            `json:"port,omitempty" jsonschema:"port"`
	On     bool              `json:"on,omitempty" jsonschema:"on"`
	Since  time.Time         `json:"since,omitzero" jsonschema:"since"`
	Host   address           `json:"host,omitzero" jsonschema:"host"`
	Tags   []string          `json:"tags,omitempty" enum:"a,b" max:"3" jsonschema:"tags"`
	Files  []inner           `json:"files,omitempty" jsonschema:"files"`
	Env    map[string]string `json:"env,omitempty" jsonschema:"env"`
	Extra  any               `json:"extra,omitempty" schema:"any" jsonschema:"extra"`
	Raw    json.RawMessage   `json:"raw,omitempty" schema:"any" jsonschema:"raw"`
	Key    string            `json:"key,omitempty" secret:"true" pattern:"^[0-9]+$" jsonschema:"key"`
	Where  *inner            `json:"where,omitempty" jsonschema:"where"`
	hidden chan int
	Not    chan int `json:"-"`
}

func of[T any](t testing.TB) *schema.Schema {
	t.Helper()
	s, err := schema.For(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaSaysWhatTheTypeSays(t *testing.T) {
	_ = everything{hidden: nil}
	want := `{"type":"object","properties":{` +
		`"limit":{"type":"integer","description":"how many","minimum":1,"maximum":100,"default":20},` +
		`"name":{"type":"string","description":"which","pattern":"^[a-z0-9*][a-z0-9_*-]{0,62}(/[a-z0-9*][a-z0-9_*-]{0,62}){0,2}(:[a-z0-9*][a-z0-9_*-]{0,62})?(#[1-9][0-9]{0,3})?$"},` +
		`"color":{"type":"string","description":"color","enum":["red","blue"]},` +
		`"level":{"type":"string","description":"level","enum":["info","warn"]},` +
		`"text":{"type":"string","description":"text","minLength":2,"maxLength":5},` +
		`"word":{"type":"string","description":"word","pattern":"^[a-z]+$","default":"x"},` +
		`"ratio":{"type":"number","description":"ratio","minimum":0,"maximum":0.5},` +
		`"small":{"type":"integer","description":"small"},` +
		`"port":{"type":"integer","description":"port","minimum":0},` +
		`"on":{"type":"boolean","description":"on"},` +
		`"since":{"type":"string","description":"since","format":"date-time"},` +
		`"host":{"type":"string","description":"host"},` +
		`"tags":{"type":"array","description":"tags","maxItems":3,"items":{"type":"string","enum":["a","b"]}},` +
		`"files":{"type":"array","description":"files","items":{"type":"object","properties":{"path":{"type":"string","description":"where"}},"required":["path"],"additionalProperties":false}},` +
		`"env":{"type":"object","description":"env","additionalProperties":{"type":"string"}},` +
		`"extra":{"description":"extra"},"raw":{"description":"raw"},` +
		`"key":{"type":"string","description":"key","pattern":"^[0-9]+$"},` +
		`"where":{"type":"object","description":"where","properties":{"path":{"type":"string","description":"where"}},"required":["path"],"additionalProperties":false}` +
		`},"required":["name"],"additionalProperties":false}`
	if got := string(of[everything](t).JSON()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A judge who is not us takes the schema for what it is.
func TestSchemaIsValid2020(t *testing.T) {
	s := of[everything](t)
	for name, raw := range map[string]json.RawMessage{"input": s.JSON(), "outcome": s.Outcome().JSON(), "list": s.List().JSON(), "nothing": of[struct{}](t).JSON()} {
		var judge jsonschema.Schema
		if err := json.Unmarshal(raw, &judge); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := judge.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true}); err != nil {
			t.Errorf("%s: %v\n%s", name, err, raw)
		}
		if strings.Contains(string(raw), "$ref") || strings.Contains(string(raw), "null") {
			t.Errorf("%s has a reference or a union: %s", name, raw)
		}
	}
}

type selfish struct {
	Next []selfish `json:"next" jsonschema:"next"`
}
type own struct{}

func (own) MarshalJSON() ([]byte, error) { return nil, nil }

type unexported struct {
	A int `json:"a" jsonschema:"a"`
}

func TestWhatCannotBeDescribedIsAnError(t *testing.T) {
	tests := map[string]struct {
		value any
		want  string
	}{
		"no struct": {[]string{}, "only a struct"},
		"a time":    {time.Time{}, "only a struct"},
		"a map":     {map[string]int{}, "only a struct"},
		"no description": {struct {
			A int `json:"a"`
		}{}, "A: no description"},
		"no name": {struct{ A int }{}, `json name "" is not snake_case`},
		"camel case": {struct {
			A int `json:"appName" jsonschema:"x"`
		}{}, "snake_case"},
		"quoted numbers": {struct {
			A int `json:"a,string" jsonschema:"x"`
		}{}, `option "string"`},
		"null": {struct {
			A *int `json:"a" jsonschema:"x"`
		}{}, "may be null"},
		"null in a list": {struct {
			A []*int `json:"a" jsonschema:"x"`
		}{}, "may be null"},
		"duration": {struct {
			A time.Duration `json:"timeout_s" jsonschema:"x"`
		}{}, "nanoseconds"},
		"durations": {struct {
			A []time.Duration `json:"a" jsonschema:"x"`
		}{}, "nanoseconds"},
		"any": {struct {
			A any `json:"a" jsonschema:"x"`
		}{}, `schema:"any"`},
		"raw": {struct {
			A json.RawMessage `json:"a" jsonschema:"x"`
		}{}, `schema:"any"`},
		"map of any": {struct {
			A map[string]any `json:"a" jsonschema:"x"`
		}{}, `schema:"any"`},
		"any of a form": {struct {
			A int `json:"a" schema:"any" jsonschema:"x"`
		}{}, "which has a form"},
		"bytes": {struct {
			A []byte `json:"a" jsonschema:"x"`
		}{}, "bytes"},
		"channel": {struct {
			A chan int `json:"a" jsonschema:"x"`
		}{}, "cannot be described"},
		"function": {struct {
			A func() `json:"a" jsonschema:"x"`
		}{}, "cannot be described"},
		"array": {struct {
			A [2]int `json:"a" jsonschema:"x"`
		}{}, "cannot be described"},
		"complex": {struct {
			A complex64 `json:"a" jsonschema:"x"`
		}{}, "cannot be described"},
		"keys": {struct {
			A map[int]int `json:"a" jsonschema:"x"`
		}{}, "not strings"},
		"recursion": {selfish{}, "contains itself"},
		"own encoding": {struct {
			A own `json:"a" jsonschema:"x"`
		}{}, "encodes itself"},
		"twice": {struct {
			Shared
			B int `json:"limit" jsonschema:"x"`
		}{}, `two fields are called "limit"`},
		"embedded pointer":  {struct{ *Shared }{}, "not an exported struct"},
		"embedded, private": {struct{ unexported }{}, "not an exported struct"},
		"deep": {struct {
			A []struct {
				B int `json:"b"`
			} `json:"a" jsonschema:"x"`
		}{}, "A: B: no description"},
		"enum of numbers": {struct {
			A int `json:"a" enum:"1,2" jsonschema:"x"`
		}{}, "enum is for texts"},
		"pattern of bool": {struct {
			A bool `json:"a" pattern:"x" jsonschema:"x"`
		}{}, "pattern is for texts"},
		"bad pattern": {struct {
			A string `json:"a" pattern:"(" jsonschema:"x"`
		}{}, "bad pattern"},
		"bad min": {struct {
			A int `json:"a" min:"one" jsonschema:"x"`
		}{}, "not an integer"},
		"min of bool": {struct {
			A bool `json:"a" min:"1" jsonschema:"x"`
		}{}, "no size"},
		"min above max": {struct {
			A int `json:"a" min:"2" max:"1" jsonschema:"x"`
		}{}, "min is above max"},
		"bad default": {struct {
			A int `json:"a" min:"2" default:"1" jsonschema:"x"`
		}{}, "does not fit"},
		"two defaults": {struct {
			A int `json:"a" default:"1 2" jsonschema:"x"`
		}{}, "does not fit"},
		"default of a list": {struct {
			A []int `json:"a" default:"1" jsonschema:"x"`
		}{}, "can have a default"},
	}
	for name, test := range tests {
		s, err := schema.For(reflect.TypeOf(test.value))
		if err == nil {
			t.Errorf("%s: described as %s", name, s.JSON())
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestExtendRefusesATakenName(t *testing.T) {
	s, more := of[everything](t), of[Shared](t)
	if _, err := s.Extend(more); err == nil || !strings.Contains(err.Error(), `"limit"`) {
		t.Errorf("got %v", err)
	}
}

func TestOutcomeWrapsTheResult(t *testing.T) {
	s := of[inner](t).Outcome()
	good := []string{
		`{"status":"done","result":{"path":"x"}}`,
		`{"status":"held","approval":{"id":"1","expires_at":"2026-01-31T12:00:00Z"},"plan":{"items":[{"target":"a"}],"digest":"d"}}`,
		`{"status":"confirm","confirm":{"token":"t","expires_at":"2026-01-31T12:00:00.5Z"},"next":[{"method":"a.b","input":{"x":[1]}}]}`,
		`{"status":"running","job":{"id":"1"}}`,
	}
	for _, g := range good {
		if p := s.Fits([]byte(g)); len(p) > 0 {
			t.Errorf("%s: %v", g, p)
		}
	}
	for _, bad := range []string{`{}`, `{"status":"maybe"}`, `{"status":"done","result":{"path":1}}`, `{"status":"done","result":{"path":"x","more":1}}`, `{"status":"done","plan":{"items":null}}`} {
		if p := s.Fits([]byte(bad)); len(p) == 0 {
			t.Errorf("%s fits", bad)
		}
	}
}

func TestListWrapsItems(t *testing.T) {
	s := of[inner](t).List()
	if p := s.Fits([]byte(`{"items":[{"path":"x"}],"truncated":true,"next_cursor":"c","dropped":3}`)); len(p) > 0 {
		t.Error(p)
	}
	if p := s.Fits([]byte(`{"items":[{"target":"x"}],"truncated":true}`)); len(p) != 2 {
		t.Errorf("want missing path and unknown target: %v", p)
	}
}

func TestTargetsAndSecretsAreSeen(t *testing.T) {
	if s := of[everything](t); !s.Targets() || !s.Secret() || s.Empty() {
		t.Error("everything has targets and secrets")
	}
	if s := of[inner](t); s.Targets() || s.Secret() {
		t.Error("inner has none")
	}
	if !of[struct{}](t).Empty() {
		t.Error("an empty struct has no fields")
	}
}
