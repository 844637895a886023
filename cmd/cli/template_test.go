package cli

import (
	"strings"
	"testing"
)

// TestTemplate: --template is a Go template of the JSON of an answer, of lists, single answers and items of streams alike.
func TestTemplate(t *testing.T) {
	b := newBench(t)
	b.on("apps.list", `{"items":[{"name":"api","state":"running","restarts":3,"rss_bytes":1048576},{"name":"w\u001b[1m","state":"crashed","restarts":0,"reason":"it \u001b"}],"truncated":false,"total":2}`)
	b.on("apps.get", `{"name":"api","state":"running","restarts":3}`)
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"ls", "--template", `{{range .items}}{{.name}} {{.restarts}} {{.reason}};{{end}}{{.total}}`}, 0, "api 3 ;w\x1b[1m 0 it \x1b;2"},
		{[]string{"ls", "--template", `{{range .items}}{{if gt .restarts 2}}{{upper .name}}{{end}}{{end}}`}, 0, "API"},
		{[]string{"ls", "--template", `{{pluck "state" .items | join ","}}`}, 0, "running,crashed"},
		{[]string{"ls", "--template", `{{json (index .items 0)}}`}, 0, `{"name":"api","restarts":3,"rss_bytes":1048576,"state":"running"}`},
		{[]string{"apps", "get", "api", "--template", `{{.state}}`}, 0, "running"},
		{[]string{"ls", "--template", `{{range`}, 64, ""},
		{[]string{"ls", "--template", `{{index .items 9}}`}, 64, ""},
		{[]string{"ls", "--template", `x`, "-o", "yaml"}, 64, ""},
		{[]string{"ls", "--template", `x`, "--jq", "."}, 64, ""},
		{[]string{"ls", "--columns", "name,restarts"}, 0, "NAME\tRESTARTS\napi\t3\nw\\x1b[1m\t0\n"},
	} {
		r := b.run(t, c.args...)
		out := r.out
		if r.code == 64 && !strings.Contains(strings.Join(c.args, " "), "yaml") && !strings.Contains(strings.Join(c.args, " "), "--jq") && !strings.Contains(r.err, "--template") {
			t.Errorf("%q: %+v", c.args, r)
		}
		if c.code == 64 {
			out = ""
		}
		if r.code != c.code || out != c.out {
			t.Errorf("%q: %d %q %s, want %d %q", c.args, r.code, r.out, r.err, c.code, c.out)
		}
	}
	b.env.Terminal.Out = true
	if r := b.run(t, "ls", "--template", `{{range .items}}{{.name}} {{end}}`); r.out != "api w\\x1b[1m " {
		t.Errorf("on a terminal: %q", r.out)
	}
	b.env.Terminal.Out = false
	b.vars["OMNITRON_OUTPUT"] = "json"
	if r := b.run(t, "ls", "--template", `{{.total}}`); r.out != "2" {
		t.Errorf("beside OMNITRON_OUTPUT: %q", r.out)
	}
}

// TestColumnsOfLines: what is shown as printed lines is a table when columns are asked for.
func TestColumnsOfLines(t *testing.T) {
	b := newBench(t)
	b.on("logs.query", `{"items":[{"at":"2026-11-24T11:59:00Z","app":"api","text":"one"},{"at":"2026-11-24T11:59:01Z","app":"web","text":"two"}],"truncated":false}`)
	if r := b.run(t, "logs", "--columns", "app,text"); r.code != 0 || r.out != "APP\tTEXT\napi\tone\nweb\ttwo\n" {
		t.Errorf("%+v", r)
	}
	if r := b.run(t, "logs", "-o", "wide"); r.code != 0 || !strings.HasPrefix(r.out, "AT\tAPP\tTEXT\n") {
		t.Errorf("%+v", r)
	}
}
