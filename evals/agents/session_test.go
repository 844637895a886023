package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// ways are how a client reaches omnitron.
var ways = []string{"stdio", "socket"}

// connect makes a session of the official client over a carrier.
func (c *carrier) connect(era string, o *sdk.ClientOptions) *sdk.ClientSession {
	c.t.Helper()
	client := sdk.NewClient(&sdk.Implementation{Name: "official", Version: era}, o)
	s, err := client.Connect(within(c.t, 30*time.Second), &sdk.IOTransport{Reader: c, Writer: c}, &sdk.ClientSessionOptions{ProtocolVersion: era})
	if err != nil {
		c.t.Fatal(err)
	}
	if got := s.InitializeResult().ProtocolVersion; got != era {
		c.t.Errorf("the session speaks %s, not %s", got, era)
	}
	c.t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			c.t.Logf("the session ends with %v", err)
		}
	})
	return s
}

// launched gives a carrier by its name.
func (w *world) launched(t testing.TB, how string) *carrier {
	t.Helper()
	if how == "stdio" {
		return w.stdio(t)
	}
	return w.socket(t, "")
}

// TestConversation does everything that a client does, with the official client, over both ways and in both eras, on two
// connections at once.
func TestConversation(t *testing.T) {
	w := newWorld(t, busy, generous)
	for _, how := range ways {
		for _, era := range append([]string{"2024-11-05"}, eras...) {
			t.Run(how+"/"+era, func(t *testing.T) {
				for _, who := range []string{"one", "other"} {
					t.Run(who, func(t *testing.T) {
						t.Parallel()
						converse(t, w.launched(t, how), era)
					})
				}
			})
		}
	}
}

func converse(t *testing.T, c *carrier, era string) {
	ctx := within(t, time.Minute)
	s := c.connect(era, nil)
	if got := s.InitializeResult(); got.ServerInfo.Name != "omnitron" || len(got.Instructions) < 100 || got.Capabilities.Tools == nil || got.Capabilities.Resources == nil ||
		!got.Capabilities.Resources.Subscribe || got.Capabilities.Prompts == nil || got.Capabilities.Completions == nil {
		t.Errorf("what it says of itself: %+v", got)
	}
	if len(listed(t, s)) < 10 {
		t.Error("there are hardly any tools")
	}
	call := func(tool string, args map[string]any) *sdk.CallToolResult {
		r, err := s.CallTool(ctx, &sdk.CallToolParams{Name: tool, Arguments: args})
		if err != nil {
			t.Errorf("%s: %v", tool, err)
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{}}}
		}
		return r
	}
	text := func(r *sdk.CallToolResult) string { return r.Content[0].(*sdk.TextContent).Text }
	why := call("apps_explain", map[string]any{"name": "loop"})
	if why.IsError || !strings.Contains(text(why), "no database") {
		t.Errorf("apps_explain does not show why loop ends: %s", text(why))
	}
	if (era >= "2025-06-18") != (why.StructuredContent != nil) {
		t.Errorf("structured content: %v", why.StructuredContent)
	}
	if r := call("apps_get", map[string]any{"name": "wep"}); !r.IsError || !strings.HasPrefix(text(r), "not_found: ") || !strings.Contains(text(r), "web") {
		t.Errorf("a name that is not there: %s", text(r))
	}
	if _, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "app_list"}); err == nil || !strings.Contains(err.Error(), "apps_list") {
		t.Errorf("an unknown tool: %v", err)
	}

	found, err := s.ListResources(ctx, nil)
	if err != nil || !slices.ContainsFunc(found.Resources, func(r *sdk.Resource) bool { return r.URI == "omnitron://apps" }) {
		t.Errorf("resources: %+v %v", found, err)
	}
	for _, r := range found.Resources {
		read(ctx, t, s, r.URI)
	}
	forms, err := s.ListResourceTemplates(ctx, nil)
	if err != nil || len(forms.ResourceTemplates) < 3 {
		t.Errorf("templates: %+v %v", forms, err)
	}
	for _, f := range forms.ResourceTemplates {
		for form, uri := range map[string]string{"{project}/{stack}/{app}": "shop/dev/web", "{name}": "web"} {
			if base, ok := strings.CutSuffix(f.URITemplate, form); ok {
				if got := read(ctx, t, s, base+uri); !strings.Contains(got, "web") {
					t.Errorf("%s%s does not speak of web: %.300s", base, uri, got)
				}
				complete(ctx, t, s, &sdk.CompleteReference{Type: "ref/resource", URI: f.URITemplate}, form)
			}
		}
	}
	for _, uri := range []string{"omnitron://apps/nope", "omnitron://nope", "file:///etc/passwd", "omnitron://apps/../../etc", "omnitron://results/1"} {
		if _, err := s.ReadResource(ctx, &sdk.ReadResourceParams{URI: uri}); err == nil {
			t.Errorf("%s can be read", uri)
		}
	}

	prompts, err := s.ListPrompts(ctx, nil)
	if err != nil || len(prompts.Prompts) == 0 || prompts.Prompts[0].Name != "debug_crash_loop" {
		t.Errorf("prompts: %+v %v", prompts, err)
	}
	p, err := s.GetPrompt(ctx, &sdk.GetPromptParams{Name: "debug_crash_loop", Arguments: map[string]string{"app": "loop"}})
	if err != nil || len(p.Messages) != 1 || !strings.Contains(p.Messages[0].Content.(*sdk.TextContent).Text, `"loop"`) {
		t.Errorf("the prompt: %+v %v", p, err)
	}
	if _, err := s.GetPrompt(ctx, &sdk.GetPromptParams{Name: "debug_crash_loop"}); err == nil {
		t.Error("the prompt does without its argument")
	}
	complete(ctx, t, s, &sdk.CompleteReference{Type: "ref/prompt", Name: "debug_crash_loop"}, "{app}")
}

// read reads a resource and gives its text, which has to be JSON.
func read(ctx context.Context, t testing.TB, s *sdk.ClientSession, uri string) string {
	t.Helper()
	r, err := s.ReadResource(ctx, &sdk.ReadResourceParams{URI: uri})
	if err != nil || len(r.Contents) == 0 || !json.Valid([]byte(r.Contents[0].Text)) || r.Contents[0].URI != uri {
		t.Errorf("%s: %+v %v", uri, r, err)
		return ""
	}
	return r.Contents[0].Text
}

// complete completes the last word of a form.
func complete(ctx context.Context, t testing.TB, s *sdk.ClientSession, ref *sdk.CompleteReference, form string) {
	t.Helper()
	for arg, want := range map[string]string{"project": "shop", "stack": "dev", "app": "web", "name": "web"} {
		if !strings.Contains(form, "{"+arg+"}") {
			continue
		}
		got, err := s.Complete(ctx, &sdk.CompleteParams{Ref: ref, Argument: sdk.CompleteParamsArgument{Name: arg, Value: want[:2]}})
		if err != nil || len(got.Completion.Values) != 1 || !strings.HasSuffix(got.Completion.Values[0], want) {
			t.Errorf("%s%s: %s… completes to %+v, not to %s (%v)", ref.URI, ref.Name, want[:2], got, want, err)
		}
	}
}

// TestTwoClients has two clients of different rights use the same ids at the same time: neither gets the other's answers,
// cancels the other's calls or is counted for the other.
func TestTwoClients(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, how := range ways {
		var one, two *peer
		if how == "stdio" {
			one, two = w.stdio(t, "--profile", "full").peer(legacy, "one"), w.stdio(t, "--read-only").peer(modern, "two")
		} else {
			one, two = w.socket(t, `{"profile":"full"}`).peer(legacy, "one"), w.socket(t, `{"read_only":true}`).peer(modern, "two")
		}
		one.n, two.n = 100, 100
		follows := one.begin("tools/call", `{"name":"logs_follow","arguments":{"names":["web"],"grep":"never","max_seconds":50}}`)
		also := two.begin("tools/call", `{"name":"ops_read","arguments":{"method":"logs.follow","input":{"names":["web"],"grep":"never","max_seconds":50}}}`)
		if follows != also {
			t.Fatalf("the ids differ: %s, %s", follows, also)
		}
		for range 20 {
			a := one.begin("tools/call", `{"name":"apps_get","arguments":{"name":"web"}}`)
			b := two.begin("tools/call", `{"name":"apps_get","arguments":{"name":"api"}}`)
			for app, r := range map[string]result{"web": one.done("apps_get", a), "api": two.done("apps_get", b)} {
				var got struct{ Name string }
				if err := json.Unmarshal(r.Value, &got); err != nil || got.Name != app {
					t.Errorf("%s: the answer for %s is about %q (%v)", how, app, got.Name, err)
				}
			}
		}
		w.Until(10*time.Second, "both follow", func() bool { return w.named("one/1").InFlight == 1 && w.named("two/1").InFlight == 1 })
		two.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + also + `}}`)
		w.Until(10*time.Second, "two has stopped", func() bool { return w.named("two/1").InFlight == 0 })
		if got := w.named("one/1"); got.InFlight != 1 || got.ID == w.named("two/1").ID {
			t.Errorf("%s: the cancellation of two has reached one: %+v", how, got)
		}
		if r := one.tool("apps_start", `{"names":["web"]}`); r.IsError {
			t.Errorf("%s: %s", how, r.raw)
		}
		if r := two.tool("ops_read", `{"method":"apps.start","input":{"names":["web"]}}`); !r.IsError {
			t.Errorf("%s: two may change things as if it were one: %s", how, r.raw)
		}
		one.Close()
		w.Until(10*time.Second, "one has gone", func() bool { return len(w.agents()) == 1 })
		if r := two.tool("apps_get", `{"name":"web"}`); r.IsError {
			t.Errorf("%s: two has ended with one: %s", how, r.raw)
		}
		two.Close()
		w.Until(10*time.Second, "two has gone", func() bool { return len(w.agents()) == 0 })
	}
}

// TestProgress: whoever gives a token is told of each item before the answer, in order; nobody else is told anything.
func TestProgress(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, how := range ways {
		for _, era := range eras {
			p := w.launched(t, how).peer(era, "progress")
			for i, token := range []string{`"a token"`, `7`, ""} {
				id := fmt.Sprintf(`"follow %d"`, i)
				p.write(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":%s}`, id,
					p.meta(`{"name":"ops_read","arguments":{"method":"logs.follow","input":{"names":["web"],"limit":100,"max_items":5,"max_seconds":20}}}`, token)))
				r := p.done("logs.follow", id)
				var batch struct{ Items []any }
				if err := json.Unmarshal(r.Value, &batch); err != nil || len(batch.Items) != 5 {
					t.Fatalf("%s, %s: %d items (%v): %.300s", how, era, len(batch.Items), err, r.raw)
				}
				told, answered := 0, false
				for _, m := range p.messages() {
					var n struct {
						Token           json.RawMessage `json:"progressToken"`
						Progress, Total int
					}
					answered = answered || string(m.ID) == id
					if m.Method != "notifications/progress" || json.Unmarshal(m.Params, &n) != nil || string(n.Token) != token {
						continue
					}
					if told++; n.Progress != told || answered {
						t.Errorf("%s, %s: notification %d says %d, after the answer: %v", how, era, told, n.Progress, answered)
					}
				}
				if want := map[bool]int{true: 5, false: 0}[token != ""]; told != want {
					t.Errorf("%s, %s, token %s: %d notifications, want %d", how, era, token, told, want)
				}
			}
			p.Close()
		}
	}
}

// TestCancel: a cancelled call stops in the daemon, its place is free, and nothing of it is sent any more, although there
// would be something to say.
func TestCancel(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, how := range ways {
		for _, era := range eras {
			p := w.launched(t, how).peer(era, "cancel")
			var ids []string
			for i := range 4 {
				ids = append(ids, fmt.Sprintf(`"follow %d"`, i))
				p.write(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":%s}`, ids[i],
					p.meta(`{"name":"ops_read","arguments":{"method":"logs.follow","input":{"names":["web"],"limit":1,"max_items":1000,"max_seconds":50}}}`, fmt.Sprintf(`"token %d"`, i))))
			}
			p.await(20*time.Second, "progress of each", func(all []message) bool {
				told := map[string]bool{}
				for _, m := range all {
					if m.Method == "notifications/progress" {
						told[string(m.Params)] = true
					}
				}
				return len(told) >= 4
			})
			if got := w.named("cancel/1").InFlight; got != 4 {
				t.Errorf("%s, %s: %d calls in flight, want 4", how, era, got)
			}
			for _, id := range ids {
				p.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `,"reason":"enough"}}`)
			}
			w.Until(10*time.Second, "nothing is in flight", func() bool { return w.named("cancel/1").InFlight == 0 })
			before := len(p.messages())
			w.must("apps.restart", map[string]any{"names": []string{"web"}}, nil) // prints
			if r := p.tool("apps_get", `{"name":"web"}`); r.IsError {
				t.Errorf("%s, %s: after the cancellation: %s", how, era, r.raw)
			}
			p.n++
			p.write(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/list","params":%s}`, ids[0], p.meta("{}", ""))) // its id is free
			if m := p.answer(ids[0]); m.Error != nil {
				t.Errorf("%s, %s: the id of a cancelled call is not free: %s", how, era, m.line)
			}
			if after := p.messages()[before:]; len(after) != 2 {
				t.Errorf("%s, %s: %d messages came after the cancellation, and two were asked for: %+v", how, era, len(after), after)
			}
			p.Close()
		}
	}
}

// TestHundredCalls has a hundred calls in flight on each of four connections: each gets its own answer.
func TestHundredCalls(t *testing.T) {
	w := newWorld(t, steady, generous)
	var wg sync.WaitGroup
	began := time.Now()
	for _, how := range ways {
		for _, era := range eras {
			s := w.launched(t, how).connect(era, nil)
			for i := range 100 {
				wg.Go(func() {
					tool, args, want := "apps_get", map[string]any{"name": "web"}, "web"
					if i%2 == 0 {
						tool, args, want = "apps_get", map[string]any{"name": fmt.Sprintf("nope-%d", i)}, fmt.Sprintf("nope-%d", i)
					}
					r, err := s.CallTool(within(t, 30*time.Second), &sdk.CallToolParams{Name: tool, Arguments: args})
					if err != nil {
						t.Errorf("%s, %s: %v", how, era, err)
						return
					}
					if text := r.Content[0].(*sdk.TextContent).Text; r.IsError != (i%2 == 0) || !strings.Contains(text, want) {
						t.Errorf("%s, %s: call %d got the answer %s", how, era, i, text)
					}
				})
			}
		}
	}
	wg.Wait()
	t.Logf("400 calls took %s", time.Since(began))
}

// TestEndOfInput: omnitron mcp exits within a second of the end of its input, whatever is going on, and what was asked
// just before is still answered.
func TestEndOfInput(t *testing.T) {
	w := newWorld(t, steady, generous)
	for what, lines := range map[string][]string{
		"nothing was said":       nil,
		"in the middle of words": {`{"jsonrpc":"2.0","id":1,"meth`},
		"a call that takes long": {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ops_read","arguments":{"method":"logs.follow","input":{"names":["web"],"grep":"never","max_seconds":50}}}}` + "\n"},
		"a short call":           {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"apps_list","arguments":{}}}` + "\n"},
		"garbage":                {"}{\n", "\x00\xff\n", "[]\n"},
	} {
		c := w.stdio(t)
		for _, l := range lines {
			if _, err := c.Write([]byte(l)); err != nil {
				t.Fatal(err)
			}
		}
		c.Close() // looks at the time and at every line
		all := c.messages()
		if what == "a short call" && (len(all) != 1 || all[0].Result == nil) {
			t.Errorf("%s before the end: %+v", what, all)
		}
		if what == "garbage" && len(all) != 3 {
			t.Errorf("%s: %d answers, want 3: %+v", what, len(all), all)
		}
	}
	w.Until(10*time.Second, "no agent is connected", func() bool { return len(w.agents()) == 0 })
}
