package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// stopping asks for a stop of an app and gives the token of the plan that comes back.
func (p *peer) stopping(t testing.TB, app string) (token string) {
	t.Helper()
	o := p.tool("apps_stop", fmt.Sprintf(`{"names":[%q]}`, app)).outcome(t)
	if o.Status != "confirm" || o.Confirm == nil || o.Confirm.Token == "" || o.Plan == nil || len(o.Plan.Items) != 1 || !strings.HasSuffix(o.Plan.Items[0].Target, app) {
		t.Fatalf("asked for a stop of %s: %+v", app, o)
	}
	return o.Confirm.Token
}

// useless fails the test unless a call is refused and leaves the world as it is.
func (w *world) useless(t testing.TB, what string, p *peer, tool, args string, codes ...fault.Code) {
	t.Helper()
	before := w.digest()
	m := p.call("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, args))
	if m.Error == nil {
		r := readResult(t, m.Result)
		if r.fault == nil {
			if o := r.outcome(t); o.Status != "held" { // held is held, whatever token comes along
				t.Errorf("%s: %.500s", what, r.raw)
			}
		} else if len(codes) > 0 {
			coded(t, what, r.fault, codes[0], "")
		}
	}
	w.unchanged(t, before, what)
}

// TestTokens: the token of a plan lets exactly that call through, once, for whoever was shown the plan, as long as the
// world is the one that the plan speaks of. Everything else leaves the world as it was.
func TestTokens(t *testing.T) {
	w := settle(rig.NewAs(t, 65534), steady, generous)
	p := w.stdio(t, "--profile", "full").peer(legacy, "tokens")
	with := func(app, token string) string { return fmt.Sprintf(`{"names":[%q],"confirm":%q}`, app, token) }
	again := func() { w.must("apps.start", map[string]any{"names": []string{"web", "api"}}, nil) }

	before := w.digest()
	token := p.stopping(t, "api")
	w.unchanged(t, before, "asking")
	if other := p.stopping(t, "api"); other == token {
		t.Error("two plans have one token")
	}
	for what, args := range map[string]string{
		"another target":    with("web", token),
		"a glob":            with("*", token),
		"a process":         with("api:api", token),
		"more targets":      fmt.Sprintf(`{"names":["api","web"],"confirm":%q}`, token),
		"no targets":        fmt.Sprintf(`{"confirm":%q}`, token),
		"another argument":  fmt.Sprintf(`{"names":["api"],"timeout_s":1,"confirm":%q}`, token),
		"no token":          with("api", "x"),
		"a longer one":      with("api", token+"A"),
		"a shorter one":     with("api", token[:len(token)-1]),
		"an empty plan's":   with("api", strings.Repeat("A", len(token))),
		"in the wrong case": with("api", strings.ToUpper(token)),
	} {
		w.useless(t, what, p, "apps_stop", args)
	}
	for _, at := range []int{0, 1, len(token) / 3, len(token) / 2, len(token) - 2} { // the last letter may have unused bits
		c := byte('A')
		if token[at] == c {
			c = 'B'
		}
		w.useless(t, fmt.Sprintf("altered at %d", at), p, "apps_stop", with("api", token[:at]+string(c)+token[at+1:]))
	}
	w.useless(t, "another method", p, "apps_disable", with("api", token))
	w.useless(t, "another method that is held", p, "logs_purge", `{"names":["api"],"confirm":"`+token+`"}`)

	for what, other := range map[string]*peer{
		"a reader":            w.stdio(t, "--profile", "full", "--read-only").peer(legacy, "reader"),
		"a viewer":            w.stdio(t, "--profile", "full", "--role", "viewer").peer(legacy, "viewer"),
		"whom only logs are":  w.stdio(t, "--profile", "full", "--toolsets", "logs").peer(legacy, "logs"),
		"root, for an owner":  w.socket(t, `{"profile":"full"}`).peer(legacy, "root"),
		"root as an admin":    w.socket(t, `{"profile":"full","role":"admin"}`).peer(modern, "admin"),
		"the meta tools only": w.socket(t, "").peer(modern, "meta"),
	} {
		w.useless(t, "a token of somebody else used by "+what, other, "apps_stop", with("api", token))
		other.Close()
	}
	w.must("agents.pause", map[string]any{"name": "nobody/agent"}, nil)
	w.useless(t, "a token in the hand of who is paused", p, "apps_stop", with("api", token), fault.Denied)
	w.must("agents.resume", map[string]any{"name": "nobody/agent"}, nil)

	if o := p.tool("apps_stop", with("api", token)).outcome(t); o.Status != "done" || w.App("api").State != "stopped" {
		t.Errorf("after all that the token does not do what it is for: %+v", o)
	}
	w.useless(t, "a second time", p, "apps_stop", with("api", token))
	again()
	w.useless(t, "a second time, started again", p, "apps_stop", with("api", token))

	token = p.stopping(t, "api")
	w.must("apps.restart", map[string]any{"names": []string{"api"}}, nil)
	w.useless(t, "after a restart of its target", p, "apps_stop", with("api", token))

	token = p.stopping(t, "api")
	pid := w.PID("api")
	w.must("apps.signal", map[string]any{"names": []string{"api"}, "signal": "KILL"}, nil)
	w.Until(20*time.Second, "api runs again after its crash", func() bool { now := w.App("api"); return now.State == "running" && now.Instances[0].PID != pid })
	w.useless(t, "after a crash of its target", p, "apps_stop", with("api", token))

	// A token that changes no generation is used up all the same, and stays so when the daemon dies.
	o := p.tool("apps_signal", `{"names":["web"],"signal":"USR1"}`).outcome(t)
	signal := fmt.Sprintf(`{"names":["web"],"signal":"USR1","confirm":%q}`, o.Confirm.Token)
	unused := p.stopping(t, "web")
	if o := p.tool("apps_signal", signal).outcome(t); o.Status != "done" {
		t.Errorf("apps_signal: %+v", o)
	}
	w.useless(t, "a signal a second time", p, "apps_signal", signal)
	w.kill9(t)
	w.useless(t, "a signal a second time, the daemon having died", p, "apps_signal", signal)
	// Nothing has happened to web, so the plan is still about the same thing, unless what is kept of web was older: then it is
	// to be made anew. In no case it is good twice.
	if r := p.tool("apps_stop", with("web", unused)); r.IsError {
		coded(t, "a plan that was made before the daemon died", r.fault, fault.Conflict, r.fault.Reason)
	} else if o := r.outcome(t); o.Status != "done" || w.App("web").State != "stopped" {
		t.Errorf("a plan that was made before the daemon died: %+v", o)
	}
	w.useless(t, "a plan that was made before the daemon died, a second time", p, "apps_stop", with("web", unused))
	again()
	if o := p.tool("apps_stop", with("web", p.stopping(t, "web"))).outcome(t); o.Status != "done" {
		t.Errorf("a new plan after the daemon's death: %+v", o)
	}
}

// TestQuestions: a client that can ask its user does so instead of showing the model a token. Yes is a confirmation, no
// is the end of it, and what is held is not even asked about.
func TestQuestions(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, how := range ways {
		for _, era := range eras {
			asked, action := 0, "accept"
			content := map[string]any{"confirm": true}
			s := w.launchedFull(t, how).connect(era, &sdk.ClientOptions{ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
				asked++
				if !strings.Contains(r.Params.Message, "shop/dev/api") {
					t.Errorf("the question does not say what it is about: %s", r.Params.Message)
				}
				return &sdk.ElicitResult{Action: action, Content: content}, nil
			}})
			call := func(tool string, args map[string]any) result {
				r, err := s.CallTool(within(t, 30*time.Second), &sdk.CallToolParams{Name: tool, Arguments: args})
				if err != nil {
					t.Fatalf("%s, %s: %v", how, era, err)
				}
				raw, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				return readResult(t, raw)
			}
			stop := map[string]any{"names": []string{"api"}}
			before := w.digest()
			for _, no := range []struct {
				action  string
				content map[string]any
			}{{"decline", nil}, {"cancel", nil}, {"accept", map[string]any{"confirm": false}}} {
				action, content = no.action, no.content
				r := call("apps_stop", stop)
				coded(t, "the user said "+no.action, r.fault, fault.Held, "refused")
			}
			w.unchanged(t, before, "a question that was answered with no")
			action, content = "accept", map[string]any{"confirm": true}
			for _, held := range []string{"logs_purge", "daemon_shutdown", "daemon_reload"} {
				args := map[string]any{}
				if held == "logs_purge" {
					args = stop
				}
				if o := call(held, args).outcome(t); o.Status != "held" || o.Approval == nil {
					t.Errorf("%s, %s: %s with a user who says yes to everything: %+v", how, era, held, o)
				}
			}
			w.unchanged(t, before, "what is held")
			if asked != 3 {
				t.Errorf("%s, %s: the user was asked %d times, not 3", how, era, asked)
			}
			if o := call("apps_stop", stop).outcome(t); o.Status != "done" || asked != 4 {
				t.Errorf("%s, %s: the user said yes: %+v, asked %d times", how, era, o, asked)
			}
			w.must("apps.start", stop, nil)
		}
	}
}

// launchedFull gives a carrier with the long list of tools.
func (w *world) launchedFull(t testing.TB, how string) *carrier {
	t.Helper()
	if how == "stdio" {
		return w.stdio(t, "--profile", "full")
	}
	return w.socket(t, `{"profile":"full"}`)
}

// TestQuestionStates: what a client of the modern era keeps for us between question and answer is worth nothing in
// another call, altered, twice, or when the world has changed.
func TestQuestionStates(t *testing.T) {
	w := newWorld(t, steady, generous)
	p := w.socket(t, `{"profile":"full"}`).capable(modern, "states", `{"elicitation":{"form":{}}}`)
	ask := func() string {
		t.Helper()
		r := p.tool("apps_stop", `{"names":["api"]}`)
		if r.Type != "input_required" || r.State == "" || len(r.Questions["confirm"].Params) == 0 {
			t.Fatalf("no question: %s", r.raw)
		}
		return r.State
	}
	yes := `{"confirm":{"action":"accept","content":{"confirm":true}}}`
	answer := func(p *peer, tool, args, state, responses string) result {
		return p.done(tool, p.begin("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s,"requestState":%q,"inputResponses":%s}`, tool, args, state, responses)))
	}
	before := w.digest()
	state := ask()
	api := `{"names":["api"]}`
	for what, r := range map[string]result{
		"another target":   answer(p, "apps_stop", `{"names":["web"]}`, state, yes),
		"another method":   answer(p, "apps_disable", api, state, yes),
		"another argument": answer(p, "apps_stop", `{"names":["api"],"no_wait":true}`, state, yes),
		"altered":          answer(p, "apps_stop", api, map[bool]string{true: "B", false: "A"}[state[0] == 'A']+state[1:], yes),
		"cut":              answer(p, "apps_stop", api, state[:len(state)-4], yes),
		"nonsense":         answer(p, "apps_stop", api, "x", yes),
		"no answer":        answer(p, "apps_stop", api, state, `{}`),
		"another's answer": answer(p, "apps_stop", api, state, `{"other":{"action":"accept","content":{"confirm":true}}}`),
		"no":               answer(p, "apps_stop", api, state, `{"confirm":{"action":"decline"}}`),
		"not quite yes":    answer(p, "apps_stop", api, state, `{"confirm":{"action":"accept","content":{"confirm":"true"}}}`),
	} {
		if !r.IsError {
			t.Errorf("%s: %s", what, r.raw)
		}
	}
	for _, launch := range []string{`{"profile":"full","read_only":true}`, `{"profile":"full","role":"viewer"}`} {
		other := w.socket(t, launch).peer(modern, "other")
		m := other.call("tools/call", fmt.Sprintf(`{"name":"apps_stop","arguments":%s,"requestState":%q,"inputResponses":%s}`, api, state, yes))
		if m.Error == nil && !readResult(t, m.Result).IsError {
			t.Errorf("%s: %s", launch, m.line)
		}
	}
	w.unchanged(t, before, "a state that does not belong to the call")
	if o := answer(p, "apps_stop", api, state, yes).outcome(t); o.Status != "done" {
		t.Errorf("the state does not do what it is for: %+v", o)
	}
	w.must("apps.start", map[string]any{"names": []string{"api"}}, nil)
	before = w.digest()
	if r := answer(p, "apps_stop", api, state, yes); !r.IsError {
		t.Errorf("a second time: %s", r.raw)
	}
	state = ask()
	w.unchanged(t, before, "a question")
	w.must("apps.restart", map[string]any{"names": []string{"api"}}, nil)
	before = w.digest()
	if r := answer(p, "apps_stop", api, state, yes); !r.IsError {
		t.Errorf("after a restart: %s", r.raw)
	}
	w.unchanged(t, before, "a state of another world")
}
