package render

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain":             "plain",
		"größe 日本":          "größe 日本",
		"a\x1b[31mred":      `a\x1b[31mred`,
		"a\u009bm":          `a\x9bm`,
		"a\u202eb\u2066":    `a\u202eb\u2066`,
		"a\x00b\x7f":        `a\x00b\x7f`,
		"a\xffb":            `a\xffb`,
		"one\ntwo\r":        `one\ntwo\r`,
		"tab\there":         "tab  here",
		"zero\u200bwidth":   `zero\u200bwidth`,
		"tag\U000e0041":     `tag\ue0041`,
		"separator\u2028ls": `separator\u2028ls`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
	if got := EscapeLines("a\nb\x1b"); got != "a\nb\\x1b" {
		t.Errorf("EscapeLines kept %q", got)
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		in   string
		w    int
		want string
	}{{"hello", 5, "hello"}, {"hello", 4, "hel…"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"x", 0, ""}, {"né\u0301e", 3, "né\u0301e"}} {
		if got := Clip(c.in, c.w); got != c.want || Width(got) > max(c.w, 0) {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.in, c.w, got, c.want)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		v    any
		unit string
		want string
	}{
		{json.Number("0"), "bytes", "0 B"}, {json.Number("999"), "bytes", "999 B"}, {json.Number("1200000000"), "bytes", "1.2 GB"},
		{json.Number("999600"), "bytes", "1.0 MB"}, {json.Number("210000000"), "bytes", "210 MB"},
		{json.Number("412"), "ms", "412ms"}, {json.Number("1400"), "ms", "1.4s"}, {json.Number("0"), "ms", "0s"},
		{json.Number("52"), "s", "52s"}, {json.Number("3120"), "s", "52m"}, {json.Number("11040"), "s", "3h4m"}, {json.Number("450000"), "s", "5d5h"},
		{json.Number("0.34"), "percent", "0.3%"}, {json.Number("12.4"), "percent", "12%"}, {json.Number("0"), "percent", "0%"},
		{"2026-11-24T11:58:03Z", "time", "11:58:03"}, {"2026-03-04T11:58:03Z", "time", "Mar  4 11:58"}, {"2024-03-04T11:58:03Z", "time", "2024-03-04"},
		{"0001-01-01T00:00:00Z", "time", "–"}, {"yesterday\x1b", "time", `yesterday\x1b`},
		{true, "", "yes"}, {nil, "", "–"}, {"", "", "–"}, {[]any{json.Number("80"), json.Number("443")}, "", "80, 443"},
		{Object{{"name", "http"}, {"port", json.Number("80")}}, "", "http:80"},
	} {
		if got := Format(c.v, c.unit, noon); got != c.want {
			t.Errorf("Format(%v, %q) = %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

// awkward holds what YAML, JSON or a terminal could misread.
var awkward = map[string]any{
	"empty": "", "null": nil, "yes": "yes", "no": "no", "number": "123", "octal": "0o17", "float": "1e3", "date": "2026-11-24", "tilde": "~", "dash": "-", "colon": "a: b",
	"hash": "a #b", "at": "@x", "star": "*a", "amp": "&a", "bang": "!a", "quote": `"q"`, "single": "'s'", "lines": "a\nb\n", "tab": "a\tb", "esc": "\x1b[0m", "bidi": "\u202e",
	"space": " a ", "brace": "{a}", "list": []any{"a", []any{"b", "c"}, map[string]any{"d": []any{}}, map[string]any{}}, "deep": map[string]any{"x": map[string]any{"y": []any{map[string]any{"z": 1, "w": nil}}}},
	"big": json.Number("9007199254740993"), "true": true, "path": "/usr/bin/env", "url": "http://127.0.0.1:80/x?y=1", "key with: colon": 1, "unicode": "größe 日本", "%": "%", "question": "? a", "pipe": "| a", "gt": "> a", "trail": "a:",
}

func TestYAMLIsTheSameValue(t *testing.T) {
	raw, err := json.Marshal(awkward)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Document(&b, YAML, raw, false); err != nil {
		t.Fatal(err)
	}
	var got any
	if err := yaml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if json.Unmarshal(raw, &x) != nil || json.Unmarshal(again, &y) != nil || !reflect.DeepEqual(x, y) {
		t.Errorf("YAML reads differently:\n%s\n%s\n%s", b.String(), raw, again)
	}
}

func TestDocuments(t *testing.T) {
	raw := []byte(`{"items":[{"name":"a","n":9007199254740993},{"name":"b"}],"truncated":false}`)
	for format, want := range map[string]string{
		JSON:  `{"items":[{"name":"a","n":9007199254740993},{"name":"b"}],"truncated":false}` + "\n",
		JSONL: `{"name":"a","n":9007199254740993}` + "\n" + `{"name":"b"}` + "\n",
		YAML:  "items:\n  - name: a\n    \"n\": 9007199254740993\n  - name: b\ntruncated: false\n",
	} {
		var b bytes.Buffer
		if err := Document(&b, format, raw, false); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%s: got %q, want %q", format, b.String(), want)
		}
	}
	var b bytes.Buffer
	if err := Document(&b, JSONL, []byte(`{"name":"a"}`), false); err != nil || b.String() != `{"name":"a"}`+"\n" {
		t.Errorf("an object as JSON lines is %q, %v", b.String(), err)
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		`{"items":[{"key":"shop/dev/api","name":"api"},{"key":"shop/dev/web"}]}`: "shop/dev/api\nshop/dev/web\n",
		`{"name":"api","pid":3}`:                                 "api\n",
		`{"status":"done","result":{"items":[{"key":"a/b/c"}]}}`: "a/b/c\n",
		`{"checks":[{"name":"home"},{"name":"disk"}],"ok":true}`: "home\ndisk\n",
		`["x","y"]`:                              "x\ny\n",
		`{"name":"evil\u001b"}`:                  "evil\\x1b\n",
		`{"status":"done","result":{}}`:          "",
		`{"status":"running","job":{"id":"j1"}}`: "j1\n",
	} {
		v, err := Decode([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		Names(&b, v)
		if b.String() != want {
			t.Errorf("names of %s: %q, want %q", in, b.String(), want)
		}
	}
}

func TestFilter(t *testing.T) {
	raw := []byte(`{"items":[{"name":"a","n":9007199254740993},{"name":"b","n":1.5}]}`)
	for expr, want := range map[string]string{
		".items[].name": "a\nb\n", ".items[0].n": "9007199254740993\n", ".items|length": "2\n", ".items[1]": `{"n":1.5,"name":"b"}` + "\n", "empty": "",
	} {
		f, err := NewFilter(expr)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := f.Apply(t.Context(), &b, raw); err != nil || b.String() != want {
			t.Errorf("%s: %q, %v; want %q", expr, b.String(), err, want)
		}
	}
	if _, err := NewFilter(".["); !fault.Is(err, fault.Invalid) {
		t.Errorf("a broken filter gives %v", err)
	}
	f, err := NewFilter(".items.x")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Apply(t.Context(), &b, raw); !fault.Is(err, fault.Invalid) || b.Len() > 0 {
		t.Errorf("a failing filter gives %v and wrote %q", err, b.String())
	}
}

func TestFault(t *testing.T) {
	e := fault.New(fault.Conflict, "cannot start \"api\": port 3000 is taken by node\x1b[0m (pid 4121)").WithReason("port_in_use").
		WithHint("omnitron start api --set port=0        pick a free port\nomnitron doctor        see who holds what")
	e.Call = "01JD3K"
	var b bytes.Buffer
	Fault(&b, e, Options{})
	want := `error: cannot start "api": port 3000 is taken by node\x1b[0m (pid 4121)
  try   omnitron start api --set port=0        pick a free port
        omnitron doctor        see who holds what
  more  omnitron explain port_in_use · call 01JD3K
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFaultOfAFile(t *testing.T) {
	e := fault.New(fault.Invalid, "omnitron.yaml cannot be used: 2 problems, nothing was changed").WithReason("config_invalid")
	e.Problems = []fault.Problem{
		{Path: "omnitron.yaml:3:5", Message: "there is no key \"comand\"\n      3 |   - comand: x\n        |     ^", Near: "command"},
		{Path: "omnitron.yaml:7:1", Message: "expected a list"},
	}
	var b bytes.Buffer
	Fault(&b, e, Options{})
	want := `error: omnitron.yaml cannot be used: 2 problems, nothing was changed
  omnitron.yaml:3:5: there is no key "comand"; did you mean "command"?
        3 |   - comand: x
          |     ^
  omnitron.yaml:7:1: expected a list
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFaultSaysProblemsOnce(t *testing.T) {
	e := fault.New(fault.Invalid, `signal: missing; names[0]: expected a name`)
	e.Problems = []fault.Problem{{Path: "signal", Message: "missing"}, {Path: "names[0]", Message: "expected a name"}}
	var b bytes.Buffer
	Fault(&b, e, Options{})
	if want := "error: 2 things are wrong with the input\n  signal: missing\n  names[0]: expected a name\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFaultSaysAProblemOnce(t *testing.T) {
	e := fault.New(fault.Invalid, `instances: expected an integer from 1, got 0`)
	e.Problems = []fault.Problem{{Path: "instances", Message: "expected an integer from 1, got 0"}}
	var b bytes.Buffer
	Fault(&b, e, Options{})
	if want := "error: instances: expected an integer from 1, got 0\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	e = fault.New(fault.Invalid, `--state: "runing" is none of running, stopped`)
	e.Problems = []fault.Problem{{Path: "state", Message: `"runing" is none of running, stopped`, Near: "running"}}
	b.Reset()
	Fault(&b, e, Options{})
	if want := "error: --state: \"runing\" is none of running, stopped\n  did you mean \"running\"?\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFaultOfTargets(t *testing.T) {
	e := fault.New(fault.Failed, "1 of 2 apps failed").WithItems([]map[string]any{
		{"key": "shop/dev/api", "state": "running", "ok": true, "lines": []string{"x"}},
		{"key": "shop/dev/mailer", "state": "crashed", "ok": false, "reason": "exited 1\x1b after 0.4s"},
	})
	var b bytes.Buffer
	Fault(&b, e, Options{})
	want := "error: 1 of 2 apps failed\n  ● shop/dev/api     running\n  ✗ shop/dev/mailer  crashed  exited 1\\x1b after 0.4s\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFaultJSONSurvivesAnyItems(t *testing.T) {
	raw := FaultJSON(fault.New(fault.Failed, "x").WithItems(make(chan int)))
	var doc struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(raw, &doc); err != nil || doc.Error.Code != "failed" || doc.Error.Message != "x" {
		t.Errorf("%s, %v", raw, err)
	}
}

func logLine(t *testing.T, l *Log, line string) string {
	t.Helper()
	v, err := Decode([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return l.Line(v.(Object))
}

func TestLogLines(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 3, 7, 0, time.Local)
	stamp, err := at.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	head := `{"at":` + string(stamp) + `,"app":"pool","process":"web","instance":2,"stream":"out","text":`
	l := &Log{}
	if got, want := logLine(t, l, head+`"hi \u001b[31m"}`), "12:03:07 pool:web#2 │ hi \\x1b[31m\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := logLine(t, l, head+`"part","partial":true}`)+logLine(t, l, head+`"two"}`), "12:03:07 pool:web#2 │ parttwo\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := logLine(t, l, head+`"","kind":"lost","lost_bytes":2000}`); !strings.Contains(got, "2.0 kB of output were lost here") {
		t.Errorf("a loss is shown as %q", got)
	}
	raw := &Log{Raw: true}
	if got := logLine(t, raw, head+`"hi \u001b[31m"}`); got != "hi \x1b[31m\n" {
		t.Errorf("raw gives %q", got)
	}
	if got := logLine(t, raw, head+`"\ufffd","raw":"/w=="}`); got != "\xff\n" {
		t.Errorf("raw bytes give %q", got)
	}
	bare := &Log{Bare: true, Style: Style{Color: true}}
	if got := logLine(t, bare, `{"level":"error","text":"x"}`); got != "\x1b[31mx\x1b[0m\n" {
		t.Errorf("an error is painted %q", got)
	}
	one := &Log{}
	if got := logLine(t, one, `{"app":"api","process":"api","instance":1,"text":"x"}`); got != "api │ x\n" {
		t.Errorf("a classic app is named %q", got)
	}
}

func TestDecodeRefusesTwoDocuments(t *testing.T) {
	if _, err := Decode([]byte(`{} {}`)); err == nil {
		t.Error("two documents are taken for one")
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		line          string
		indent, width int
		want          string
	}{
		{"  name  a text that is short", 8, 80, "  name  a text that is short"},
		{"  name  a text that does not fit on one line", 8, 30, "  name  a text that does not\n        fit on one line"},
		{"  name  a text that does not fit on one line", 8, 0, "  name  a text that does not fit on one line"},
		{"  name  a text that does not fit on one line", 8, 20, "  name  a text that does not fit on one line"},
		{"  x  averyveryveryverylongword and more", 5, 26, "  x  averyveryveryverylongword\n     and more"},
	} {
		if got := Fold(c.line, c.indent, c.width); got != c.want {
			t.Errorf("%q within %d: %q", c.line, c.width, got)
		}
	}
}
