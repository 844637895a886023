package mcp

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/mcp/tool"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// askFor is how long a client's user may think before the model gets the token instead.
const askFor = 2 * time.Minute

// confirming gives the outcome of a call that waits for its confirmation.
func confirming(v any) (op.Outcome, bool) {
	o, ok := v.(op.Outcome)
	return o, ok && o.Status == op.Confirm && o.Confirm != nil
}

// form is what a client shows its user: the plan in words of ours, names made visible, and one box to tick.
func form(m *tool.Tool, o op.Outcome) json.RawMessage {
	var b strings.Builder
	fmt.Fprintf(&b, "Run %s? %s", m.ID(), m.Doc)
	if o.Plan != nil {
		for i, it := range o.Plan.Items {
			if i == 10 {
				fmt.Fprintf(&b, "\n… and %d more", len(o.Plan.Items)-i)
				break
			}
			fmt.Fprintf(&b, "\n- %s: %s → %s", answer.Line(it.Target, 130), answer.Line(it.From, 60), answer.Line(it.To, 60))
		}
	}
	out := answer.AppendString([]byte(`{"mode":"form","message":`), b.String())
	return append(out, `,"requestedSchema":{"type":"object","properties":{"confirm":{"type":"boolean","title":"Do it","description":"yes: the plan is carried out now"}},"required":["confirm"]}}`...)
}

// agreed reads a user's answer to the form.
func agreed(result json.RawMessage) bool {
	return object.String(result, "action") == "accept" && string(object.Get(object.Get(result, "content"), "confirm")) == "true"
}

var errRefused = fault.New(fault.Held, "the user was asked and said no; nothing has happened").WithReason("refused").
	WithHint("do not call it again unless the user asks for it")

// questions are the requests of ours that a client has not answered yet.
type questions struct {
	mu   sync.Mutex
	open map[string]chan wire.Message
}

func (q *questions) begin() (id string, reply <-chan wire.Message, forget func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == nil {
		q.open = map[string]chan wire.Message{}
	}
	id = `"omnitron-` + rand.Text() + `"` // never that of another connection, whose user was asked something else
	ch := make(chan wire.Message, 1)
	q.open[id] = ch
	return id, ch, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.open, id)
	}
}

// answered hands an answer to whoever asked; one that nobody waits for is forgotten.
func (q *questions) answered(m wire.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ch := q.open[idKey(m.ID)]; ch != nil {
		ch <- m
		delete(q.open, idKey(m.ID))
	}
}

// ask lets a client of the era with a handshake ask its user, and makes the call again with the token when the answer is
// yes. That is a confirmation and nothing more: a held call stays held. Without an answer the model gets the token.
func (c *conn) ask(ctx context.Context, r *request, m *tool.Tool, p toolCall, o op.Outcome, asked any) (any, error) {
	id, reply, forget := c.asked.begin()
	defer forget()
	line := append([]byte(`{"jsonrpc":"2.0","id":`+id+`,"method":"elicitation/create","params":`), form(m, o)...)
	if r.out.Write(append(line, '}')) != nil { // nobody can be asked on the way back of this request
		return asked, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(askFor):
		return asked, nil
	case a := <-reply:
		if a.Error != nil {
			return asked, nil
		}
		if !agreed(a.Result) {
			return nil, errRefused
		}
		return c.srv.reg.Do(ctx, tools.Call{Method: m.ID(), In: withToken(p.args, o.Confirm.Token)})
	}
}

func withToken(args json.RawMessage, token string) json.RawMessage {
	return object.Set(args, "confirm", answer.AppendString(nil, token))
}

// kept is what travels through a client of the modern era while its user is asked. It is sealed: the client can neither
// read nor change it, and it is good for one caller, method and input only.
type kept struct {
	Token     string    `json:"t"`
	Principal string    `json:"p"`
	Method    string    `json:"m"`
	Args      string    `json:"a"`
	Until     time.Time `json:"u"`
}

func newSeal() (cipher.AEAD, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cannot make a cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// question appends the result that makes a client of the modern era ask its user and call again.
func (c *conn) question(line []byte, m *tool.Tool, p toolCall, o op.Outcome) ([]byte, *wire.Error) {
	digest, err := policy.Digest(p.args)
	if err != nil {
		return nil, invalidParams("the arguments have no canonical form")
	}
	plain, err := json.Marshal(kept{o.Confirm.Token, c.caller.Principal(), m.ID(), digest, o.Confirm.ExpiresAt})
	if err != nil {
		return nil, &wire.Error{Code: wire.CodeOf(fault.Internal), Message: "cannot keep the question"}
	}
	state := base64.RawURLEncoding.EncodeToString(c.srv.seal.Seal(nil, nil, plain, nil))
	line = append(line, `{"resultType":"input_required","inputRequests":{"confirm":{"method":"elicitation/create","params":`...)
	line = append(append(line, form(m, o)...), `}},"requestState":"`...)
	line = append(append(line, state...), `","_meta":{"`+metaServer+`":`...)
	return append(append(line, c.srv.self...), "}}"...), nil
}

// resume gives the arguments with the token when the user has said yes to the question that the state belongs to.
func (c *conn) resume(r *request, m *tool.Tool, p toolCall) (json.RawMessage, error) {
	wrong := func(why string) error {
		return fault.New(fault.Invalid, "the requestState %s", why).WithReason("request_state").WithHint("call again without requestState and inputResponses")
	}
	sealed, err := base64.RawURLEncoding.DecodeString(p.state)
	if err != nil || !r.modern {
		return nil, wrong("is not one of ours")
	}
	plain, err := c.srv.seal.Open(nil, nil, sealed, nil)
	var k kept
	if err != nil || json.Unmarshal(plain, &k) != nil {
		return nil, wrong("is not one of ours")
	}
	digest, err := policy.Digest(p.args)
	switch {
	case err != nil || k.Principal != c.caller.Principal() || k.Method != m.ID() || k.Args != digest:
		return nil, wrong("belongs to another call")
	case time.Now().After(k.Until):
		return nil, wrong("has expired")
	case object.Get(p.responses, "confirm") == nil:
		return nil, wrong("came without the answer to confirm")
	case !agreed(object.Get(p.responses, "confirm")):
		return nil, errRefused
	}
	return withToken(p.args, k.Token), nil
}
