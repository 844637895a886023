package dotenv

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/config/tree"
)

func read(text string) (vars [][2]string, problems []tree.Problem) {
	var ps tree.Problems
	for _, v := range Parse(tree.NewFile("/x/.env", ".env", text), &ps) {
		vars = append(vars, [2]string{v.Name, v.Value})
	}
	return vars, ps.Sorted()
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want [][2]string
	}{
		{"", nil},
		{"\n# comment\n  # another\n\t\n", nil},
		{"A=1", [][2]string{{"A", "1"}}},
		{"A=1\r\nB=2\r\n", [][2]string{{"A", "1"}, {"B", "2"}}},
		{"\ufeffA=1\n", [][2]string{{"A", "1"}}},
		{"A=\nB= \nC=''\nD=\"\"", [][2]string{{"A", ""}, {"B", ""}, {"C", ""}, {"D", ""}}},
		{" A = b c  # comment\nB=b#c\nC=#c", [][2]string{{"A", "b c"}, {"B", "b#c"}, {"C", ""}}},
		{"export A=1\nexport\tB=2\nexport=3\nexporter=4", [][2]string{{"A", "1"}, {"B", "2"}, {"export", "3"}, {"exporter", "4"}}},
		{`A='$HOME \n "x" # y' # c`, [][2]string{{"A", `$HOME \n "x" # y`}}},
		{`A="a\nb\tc\\d\"e\$f\'" # c`, [][2]string{{"A", "a\nb\tc\\d\"e$f'"}}},
		{"A=\"one\ntwo = 'x'\n\nthree\"\nB=1", [][2]string{{"A", "one\ntwo = 'x'\n\nthree"}, {"B", "1"}}},
		{"A=\"one \\\ntwo\"", [][2]string{{"A", "one two"}}},
		{"A=\"one \\\\\ntwo\"", [][2]string{{"A", "one \\\ntwo"}}},
		{"A=x=y\nB=\"=\"\nC=a'b'", [][2]string{{"A", "x=y"}, {"B", "="}, {"C", "a'b'"}}},
		{"A=1\nA=2", [][2]string{{"A", "1"}, {"A", "2"}}},
		{"spring.datasource.url=x\na-b=1\n_=2", [][2]string{{"spring.datasource.url", "x"}, {"a-b", "1"}, {"_", "2"}}},
		{"KEY=\"-----BEGIN KEY-----\nabc\n-----END KEY-----\n\"", [][2]string{{"KEY", "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"}}},
		{"Ü=1\nA=ü", [][2]string{{"A", "ü"}}},
		{"A=${B}", [][2]string{{"A", "${B}"}}},
	} {
		got, problems := read(c.text)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
		if len(problems) > 0 && !strings.HasPrefix(c.text, "Ü") {
			t.Errorf("%q: %v", c.text, problems)
		}
	}
}

func TestProblemsHaveTheirPlace(t *testing.T) {
	for _, c := range []struct {
		text, where, says string
	}{
		{"A=1\nhello world\n", ".env:2:1", "no KEY=VALUE"},
		{"  =x\n", ".env:1:3", "name of a variable"},
		{"A B=x\n", ".env:1:1", "name of a variable"},
		{"1A=x", ".env:1:1", "name of a variable"},
		{"A='x\n'", ".env:1:3", "never closed"},
		{"A=\"x\ny", ".env:1:3", "never closed"},
		{"A=\"a\nb \\q\"", ".env:2:3", "no escape"},
		{"A=\"x\" y", ".env:1:7", "follows the closing quote"},
		{"A='x'y", ".env:1:6", "follows the closing quote"},
		{"A='x'# y", ".env:1:6", "follows the closing quote"},
		{"A=x\x00y", ".env:1:4", "NUL"},
		{"A=\"x\n\x00\"", ".env:2:1", "NUL"},
		{strings.Repeat("#", tree.MaxBytes+1), ".env:1:1", "the most that is read"},
	} {
		_, problems := read(c.text)
		if len(problems) == 0 || problems[0].Pos.String() != c.where || !strings.Contains(problems[0].Message, c.says) {
			t.Errorf("%.40q: %v, want %q at %s", c.text, problems, c.says, c.where)
		}
	}
}

func TestOtherLinesAreStillRead(t *testing.T) {
	vars, problems := read("A=1\noops\nB='x\nC=3\n")
	if len(problems) != 2 || len(vars) != 2 || vars[1] != [2]string{"C", "3"} {
		t.Errorf("%v %v", vars, problems)
	}
}

// encode writes a value so that the dialect reads it again.
func encode(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "\r", `\r`).Replace(v) + `"`
}

func FuzzDotenv(f *testing.F) {
	for _, s := range []string{"A=1\n", "export A='x'\n# c\nB=\"a\\nb\" # d\n", "A=\"one\ntwo\"", "A=\"\\\n\"", "=\n", "A", "A='", "A=\"\\", "\ufeff", "A=\x00", "A=\xff\xfe", "Ü=\"é\\q\"\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		vars, problems := read(text)
		lines := strings.Split(text, "\n")
		for _, p := range problems {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len([]rune(lines[p.Line-1]))+1 || p.Message == "" {
				t.Fatalf("%q: no such place as %s (%s)", text, p.Pos, p.Message)
			}
		}
		for _, v := range vars {
			if !name.MatchString(v[0]) || strings.ContainsRune(v[1], 0) {
				t.Fatalf("%q: %q=%q", text, v[0], v[1])
			}
			again, bad := read(v[0] + "=" + encode(v[1]))
			if len(bad) > 0 || len(again) != 1 || again[0] != v {
				t.Fatalf("%q: %q reads as %q, %v", text, v, again, bad)
			}
		}
	})
}
