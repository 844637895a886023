package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

var shop = `{"items":[{"name":"api","state":"running","health":"healthy","restarts":0,"rss_bytes":210000000,"since":"2026-11-24T11:00:00Z","key":"shop/dev/api"},` +
	`{"name":"evil\u001b[2J","state":"crashed","health":"unknown","restarts":7,"rss_bytes":0,"since":"2026-11-24T11:59:00Z","key":"shop/dev/evil"}],"truncated":false}`

// documents counts the documents of a machine's format on stdout.
func documents(t *testing.T, format, out string) []any {
	t.Helper()
	if format == "yaml" {
		var v any
		if err := yaml.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("no YAML: %v in %q", err, out)
		}
		return []any{v}
	}
	var docs []any
	d := json.NewDecoder(strings.NewReader(out))
	for d.More() {
		var v any
		if err := d.Decode(&v); err != nil {
			t.Fatalf("no JSON: %v in %q", err, out)
		}
		docs = append(docs, v)
	}
	return docs
}

// complete are the arguments that make each method's input complete.
func complete(spec op.Spec) []string {
	args := []string{spec.Service, spec.Verb}
	switch spec.ID() {
	case "apps.get", "apps.explain":
		args = append(args, "api")
	case "apps.scale":
		args = append(args, "api", "2")
	case "logs.purge":
		args = append(args, "--yes")
	}
	return args
}

// TestOneDocument calls every method in every machine's format, with success and with failure: stdout is one document
// (a stream: a line an item, the failure the last), and nobody talks on stderr.
func TestOneDocument(t *testing.T) {
	for _, spec := range specs() {
		for _, format := range []string{"json", "yaml", "jsonl"} {
			b := newBench(t)
			b.on(spec.ID(), map[string]any{"name": "x", "n": 1})
			if spec.ID() == "logs.query" { // shown item by item
				b.on(spec.ID(), map[string]any{"items": []any{map[string]any{"n": 1}}})
			}
			if spec.Effect.Changes() {
				b.on(spec.ID(), done(map[string]any{"name": "x"}))
			}
			b.items[spec.ID()] = func(_ context.Context, _ map[string]any, yield func(any) bool) error {
				yield(map[string]any{"n": 1})
				yield(map[string]any{"n": 2})
				return nil
			}
			args := append(complete(spec), "-o", format)
			r := b.run(t, args...)
			want := 1
			if spec.Stream && format != "yaml" {
				want = 2
			}
			if r.code != 0 || r.err != "" {
				t.Errorf("%v: exit %d, stderr %q", args, r.code, r.err)
			}
			if format == "yaml" && spec.Stream {
				if n := strings.Count(r.out, "---\n"); n != 2 {
					t.Errorf("%v: %d documents of YAML", args, n)
				}
			} else if docs := documents(t, format, r.out); len(docs) != want {
				t.Errorf("%v: %d documents in %q", args, len(docs), r.out)
			}

			b.on(spec.ID(), fault.New(fault.Conflict, "not now"))
			b.items[spec.ID()] = func(_ context.Context, _ map[string]any, yield func(any) bool) error {
				yield(map[string]any{"n": 1})
				return fault.New(fault.Conflict, "not now")
			}
			r = b.run(t, args...)
			if r.code != 1 || r.err != "" {
				t.Errorf("%v failing: exit %d, stderr %q", args, r.code, r.err)
			}
			last := r.out
			if spec.Stream {
				if format == "yaml" {
					last = r.out[strings.LastIndex(r.out, "---\n"):]
				} else {
					lines := strings.Split(strings.TrimSpace(r.out), "\n")
					if len(lines) != 2 {
						t.Errorf("%v failing: %d lines", args, len(lines))
					}
					last = lines[len(lines)-1]
				}
			}
			docs := documents(t, format, last)
			e, _ := docs[0].(map[string]any)["error"].(map[string]any)
			if len(docs) != 1 || e["code"] != "conflict" || e["message"] != "not now" {
				t.Errorf("%v failing: %v", args, docs)
			}
		}
	}
}

func TestNoDaemon(t *testing.T) {
	b := newBench(t)
	b.env.Dial = func(context.Context, string) (Client, error) { return nil, os.ErrNotExist }
	for _, args := range [][]string{{"ls"}, {"ping"}, {"logs", "api"}, {"events"}, {"stop"}} {
		if r := b.run(t, args...); r.code != 2 || !strings.Contains(r.err, "not reachable") || !strings.Contains(r.err, "omnitron up") {
			t.Errorf("%v: exit %d, %q", args, r.code, r.err)
		}
		if r := b.run(t, append(args, "--json")...); r.code != 2 || failure(t, r.out).Code != fault.Unavailable {
			t.Errorf("%v --json: exit %d, %q", args, r.code, r.out)
		}
	}
}

func TestFormats(t *testing.T) {
	b := newBench(t)
	b.on("apps.list", shop)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ls", "--json"}, shop + "\n"},
		{[]string{"ls", "-o", "name"}, "shop/dev/api\nshop/dev/evil\n"},
		{[]string{"ls", "--jq", ".items[].name|ascii_upcase"}, "API\nEVIL\x1b[2J\n"},
		{[]string{"ls", "--columns", "name,restarts"}, "NAME\tRESTARTS\napi\t0\nevil\\x1b[2J\t7\n"},
		{[]string{"ls", "-q"}, ""},
	} {
		if r := b.run(t, c.args...); r.code != 0 || r.out != c.want || r.err != "" {
			t.Errorf("%v: exit %d, got %q, want %q; stderr %q", c.args, r.code, r.out, c.want, r.err)
		}
	}
	b.vars["OMNITRON_OUTPUT"] = "json"
	if r := b.run(t, "ls"); r.out != shop+"\n" {
		t.Errorf("OMNITRON_OUTPUT=json gives %q", r.out)
	}
	if r := b.run(t, "ls", "-o", "name"); r.out != "shop/dev/api\nshop/dev/evil\n" {
		t.Errorf("-o does not win over OMNITRON_OUTPUT: %q", r.out)
	}
	delete(b.vars, "OMNITRON_OUTPUT")
	for _, args := range [][]string{{"ls", "-o", "xml"}, {"ls", "-o", "yaml", "--json"}, {"ls", "--jq", ".["}, {"ls", "-o", "jsonpath={.items[*].name}"}, {"ls", "--timeout", "soon"}} {
		if r := b.run(t, args...); r.code != 64 || r.err == "" && !strings.HasPrefix(r.out, `{"error"`) {
			t.Errorf("%v: exit %d, %q %q", args, r.code, r.out, r.err)
		}
	}
	if r := b.run(t, "ls", "-o", "jsonpath={.items[*].name}"); !strings.Contains(r.err, "--jq '.items[].name'") {
		t.Errorf("jsonpath is not translated: %q", r.err)
	}
}

// TestColours runs reads and failures on a terminal: there are colours, and none with NO_COLOR, TERM=dumb or --no-color.
func TestColours(t *testing.T) {
	b := newBench(t)
	b.on("apps.list", shop).on("apps.get", fault.New(fault.NotFound, "no app").WithHint("omnitron ls").WithCandidates("api"))
	b.env.Terminal.Out, b.env.Terminal.Err = true, true
	commands := [][]string{{"ls"}, {"apps", "get", "x"}, {"explain", "conflict"}, {"lss"}, {"help"}}
	seen := ""
	for _, args := range commands {
		r := b.run(t, args...)
		seen += r.out + r.err
	}
	if !strings.Contains(seen, "\x1b[32m") || !strings.Contains(seen, "● running") {
		t.Errorf("a terminal gets no colours: %q", seen)
	}
	for _, vars := range []map[string]string{{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}} {
		b.vars = vars
		for _, args := range commands {
			if len(vars) == 0 {
				args = append([]string{"--no-color"}, args...)
			}
			if r := b.run(t, args...); strings.Contains(r.out+r.err, "\x1b") {
				t.Errorf("%v with %v has an ESC: %q %q", args, vars, r.out, r.err)
			}
		}
	}
	b.env.Terminal.Out = false
	if r := b.run(t, "--color", "ls", "-o", "wide"); strings.Contains(r.out, "\x1b[2J") {
		t.Errorf("foreign text reached the terminal: %q", r.out)
	}
}

func TestInputReachesTheDaemon(t *testing.T) {
	b := newBench(t)
	b.on("apps.start", done(map[string]any{})).on("apps.scale", done(map[string]any{})).on("apps.list", shop).on("logs.query", `{"items":[],"truncated":false}`).on("events.list", `{"items":[],"truncated":false}`)
	for _, c := range []struct {
		args         []string
		method, want string
	}{
		{[]string{"apps", "start", "api", "web", "--no-wait", "--timeout", "2m", "--stack", "prod", "--project", "blog"}, "apps.start", `{"names":["api","web"],"no_wait":true,"project":"blog","stack":"prod","timeout_s":120}`},
		{[]string{"start", "--dry-run", "--idempotency-key", "k1"}, "apps.start", `{"dry_run":true,"idempotency_key":"k1"}`},
		{[]string{"scale", "api", "3"}, "apps.scale", `{"instances":3,"name":"api"}`},
		{[]string{"ls", "-A", "--limit", "5", "--state", "running"}, "apps.list", `{"all":true,"limit":5,"state":"running"}`},
		{[]string{"logs", "api", "-n", "50", "--since", "10m", "--grep", "a,b"}, "logs.query", `{"grep":"a,b","limit":50,"names":["api"],"since":"2026-11-24T11:50:00Z"}`},
		{[]string{"since", "1h"}, "events.list", `{"since":"2026-11-24T11:00:00Z"}`},
	} {
		b.calls = nil
		if r := b.run(t, c.args...); r.code != 0 {
			t.Errorf("%v: exit %d, %q", c.args, r.code, r.err)
			continue
		}
		raw, err := json.Marshal(b.named(c.method)[0])
		if err != nil || string(raw) != c.want {
			t.Errorf("%v sent %s, want %s", c.args, raw, c.want)
		}
	}
	for _, args := range [][]string{{"scale", "api"}, {"scale", "api", "many"}, {"scale", "api", "1", "2"}, {"ls", "--state", "runing"}, {"ls", "api"}, {"status", "--project", "x"}, {"ping", "--stack", "x"}} {
		b.calls = nil
		if r := b.run(t, args...); r.code != 64 || len(b.calls) > 0 {
			t.Errorf("%v: exit %d, calls %v, %q", args, r.code, b.calls, r.err)
		}
	}
}

func TestProjectOfTheFolder(t *testing.T) {
	b := newBench(t)
	b.on("apps.stop", done(map[string]any{})).on("apps.list", shop)
	b.project(t, "apps: []\n")
	root := b.env.Dir
	b.env.Dir += "/below/it"
	b.vars["OMNITRON_STACK"] = "prod"
	b.run(t, "stop")
	b.run(t, "stop", "other/dev/api")
	b.run(t, "ls", "--project", "*")
	if in := b.named("apps.stop")[0]; in["project"] != root || in["stack"] != "prod" {
		t.Errorf("sent %v, want the folder and OMNITRON_STACK", in)
	}
	if in := b.named("apps.stop")[1]; in["project"] != nil {
		t.Errorf("a full name was sent with a project: %v", in)
	}
	if in := b.named("apps.list")[0]; in["project"] != nil {
		t.Errorf("--project '*' was sent as %v", in)
	}
}

func TestDestroyingAsks(t *testing.T) {
	planned := map[string]any{"status": "done", "plan": map[string]any{"items": []any{map[string]any{"target": "shop/dev/api", "from": "48 MB", "to": "nothing"}}}}
	answer := func(_ context.Context, in map[string]any) (any, error) {
		if in["dry_run"] == true {
			return planned, nil
		}
		return done(map[string]any{"bytes": 48}), nil
	}
	b := newBench(t)
	b.answers["logs.purge"] = answer
	if r := b.run(t, "logs", "purge", "api"); r.code != 64 || !strings.Contains(r.err, "omnitron logs purge api --yes") || len(b.calls) > 0 {
		t.Errorf("without a terminal: exit %d, calls %v, %q", r.code, b.calls, r.err)
	}
	if r := b.run(t, "logs", "purge", "api", "--json"); r.code != 64 || failure(t, r.out).Reason != "confirmation_needed" {
		t.Errorf("without a terminal, for a program: exit %d, %q", r.code, r.out)
	}
	if r := b.run(t, "logs", "purge", "api", "--yes"); r.code != 0 || len(b.calls) != 1 {
		t.Errorf("--yes: exit %d, calls %v, %q", r.code, b.calls, r.err)
	}
	b.env.Terminal.In, b.env.Terminal.Err = true, true
	for text, want := range map[string]int{"y\n": 0, "yes\n": 0, "n\n": 130, "\n": 130, "": 130, "sure\n": 130} {
		b.calls = nil
		r := b.runIn(t.Context(), text, "logs", "purge", "api")
		real := slices.ContainsFunc(b.calls, func(c call) bool { return c.In["dry_run"] == nil })
		if r.code != want || real != (want == 0) || !strings.Contains(r.err, "48 MB") || !strings.Contains(r.err, "[y/N]") {
			t.Errorf("answer %q: exit %d, calls %v, %q", text, r.code, b.calls, r.err)
		}
	}
	b.calls = nil
	if r := b.run(t, "logs", "purge", "api", "--dry-run"); r.code != 0 || !strings.Contains(r.out, "nothing was changed") || b.calls[0].In["dry_run"] != true {
		t.Errorf("--dry-run: exit %d, calls %v, %q", r.code, b.calls, r.out)
	}
}

func TestOutcomes(t *testing.T) {
	soon := noon.Add(5 * time.Minute).Format(time.RFC3339)
	b := newBench(t)
	held := fmt.Sprintf(`{"status":"held","plan":{"items":[{"target":"a","from":"x","to":"y"}]},"approval":{"id":"ap1","expires_at":%q}}`, soon)
	b.on("apps.stop", held)
	if r := b.run(t, "stop"); r.code != 4 || !strings.Contains(r.out, "approval ap1, 5m left") {
		t.Errorf("held: exit %d, %q", r.code, r.out)
	}
	if r := b.run(t, "stop", "--json"); r.code != 4 || r.out != held+"\n" {
		t.Errorf("held for a program: exit %d, %q", r.code, r.out)
	}
	b.on("apps.stop", `{"status":"running","job":{"id":"j7"}}`)
	if r := b.run(t, "stop"); r.code != 0 || !strings.Contains(r.out, "job j7") {
		t.Errorf("running: exit %d, %q", r.code, r.out)
	}
	b.on("apps.stop", `{"status":"done","result":{"items":[{"key":"shop/dev/api","state":"stopped","ok":true}],"truncated":false},"next":[{"method":"apps.start","input":{"names":["api"]}}]}`)
	if r := b.run(t, "stop"); r.code != 0 || r.out != "KEY\tSTATE\nshop/dev/api\tstopped\nnext omnitron start api\n" {
		t.Errorf("done: exit %d, %q", r.code, r.out)
	}
	b.answers["apps.stop"] = func(_ context.Context, in map[string]any) (any, error) {
		if in["confirm"] == "tok" {
			return done(map[string]any{}), nil
		}
		return fmt.Sprintf(`{"status":"confirm","plan":{"items":[]},"confirm":{"token":"tok","expires_at":%q}}`, soon), nil
	}
	if r := b.run(t, "stop"); r.code != 4 || !strings.Contains(r.out, "--confirm tok") {
		t.Errorf("confirm without a terminal: exit %d, %q", r.code, r.out)
	}
	if r := b.run(t, "stop", "--confirm", "tok"); r.code != 0 {
		t.Errorf("with the token: exit %d, %q", r.code, r.err)
	}
	if r := b.run(t, "stop", "--yes"); r.code != 0 || !strings.Contains(r.out, "done") {
		t.Errorf("with --yes: exit %d, %q", r.code, r.out)
	}
}

func TestTimeoutAndInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		hang := func(ctx context.Context, _ map[string]any) (any, error) {
			<-ctx.Done()
			return nil, fault.Wrap(ctx.Err(), fault.Cancelled, "cancelled")
		}
		b.answers["apps.list"] = hang
		b.items["events.follow"] = func(ctx context.Context, _ map[string]any, yield func(any) bool) error {
			yield(map[string]any{"type": "x"})
			<-ctx.Done()
			return ctx.Err()
		}
		if r := b.run(t, "ls", "--timeout", "2s"); r.code != 5 || !strings.Contains(r.err, "within 2s") {
			t.Errorf("--timeout: exit %d, %q", r.code, r.err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r := b.runIn(ctx, "", "ls", "--json"); r.code != 130 || failure(t, r.out).Code != fault.Cancelled {
			t.Errorf("interrupted: exit %d, %q", r.code, r.out)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r := b.runIn(ctx, "", "events", "-o", "jsonl")
		if docs := documents(t, "jsonl", r.out); r.code != 130 || len(docs) != 2 {
			t.Errorf("interrupted stream: exit %d, %q", r.code, r.out)
		}
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		n := 0
		b.answers["daemon.status"] = func(context.Context, map[string]any) (any, error) {
			n++
			if n > 4 {
				return nil, fault.New(fault.Unavailable, "gone")
			}
			return map[string]any{"project": fmt.Sprintf("p%d", n/2)}, nil
		}
		begun := time.Now()
		r := b.run(t, "status", "-w", "-o", "jsonl")
		if r.code != 2 || r.out != `{"project":"p0"}`+"\n"+`{"project":"p1"}`+"\n"+`{"project":"p2"}`+"\n"+`{"error":{"code":"unavailable","message":"gone"}}`+"\n" {
			t.Errorf("exit %d, %q", r.code, r.out)
		}
		if d := time.Since(begun); d != 20*time.Second {
			t.Errorf("five looks took %v, want 20s", d)
		}
		n = 0
		b.env.Terminal.Out = true
		if r := b.run(t, "status", "-w"); strings.Count(r.out, "\x1b[H\x1b[J") != 4 || !strings.Contains(r.out, "p2") {
			t.Errorf("a terminal is drawn over %q", r.out)
		}
	})
}

// TestWatchEvents: what happens is shown at once, and all that happens together once.
func TestWatchEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		begun := time.Now()
		var looks []time.Duration
		b.answers["apps.list"] = func(context.Context, map[string]any) (any, error) {
			if looks = append(looks, time.Since(begun)); len(looks) == 4 {
				return nil, fault.New(fault.Unavailable, "gone")
			}
			return shop, nil
		}
		b.items["events.follow"] = func(ctx context.Context, _ map[string]any, yield func(any) bool) error {
			<-time.After(time.Second)
			for seq := range 3 {
				yield(map[string]any{"seq": seq + 1})
			}
			<-time.After(time.Second)
			yield(map[string]any{"seq": 4})
			<-ctx.Done()
			return ctx.Err()
		}
		r := b.run(t, "ls", "-w", "-o", "jsonl")
		if want := []time.Duration{0, 1100 * time.Millisecond, 2100 * time.Millisecond, 7100 * time.Millisecond}; r.code != 2 || !slices.Equal(looks, want) {
			t.Errorf("exit %d, looked at %v, want %v", r.code, looks, want)
		}
		if in := b.named("events.follow"); len(in) != 1 || fmt.Sprint(in[0]["topics"]) != "[apps health]" {
			t.Errorf("followed %v", in)
		}
	})
}

func TestLogs(t *testing.T) {
	b := newBench(t)
	at := time.Date(2026, 11, 24, 12, 3, 7, 0, time.Local)
	one := map[string]any{"at": at, "app": "api", "process": "api", "instance": 1, "stream": "out", "text": "hello\x1b[2J"}
	b.on("logs.query", map[string]any{"items": []any{one}, "truncated": false})
	b.items["logs.follow"] = func(_ context.Context, _ map[string]any, yield func(any) bool) error {
		yield(one)
		yield(map[string]any{"dropped": 37})
		return nil
	}
	if r := b.run(t, "logs", "api"); r.code != 0 || r.out != "12:03:07 api │ hello\\x1b[2J\n" || r.err != "" {
		t.Errorf("exit %d, %q, %q", r.code, r.out, r.err)
	}
	if r := b.run(t, "logs", "api", "--raw"); r.out != "hello\x1b[2J\n" {
		t.Errorf("--raw: %q", r.out)
	}
	if r := b.run(t, "logs", "-f", "api", "--level", "warn", "--no-prefix"); r.code != 0 || r.out != "12:03:07 hello\\x1b[2J\n▲ 37 items were lost: this reader was too slow\n" {
		t.Errorf("-f: exit %d, %q", r.code, r.out)
	}
	if in := b.named("logs.follow"); len(in) != 1 || in[0]["level"] != "warn" || in[0]["limit"] != nil {
		t.Errorf("follow was asked for %v", in)
	}
	if r := b.run(t, "logs", "-f", "api", "-n", "0"); r.code != 0 || fmt.Sprint(b.named("logs.follow")[1]["limit"]) != "0" { // only what comes
		t.Errorf("logs -f -n 0: exit %d, %v, %q", r.code, b.named("logs.follow"), r.err)
	}
	if r := b.run(t, "logs", "-f", "--json"); len(documents(t, "jsonl", r.out)) != 2 {
		t.Errorf("-f --json: %q", r.out)
	}
	if r := b.run(t, "logs", "query", "api", "--json"); len(documents(t, "json", r.out)) != 1 {
		t.Errorf("logs query --json: %q", r.out)
	}
}

// TestLogsGoesOn: however little fits into a page, all lines that were asked for are shown, whole, in every form that is
// not one document.
func TestLogsGoesOn(t *testing.T) {
	piece := func(text, stream string, more map[string]any) map[string]any {
		it := map[string]any{"project": "shop", "stack": "dev", "app": "api", "process": "main", "instance": 1, "stream": stream, "text": text}
		maps.Copy(it, more)
		return it
	}
	begin, middle, end := map[string]any{"partial": true}, map[string]any{"partial": true, "continues": true}, map[string]any{"continues": true}
	lost := map[string]any{"kind": "lost", "lost_bytes": 5}
	pages := map[string]any{ // the newest first, by cursor
		"":   []any{piece("four", "err", nil), piece("x3", "out", end), piece("five", "err", nil)},
		"c1": []any{}, // the time for a page was up
		"c2": []any{piece("", "err", lost), piece("x2", "out", middle)},
		"c3": []any{piece("one", "err", nil), piece("x0", "out", begin), piece("x1", "out", middle)},
	}
	after := map[string]string{"": "c1", "c1": "c2", "c2": "c3"}
	query := func(_ context.Context, in map[string]any) (any, error) {
		at, _ := in["cursor"].(string)
		items := pages[at].([]any)
		if names := fmt.Sprint(in["names"]); strings.Contains(names, "/") { // one stream only
			if names != "[shop/dev/api:main#1]" || in["stream"] != "out" || in["project"] != nil {
				return nil, fault.New(fault.Invalid, "asked for %v", in)
			}
			items = slices.DeleteFunc(slices.Clone(items), func(it any) bool { return it.(map[string]any)["stream"] != "out" })
		}
		return map[string]any{"items": items, "truncated": after[at] != "", "next_cursor": after[at]}, nil
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--raw", "-n", "1"}, "five\n"},
		{[]string{"--raw", "-n", "3"}, "x0x1x2four\nx3\nfive\n"},
		{[]string{"--raw", "-n", "4"}, "one\nx0x1x2four\nx3\nfive\n"},
		{[]string{"query", "--raw"}, "one\nx0x1x2four\nx3\nfive\n"},
		{[]string{"-o", "name", "-n", "1"}, "api\n"},
		{[]string{"-q"}, ""},
	} {
		b := newBench(t)
		b.answers["logs.query"] = query
		if r := b.run(t, append([]string{"logs"}, c.args...)...); r.code != 0 || r.out != c.want {
			t.Errorf("%v: exit %d, %q, not %q; %s", c.args, r.code, r.out, c.want, r.err)
		}
	}
	b := newBench(t)
	b.answers["logs.query"] = query
	if r := b.run(t, "logs", "-o", "jsonl", "-n", "3", "--project", "shop"); r.code != 0 || len(documents(t, "jsonl", r.out)) != 6 {
		t.Errorf("-o jsonl: exit %d, %s", r.code, r.out)
	}
	for _, format := range []string{"json", "yaml"} {
		b.calls = nil
		if r := b.run(t, "logs", "-o", format, "-n", "3"); r.code != 0 || !strings.Contains(r.out, "truncated") || !strings.Contains(r.out, "c1") || len(b.calls) != 1 {
			t.Errorf("-o %s: exit %d, %d calls, %s", format, r.code, len(b.calls), r.out)
		}
	}
}

// full is a file on a disk that has no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestAnswerThatCannotBeWritten: half an answer is none, in whatever form.
func TestAnswerThatCannotBeWritten(t *testing.T) {
	b := newBench(t)
	b.on("apps.list", shop)
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}, {"ls", "-o", "name"}, {"version"}, {"ls", "--help"}} {
		var said bytes.Buffer
		env := b.env
		env.Stdout, env.Stderr = full{}, &said
		if code := Main(t.Context(), b.specs, env, args); code != 1 || !strings.Contains(said.String(), "cannot write the answer: no space left") {
			t.Errorf("%v: exit %d, %q", args, code, said.String())
		}
	}
}

func TestColumns(t *testing.T) {
	b := newBench(t)
	b.on("apps.list", shop)
	if r := b.run(t, "ls", "--columns", "name,STATE"); r.code != 0 || !strings.HasPrefix(r.out, "NAME\tSTATE\n") {
		t.Errorf("exit %d, %q, %q", r.code, r.out, r.err)
	}
	if r := b.run(t, "ls", "--columns", "nmae"); r.code != 64 || !strings.Contains(r.err, `there is no column "nmae"`) || !strings.Contains(r.err, `did you mean "name"?`) || r.out != "" {
		t.Errorf("a column that there is not: exit %d, %q, %q", r.code, r.out, r.err)
	}
}

// TestFollowingOutlivesTheDaemon: a stream goes on after the item that was seen last when the daemon is back, and ends
// when nobody will start it again.
func TestFollowingOutlivesTheDaemon(t *testing.T) {
	lost := fault.New(fault.Unavailable, "the connection to the daemon was lost").WithReason("connection_lost")
	for _, c := range []struct {
		args           []string
		method, key    string
		item           map[string]any
		want           string
		keeper, answer bool
		code           int
	}{
		{[]string{"events"}, "events.follow", "since", map[string]any{"seq": 7, "type": "note", "text": "x"}, "7", true, true, 0},
		{[]string{"logs", "-f"}, "logs.follow", "cursor", map[string]any{"app": "api", "text": "x", "cursor": "c7"}, "c7", true, true, 0},
		{[]string{"events"}, "events.follow", "since", map[string]any{"seq": 7, "type": "note"}, "", false, false, 2},
	} {
		b := newBench(t)
		calls, dials := 0, 0
		b.items[c.method] = func(_ context.Context, in map[string]any, yield func(any) bool) error {
			if calls++; calls == 1 {
				yield(c.item)
				return lost
			}
			if in[c.key] != c.want {
				t.Errorf("%v goes on at %v", c.args, in[c.key])
			}
			yield(c.item)
			return nil
		}
		inner := b.env.Dial
		b.env.Dial = func(ctx context.Context, home string) (Client, error) {
			if dials++; dials == 2 || dials > 1 && !c.answer {
				return nil, fault.New(fault.Unavailable, "no daemon").WithReason("not_running")
			}
			return inner(ctx, home)
		}
		b.env.Gone = func(ctx context.Context, _ string) error {
			if !c.keeper {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		r := b.run(t, c.args...)
		if r.code != c.code || calls != map[bool]int{true: 2, false: 1}[c.answer] {
			t.Errorf("%v: exit %d after %d calls, %q, %q", c.args, r.code, calls, r.out, r.err)
		}
		if told := strings.Contains(r.err, "the daemon is away"); told != c.keeper {
			t.Errorf("%v: %q", c.args, r.err)
		}
	}
}
