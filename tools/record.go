package tools

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/redact"
)

// maxArgs bounds the arguments in a record; of larger ones it keeps size and digest.
const maxArgs = 16 << 10

// note records the call. What is about to change something is on record before anything happens to it: no record, no
// effect. So is what a person has to agree to, a read too, in one transaction with the question or with the use of the
// answer. The record's number orders the commands. Other calls are recorded by settle, behind the call.
func (r *Registry) note(ctx context.Context, c *call) (context.Context, error) {
	c.entry = c.describe(r.Secrets.Matcher())
	var with []func(*sql.Tx) error
	if c.verdict.Verdict == policy.Hold && !c.controls.DryRun {
		in, answer, err := r.present(ctx, c)
		if err != nil {
			return ctx, err
		}
		with, c.decided = append(with, in), answer
	}
	if !c.changes() && with == nil {
		return ctx, nil
	}
	seq, err := r.Ledger.Begin(ctx, c.entry, with...)
	if err != nil {
		return ctx, err
	}
	c.record = seq
	return op.WithSeq(ctx, seq), nil
}

func (c *call) describe(secrets *redact.Matcher) ledger.Entry {
	who := c.caller
	var address, credential string
	if who.UID < 0 { // on a socket the uid says who it is, and the token is what an agent's client says of itself
		if credential = who.Token; who.From.IsValid() {
			address = who.From.Unmap().String()
		}
	}
	return ledger.Entry{
		Time: c.start, Call: c.id, User: who.User, UID: who.UID, Channel: string(who.Channel), Client: who.Client, Session: who.Session,
		Plane: who.Plane, Trace: who.Trace, Method: c.ID(), Targets: targetNames(c.targets), Args: c.args(secrets), Changes: c.changes(),
		Address: address, Credential: credential,
	}
}

// args is the input as it may be kept: without secrets, and not larger than a record should be. An input that was
// refused has no form in which secrets could be told from the rest, and is not kept.
func (c *call) args(secrets *redact.Matcher) json.RawMessage {
	if c.in == nil {
		return nil
	}
	args, _ := secrets.JSON(c.Method.in.Redact(c.in))
	if len(args) <= maxArgs {
		return args
	}
	sum := sha256.Sum256(args)
	return fmt.Appendf(nil, `{"omitted_bytes":%d,"sha256":"%s"}`, len(args), hex.EncodeToString(sum[:]))
}
