package render

import (
	"bytes"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// fits fails the test when a line is wider than the terminal.
func fits(t *testing.T, text string, width int) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if Width(line) > width {
			t.Errorf("%d columns: %q", Width(line), line)
		}
	}
}

// TestFaultFits: on a terminal a failure is broken between words, in a pipe it is not broken at all.
func TestFaultFits(t *testing.T) {
	f := fault.New(fault.Failed, "cannot start shop/dev/mailer: exited 7 after 162ms; not started again: its restart policy is never").
		WithItems([]any{
			map[string]any{"key": "shop/dev/a-very-long-name-that-goes-on-and-on", "state": "running", "ok": true},
			map[string]any{"key": "shop/dev/mailer", "state": "crashed", "ok": false, "reason": "exited 7 after 162ms; not started again: its restart policy is never"},
		})
	f.Problems = []fault.Problem{{Path: "omnitron.yaml:3:5", Message: "must be the name of an app, and this one has more characters than a name may have\n  3 | - {name: " + strings.Repeat("x", 90) + "}\n    |          ^^^^\n  lower-case letters, digits, - and _, up to 63, beginning with a letter or digit"}}
	var narrow, piped bytes.Buffer
	Fault(&narrow, f, Options{Width: 60})
	fits(t, narrow.String(), 60)
	for _, want := range []string{"error: cannot start shop/dev/mailer: exited 7 after 162ms;\n  not started again", "\n  ✗ shop/dev/mailer  crashed", "on-and-on\n      running\n", "\n      |          ^^^^\n"} {
		if !strings.Contains(narrow.String(), want) {
			t.Errorf("%q is not in\n%s", want, &narrow)
		}
	}
	Fault(&piped, f, Options{})
	if !strings.HasPrefix(piped.String(), "error: "+f.Message+"\n") {
		t.Errorf("in a pipe:\n%s", &piped)
	}
}

// TestBelowAnObject: what answers the question is never cut there, and columns without a rank are shown as far as they fit.
func TestBelowAnObject(t *testing.T) {
	v, err := Decode([]byte(`{"summary":"crashing is crashed: exited 7 after 17ms; not started again: its restart policy is never",
		"stderr":[{"slot":"crashing:crashing#1","text":"FATAL größe ≠ 日本語テキスト: cannot connect to database at postgres://localhost:5432/` + strings.Repeat("y", 60) + ` because it refuses"}],
		"instances":[{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","pid":4711}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	Text(&b, v, nil, Options{Width: 60})
	fits(t, b.String(), 60)
	if strings.Contains(b.String(), "…") || !strings.Contains(b.String(), "because it refuses") || !strings.Contains(b.String(), "\n         started again: its") || !strings.Contains(b.String(), "4711") {
		t.Errorf("\n%s", &b)
	}
}
