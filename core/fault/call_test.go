package fault

import (
	"reflect"
	"testing"
)

func angled(c Call) (string, bool) {
	return "<" + c.Method + "|" + c.JSON() + ">", c.Method != "no.method"
}

func TestSpell(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		Do("apps.list").String():        "<apps.list|{}>",
		"for example apps.list {}":      "for example <apps.list|{}>",
		"(apps.list {}), then omnitron": "(<apps.list|{}>), then omnitron",
		Do("apps.get", "name", `a } " <`).String() + "\nand " + Do("apps.list", "all", true).String(): `<apps.get|{"name":"a } \" <"}>` + "\nand " + `<apps.list|{"all":true}>`,
		"no.method {} apps.list {}":         "no.method {} <apps.list|{}>",
		"apps.list {not json apps.list {}":  "apps.list {not json <apps.list|{}>",
		"see omnitron.yaml or apps.list":    "see omnitron.yaml or apps.list",
		"in /srv/apps.list {} there is one": "in /srv/apps.list {} there is one",
	} {
		if got := Spell(text, angled); got != want {
			t.Errorf("%q is spelled %q, want %q", text, got, want)
		}
	}
}

func TestSpellAll(t *testing.T) {
	type row struct {
		What string
		Fix  Hint
	}
	type answer struct {
		Rows []row
		One  *row
		None *row
		Next []Hint
	}
	const call, said = "a.b {}", "<a.b|{}>"
	in := answer{Rows: []row{{call, call}}, One: &row{call, call}, Next: []Hint{call}}
	want := answer{Rows: []row{{call, said}}, One: &row{call, said}, Next: []Hint{said}}
	if got := SpellAll(in, angled); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if in.Rows[0].Fix != call || in.One.Fix != call || in.Next[0] != call {
		t.Errorf("the value itself was changed: %+v", in)
	}
	if Hints(reflect.TypeFor[struct{ A string }]()) || !Hints(reflect.TypeFor[[]answer]()) {
		t.Error("a type with hints is not told from one without")
	}
	if SpellAll(nil, angled) != nil {
		t.Error("nothing is not nothing")
	}
}

func TestSpelledFault(t *testing.T) {
	e := New(NotFound, "no app").WithHint("%s", Do("apps.list"))
	if got := e.Spelled(angled); got.Hint != "<apps.list|{}>" || got.Message != "no app" || e.Hint != "apps.list {}" {
		t.Errorf("got %+v of %+v", got, e)
	}
}
