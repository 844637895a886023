package policy

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/op"
)

// Binding is what makes two calls the same call: who, which method, which arguments, and on what.
type Binding struct {
	Caller  op.Caller       // its Principal counts, not the connection
	Method  string          //
	Digest  string          // Digest of the arguments
	Targets []op.Target     // with their generations
	Args    json.RawMessage // redacted; shown to people, not part of what is bound
	Why     string          // the sentence of the decision; not part of what is bound
}

// Identity is the bound part but for the targets, each piece with its length so that none can run into the next.
func (b Binding) Identity() []byte {
	return pack(b.Caller.Principal(), b.Method, b.Digest)
}

// World is the bound part that moves when a target is started, stopped or changed.
func (b Binding) World() []byte {
	targets := slices.Clone(b.Targets)
	slices.SortFunc(targets, func(x, y op.Target) int { return strings.Compare(targetName(x), targetName(y)) })
	var out []byte
	for _, t := range targets {
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
