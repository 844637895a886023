package vault

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The file has three lines: what it is with the SHA-256 of the rest, the body, and the body's seal. The sum tells damage
// from a key that does not fit; the seal, which only the key can make, tells a file that somebody put together from
// pieces. Every value is sealed for itself besides, bound to its name and version.
const magic = "omnitron-vault"

const format = 1

// Spaces keep what users store apart from what the daemon keeps for itself.
const (
	spaceSecret = "secret"
	spaceKey    = "key"
)

var (
	errDamaged = errors.New("damaged")
	errNoFit   = errors.New("the key does not fit")
	errLater   = errors.New("written by a later version of omnitron")
)

// body is the second line.
type body struct {
	Created time.Time `json:"created"`
	Rotated time.Time `json:"rotated"`
	Serial  int64     `json:"serial,omitempty"` // of the change that made this file; 0: from before they were counted
	Wrapped []byte    `json:"dataKey"`          // the data key, wrapped by the key of vault.key
	Entries []entry   `json:"entries"`
}

// entry is one version of one value.
type entry struct {
	Space   string    `json:"space"`
	Name    string    `json:"name"`
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Ended   time.Time `json:"ended,omitzero"` // replaced or deleted
	Deleted bool      `json:"deleted,omitempty"`
	Sealed  []byte    `json:"sealed"`
	value   []byte
}

func (e *entry) binding() []byte {
	return []byte(magic + "\x00" + strconv.Itoa(format) + "\x00" + e.Space + "\x00" + e.Name + "\x00" + strconv.Itoa(e.Version))
}

func order(a, b entry) int {
	return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
}

var (
	keyBinding = []byte(magic + "\x00dataKey")
	sealPrefix = magic + "\x00file\x00"
)

// contents is an open vault; it is never changed, only replaced.
type contents struct {
	body
	kek  []byte // the key that wraps the data key
	data *aead
}

// fresh is an empty vault under a key, with a data key of its own.
func fresh(kek []byte, created, now time.Time) *contents {
	key := newKey()
	return &contents{
		body: body{Created: created, Rotated: now, Wrapped: newAEAD(kek).seal(key, keyBinding)},
		kek:  kek, data: newAEAD(key),
	}
}

// with gives the contents with other entries; those without a sealed form get it.
func (c *contents) with(entries []entry) *contents {
	next := *c
	next.Entries = slices.SortedFunc(slices.Values(entries), order)
	for i := range next.Entries {
		e := &next.Entries[i]
		if e.Sealed != nil {
			continue
		}
		e.Sealed = next.data.seal(e.value, e.binding())
	}
	return &next
}

func (c *contents) encode() ([]byte, error) {
	line, err := json.Marshal(c.body)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the vault: %w", err)
	}
	seal := c.data.seal(nil, append([]byte(sealPrefix), line...))
	rest := append(append(line, '\n'), base64.StdEncoding.EncodeToString(seal)...)
	rest = append(rest, '\n')
	sum := sha256.Sum256(rest)
	return append(fmt.Appendf(nil, "%s %d %x\n", magic, format, sum), rest...), nil
}

// decode opens a file with the first of the keys that fits. Errors: errLater, errNoFit, else errDamaged.
func decode(file []byte, keys [][]byte) (*contents, error) {
	damaged := func(what string) (*contents, error) { return nil, fmt.Errorf("%w: %s", errDamaged, what) }
	first, rest, _ := bytes.Cut(file, []byte("\n"))
	head := bytes.Split(first, []byte(" "))
	if len(head) != 3 || string(head[0]) != magic {
		return damaged("it does not begin as a vault does")
	}
	if v, err := strconv.Atoi(string(head[1])); err != nil || v < format || strconv.Itoa(v) != string(head[1]) {
		return damaged("it does not say which format it has")
	} else if v > format {
		return nil, fmt.Errorf("%w (format %d)", errLater, v)
	}
	if sum := sha256.Sum256(rest); hex.EncodeToString(sum[:]) != string(head[2]) {
		return damaged("its checksum is wrong")
	}
	line, tail, ok := bytes.Cut(rest, []byte("\n"))
	var c contents
	if !ok || json.Unmarshal(line, &c.body) != nil {
		return damaged("it cannot be parsed")
	}
	if err := c.unwrap(keys); err != nil {
		return nil, err
	}
	seal, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSuffix(tail, []byte("\n"))))
	if err != nil {
		return damaged("its seal cannot be read")
	}
	if _, err := c.data.open(seal, append([]byte(sealPrefix), line...)); err != nil {
		return damaged("its seal is not the vault's own: somebody without the key has changed it")
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		if e.value, err = c.data.open(e.Sealed, e.binding()); err != nil {
			return damaged(fmt.Sprintf("version %d of %s is not what was stored under that name", e.Version, e.Name))
		}
	}
	return &c, nil
}

// unwrap opens the data key.
func (c *contents) unwrap(keys [][]byte) error {
	for _, kek := range keys {
		key, err := newAEAD(kek).open(c.Wrapped, keyBinding)
		if err != nil {
			continue
		}
		if len(key) != keySize {
			return fmt.Errorf("%w: the data key cannot be used", errDamaged)
		}
		c.kek, c.data = kek, newAEAD(key)
		return nil
	}
	return errNoFit
}
