package vault

import (
	"fmt"
	"sync"

	"github.com/omnitron-dev/omnitron/core/store"
)

// Box seals what the daemon keeps elsewhere, under a key in a file of its own. It is no part of the vault on purpose: a
// home whose vault is sealed still starts what needs no secret, so what it starts them from must be readable.
//
// Its key is renewed in two steps, between which the owner of what is sealed seals it anew: Renew, after which the new key
// seals and the former ones still open, and Retire, which forgets those. So a death at any moment leaves everything
// readable, and Renewing says that a renewal has to be brought to its end.
type Box struct {
	path string
	disk store.Disk
	mu   sync.Mutex
	keys [][]byte // the one that seals, and those before it that still open
	open []*aead  // of each
}

// NewBox makes a box whose key is at path. The key is made when something is sealed first.
func NewBox(path string, disk store.Disk) *Box { return &Box{path: path, disk: disk} }

// use gives the ciphers. Without a key there are none, unless one may be made.
func (b *Box) use(mayMake bool) ([]*aead, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil {
		return b.open, nil
	}
	keys, err := readKeys(b.path, b.disk, true)
	switch {
	case err != nil:
		return nil, err
	case keys == nil && !mayMake:
		return nil, fmt.Errorf("its key %s is missing", b.path)
	case keys == nil:
		err = b.have(newKey())
	default:
		b.take(keys)
	}
	return b.open, err
}

// have writes the keys down and uses them from then on; mu is held.
func (b *Box) have(keys ...[]byte) error {
	if err := store.Put(b.disk, b.path, writeKeys(keys...)); err != nil {
		return fmt.Errorf("cannot write the key %s: %w", b.path, err)
	}
	b.take(keys)
	return nil
}

func (b *Box) take(keys [][]byte) {
	b.keys, b.open = keys, make([]*aead, len(keys))
	for i, k := range keys {
		b.open[i] = newAEAD(k)
	}
}

// Renew makes another key, which seals from then on, and keeps those before it for what they have sealed. It reports
// whether there was anything to renew: a box that never sealed has no key.
func (b *Box) Renew() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keys == nil {
		keys, err := readKeys(b.path, b.disk, true)
		if err != nil || keys == nil {
			return false, err
		}
		b.take(keys)
	}
	return true, b.have(append([][]byte{newKey()}, b.keys...)...)
}

// Renewing reports whether former keys still open: a renewal has not come to its end.
func (b *Box) Renewing() bool {
	open, err := b.use(false)
	return err == nil && len(open) > 1
}

// Retire forgets the former keys. What they have sealed opens no more.
func (b *Box) Retire() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.keys) < 2 {
		return nil
	}
	return b.have(b.keys[0])
}

// Seal gives a text that only Open with the same binding understands.
func (b *Box) Seal(text, binding []byte) ([]byte, error) {
	keys, err := b.use(true)
	if err != nil {
		return nil, err
	}
	return keys[0].seal(text, binding), nil
}

// Open is the inverse of Seal. It fails for what was changed, or sealed with another binding or key.
func (b *Box) Open(sealed, binding []byte) ([]byte, error) {
	keys, err := b.use(false)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if text, err := k.open(sealed, binding); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("it was changed, or sealed with another key than that of %s", b.path)
}
