package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/omnitron-dev/omnitron/core/fault"
	"golang.org/x/crypto/argon2"
)

// What a hash costs: argon2id with the parameters that OWASP gives for 19 MiB.
const (
	memory   = 19 << 10 // KiB
	passes   = 2
	lanes    = 1
	saltSize = 16
	sumSize  = 32

	atOnce = 2  // hashes, so that they never take the machine
	queue  = 16 // that may wait
)

// form is the PHC string of a hash: its parameters, salt and sum.
const form = "$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s"

// Hasher hashes passwords, a few at a time. It is safe for concurrent use.
type Hasher struct {
	Sum func(password, salt []byte, passes, memory uint32, lanes uint8, size uint32) []byte // argon2id; set before use by whoever counts

	places  chan struct{}
	waiting atomic.Int64
	nobody  string
}

// NewHasher gives a hasher.
func NewHasher() *Hasher {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	return &Hasher{Sum: argon2.IDKey, places: make(chan struct{}, atOnce), nobody: fmt.Sprintf(form, memory, passes, lanes, encoding.EncodeToString(salt), encoding.EncodeToString(make([]byte, sumSize)))}
}

var encoding = base64.RawStdEncoding.Strict()

// enter waits for a place. Faults: limited (sign_in_busy).
func (h *Hasher) enter(ctx context.Context) (leave func(), err error) {
	if h.waiting.Add(1) > queue+atOnce {
		h.waiting.Add(-1)
		return nil, fault.New(fault.Limited, "too many passwords are being checked").WithReason("sign_in_busy").WithRetryAfter(1)
	}
	select {
	case h.places <- struct{}{}:
		return func() { <-h.places; h.waiting.Add(-1) }, nil
	case <-ctx.Done():
		h.waiting.Add(-1)
		return nil, ctx.Err()
	}
}

// Hash gives what checks a password. Faults: limited (sign_in_busy).
func (h *Hasher) Hash(ctx context.Context, text string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	sum := h.Sum([]byte(Normal(text)), salt, passes, memory, lanes, sumSize)
	return fmt.Sprintf(form, memory, passes, lanes, encoding.EncodeToString(salt), encoding.EncodeToString(sum)), nil
}

// Verify reports whether a password is that of a hash. With no hash it is not, and finding out takes as long. Faults:
// limited (sign_in_busy).
func (h *Hasher) Verify(ctx context.Context, hash, text string) (bool, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	if hash == "" {
		hash = h.nobody
	}
	var m, t uint32
	var p uint8
	var rest string
	if _, err := fmt.Sscanf(hash, "$argon2id$v=19$m=%d,t=%d,p=%d$%s", &m, &t, &p, &rest); err != nil {
		return false, fmt.Errorf("cannot read the hash of a password: %w", err)
	}
	s, w, _ := strings.Cut(rest, "$")
	salt, err1 := encoding.DecodeString(s)
	want, err2 := encoding.DecodeString(w)
	if err1 != nil || err2 != nil || len(want) != sumSize || t < 1 || p < 1 || m > 1<<20 || t > 64 {
		return false, fmt.Errorf("cannot read the hash of a password")
	}
	sum := h.Sum([]byte(Normal(text)), salt, t, m, p, sumSize)
	return subtle.ConstantTimeCompare(sum, want) == 1 && hash != h.nobody, nil
}
