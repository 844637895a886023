package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"hash/crc32"
	"strings"
)

// What opaque credentials begin with. They end in a checksum, so that one that was cut or mistyped is told apart from one
// that is wrong, and scanners of source code know one when they see it.
const (
	namedPrefix   = "omt_"
	refreshPrefix = "omr_"
	idLength      = 10 // of 5 bits
	secretSize    = 32 // 256 bits
	secretLength  = 52 // of it in base32
	sumLength     = 8
)

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newID gives an id that nobody guesses twice: 50 random bits. Ids are no secrets.
func newID() string { return strings.ToLower(rand.Text()[:idLength]) }

// newSecret gives 256 random bits as text.
func newSecret() string {
	b := make([]byte, secretSize)
	_, _ = rand.Read(b) // never fails
	return letters.EncodeToString(b)
}

// seal ends a text with its checksum.
func seal(text string) string {
	return fmt.Sprintf("%s_%08x", text, crc32.ChecksumIEEE([]byte(text)))
}

// sealed reports whether a text has the checksum that it should end with.
func sealed(text string) bool {
	n := len(text) - sumLength - 1
	return n > 0 && seal(text[:n]) == text
}

// newNamed gives the text of a named token.
func newNamed(id string) string { return seal(namedPrefix + id + "_" + newSecret()) }

// namedID takes the text of a named token apart.
func namedID(text string) (id string, ok bool) {
	const length = len(namedPrefix) + idLength + 1 + secretLength + 1 + sumLength
	if len(text) != length || !strings.HasPrefix(text, namedPrefix) || text[len(namedPrefix)+idLength] != '_' || !sealed(text) {
		return "", false
	}
	return text[len(namedPrefix):][:idLength], true
}

// newRefresh gives the first refresh token of a family.
func newRefresh() string { return seal(refreshPrefix + newSecret()) }

// isRefresh reports whether a text has the form of a refresh token.
func isRefresh(text string) bool {
	const length = len(refreshPrefix) + secretLength + 1 + sumLength
	return len(text) == length && strings.HasPrefix(text, refreshPrefix) && sealed(text)
}

// successor gives the refresh token that follows another. It is made of that one with a key of the vault, so that the same
// refresh made twice can be told the same, although nothing but hashes is kept.
func successor(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("successor\x00" + text))
	return seal(refreshPrefix + letters.EncodeToString(mac.Sum(nil)))
}

// digest is what is kept of a secret. It needs no salt: nobody guesses 256 random bits.
func digest(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }
