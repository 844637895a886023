package agents

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
)

// most is how many bytes one answer may have.
const most = 25_000

// big is a project of which nearly every answer is too long: many apps, much environment, long lines.
func big() string {
	var b strings.Builder
	b.WriteString("project: shop\napps:\n")
	b.WriteString("  - name: web\n    command: 'for i in $(seq 40); do head -c 3000 /dev/zero | tr \"\\0\" x; echo $i; done | tee /dev/stderr; head -c 30000 /dev/zero | tr \"\\0\" B; echo; cat hostile.txt; exit 9'\n    restart: never\n    ready: {delay: 1s}\n    env:\n")
	for i := range 60 {
		fmt.Fprintf(&b, "      LONG_%d: %q\n", i, strings.Repeat("v", 900))
	}
	for i := range 150 {
		fmt.Fprintf(&b, "  - {name: %s-%d, command: [sleep, \"1000\"], enabled: false, env: {NOTE: %q}}\n", strings.Repeat("n", 50), i, strings.Repeat("e", 200))
	}
	return b.String()
}

// TestCut has every tool answer about a project that is too big: the answer stays within its bound, fits its schema, says
// that something was cut and where the whole can be read.
func TestCut(t *testing.T) {
	w := newWorld(t, big(), generous)
	w.WaitState("web", "crashed", 20*time.Second)
	w.must("secrets.set", map[string]any{"name": "shared/example", "value": "for every row of secrets"}, nil)
	cut := map[string]bool{}
	for _, era := range eras {
		p := w.stdio(t, "--profile", "full", "--role", "admin").peer(era, "cut")
		schemas, real := outputs(t, p), w.approved(p)
		for _, m := range methods(t) {
			for _, e := range m.Examples {
				if e.Fails != "" || forPersons(m.Tool()) || m.Service == "secrets" && m.Effect == op.Reads { // denied, and held without an envelope
					continue
				}
				w.prepare(m.ID())
				in := real(e.In)
				if m.ID() != "apps.remove" { // which is for one of a few
					in = widened(t, m, in)
				}
				r := p.tool(m.Tool(), in)
				p.shows(t, r)
				w.unprepare(m.ID())
				if r.IsError {
					t.Errorf("%s: %s: %s", era, m.Tool(), r.Content[0].Text)
					continue
				}
				what := era + ": " + m.Tool()
				valid(t, what, schemas[m.Tool()], r.Value)
				link := ""
				for _, c := range r.Content {
					if c.Type == "resource_link" {
						link = c.URI
					}
				}
				var page struct{ Truncated *bool }
				if err := json.Unmarshal(r.Value, &page); err != nil {
					t.Fatal(err)
				}
				if link != "" {
					cut[m.Tool()] = true
					if page.Truncated == nil || !*page.Truncated {
						t.Errorf("%s: it was cut and does not say so", what)
					}
					p.whole(t, what, link, schemas[m.Tool()])
				} else if page.Truncated != nil && *page.Truncated {
					cut[m.Tool()] = true
				}
			}
		}
	}
	for _, tool := range []string{"apps_list", "apps_graph", "apps_explain", "apps_restart", "logs_query", "logs_follow", "health_check", "audit_list"} {
		if !cut[tool] {
			t.Errorf("the answer of %s was not cut: this test does not see what it is for", tool)
		}
	}
	t.Logf("cut: %v", cut)
}

// prepare makes what the example of a method takes away.
func (w *world) prepare(method string) {
	switch method {
	case "apps.remove":
		w.must("apps.add", map[string]any{"name": "added", "command": []string{"/bin/sleep", "1000"}, "cwd": "/"}, nil)
	case "stacks.delete":
		w.must("stacks.create", map[string]any{"name": "spare", "project": "shop", "apps": []string{"web"}}, nil)
	}
}

// unprepare takes away what is a project, or a stack, of its own, because without names the one that there is is meant.
func (w *world) unprepare(method string) {
	w.T.Helper()
	gone := func(method string, in map[string]any) {
		if err := w.Call(method, in, nil); err != nil && !fault.Is(err, fault.NotFound) {
			w.T.Fatal(err)
		}
	}
	switch method {
	case "apps.add", "apps.remove":
		gone("apps.remove", map[string]any{"names": []string{"nap"}})
		gone("apps.remove", map[string]any{"names": []string{"added"}})
	case "stacks.delete":
		gone("stacks.delete", map[string]any{"name": "spare", "project": "shop"})
	}
}

// widened is an example's input that asks for as much as there is.
func widened(t testing.TB, m *tools.Method, in string) string {
	t.Helper()
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(m.InSchema, &schema); err != nil {
		t.Fatal(err)
	}
	more := map[string]any{}
	if schema.Properties["limit"] != nil {
		more["limit"] = 1000
	}
	if m.Effect.Changes() && m.Plannable {
		more["dry_run"] = true
		if schema.Properties["names"] != nil {
			more["names"] = []string{"*"}
		}
	}
	if m.Stream {
		more["max_seconds"], more["max_items"] = 1, 1000
	}
	return with(t, in, more)
}

// whole reads an answer that was cut, part by part.
func (p *peer) whole(t testing.TB, what, link string, s *jsonschema.Schema) {
	t.Helper()
	var text strings.Builder
	for {
		m := p.call("resources/read", fmt.Sprintf(`{"uri":"%s?offset=%d"}`, link, text.Len()))
		var r struct{ Contents []struct{ Text string } }
		if m.Error != nil || json.Unmarshal(m.Result, &r) != nil || len(r.Contents) == 0 {
			t.Fatalf("%s: the whole cannot be read at %d: %.300s", what, text.Len(), m.line)
		}
		if r.Contents[0].Text == "" {
			break
		}
		text.WriteString(r.Contents[0].Text)
	}
	if text.Len() < most/2 {
		t.Errorf("%s: the whole has %d bytes", what, text.Len())
	}
	valid(t, what+", the whole", s, json.RawMessage(text.String()))
}

// TestPages walks through lists that have several pages: every item once, whatever page size the plane made of what was
// asked for.
func TestPages(t *testing.T) {
	w := newWorld(t, big(), generous)
	w.WaitState("web", "crashed", 20*time.Second)
	lines := 40 + 1 + strings.Count(hostile, "\n") + 1 // one is longer than a part
	p := w.stdio(t, "--profile", "full").peer(modern, "pages")
	for _, c := range []struct {
		tool string
		args map[string]any
		want int
	}{
		{"apps_list", map[string]any{"limit": 1000}, 151},
		{"logs_query", map[string]any{"names": []string{"web"}, "limit": 1000, "stream": "out"}, lines},
		{"logs_query", map[string]any{"names": []string{"web"}, "limit": 1000, "stream": "out", "grep": "^B+$"}, 1}, // one line, and it is cut
	} {
		tool, args := c.tool, c.args
		seen, pages := map[string]int{}, 0
		for cursor := ""; ; pages++ {
			if cursor != "" {
				args["cursor"] = cursor
			}
			r := p.tool(tool, encode(t, args))
			var page struct {
				Items     []struct{ Key, Stream, Pos json.RawMessage }
				Next      string `json:"next_cursor"`
				Truncated bool
			}
			if err := json.Unmarshal(r.Value, &page); err != nil || len(page.Items) == 0 && page.Truncated || pages > 500 {
				t.Fatalf("%s: page %d: %v %.300s", tool, pages, err, r.raw)
			}
			for _, i := range page.Items {
				seen[string(i.Key)+string(i.Stream)+string(i.Pos)]++
			}
			if linked := len(r.Content) > 1; page.Truncated != (page.Next != "" || linked) {
				t.Errorf("%s: truncated %v with the cursor %q and a link %v", tool, page.Truncated, page.Next, linked)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if len(seen) != c.want || pages == 0 && c.want > 1 {
			t.Errorf("%s: %d items on %d pages, want %d", tool, len(seen), pages+1, c.want)
		}
		for k, n := range seen {
			if n != 1 {
				t.Errorf("%s: %s came %d times", tool, k, n)
			}
		}
		t.Logf("%s: %d items on %d pages", tool, len(seen), pages+1)
	}
}
