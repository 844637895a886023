package supervisor

import (
	"fmt"
	"maps"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
)

// Secrets have their values looked up at each start; from there they go to the keeper in the message that starts the
// program, and nowhere else. Until all are to be had the slot waits: for a key that is put back, for a value to be set.

// values looks up the secrets of a program by the variables that carry them. Faults: those of the vault.
func (s *Supervisor) values(key string, p *config.Process) (map[string]string, error) {
	got := map[string]string{}
	for _, variable := range slices.Sorted(maps.Keys(p.Secrets)) {
		value, err := s.Secret(naming.Project(key), naming.Stack(key), p.Secrets[variable])
		if err != nil {
			return nil, err
		}
		got[variable] = value
	}
	return got, nil
}

// withheld says which secret of a program cannot be had, and why, or "". code is the reason of the fault.
func (s *Supervisor) withheld(key string, p *config.Process) (why, code string) {
	if _, err := s.values(key, p); err != nil {
		f := fault.From(err)
		if f.Hint == "" || f.Code == fault.NotFound { // the message says where it was looked for
			return fmt.Sprintf("%s (%s)", f.Message, f.Reason), f.Reason
		}
		return fmt.Sprintf("%s (%s): %s", f.Message, f.Reason, f.Hint), f.Reason
	}
	return "", ""
}

// Wanting gives the calls that would end an app's wait for its secrets.
func (s *Supervisor) Wanting(key string) []fault.Hint {
	r := s.runner(key)
	if r == nil {
		return nil
	}
	var calls []fault.Hint
	for i := range r.declared.Load().Processes {
		if _, err := s.values(key, &r.declared.Load().Processes[i]); err != nil {
			if hint := fault.Hint(fault.From(err).Hint); hint != "" && !slices.Contains(calls, hint) {
				calls = append(calls, hint)
			}
		}
	}
	return calls
}

// SecretsChanged has every app that needs a secret look again.
func (s *Supervisor) SecretsChanged() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.apps {
		if slices.ContainsFunc(r.declared.Load().Processes, func(p config.Process) bool { return len(p.Secrets) > 0 }) {
			r.mail.post(r.noop)
		}
	}
}
