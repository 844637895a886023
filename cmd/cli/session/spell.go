package session

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Spell spells a call that a hint names as the command that makes it, in its short form where it has one.
func (s *Session) Spell(call fault.Call) (string, bool) {
	line, ok := s.local(call)
	if ok && s.Remote != "" {
		line += " --remote " + s.Remote
	}
	return line, ok
}

// unreached are the reasons of not getting to a remote daemon, whose hints are for its machine.
var unreached = []string{"remote_unreachable", "key_changed", "no_tls"}

// local is Spell for whoever types on the daemon's own machine.
func (s *Session) local(call fault.Call) (string, bool) {
	spec, ok := s.Spec(call.Method)
	if !ok {
		return "", false
	}
	return field.Line("omnitron "+cmp.Or(spec.Top, spec.Service+" "+spec.Verb), field.Of(spec.In), call.Input), true
}

// spelled gives an answer of type t whose hints name commands.
func (s *Session) spelled(raw json.RawMessage, t reflect.Type) (json.RawMessage, error) {
	if !fault.Hints(t) {
		return raw, nil
	}
	v := reflect.New(t)
	if err := json.Unmarshal(raw, v.Interface()); err != nil {
		return nil, fmt.Errorf("cannot read the answer: %w", err)
	}
	told, err := json.Marshal(fault.SpellAll(v.Elem().Interface(), s.Spell))
	if err != nil {
		return nil, fmt.Errorf("cannot write the answer: %w", err)
	}
	return told, nil
}
