package policy

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/op"
)

// Binding is what makes two calls the same call: who, which method, which arguments, and on what.
type Binding struct {
	Caller  op.Caller       // its Principal counts, not the connection; for an approval its Token too
	Method  string          //
	Input   json.RawMessage // valid; for an approval
	Digest  string          // Digest of the input
	Targets []op.Target     // with their generations
	Plan    *op.Plan        // what the call would change; for an approval
	Args    json.RawMessage // redacted; shown to people, not part of what is bound
	Rule    string          // that made the decision; not part of what is bound
	Why     string          // the sentence of the decision; not part of what is bound
}

// Seal is what one approval is good for: the keyed hash of caller, method, input, targets and plan, in the one form of
// RFC 8785. Whatever makes it another call makes it another seal.
func (b Binding) Seal(key []byte) (string, error) {
	input, err := Canonical(b.Input)
	if err != nil {
		return "", err
	}
	type target struct {
		Key        string   `json:"key"`
		Process    string   `json:"process"`
		Instance   int      `json:"instance"`
		Generation uint64   `json:"generation"`
		Slots      []string `json:"slots"`
	}
	sealed := struct {
		User    string          `json:"user"`
		Twin    bool            `json:"twin,omitempty"`
		Channel op.Channel      `json:"channel"`
		Token   string          `json:"token"`
		Method  string          `json:"method"`
		Input   json.RawMessage `json:"input"`
		Targets []target        `json:"targets"`
		Plan    []op.Item       `json:"plan"`
		Digest  string          `json:"digest"` // of the plan: what it read beside what it shows
	}{b.Caller.User, b.Caller.Twin, b.Caller.Channel, b.Caller.Token, b.Method, input, []target{}, []op.Item{}, ""}
	for _, t := range b.sorted() {
		sealed.Targets = append(sealed.Targets, target{t.Key, t.Process, t.Instance, t.Generation, append([]string{}, t.Slots...)})
	}
	if b.Plan != nil {
		sealed.Plan = append(sealed.Plan, b.Plan.Items...)
		sealed.Digest = b.Plan.Digest
	}
	text, err := json.Marshal(sealed)
	if err != nil {
		return "", fmt.Errorf("cannot seal a call: %w", err)
	}
	if text, err = Canonical(text); err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// sorted are the targets in an order that does not depend on that of the input.
func (b Binding) sorted() []op.Target {
	targets := slices.Clone(b.Targets)
	slices.SortFunc(targets, func(x, y op.Target) int {
		return cmp.Or(strings.Compare(targetName(x), targetName(y)), cmp.Compare(x.Generation, y.Generation), slices.Compare(x.Slots, y.Slots))
	})
	return targets
}

// Identity is the bound part but for the targets, each piece with its length so that none can run into the next.
func (b Binding) Identity() []byte {
	return pack(b.Caller.Principal(), b.Method, b.Digest)
}

// World is the bound part that moves when a target is started, stopped or changed.
func (b Binding) World() []byte {
	var out []byte
	for _, t := range b.sorted() {
		out = append(out, pack(append([]string{targetName(t)}, t.Slots...)...)...)
		out = binary.BigEndian.AppendUint64(out, t.Generation)
	}
	return out
}

func targetName(t op.Target) string {
	return string(pack(t.Key, t.Process)) + string(binary.BigEndian.AppendUint64(nil, uint64(t.Instance)))
}

func pack(parts ...string) []byte {
	out := binary.BigEndian.AppendUint64(nil, uint64(len(parts)))
	for _, p := range parts {
		out = binary.BigEndian.AppendUint64(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}
