package answer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain äß 漢":             "plain äß 漢",
		"a\nb\tc\\d":             `a\nb\tc\\d`,
		"\x1b[31mred\x07":        `\u001b[31mred\u0007`,
		"a\u202eb\u2066c":        `a\u202eb\u2066c`,
		"z\u200bw\ufeff":         `z\u200bw\ufeff`,
		"\U000e0049\U000e007f":   `\udb40\udc49\udb40\udc7f`,
		"\u0085\u009b\x7f":       `\u0085\u009b\u007f`,
		"bad \xff byte":          `bad \ufffd byte`,
		"☺\ufe0f":                `☺\ufe0f`,
		strings.Repeat("é", 300): strings.Repeat("é", 200) + "…+200B",
	} {
		if got := Line(in, 200); got != want {
			t.Errorf("%q:\n got %s\nwant %s", in, got, want)
		}
	}
}

// TestJSON: the escaped text is the same value and hides nothing.
func TestJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var s []rune
		for range r.IntN(20) {
			s = append(s, []rune{'a', '"', '\\', '\n', 0x1b, 0x7f, 0x9b, 0xad, 0x200b, 0x202e, 0xfeff, 0xe0041, 0x1f600, 'ä', '<', 0x2028}[r.IntN(16)])
		}
		in := string(s)
		b, err := Marshal(map[string]string{in: in})
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]string
		if err := json.Unmarshal(b, &out); err != nil || out[in] != in {
			t.Fatalf("%q became %s: %v", in, b, err)
		}
		var quoted string
		if err := json.Unmarshal(AppendString(nil, in), &quoted); err != nil || quoted != in {
			t.Fatalf("%q is quoted as %s: %v", in, AppendString(nil, in), err)
		}
		for _, text := range []string{string(b), string(AppendString(nil, in))} {
			for _, c := range text {
				if hidden(c) {
					t.Fatalf("%q has %U", text, c)
				}
			}
		}
	}
}

type inner struct {
	Name string `json:"name" table:"2"`
	N    int    `json:"n" table:"1"`
	Free string `json:"free"`
}

const listSchema = `{"type":"object","properties":{"items":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"n":{"type":"integer"},"free":{"type":"string"}},"required":["name","n","free"],"additionalProperties":false}},"next_cursor":{"type":"string"},"truncated":{"type":"boolean"},"dropped":{"type":"integer"},"total":{"type":"integer"}},"required":["items","truncated"],"additionalProperties":false}`

func TestTable(t *testing.T) {
	f, err := NewForm(json.RawMessage(listSchema), reflect.TypeFor[op.List[inner]](), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Render(op.List[inner]{Items: []inner{{"web\tx\x1b", 1, "no"}, {"", 2, ""}}})
	if err != nil || a.Text != "N\tNAME\n1\tweb\\tx\\u001b\n2\t-" {
		t.Errorf("%v %q", err, a.Text)
	}
	var many op.List[inner]
	for i := range 500 {
		many.Items = append(many.Items, inner{"some-name-of-an-app", i, ""})
	}
	if a, err = f.Render(many); err != nil || len(a.Text) > MaxText || !strings.HasSuffix(a.Text, " more") || a.Whole == nil {
		t.Errorf("%v %d bytes: …%s", err, len(a.Text), a.Text[max(0, len(a.Text)-50):])
	}
	if n := f.Count(many); n != 500 {
		t.Errorf("count %d", n)
	}
	if a, err = f.Render(map[string]int{"x": 1}); err != nil || a.Text != `{"x":1}` || f.Count(3) != -1 {
		t.Errorf("another type: %v %q", err, a.Text)
	}
}

type gap struct {
	Text string `json:"text" table:"1"`
	N    int    `json:"n" table:"2"`
}

func (g gap) Words() (column, words string) {
	if g.Text == "" {
		return "text", "nothing\nthere"
	}
	return "", ""
}

func TestWords(t *testing.T) {
	f, err := NewForm(json.RawMessage(`{"type":"object"}`), reflect.TypeFor[op.List[gap]](), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := f.Render(op.List[gap]{Items: []gap{{"a", 1}, {"", 2}}}); err != nil || a.Text != "TEXT\tN\na\t1\nnothing\\nthere\t2" {
		t.Errorf("%v %q", err, a.Text)
	}
}

// TestFit cuts values of every shape to every size: valid JSON within the limit that keeps what has to be kept.
func TestFit(t *testing.T) {
	schema := `{"type":"object","properties":{
		"text":{"type":"string"},"kind":{"type":"string","enum":["` + strings.Repeat("k", 100) + `"]},"at":{"type":"string","format":"date-time"},
		"list":{"type":"array","minItems":2,"items":{"type":"string"}},"map":{"type":"object","additionalProperties":{"type":"integer"}},
		"token":{"type":"string"},"truncated":{"type":"boolean"}},"required":["kind"],"additionalProperties":false}`
	s, err := parseShape(json.RawMessage(schema))
	if err != nil {
		t.Fatal(err)
	}
	type value struct {
		Text      string         `json:"text"`
		Kind      string         `json:"kind"`
		At        string         `json:"at"`
		List      []string       `json:"list"`
		Map       map[string]int `json:"map"`
		Token     string         `json:"token"`
		Truncated bool           `json:"truncated"`
	}
	v := value{Text: strings.Repeat("ü", 50_000), Kind: strings.Repeat("k", 100), At: "2026-01-02T03:04:05.123456789Z", Map: map[string]int{}, Token: strings.Repeat("t", 300)}
	for i := range 3000 {
		v.List = append(v.List, fmt.Sprint("item ", i))
		v.Map[fmt.Sprint("key", i)] = i
	}
	whole, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{700, 1000, 5000, 20_000, 100_000} {
		out, ok := fit(whole, s, limit)
		var got value
		if !ok || len(out) > limit || json.Unmarshal(out, &got) != nil {
			t.Errorf("%d: %t, %d bytes", limit, ok, len(out))
			continue
		}
		if got.Kind != v.Kind || got.At != v.At || got.Token != v.Token || len(got.List) < 2 || !got.Truncated || !utf8.ValidString(got.Text) || len(out) < limit/20 {
			t.Errorf("%d: %d bytes, %+v", limit, len(out), got)
		}
	}
	if _, ok := fit(whole, s, 100); ok {
		t.Error("what cannot be cut was cut")
	}
}

// TestHidden compares what is escaped with what Unicode says of each rune.
func TestHidden(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		want := unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
		if want && !hidden(r) {
			t.Errorf("%U hides and is shown", r)
		}
		if !want && hidden(r) && unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point) {
			t.Errorf("%U is seen and is escaped", r)
		}
	}
}

func TestFault(t *testing.T) {
	f := fault.New(fault.Invalid, "a: b").WithHint("apps_list")
	f.Problems = []fault.Problem{{Path: "names[0]", Message: "no such\x1b thing", Near: "web"}, {Message: "other, did you mean x?", Near: "x"}}
	f.Candidates, f.Call = []string{"one", "two\n"}, "C1"
	want := "invalid: the input does not fit.\n- names[0]: no such\\u001b thing; did you mean web?\n- other, did you mean x?\n" +
		`Candidates: one, two\n. Next: apps_list. Call id: C1.`
	if got := Fault(f); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := Fault(fault.New(fault.Conflict, "is it?")); got != "conflict: is it?" {
		t.Errorf("got %s", got)
	}
	big := fault.New(fault.Failed, "%s", strings.Repeat("m", 10_000)).WithItems(strings.Repeat("i", 10_000)).WithHint("%s", strings.Repeat("h", 5000))
	if got := Fault(big); len(got) > 6000 {
		t.Errorf("%d bytes", len(got))
	}
}
