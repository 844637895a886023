package launch

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

// Look gives the value that an app means by the name of a secret, without waiting for anything.
type Look func(project, stack, name string) (string, error)

// Values looks up the secrets of a program by the variables that carry them. Faults: those of the vault.
func Values(look Look, key string, p *config.Process) (map[string]string, error) {
	got := map[string]string{}
	for _, variable := range slices.Sorted(maps.Keys(p.Secrets)) {
		value, err := look(naming.Project(key), naming.Stack(key), p.Secrets[variable])
		if err != nil {
			return nil, err
		}
		got[variable] = value
	}
	return got, nil
}

// Withheld says which secret of a program cannot be had, and why, or "". code is the reason of the fault.
func Withheld(look Look, key string, p *config.Process) (why, code string) {
	if _, err := Values(look, key, p); err != nil {
		f := fault.From(err)
		if f.Hint == "" || f.Code == fault.NotFound { // the message says where it was looked for
			return fmt.Sprintf("%s (%s)", f.Message, f.Reason), f.Reason
		}
		return fmt.Sprintf("%s (%s): %s", f.Message, f.Reason, f.Hint), f.Reason
	}
	return "", ""
}
