package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// purge is a call that waits for a person.
var purge = map[string]any{"method": "logs.purge", "input": map[string]any{"names": []string{"web"}}}

// official is a session of the official client, and what tests do with it.
type official struct {
	*sdk.ClientSession
	t   *testing.T
	ctx context.Context
}

func (o official) call(tool string, args map[string]any) (*sdk.CallToolResult, string) {
	o.t.Helper()
	r, err := o.CallTool(o.ctx, &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		o.t.Fatalf("%s: %v", tool, err)
	}
	return r, r.Content[0].(*sdk.TextContent).Text
}

// held makes a call and gives the approval that it waits for.
func (o official) held(args map[string]any) string {
	o.t.Helper()
	r, text := o.call("ops_write", args)
	raw, err := json.Marshal(r.StructuredContent)
	if err != nil {
		o.t.Fatal(err)
	}
	var out outcome
	if err := json.Unmarshal(raw, &out); err != nil || r.IsError || out.Status != "held" || out.Approval == nil {
		o.t.Fatalf("it is not held: %s", text)
	}
	for _, step := range []string{"Nothing has happened yet", "cannot be brought back (default rule agents-destroy)", "omnitron approve " + out.Approval.ID,
		`ops_read with method approvals.wait and input {"id":"` + out.Approval.ID + `"}`, "call ops_write for logs.purge again with exactly the same arguments"} {
		if !strings.Contains(text, step) {
			o.t.Errorf("the agent is not told %q: %s", step, text)
		}
	}
	return out.Approval.ID
}

// TestHeldThenApproved: the official client is held, waits, is approved, and its identical call goes through once; then it
// is denied, and hears why.
func TestHeldThenApproved(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, how := range ways {
		for _, era := range eras {
			t.Run(how+"/"+era, func(t *testing.T) {
				news := make(chan string, 1000)
				o := official{w.launched(t, how).connect(era, &sdk.ClientOptions{
					ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) { news <- r.Params.URI },
				}), t, within(t, time.Minute)}
				if err := o.Subscribe(o.ctx, &sdk.SubscribeParams{URI: "omnitron://approvals"}); err != nil {
					t.Fatal(err)
				}
				w.must("apps.restart", map[string]any{"names": []string{"web"}}, nil) // there is output
				id := o.held(purge)
				if again := o.held(purge); again != id {
					t.Errorf("the identical call waits for %s, not for %s", again, id)
				}
				other := official{w.launched(t, how).connect(era, nil), t, o.ctx}
				if theirs := other.held(purge); theirs == id {
					t.Error("another session shares the approval")
				}
				decided := make(chan string, 1)
				go func() {
					r, err := o.CallTool(o.ctx, &sdk.CallToolParams{Name: "ops_read", Arguments: map[string]any{"method": "approvals.wait", "input": map[string]any{"id": id}}})
					if err != nil {
						decided <- err.Error()
						return
					}
					decided <- r.Content[0].(*sdk.TextContent).Text
				}()
				for _, agent := range []official{o, other} {
					for _, verb := range []string{"approve", "deny"} {
						if r, text := agent.call("ops_write", map[string]any{"method": "approvals." + verb, "input": map[string]any{"id": id}}); !r.IsError || !strings.HasPrefix(text, "denied: ") {
							t.Errorf("an agent can %s: %s", verb, text)
						}
					}
				}
				w.must("approvals.approve", map[string]any{"id": id, "note": "go on"}, nil)
				if text := <-decided; !strings.Contains(text, `"status":"approved"`) {
					t.Errorf("who waits is told %s", text)
				}
				w.heard(t, news, "omnitron://approvals", func() { other.held(purge) })
				if size := w.stored("web"); size == 0 {
					t.Error("approving had the effect")
				}
				if theirs := other.held(purge); theirs == id {
					t.Error("another session was approved")
				}
				if r, text := o.call("ops_write", purge); r.IsError || !strings.Contains(text, `"status":"done"`) {
					t.Errorf("approved, and not done: %s", text)
				}
				if w.stored("web") != 0 {
					t.Error("it is told to be done, and has had no effect")
				}
				w.must("apps.restart", map[string]any{"names": []string{"web"}}, nil)
				next := o.held(purge)
				if next == id {
					t.Error("an approval is good twice")
				}
				w.must("approvals.deny", map[string]any{"id": next, "note": "not before the release"}, nil)
				for range 2 {
					if r, text := o.call("ops_write", purge); !r.IsError || !strings.HasPrefix(text, "held: ") || !strings.Contains(text, "not before the release") {
						t.Errorf("denied: %s", text)
					}
				}
			})
		}
	}
}

// stored is how much output of an app is kept.
func (w *world) stored(app string) int64 {
	w.T.Helper()
	var stats struct {
		Items []struct {
			Bytes int64 `json:"stored_bytes"`
		}
	}
	w.must("logs.stats", map[string]any{"names": []string{app}}, &stats)
	var n int64
	for _, s := range stats.Items {
		n += s.Bytes
	}
	return n
}

// TestHeldRead: a read that a rule holds has no envelope: it is a fault with the approval, and after a yes an answer, once.
func TestHeldRead(t *testing.T) {
	w := newWorld(t, steady, generous+"policy: {rules: [{name: no-peeping, when: {channel: agent, method: apps.env}, then: hold}]}\n")
	for _, era := range eras {
		p := w.stdio(t).peer(era, "reader")
		env := `{"method":"apps.env","input":{"name":"web"}}`
		r := p.tool("ops_read", env)
		coded(t, "a held read", r.fault, fault.Held, "awaiting_approval")
		ref, _ := r.fault.Approval.(map[string]any)
		id, _ := ref["id"].(string)
		if ref["rule"] != "no-peeping" || !strings.Contains(r.fault.Message, `the rule "no-peeping" of config.yaml says hold`) || !strings.Contains(r.raw, "omnitron approve "+id) {
			t.Errorf("%s", r.raw)
		}
		w.must("approvals.approve", map[string]any{"id": id}, nil)
		if r = p.tool("ops_read", env); r.IsError || !strings.Contains(r.raw, "GREETING") {
			t.Errorf("approved: %.300s", r.raw)
		}
		coded(t, "once more", p.tool("ops_read", env).fault, fault.Held, "awaiting_approval")
		p.Close()
	}
}

// counted is an app that counts its starts in a file, which no daemon can forget or make up.
const counted = `
project: shop
apps:
  - {name: web, command: 'echo started >> starts; exec sleep 1000', ready: {delay: 10ms}}
`

func (w *world) starts() int {
	w.T.Helper()
	data, err := os.ReadFile(filepath.Join(w.Dir, "starts"))
	if err != nil {
		w.T.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}

// TestOneApprovalManyCalls: of sixty-four identical calls at once, one has the effect that was approved, also when the
// daemon is killed at any moment of it.
func TestOneApprovalManyCalls(t *testing.T) {
	w := newWorld(t, counted, generous+"policy: {rules: [{name: ask, when: {channel: agent, method: apps.restart}, then: hold}]}\n")
	p := w.stdio(t, "--profile", "full").peer(legacy, "many")
	const args = `{"name":"apps_restart","arguments":{"names":["web"]}}`
	restart := func() outcome {
		t.Helper()
		var o outcome
		w.Until(20*time.Second, "apps_restart is answered", func() bool { // a bridge without a daemon says so
			m := p.call("tools/call", args)
			if m.Error != nil {
				return false
			}
			r := readResult(t, m.Result)
			return !r.IsError && json.Unmarshal(r.Value, &o) == nil
		})
		return o
	}
	cut, survived, used := 0, 0, 0
	for round := range rig.Count(12, 60) {
		w.WaitState("web", "running", 20*time.Second)
		before, held := w.starts(), restart()
		if held.Status != "held" {
			t.Fatalf("round %d: it is not held: %+v", round, held)
		}
		w.must("approvals.approve", map[string]any{"id": held.Approval.ID}, nil)
		ids := make([]string, 64)
		for i := range ids {
			ids[i] = p.begin("tools/call", args)
		}
		if round%3 > 0 { // a kill at another moment of each round
			<-time.After(time.Duration(round*7%16) * 300 * time.Microsecond)
			if err := syscall.Kill(w.DaemonPID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			cut++
		}
		done := 0
		for _, id := range ids {
			if m := p.answer(id); m.Error == nil && strings.Contains(string(m.Result), `"status":"done"`) {
				done++
			}
		}
		w.Disconnect()
		w.WaitState("web", "running", 20*time.Second)
		var a struct{ Status string }
		w.must("approvals.get", map[string]any{"id": held.Approval.ID}, &a)
		if a.Status == "approved" { // none of the calls came so far: the next one does, unless the world has moved
			survived++
			restart()
			w.must("approvals.get", map[string]any{"id": held.Approval.ID}, &a)
			if a.Status == "used" {
				used++
			}
		}
		for range 3 {
			if again := restart(); again.Status != "held" {
				t.Errorf("round %d: asked for nothing, and %s", round, again.Status)
			}
		}
		w.WaitState("web", "running", 20*time.Second)
		n := w.starts() - before
		if n > 1 || done > 1 || round%3 == 0 && (n != 1 || done != 1) {
			t.Errorf("round %d: %d effects, %d calls were told that it is done; the approval is %s", round, n, done, a.Status)
		}
	}
	t.Logf("%d kills; %d approvals were not used yet, of which %d were used later", cut, survived, used)
}

// TestApprovalOutlivesTheDaemon: what was approved is good under the next daemon for the same client, and still once,
// whenever the former one was killed. The call names no apps, so nothing but the approval stands in its way.
func TestApprovalOutlivesTheDaemon(t *testing.T) {
	w := newWorld(t, counted, generous)
	p := w.stdio(t, "--profile", "full").peer(legacy, "patient")
	later := 0
	for round := range rig.Count(10, 50) {
		args := fmt.Sprintf(`{"name":"events_publish","arguments":{"type":"round-%d"}}`, round)
		publish := func() (o outcome) {
			t.Helper()
			w.Until(20*time.Second, "events_publish is answered", func() bool {
				m := p.call("tools/call", args)
				return m.Error == nil && json.Unmarshal(readResult(t, m.Result).Value, &o) == nil
			})
			return o
		}
		held := publish()
		w.must("approvals.approve", map[string]any{"id": held.Approval.ID}, nil)
		ids := make([]string, 64)
		for i := range ids {
			ids[i] = p.begin("tools/call", args)
		}
		<-time.After(time.Duration(round*7%10) * 200 * time.Microsecond)
		if err := syscall.Kill(w.DaemonPID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, id := range ids {
			if m := p.answer(id); m.Error == nil && strings.Contains(string(m.Result), `"status":"done"`) {
				done++
			}
		}
		w.Disconnect()
		var a struct{ Status string }
		w.Until(20*time.Second, "the next daemon knows the approval", func() bool {
			return w.Call("approvals.get", map[string]any{"id": held.Approval.ID}, &a) == nil
		})
		if o := publish(); (a.Status == "approved") != (o.Status == "done") {
			t.Errorf("round %d: the approval is %s, and the call %s", round, a.Status, o.Status)
		} else if o.Status == "done" {
			later++
			done++
		}
		if o := publish(); o.Status != "held" || done > 1 {
			t.Errorf("round %d: %s afterwards, %d times done", round, o.Status, done)
		}
		var events struct{ Items []struct{ Type string } }
		w.must("events.list", map[string]any{"topics": []string{"custom"}, "limit": 1000}, &events)
		n := 0
		for _, e := range events.Items {
			if e.Type == fmt.Sprint("round-", round) {
				n++
			}
		}
		if n > 1 {
			t.Errorf("round %d: %d effects", round, n)
		}
	}
	t.Logf("%d approvals were used under the next daemon", later)
}

// forPersons are the tools that lift what holds agents back, or are about accounts and credentials: the policy gives them to
// no agent.
func forPersons(tool string) bool {
	service, _, _ := strings.Cut(tool, "_")
	return service == "auth" || service == "users" || service == "tokens" || tool == "agents_resume" || tool == "approvals_approve" || tool == "approvals_deny"
}

// approved gives the examples that speak of an approval one that there is, of a call that the peer asked for, and that a
// person has agreed to.
func (w *world) approved(p *peer) func(in string) string {
	w.T.Helper()
	o := p.tool("events_publish", `{"type":"asked"}`).outcome(w.T)
	if o.Approval == nil {
		w.T.Fatalf("events_publish is not held: %+v", o)
	}
	w.must("approvals.approve", map[string]any{"id": o.Approval.ID}, nil)
	return func(in string) string { return strings.ReplaceAll(in, "ap-4wk2mz7q3c", o.Approval.ID) }
}
