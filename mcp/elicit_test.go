package mcp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/policy"
)

const formHello = `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"t","version":"1"}}}`

func formCall(id int, tool, args, more string) string {
	meta := strings.Replace(modernMeta, `clientCapabilities":{}`, `clientCapabilities":{"elicitation":{"form":{}}}`, 1)
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{%s,"name":%q,"arguments":%s%s}}`, id, meta, tool, args, more)
}

// TestAsk: in the era with a handshake the client's user is asked, and his yes is the confirmation.
func TestAsk(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	p.send(formHello)
	p.next()
	for i, c := range []struct {
		answer, want string
		stopped      int64
	}{
		{`"result":{"action":"decline"}`, `"reason":"refused"`, 0},
		{`"result":{"action":"cancel"}`, `"reason":"refused"`, 0},
		{`"result":{"action":"accept","content":{"confirm":false}}`, `"reason":"refused"`, 0},
		{`"result":{"action":"accept"}`, `"reason":"refused"`, 0},
		{`"error":{"code":-1,"message":"no"}`, `"status":"confirm"`, 0},
		{`"result":{"action":"accept","content":{"confirm":true}}`, `"status":"done"`, 1},
	} {
		p.send(call(i, "apps_stop", `{"names":["web"]}`))
		q := p.reply()
		if q.Method != "elicitation/create" || !strings.Contains(string(q.Params), "shop/dev/web: running → stopped") || !strings.HasPrefix(string(q.ID), `"omnitron-`) {
			t.Fatalf("no question: %s", q.line)
		}
		p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, q.ID, c.answer))
		if r := p.reply(); string(r.ID) != fmt.Sprint(i) || !strings.Contains(r.line, c.want) {
			t.Errorf("%s: %s", c.answer, r.line)
		}
		p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept","content":{"confirm":true}}}`, q.ID)) // once more: nobody waits
		if n := b.stopped.Load(); n != c.stopped {
			t.Errorf("%s: stopped %d times", c.answer, n)
		}
	}
	p.send(call("held", "ops_write", `{"method":"apps.purge","input":{"names":["web"]}}`))
	if r := p.reply(); !strings.Contains(r.line, `"status":"held"`) {
		t.Errorf("a held call asks the client: %s", r.line)
	}
}

// TestAskCancelled: a call that is cancelled while its user thinks ends, and says nothing.
func TestAskCancelled(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	p.send(formHello)
	p.next()
	p.send(call(1, "apps_stop", `{"names":["web"]}`))
	q := p.reply()
	p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept","content":{"confirm":true}}}`, q.ID))
	p.nothing(t)
	quiet(t, b)
	if b.stopped.Load() != 0 {
		t.Error("it was done all the same")
	}
}

// TestQuestion: in the era without a handshake the question travels in the result, and its sealed state is good for the
// identical call only, and once.
func TestQuestion(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	yes, no := `,"inputResponses":{"confirm":{"action":"accept","content":{"confirm":true}}}`, `,"inputResponses":{"confirm":{"action":"decline"}}`
	ask := func() string {
		p.send(formCall(1, "apps_stop", `{"names":["web"]}`, ""))
		r := p.reply()
		if r.Result.ResultType != "input_required" || !strings.Contains(string(r.Result.InputRequests), "elicitation/create") || r.Result.RequestState == "" || strings.Contains(r.line, "tok-") {
			t.Fatalf("no question: %s", r.line)
		}
		return fmt.Sprintf(`,"requestState":%q`, r.Result.RequestState)
	}
	state := ask()
	broken := strings.Replace(state, state[20:22], "AA", 1)
	for name, c := range map[string]struct{ tool, args, more, want string }{
		"another argument": {"apps_stop", `{"names":["api"]}`, yes + state, "request_state"},
		"another tool":     {"apps_start", `{"names":["web"]}`, yes + state, "request_state"},
		"altered":          {"apps_stop", `{"names":["web"]}`, yes + broken, "request_state"},
		"made up":          {"apps_stop", `{"names":["web"]}`, yes + `,"requestState":"e30"`, "request_state"},
		"no answer":        {"apps_stop", `{"names":["web"]}`, state, "request_state"},
		"a no":             {"apps_stop", `{"names":["web"]}`, no + state, "refused"},
	} {
		p.send(formCall(2, c.tool, c.args, c.more))
		if r := p.reply(); !r.Result.IsError || !strings.Contains(r.line, c.want) {
			t.Errorf("%s: %s", name, r.line)
		}
	}
	digest, err := policy.Digest([]byte(`{"names":["web"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]kept{
		"expired":              {"tok-1", owner.Principal(), "apps.stop", digest, time.Now().Add(-time.Second)},
		"of another principal": {"tok-1", "eve/agent", "apps.stop", digest, time.Now().Add(time.Minute)},
	} {
		plain, _ := json.Marshal(k)
		old := base64.RawURLEncoding.EncodeToString(b.seal.Seal(nil, nil, plain, nil))
		p.send(formCall(2, "apps_stop", `{"names":["web"]}`, yes+fmt.Sprintf(`,"requestState":%q`, old)))
		if r := p.reply(); !r.Result.IsError || !strings.Contains(r.line, "request_state") {
			t.Errorf("%s: %s", name, r.line)
		}
	}
	if b.stopped.Load() != 0 {
		t.Fatal("it was done")
	}
	p.send(formCall(3, "apps_stop", `{ "names": ["web"] }`, yes+state))
	if r := p.reply(); !strings.Contains(r.line, `"status":"done"`) || b.stopped.Load() != 1 {
		t.Errorf("a yes does nothing: %s", r.line)
	}
	p.send(formCall(4, "apps_stop", `{"names":["web"]}`, yes+state))
	if r := p.reply(); !r.Result.IsError || b.stopped.Load() != 1 {
		t.Errorf("a yes counts twice: %s", r.line)
	}
	state = ask()
	b.generation.Add(1)
	p.send(formCall(5, "apps_stop", `{"names":["web"]}`, yes+state))
	if r := p.reply(); !r.Result.IsError || b.stopped.Load() != 1 {
		t.Errorf("a yes counts although the target has moved: %s", r.line)
	}
	p.send(formCall(6, "ops_write", `{"method":"apps.stop","input":{"names":["web"]}}`, ""))
	r := p.reply()
	p.send(formCall(7, "ops_write", `{"method":"apps.stop","input":{"names":["web"]}}`, yes+fmt.Sprintf(`,"requestState":%q`, r.Result.RequestState)))
	if r := p.reply(); !strings.Contains(r.line, `"status":"done"`) || b.stopped.Load() != 2 {
		t.Errorf("through the meta tool: %s", r.line)
	}
}
