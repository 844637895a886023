package supervisor

import (
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
)

// Wanting gives the calls that would end an app's wait for its secrets.
func (s *Supervisor) Wanting(key string) []fault.Hint {
	r := s.runner(key)
	if r == nil {
		return nil
	}
	var calls []fault.Hint
	for i := range r.declared.Load().Processes {
		if _, err := launch.Values(s.Secret, key, &r.declared.Load().Processes[i]); err != nil {
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
