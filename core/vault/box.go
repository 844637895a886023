package vault

import (
	"fmt"
	"sync"

	"github.com/omnitron-dev/omnitron/core/store"
)

// Box seals what the daemon keeps elsewhere, under a key in a file of its own. It is no part of the vault on purpose: a
// home whose vault is sealed still starts what needs no secret, so what it starts them from must be readable.
type Box struct {
	path string
	disk store.Disk
	mu   sync.Mutex
	key  *aead
}

// NewBox makes a box whose key is at path. The key is made when something is sealed first.
func NewBox(path string, disk store.Disk) *Box { return &Box{path: path, disk: disk} }

// use gives the cipher. Without a key there is none, unless one may be made.
func (b *Box) use(mayMake bool) (*aead, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key != nil {
		return b.key, nil
	}
	keys, err := readKeys(b.path, b.disk, true)
	switch {
	case err != nil:
		return nil, err
	case keys == nil && !mayMake:
		return nil, fmt.Errorf("its key %s is missing", b.path)
	case keys == nil:
		keys = [][]byte{newKey()}
		if err := store.Put(b.disk, b.path, writeKeys(keys...)); err != nil {
			return nil, fmt.Errorf("cannot write the key %s: %w", b.path, err)
		}
	}
	b.key = newAEAD(keys[0])
	return b.key, nil
}

// Seal gives a text that only Open with the same binding understands.
func (b *Box) Seal(text, binding []byte) ([]byte, error) {
	key, err := b.use(true)
	if err != nil {
		return nil, err
	}
	return key.seal(text, binding), nil
}

// Open is the inverse of Seal. It fails for what was changed, or sealed with another binding or key.
func (b *Box) Open(sealed, binding []byte) ([]byte, error) {
	key, err := b.use(false)
	if err != nil {
		return nil, err
	}
	text, err := key.open(sealed, binding)
	if err != nil {
		return nil, fmt.Errorf("it was changed, or sealed with another key than that of %s", b.path)
	}
	return text, nil
}
