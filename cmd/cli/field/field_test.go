package field

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/spf13/pflag"
)

type order struct {
	op.Selection
	op.Page
	Count    int               `json:"count" cli:"arg" jsonschema:"how many"`
	Timeout  int               `json:"timeout_s,omitempty"`
	Pause    float64           `json:"pause_ms,omitempty"`
	Size     int64             `json:"max_bytes,omitempty"`
	Since    time.Time         `json:"since,omitzero"`
	Until    string            `json:"until,omitempty"`
	Level    string            `json:"level,omitempty" enum:"info,warn,error"`
	Env      map[string]string `json:"env,omitempty"`
	Tags     []string          `json:"tags,omitempty"`
	Ports    []int             `json:"ports,omitempty"`
	Force    bool              `json:"force,omitempty" cli:"short=F"`
	Wait     bool              `json:"wait,omitempty"`
	Files    []op.Item         `json:"files,omitempty"`
	Password string            `json:"password,omitempty" secret:"true"`
	Maybe    *int              `json:"maybe,omitempty"`
}

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func typed(t *testing.T, in string, args ...string) (map[string]any, error) {
	t.Helper()
	set := pflag.NewFlagSet("x", pflag.ContinueOnError)
	b := Bind(set, Of(reflect.TypeFor[order]()))
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return b.Input(set.Args(), now, func(string, bool) (string, error) { return strings.TrimSpace(in), nil })
}

func TestInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "files.json")
	if err := os.WriteFile(file, []byte(`[{"target":"x"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := typed(t, "s3cret\n", "--timeout", "2m", "--pause", "1500us", "--max-bytes", "2KiB", "--since", "10m", "--until", "09:30", "--level", "warn",
		"--env", "A=1", "--env", "B=x=y", "--tags", "a,b", "--tags", "c", "--ports", "80", "--ports", "443", "-F", "--no-wait", "--files", "@"+file,
		"--password", "-", "--limit", "5", "--maybe", "7", "api", "web")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"env":{"A":"1","B":"x=y"},"files":[{"target":"x"}],"force":true,"level":"warn","limit":5,"max_bytes":2048,"maybe":7,"names":["api","web"],` +
		`"password":"s3cret","pause_ms":1.5,"ports":[80,443],"since":"2026-11-24T11:50:00Z","tags":["a,b","c"],"timeout_s":120,"until":"2026-11-24T09:30:00Z","wait":false}`
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Error(diff)
	}
}

func TestNothingTypedIsNothingSent(t *testing.T) {
	got, err := typed(t, "")
	if err != nil || len(got) != 1 || got["wait"] != true {
		t.Errorf("got %v, %v; want only wait", got, err)
	}
}

func TestBadValues(t *testing.T) {
	for _, args := range [][]string{
		{"--timeout", "soon"}, {"--timeout", "1500ms"}, {"--timeout", "-5s"}, {"--max-bytes", "5XB"}, {"--since", "late"}, {"--level", "wrn"}, {"--env", "A"}, {"--ports", "http"},
		{"--files", "{"}, {"--files", "@/nonexistent"}, {"--limit", "1.5"}, {"--force=perhaps"}, {"--maybe", "x"},
	} {
		if _, err := typed(t, "", args...); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), strings.SplitN(args[0], "=", 2)[0]) {
			t.Errorf("%v gives %v", args, err)
		}
	}
	_, err := typed(t, "", "--level", "wrn")
	if p := fault.From(err).Problems; len(p) != 1 || p[0].Near != "warn" {
		t.Errorf("a mistyped level suggests %+v", p)
	}
}

func TestPositions(t *testing.T) {
	type move struct {
		Name  string    `json:"name" cli:"arg"`
		Count int       `json:"count" cli:"arg"`
		Since time.Time `json:"since,omitzero" cli:"arg?"`
	}
	fields := Of(reflect.TypeFor[move]())
	if got := Usage(fields); got != " <name> <count> [since]" {
		t.Errorf("usage %q", got)
	}
	for _, c := range []struct {
		args []string
		text string
	}{{nil, "needs <name> and <count>"}, {[]string{"a"}, "needs <count>"}, {[]string{"a", "1"}, ""}, {[]string{"a", "1", "2h"}, ""}, {[]string{"a", "1", "2h", "x"}, `does not take "x"`}} {
		err := Check(fields, c.args, "omnitron x")
		if c.text == "" && err != nil || c.text != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%v gives %v", c.args, err)
		}
	}
	set := pflag.NewFlagSet("x", pflag.ContinueOnError)
	got, err := Bind(set, fields).Input([]string{"api", "3", "1d"}, now, nil)
	if err != nil || got["name"] != "api" || got["count"] != int64(3) || got["since"] != "2026-11-23T12:00:00Z" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDurationAndSize(t *testing.T) {
	for in, want := range map[string]time.Duration{"90": 90 * time.Second, "1.5": 1500 * time.Millisecond, "10m": 10 * time.Minute, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "0": 0} {
		if got, err := Duration(in, time.Second); err != nil || got != want {
			t.Errorf("Duration(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "x", "-1", "-5m", "1e30", "NaN", "d", "99999d"} {
		if got, err := Duration(in, time.Second); err == nil {
			t.Errorf("Duration(%q) = %v, want an error", in, got)
		}
	}
	for in, want := range map[string]int64{"1000": 1000, "50MB": 50e6, "1.5GB": 1.5e9, "2GiB": 2 << 30, "3 KB": 3000, "7B": 7} {
		if got, err := Size(in); err != nil || got != want {
			t.Errorf("Size(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "MB", "-1MB", "5 apples", "NaN", "1e30"} {
		if got, err := Size(in); err == nil {
			t.Errorf("Size(%q) = %v, want an error", in, got)
		}
	}
}

// TestLineIsTypedBack types what Line wrote and gets the same input.
func TestLineIsTypedBack(t *testing.T) {
	in := `{"names":["api","it's","a b"],"timeout_s":120,"level":"warn","env":{"A":"x y"},"tags":["t","u"],"force":true,"wait":false,"files":[{"target":"x"}],"ports":[80]}`
	var values map[string]any
	if err := json.Unmarshal([]byte(in), &values); err != nil {
		t.Fatal(err)
	}
	line := Line("omnitron x", Of(reflect.TypeFor[order]()), values)
	got, err := typed(t, "", shellWords(t, line)[2:]...)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal([]byte(in), &a) != nil || json.Unmarshal(raw, &b) != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("%s\nreads as %s\nwant     %s", line, raw, in)
	}
}

// shellWords splits a line as a shell does, as far as Quote writes one.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	word, in, begun := "", false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'':
			in, begun = !in, true
		case c == '\\' && !in:
			i++
			word += string(line[i])
		case c == ' ' && !in:
			if begun || word != "" {
				words = append(words, word)
			}
			word, begun = "", false
		default:
			word += string(c)
		}
	}
	return append(words, word)
}

// TestSecretsAreNotTyped: a secret among the arguments is refused, wherever it would go.
func TestSecretsAreNotTyped(t *testing.T) {
	for _, arg := range []string{"hunter2", "", "--"} {
		_, err := typed(t, "asked", "--password", arg, "api")
		if f := fault.From(err); f == nil || f.Reason != "secret_in_arguments" || strings.Contains(f.Message+f.Hint, "hunter2") {
			t.Errorf("--password %s: %v", arg, err)
		}
	}
	got, err := typed(t, "asked", "--password", "-", "api")
	if err != nil || got["password"] != "asked" {
		t.Errorf("asked for it: %v, %v", got, err)
	}
	if got, err := typed(t, "asked", "api"); err != nil || got["password"] != nil {
		t.Errorf("one that need not be given: %v, %v", got, err)
	}
}
