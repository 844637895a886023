package vault

import (
	"crypto/rand"
	"slices"
	"time"
)

// Key gives the daemon's own key of a name: 32 random bytes, made at the first call and durable before they are given.
// Secrets and these keys have nothing to do with each other, whatever their names.
func (v *Vault) Key(name string) (key []byte, err error) {
	find := func(entries []entry) []byte {
		for _, e := range entries {
			if e.Space == spaceKey && e.Name == name {
				return slices.Clone(e.value)
			}
		}
		return nil
	}
	c, err := v.contents()
	if err != nil {
		return nil, err
	}
	if c != nil {
		if key = find(c.Entries); key != nil {
			return key, nil
		}
	}
	err = v.change(func(now time.Time, entries []entry) ([]entry, bool, error) {
		if key = find(entries); key != nil {
			return nil, false, nil
		}
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
		return append(slices.Clone(entries), entry{Space: spaceKey, Name: name, Version: 1, Created: now, value: slices.Clone(key)}), true, nil
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

// DropKey forgets a key of the daemon's own for good; one that is not there is no error.
func (v *Vault) DropKey(name string) error {
	return v.change(func(_ time.Time, entries []entry) ([]entry, bool, error) {
		next := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.Space == spaceKey && e.Name == name })
		return next, len(next) != len(entries), nil
	})
}
