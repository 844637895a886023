package render

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type asked struct {
	ID   string          `json:"id" table:"1"`
	Args json.RawMessage `json:"args,omitempty" table:"2"`
	Plan []struct {
		Target string `json:"target" table:"1"`
	} `json:"plan" table:"2"`
}

// TestInputOfACall: a row shows the input of a call with its keys, in their order, and an object with a list of lesser
// rank is shown as an object.
func TestInputOfACall(t *testing.T) {
	one, err := Decode([]byte(`{"id":"ap-1","args":{"names":["web"],"a":{"z":1,"b":"\u001b[2J"}},"plan":[{"target":"web"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	rows(&b, []any{one}, reflect.TypeFor[asked](), Options{}, "")
	if want := "ID\tARGS\tPLAN\nap-1\t" + `{"names":["web"],"a":{"z":1,"b":"\u001b[2J"}}` + "\tweb\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	Text(&b, one, reflect.TypeFor[asked](), Options{})
	if !strings.HasPrefix(b.String(), "id") || !strings.Contains(b.String(), "plan\n") {
		t.Errorf("%s", &b)
	}
}
