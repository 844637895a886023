package schema

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/tree"
)

type toy struct {
	Name  Value[string]
	Count Value[int]
	Wait  Value[time.Duration]
	Size  Value[int64]
	Share Value[float64]
	On    Value[bool]
	Word  Value[string]
	Env   Value[[]Entry[Variable]]
	Tags  Value[[]Value[string]]
	Both  Value[string]
}

var toyKind = Object("a toy", []Rule{AtMostOne("count", "share")},
	Field("name", Pattern("a name", "^[a-z]+$", "small letters"), func(t *toy) *Value[string] { return &t.Name }, "Its name.", Required(), Example("bear")),
	Field("count", Int(1, 9), func(t *toy) *Value[int] { return &t.Count }, "How many.", Default("1"), Live()),
	Field("wait", Duration(time.Second), func(t *toy) *Value[time.Duration] { return &t.Wait }, "How long."),
	Field("size", Size(10), func(t *toy) *Value[int64] { return &t.Size }, "How large."),
	Field("share", Float(0, 1), func(t *toy) *Value[float64] { return &t.Share }, "How much."),
	Field("on", Bool(), func(t *toy) *Value[bool] { return &t.On }, "Whether."),
	Field("word", Enum("a word", "this", "that"), func(t *toy) *Value[string] { return &t.Word }, "Which."),
	Field("env", Dict("a map", "^[A-Z]+$", "capitals", EnvValue("^[a-z]+$", "letters")), func(t *toy) *Value[[]Entry[Variable]] { return &t.Env }, "Variables."),
	Field("tags", List("a list of tags", Written("a tag"), 1), func(t *toy) *Value[[]Value[string]] { return &t.Tags }, "Tags."),
	Field("both", OneOf("a word or a list", AsScalar(Text("a word"), func(s string) string { return s }), AsList(List("a list", Text("a word"), 0), func(v []Value[string]) string { return "list" })),
		func(t *toy) *Value[string] { return &t.Both }, "Either."),
	Later[toy]("wings", "Flying."),
)

func decode(t *testing.T, text string) (toy, []tree.Problem) {
	t.Helper()
	var ps tree.Problems
	n := tree.Parse(tree.NewFile("/x", "x", text), &ps)
	if n == nil {
		t.Fatalf("%q: %v", text, ps.Sorted())
	}
	v, _ := toyKind.Decode(&Decoder{&ps}, n)
	return v, ps.Sorted()
}

func TestDecode(t *testing.T) {
	v, problems := decode(t, "{name: bear, count: 3, wait: 2s, size: 1KB, on: true, word: that, env: {A: 07, B: null, C: ''}, tags: [x, 1.50, true], both: [a]}")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if v.Name.V != "bear" || v.Count.V != 3 || v.Wait.V != 2*time.Second || v.Size.V != 1000 || !v.On.V || v.Word.V != "that" || v.Both.V != "list" {
		t.Errorf("%+v", v)
	}
	if e := v.Env.V; len(e) != 3 || e[0].Value.V.Text != "07" || !e[1].Value.V.Unset || e[2].Value.V.Unset {
		t.Errorf("%+v", e)
	}
	if g := v.Tags.V; len(g) != 3 || g[1].V != "1.50" || g[2].V != "true" {
		t.Errorf("%+v", g)
	}
	if v.Share.Set() || v.Share.Or(0.5) != 0.5 || v.Count.Or(1) != 3 || v.Name.Node.Column != 8 {
		t.Errorf("%+v", v)
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                            `a toy needs "name"`,
		"{name: B}":                     "small letters",
		"{name: b, nme: c}":             `did you mean "name"?`,
		"{name: b, zzzzzz: c}":          "one of: name, count, wait",
		"{name: b, wings: 2}":           `"wings" is not supported yet`,
		"{name: b, count: 10}":          "from 1 to 9, not the number 10",
		"{name: b, count: '5'}":         "without quotes: 5",
		"{name: b, count: 05}":          "plain decimal digits",
		"{name: b, count: }":            `"count" has no value`,
		"{name: b, count: 1, share: 1}": "exclude each other",
		"{name: b, wait: 5}":            "write 5s",
		"{name: b, wait: 5ms}":          "at least 1s",
		"{name: b, size: 1B}":           "at least 10B",
		"{name: b, size: 5M}":           "write 5MB",
		"{name: b, share: 1.5}":         "from 0 to 1",
		"{name: b, share: .nan}":        "plain decimal digits",
		"{name: b, on: off}":            "write false",
		"{name: b, word: thas}":         `did you mean "this"?`,
		"{name: b, env: {a: 1}}":        "capitals",
		"{name: b, env: {A: [1]}}":      "null to unset it, not a list",
		"{name: b, env: [A=1]}":         "without dashes",
		"{name: b, tags: []}":           "not an empty list",
		"{name: b, tags: x}":            "[x]",
		"{name: b, tags: [null]}":       `"tags[0]" must be a tag, not nothing`,
		"{name: b, both: {}}":           "a word or a list, not a map",
		"[]":                            "the file must be a map, not a list",
		"5":                             "the file must be a map, not the number 5",
	} {
		_, problems := decode(t, text)
		if len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%s: %v\nwant one with %q", text, problems, want)
		}
	}
}

// A value that came from a variable is never repeated: it may be a secret.
func TestExpandedValuesAreNotShown(t *testing.T) {
	for _, text := range []string{"count: HUNTER2", "wait: HUNTER2", "size: HUNTER2", "share: HUNTER2", "on: HUNTER2", "word: HUNTER2", "wait: '7777'", "size: '7777'", "count: '7777'", "env: {A: HUNTER2}"} {
		key, value, _ := strings.Cut(text, ": ")
		var ps tree.Problems
		n := tree.Parse(tree.NewFile("/x", "x", "{name: b, "+text+"}"), &ps)
		n.Find(key).Walk(func(n *tree.Node) { n.Expanded = true })
		toyKind.Decode(&Decoder{&ps}, n)
		problems := ps.Sorted()
		if key == "env" {
			if len(problems) != 0 {
				t.Errorf("%s: %v", text, problems)
			}
			continue
		}
		if len(problems) != 1 || strings.Contains(problems[0].Message+problems[0].Advice(), strings.Trim(value, "'")) {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

func TestSchema(t *testing.T) {
	text, err := json.Marshal(toyKind.Schema())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"additionalProperties":false`, `"required":["name"]`, `"description":"How many. Default: 1."`, `"minimum":1`, `"enum":["this","that"]`, `"propertyNames"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Contains(string(text), "wings") {
		t.Error("a key that is not supported is in the schema")
	}
}
