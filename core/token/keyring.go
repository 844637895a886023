package token

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// keyLife is how long a key signs before the next takes its place by itself.
	keyLife = 30 * 24 * time.Hour
	// Overlap is how long what a former key has signed counts: as long as anything that it signed can live.
	Overlap = accessLife + leeway

	signingName   = "token.signing." // of a key in the vault, before its kid
	successorName = "token.successor"
)

// keyring has the keys that sign access tokens. They are Ed25519 and sign nothing else; their seeds are in the vault.
type keyring struct {
	mu   sync.RWMutex
	keys []signing // the newest last
	next []byte    // makes refresh tokens of refresh tokens; nil: nothing is loaded yet

	seen map[[32]byte]signed // tokens that were found good, by their hash: looking twice at a signature shows nothing new
}

// signed is what a token says whose signature is good.
type signed struct {
	kid    string
	claims claims
}

// maxSeen bounds the memory of good tokens; who comes then is looked at as if he were new.
const maxSeen = 4096

// signing is one key.
type signing struct {
	kid     string
	private ed25519.PrivateKey
	created time.Time
	until   time.Time // zero: it signs
}

// public gives the key of a kid, which is looked up and nothing else; nil for none that counts now.
func (k *keyring) public(kid string, now time.Time) ed25519.PublicKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, s := range k.keys {
		if s.kid == kid && (s.until.IsZero() || now.Before(s.until)) {
			return s.private.Public().(ed25519.PublicKey)
		}
	}
	return nil
}

func (k *keyring) loaded() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.next != nil
}

// sign makes an access token of claims.
func (k *keyring) sign(c claims) (string, error) {
	k.mu.RLock()
	s := k.keys[len(k.keys)-1]
	k.mu.RUnlock()
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"iss": c.issuer, "aud": c.audience, "sub": c.subject, "sid": c.session, "jti": c.id, "iat": c.issued.Unix(), "exp": c.expires.Unix()})
	t.Header = map[string]any{"alg": algorithm, "typ": tokenType, "kid": s.kid}
	return t.SignedString(s.private)
}

// follow gives the refresh token that follows another.
func (k *keyring) follow(text string) string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return successor(k.next, text)
}

// Ready is nil once access tokens can be signed and checked, for which the vault has to be open. A network plane listens
// only then, and may ask as often as it likes. Faults: unavailable (vault_sealed, vault_damaged), internal
// (state_not_durable).
func (t *Tokens) Ready(ctx context.Context) error {
	if t.keys.loaded() {
		return nil
	}
	t.write.Lock()
	defer t.write.Unlock()
	return t.load(ctx)
}

// load finds the keys, and makes the first; write is held.
func (t *Tokens) load(ctx context.Context) error {
	if t.keys.loaded() {
		return nil
	}
	next, err := t.vault.Key(successorName)
	if err != nil {
		return err
	}
	var keys []signing
	err = t.db.View(ctx, func(tx *sql.Tx) (err error) {
		keys = nil
		rows, err := tx.QueryContext(ctx, "SELECT kid, created, until FROM signing_keys ORDER BY created")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
		for rows.Next() {
			var s signing
			var created, until int64
			if err := rows.Scan(&s.kid, &created, &until); err != nil {
				return err
			}
			s.created, s.until = moment(created), moment(until)
			keys = append(keys, s)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot read the signing keys: %w", err)
	}
	for i := range keys {
		if keys[i].private, err = t.seed(keys[i].kid); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(keys, func(s signing) bool { return s.until.IsZero() }) {
		s, err := t.newKey()
		if err != nil {
			return err
		}
		if err := t.exec(ctx, "INSERT INTO signing_keys (kid, created, until) VALUES (?, ?, 0)", s.kid, s.created.UnixNano()); err != nil {
			return err
		}
		keys = append(keys, s)
	}
	t.keys.mu.Lock()
	defer t.keys.mu.Unlock()
	t.keys.keys, t.keys.next = keys, next
	return nil
}

func (t *Tokens) seed(kid string) (ed25519.PrivateKey, error) {
	seed, err := t.vault.Key(signingName + kid)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func (t *Tokens) newKey() (s signing, err error) {
	s = signing{kid: newID(), created: t.now()}
	s.private, err = t.seed(s.kid)
	return s, err
}

// Rotation is what a change of the signing key has done.
type Rotation struct {
	Key    string    // kid of the new one
	Former time.Time // until when what the former one signed counts
}

// Rotate signs with a new key from now on. What the former one has signed counts until it ends by itself, or not at all any
// more at once. Faults: as Ready.
func (t *Tokens) Rotate(ctx context.Context, atOnce bool) (Rotation, error) {
	t.write.Lock()
	defer t.write.Unlock()
	if err := t.load(ctx); err != nil {
		return Rotation{}, err
	}
	s, err := t.newKey()
	if err != nil {
		return Rotation{}, err
	}
	now := t.now()
	until := now.Add(Overlap)
	if atOnce {
		until = now
	}
	err = t.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE signing_keys SET until = ? WHERE until = 0 OR until > ?", until.UnixNano(), until.UnixNano()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO signing_keys (kid, created, until) VALUES (?, ?, 0)", s.kid, s.created.UnixNano())
		return err
	})
	if err != nil {
		return Rotation{}, err
	}
	t.keys.mu.Lock()
	for i := range t.keys.keys {
		if k := &t.keys.keys[i]; k.until.IsZero() || k.until.After(until) {
			k.until = until
		}
	}
	t.keys.keys = append(t.keys.keys, s)
	t.keys.mu.Unlock()
	if atOnce {
		t.bounce(func(b *bond) bool { return b.session })
	}
	return Rotation{s.kid, until}, t.retireKeys(ctx, now)
}

// retireKeys forgets the keys that sign nothing and check nothing any more; write is held.
func (t *Tokens) retireKeys(ctx context.Context, now time.Time) error {
	t.keys.mu.Lock()
	var over []string
	t.keys.keys = slices.DeleteFunc(t.keys.keys, func(s signing) bool {
		gone := !s.until.IsZero() && !now.Before(s.until)
		if gone {
			over = append(over, s.kid)
		}
		return gone
	})
	t.keys.mu.Unlock()
	for _, kid := range over {
		if err := t.exec(ctx, "DELETE FROM signing_keys WHERE kid = ?", kid); err != nil {
			return err
		}
		if err := t.vault.DropKey(signingName + kid); err != nil {
			return err
		}
	}
	return nil
}

// JWKS gives the public keys as a JSON Web Key Set (RFC 7517, RFC 8037), for /.well-known/jwks.json. Faults: as Ready.
func (t *Tokens) JWKS(ctx context.Context) ([]byte, error) {
	if err := t.Ready(ctx); err != nil {
		return nil, err
	}
	type jwk struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		X   string `json:"x"`
		Kid string `json:"kid"`
		Alg string `json:"alg"`
		Use string `json:"use"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{}}
	now := t.now()
	t.keys.mu.RLock()
	defer t.keys.mu.RUnlock()
	for _, s := range t.keys.keys {
		if s.until.IsZero() || now.Before(s.until) {
			set.Keys = append(set.Keys, jwk{"OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(s.private.Public().(ed25519.PublicKey)), s.kid, algorithm, "sig"})
		}
	}
	return json.Marshal(set)
}

func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
