package variable

import (
	"strings"
	"testing"
)

func lookup(name string) (string, bool) {
	v, ok := map[string]string{"A": "a", "EMPTY": "", "DOLLAR": "${A}"}[name]
	return v, ok
}

func TestExpand(t *testing.T) {
	for _, c := range []struct {
		in, want string
		used     bool
	}{
		{"", "", false}, {"plain", "plain", false}, {"$A $", "$A $", false}, {"$$", "$", false}, {"$$$$A", "$$A", false}, {"$${A}", "${A}", false}, {"$$${A}", "$a", true},
		{"${A}", "a", true}, {"x${A}y${A}z", "xayaz", true}, {"${EMPTY}", "", true}, {"${EMPTY:-d}", "d", true}, {"${A:-d}", "a", true}, {"${N:-}", "", true}, {"${N:-d e}", "d e", true},
		{"${N:-${A}}", "a", true}, {"${N:-${M:-x}y}z", "xyz", true}, {"${N:-$$}", "$", true}, {"${DOLLAR}", "${A}", true}, {"é${A}é", "éaé", true}, {"${N:-http://x:1}", "http://x:1", true},
	} {
		got, used, err := Expand(c.in, lookup)
		if err != nil || got != c.want || used != c.used {
			t.Errorf("%q is %q, %v, %v; want %q, %v", c.in, got, used, err, c.want, c.used)
		}
	}
	for in, want := range map[string]Error{
		"x ${N}":     {Text: "${N}", Unknown: "N"},
		"${":         {Text: "${"},
		"${A":        {Text: "${A"},
		"${}":        {Text: "${}"},
		"${A-x}":     {Text: "${A-x}"},
		"${A:?x}":    {Text: "${A:?x}"},
		"${A:+x}":    {Text: "${A:+x}"},
		"${ A }":     {Text: "${ A }"},
		"${1}":       {Text: "${1}"},
		"${N:-${M}}": {Text: "${M}", Unknown: "M"},
		strings.Repeat("${N:-", 20) + strings.Repeat("}", 20): {Text: strings.Repeat("${N:-", 12) + strings.Repeat("}", 12)},
	} {
		_, _, err := Expand(in, lookup)
		if err == nil || err.Text != want.Text || err.Unknown != want.Unknown || err.Message == "" {
			t.Errorf("%q: %+v, want %+v", in, err, want)
		}
	}
}
