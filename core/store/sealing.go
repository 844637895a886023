package store

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Sealer seals texts; *vault.Box is one.
type Sealer interface {
	// Seal gives a text that only Open with the same binding understands.
	Seal(text, binding []byte) ([]byte, error)
	// Open fails for what was changed, or sealed with another binding or key.
	Open(sealed, binding []byte) ([]byte, error)
}

// SealWith has revisions sealed before they reach the disk: a definition holds what files and shell gave as environment,
// passwords among it. Those that were kept before stay readable. It gives r.
func (r *Revisions) SealWith(s Sealer) *Revisions {
	r.sealer = s
	return r
}

// sealed is how a sealed text stands in its column.
type sealed struct {
	Sealed []byte `json:"sealed"`
}

var sealedStart = []byte(`{"sealed":"`)

// texts are the parts of a revision that are sealed, with what each is bound to.
func (v *Revision) texts() map[string]*json.RawMessage {
	at := v.Project + "/" + v.Stack + "/"
	return map[string]*json.RawMessage{at + "definition": &v.Definition, at + "files": &v.Files, at + "env": &v.Env}
}

// seal gives the revision as the disk gets it.
func (r *Revisions) seal(v Revision) (Revision, error) {
	if r.sealer == nil {
		return v, nil
	}
	for binding, text := range v.texts() {
		b, err := r.sealer.Seal(orNull(*text), []byte(binding))
		if err == nil {
			*text, err = json.Marshal(sealed{b})
		}
		if err != nil {
			return v, notDurable(err, "a revision")
		}
	}
	return v, nil
}

// open gives the revision as it was before seal. What cannot be opened is left out, and Unreadable says why.
func (r *Revisions) open(v *Revision) {
	for binding, text := range v.texts() {
		var s sealed
		if !bytes.HasPrefix(*text, sealedStart) || json.Unmarshal(*text, &s) != nil {
			continue
		}
		var plain []byte
		err := fmt.Errorf("it is sealed")
		if r.sealer != nil {
			plain, err = r.sealer.Open(s.Sealed, []byte(binding))
		}
		if *text = plain; err != nil {
			v.Unreadable = fmt.Errorf("cannot read revision %d of %s/%s: %w", v.Rev, v.Project, v.Stack, err)
		}
	}
}
