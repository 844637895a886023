package tree

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func parse(text string) (*Node, []Problem) {
	var ps Problems
	return Parse(NewFile("/x/omnitron.yaml", "omnitron.yaml", text), &ps), ps.Sorted()
}

func TestScalars(t *testing.T) {
	root, problems := parse("a: yes\nb: no\nc: on\nd: true\ne: 5\nf: 0.5\ng: ~\nh:\ni: '5'\nj: 022\nk: 2026-01-01\nl: 1:30\nm: |\n  x\n  y\nn: null\no: -5\np: \"a\\u00e9\"\nq: .inf\nr: a # b\ns: 'it''s'\nt: a\n  b\n")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := map[string]string{"a": "Text yes", "b": "Text no", "c": "Text on", "d": "Bool true", "e": "Int 5", "f": "Float 0.5", "g": "Null ", "h": "Null ", "i": "Text 5", "j": "Int 022", "k": "Text 2026-01-01", "l": "Text 1:30",
		"m": "Text x\ny\n", "n": "Null ", "o": "Int -5", "p": "Text aé", "q": "Float .inf", "r": "Text a", "s": "Text it's", "t": "Text a b"}
	names := [...]string{"Null", "Bool", "Int", "Float", "Text", "List", "Map"}
	for _, p := range root.Pairs {
		if got := names[p.Value.Kind] + " " + p.Value.Text; got != want[p.Key.Text] {
			t.Errorf("%s is %q, want %q", p.Key.Text, got, want[p.Key.Text])
		}
	}
	if len(root.Pairs) != len(want) {
		t.Errorf("%d keys: %v", len(root.Pairs), root.Keys())
	}
}

// Some editors write a byte order mark; it takes no column.
func TestByteOrderMark(t *testing.T) {
	root, problems := parse("\ufeffa: b\n")
	if len(problems) > 0 || root.Pairs[0].Key.Text != "a" || root.Find("a").Column != 4 {
		t.Errorf("%+v, %v", root, problems)
	}
	if _, problems := parse("\ufeffa: *x\n"); len(problems) != 1 || problems[0].Column != 4 {
		t.Errorf("a problem behind the mark: %v", problems)
	}
	if _, problems := parse("\ufeff\ufeffa: b\n"); len(problems) != 1 {
		t.Errorf("two marks: %v", problems)
	}
}

func TestPlaces(t *testing.T) {
	root, problems := parse("# c\nä: ö\nlist:\n  - {k: v, 'q': \"w\"}\n  - - x\nmap:\n  in:\n    deep: [1,  2]\n")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	at := func(n *Node) string { return fmt.Sprintf("%d:%d+%d", n.Line, n.Column, n.Width) }
	list, deep := root.Find("list"), root.Find("map").Find("in").Find("deep")
	for _, c := range []struct {
		node *Node
		want string
	}{
		{root, "2:1+1"}, {root.Pairs[0].Key, "2:1+1"}, {root.Find("ä"), "2:4+1"}, {list.Items[0].Pairs[0].Key, "4:6+1"}, {list.Items[0].Find("k"), "4:9+1"}, {list.Items[0].Find("q"), "4:17+3"}, {list.Items[1].Items[0], "5:7+1"}, {root.Find("map"), "7:3+2"}, {deep.Items[1], "8:16+1"},
	} {
		if got := at(c.node); got != c.want {
			t.Errorf("%q is at %s, want %s", c.node.Text, got, c.want)
		}
	}
	if n := list.Items[0].Find("k").Name; n != "k" {
		t.Errorf("named %q", n)
	}
	if n := list.Items[1].Name; n != "list[1]" {
		t.Errorf("named %q", n)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ what, text, where, says string }{
		{"anchor", "a: &x 1", "1:4", "anchors"},
		{"alias", "a: *x", "1:4", "aliases"},
		{"alias as key", "*x : 1", "1:1", ""},
		{"alias bomb", "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]", "1:4", "anchors"},
		{"merge key", "a: {<<: {b: 1}}", "1:5", "merge keys"},
		{"tag", "a: !!binary aGk=", "1:4", "tags"},
		{"local tag", "a: !python/object x", "1:4", "tags"},
		{"duplicate", "a: 1\nb: 2\na: 3", "3:1", "twice"},
		{"duplicate deep", "x:\n  - {a: 1, a: 2}", "2:12", "twice"},
		{"quoted duplicate", "a: 1\n'a': 2", "2:1", "twice"},
		{"tab", "a:\n\tb: 1", "2:1", "tab"},
		{"tab after spaces", "a:\n  \tb: 1", "2:3", "tab"},
		{"NUL", "a: b\x00c", "1:5", "control character"},
		{"NUL escaped", "a: \"b\\0c\"", "1:4", "NUL"},
		{"carriage return", "a: 1\r\nb: 2\rc: 3", "2:5", "carriage return"},
		{"bell", "a: b\ac", "1:5", "control character"},
		{"byte order mark inside", "a: \ufeffb", "1:4", "control character"},
		{"not UTF-8", "a: b\xffc", "1:5", "UTF-8"},
		{"too large", strings.Repeat("# x\n", MaxBytes/4+1), "1:1", "the most that is read"},
		{"flow depth", "a: " + strings.Repeat("[", 100), "1:67", "deep"},
		{"map depth", "a: " + strings.Repeat("{a: ", 100), "", "deep"},
		{"block depth", strings.Repeat("- ", 100) + "x", "", "deep"},
		{"indent depth", nested(100), "", "deep"},
		{"many keys", manyKeys(MaxBytes - 20), "", "entries"},
		{"many items", "a: [" + strings.Repeat("x,", MaxEntries+2) + "]", "", "entries"},
		{"many anchors", "a: " + strings.Repeat("&a ", 1000), "", "anchors"},
		{"ten thousand deep", strings.Repeat("[", 500_000), "", "deep"},
		{"documents", "a: 1\n---\nb: 2\n", "2:1", "second document"},
		{"documents ended", "a: 1\n...\nb: 2\n", "", ""},
		{"directive", "%YAML 1.2\n---\na: 1", "1:1", "directives"},
		{"list key", "[a]: 1", "", ""},
		{"question mark", "? a\n: 1", "1:1", "?"},
		{"number key", "5: 1", "1:1", "must be text"},
		{"empty", "", "1:1", "empty"},
		{"empty document", "---\n...\n", "", "empty"},
	} {
		_, problems := parse(c.text)
		if len(problems) == 0 {
			t.Errorf("%s: accepted", c.what)
			continue
		}
		p := problems[0]
		if where := fmt.Sprintf("%d:%d", p.Line, p.Column); c.where != "" && where != c.where || !strings.Contains(p.Message, c.says) {
			t.Errorf("%s: %s, want %q at %s", c.what, p, c.says, c.where)
		}
	}
}

func nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestDepthWithinTheLimit(t *testing.T) {
	for _, text := range []string{"a: " + strings.Repeat("[", MaxDepth-2) + strings.Repeat("]", MaxDepth-2), nested(MaxDepth-1) + strings.Repeat(" ", MaxDepth) + "x"} {
		if root, problems := parse(text); root == nil || len(problems) > 0 {
			t.Errorf("%.70q: %v", text, problems)
		}
	}
}

// A file at the limit is read, or refused, while somebody waits for it. The bound is generous, for slow machines and the
// race detector: without the limits on entries and marks these files take minutes.
func TestLargeFiles(t *testing.T) {
	for what, text := range map[string]string{
		"one scalar":    "a: " + strings.Repeat("x", MaxBytes-10),
		"quoted":        "a: \"" + strings.Repeat("x", MaxBytes-10) + "\"",
		"many items":    "a: [" + strings.Repeat("x,", MaxBytes/2-10) + "]",
		"many keys":     manyKeys(MaxBytes - 20),
		"all the keys":  manyKeys(10 * MaxEntries),
		"wide lists":    "a:\n" + strings.Repeat("  - ["+strings.Repeat("x,", MaxEntries-1)+"]\n", 40),
		"many maps":     "a:\n" + strings.Repeat("  - {a: 1, b: 2}\n", MaxEntries-1),
		"many blocks":   "a:\n" + strings.Repeat("  - a: 1\n    b: 2\n    c: [1, 2]\n", MaxEntries-1),
		"deep maps":     strings.Repeat(nested(60), 1),
		"open brackets": strings.Repeat("[a,", 200_000),
		"long words":    "a: [" + strings.Repeat(strings.Repeat("x", 100)+",", 9000) + "]",
		"many comments": strings.Repeat("#\n", MaxBytes/2-10) + "a: 1\n",
		"block":         "a: |\n" + strings.Repeat("  x\n", MaxBytes/4-10),
		"blank lines":   strings.Repeat("\n", MaxBytes-10) + "a: 1\n",
		"anchors":       "a: " + strings.Repeat("&a ", MaxBytes/3-10),
		"tags":          "a: " + strings.Repeat("!a ", MaxBytes/3-10),
		"dashes":        strings.Repeat("-", MaxBytes-10),
		"quotes":        strings.Repeat("'", MaxBytes-10),
		"questions":     strings.Repeat("? ", MaxBytes/2-10),
		"colons":        strings.Repeat(": ", MaxBytes/2-10),
	} {
		began := time.Now()
		parse(text)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%s: took %v", what, took)
		} else {
			t.Logf("%s: %v", what, took)
		}
	}
}

func manyKeys(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size-20; i++ {
		fmt.Fprintf(&b, "k%d: %d\n", i, i)
	}
	return b.String()
}

func TestExcerpt(t *testing.T) {
	f := NewFile("/x", "x", "short: line\n\tä\tb"+strings.Repeat("y", 300)+"\nbell\x07\n")
	for _, c := range []struct {
		line, column, width int
		want                string
	}{
		{1, 8, 4, "    1 | short: line\n      |        ^^^^"},
		{1, 8, 400, "    1 | short: line\n      |        ^^^^"},
		{3, 5, 1, "    3 | bell�\n      |     ^"},
		{9, 1, 1, ""},
	} {
		if got := (Problem{Pos: Pos{f, c.line, c.column, c.width}}).Excerpt(); got != c.want {
			t.Errorf("%d:%d+%d\n%s\nwant\n%s", c.line, c.column, c.width, got, c.want)
		}
	}
	got := (Problem{Pos: Pos{f, 2, 200, 3}}).Excerpt()
	lines := strings.Split(got, "\n")
	if len(lines) != 2 || len([]rune(lines[0])) > 120 || !strings.HasPrefix(lines[0], "    2 | …yyy") || strings.Count(lines[1], "^") != 3 {
		t.Errorf("long line:\n%s", got)
	}
	f.Private = true
	if x := (Problem{Pos: Pos{f, 1, 1, 1}}).Excerpt(); x != "" {
		t.Errorf("a private file is shown: %s", x)
	}
}
