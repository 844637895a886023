package vault

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// keySize is the size of every key here: XChaCha20-Poly1305.
const keySize = chacha20poly1305.KeySize

// aead seals with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha). The nonce of 192 random bits stands before what is sealed:
// it is long enough that no number of writes brings one twice.
type aead struct{ cipher cipher.AEAD }

// newAEAD uses a key of keySize bytes; another size is a fault of the program.
func newAEAD(key []byte) *aead {
	c, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic(err)
	}
	return &aead{c}
}

func (a *aead) seal(text, binding []byte) []byte {
	out := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(text)+chacha20poly1305.Overhead)
	_, _ = rand.Read(out) // never fails
	return a.cipher.Seal(out, out, text, binding)
}

var errNotSealed = errors.New("it was not sealed with this key and binding")

// open is the inverse of seal. It fails for what was changed, or sealed with another key or binding.
func (a *aead) open(sealed, binding []byte) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, errNotSealed
	}
	nonce, rest := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	text, err := a.cipher.Open(nil, nonce, rest, binding)
	if err != nil {
		return nil, errNotSealed
	}
	return text, nil
}
