package vault

import (
	"slices"

	"github.com/omnitron-dev/omnitron/core/fault"
	naming "github.com/omnitron-dev/omnitron/core/vault/name"
)

// MaxValue bounds a secret, in bytes; MaxValues how many values a vault holds, former versions counted.
const (
	MaxValue  = 64 << 10
	MaxValues = 10_000
)

// Check says what is wrong with a secret that is to be stored. Faults: invalid (bad_name, bad_value).
func Check(name string, value []byte) error {
	if err := naming.Check(name); err != nil {
		return err
	}
	switch {
	case len(value) == 0:
		return fault.New(fault.Invalid, "a secret must not be empty").WithReason("bad_value").WithHint("%s takes one away", fault.Do("secrets.delete"))
	case len(value) > MaxValue:
		return fault.New(fault.Invalid, "a secret of %d bytes is too long: %d are allowed", len(value), MaxValue).WithReason("bad_value")
	case slices.Contains(value, 0):
		return fault.New(fault.Invalid, "a secret must not contain a zero byte: no environment variable can carry it").WithReason("bad_value").
			WithHint("store it in base64")
	}
	return nil
}
