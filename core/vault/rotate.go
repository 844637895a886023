package vault

import (
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
)

// Rotation is what a change of keys has done.
type Rotation struct {
	At     time.Time
	Values int  // sealed anew
	Key    bool // the vault's own key was renewed too; not when it is a credential, which only its owner can renew
}

// Rotate renews the data key, seals every value anew, and renews vault.key. Reads go on meanwhile. After a kill at any
// step the vault opens, and the next start brings the rotation to its end.
//
// A credential is renewed by its owner: the new key as the first line, the former as the second; after a start with both
// the former can go.
func (v *Vault) Rotate() (Rotation, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, err := v.load()
	if err == nil && c == nil {
		c, err = v.begin()
	}
	if err != nil {
		return Rotation{}, err
	}
	key := c.kek
	if v.credential == "" {
		key = newKey()
		all := append([][]byte{key}, c.kek)
		if former, err := v.readKeys(); err == nil { // of a rotation that failed: the file may be under any of them
			all = append(all, former...)
		}
		if err := store.Put(v.disk, v.keyPath(), writeKeys(all...)); err != nil {
			return Rotation{}, v.failed(err)
		}
	}
	next, err := v.rekey(c, key)
	v.open.Store(next)
	if err != nil {
		return Rotation{}, err
	}
	return Rotation{next.Rotated, len(next.Entries), v.credential == ""}, nil
}

// rekey seals c anew under key, with a new data key, and gives what the file holds then, after an error too. The file is
// written twice, so that its copy, too, is one that the former key does not open.
func (v *Vault) rekey(c *contents, key []byte) (*contents, error) {
	entries := slices.Clone(c.Entries)
	for i := range entries {
		entries[i].Sealed = nil
	}
	next := fresh(key, c.Created, v.now().UTC()).with(entries)
	next.Serial = c.Serial
	v.next(next)
	if err := v.write(next); err != nil {
		return c, err
	}
	if err := v.write(next); err != nil {
		return next, err
	}
	v.made(next)
	if v.credential == "" {
		if err := store.Put(v.disk, v.keyPath(), writeKeys(key)); err != nil {
			return next, v.failed(err)
		}
	}
	return next, nil
}
