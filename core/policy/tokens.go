package policy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// TokenLife is how long a confirm token is good.
const TokenLife = 5 * time.Minute

const (
	keyName   = "policy.token_key" // of the key of this home
	tokenForm = "oc1."             // says what the text is and which form it has
	nonceSize = 16
	worldSize = 16 // of the hash of the targets' generations
	bodySize  = 8 + nonceSize + worldSize
)

// database is what tokens need of a store.
type database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// Tokens makes and takes confirm tokens. A token proves that the same principal has made the same call on the same state
// of its targets within the last five minutes and was shown the plan; it is good once, also across a restart.
type Tokens struct {
	db  database
	key []byte
}

// OpenTokens gives the tokens of the home whose store is db, and whose keys are keys.
func OpenTokens(db database, keys Keys) (*Tokens, error) {
	key, err := keys.Key(keyName)
	if err != nil {
		return nil, fmt.Errorf("cannot make confirm tokens: %w", err)
	}
	return &Tokens{db, key}, nil
}

// Mint makes the token that lets the call b through once.
func (t *Tokens) Mint(b Binding) (token string, expires time.Time) {
	expires = time.Now().Add(TokenLife).Truncate(time.Second)
	body := binary.BigEndian.AppendUint64(make([]byte, 0, bodySize+sha256.Size), uint64(expires.Unix()))
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) //nolint:errcheck // it never fails: the program ends first
	body = append(body, nonce...)
	body = append(body, world(b)...)
	return tokenForm + base64.RawURLEncoding.EncodeToString(append(body, t.sign(body, b)...)), expires
}

// Redeem uses a token up for the call b.
//
// Faults: denied (reason confirm_invalid: not made for this caller, method and arguments, or not by this home), conflict
// (confirm_expired, confirm_used, or target_changed: a target was started, stopped or changed since), internal when the
// use cannot be recorded; then the call must not go on.
func (t *Tokens) Redeem(ctx context.Context, token string, b Binding) error {
	now := time.Now()
	nonce, expires, err := t.read(token, b, now)
	if err != nil {
		return err
	}
	return t.spend(ctx, nonce, now, expires)
}

// Check has the faults that Redeem would have now, and uses nothing up.
func (t *Tokens) Check(ctx context.Context, token string, b Binding) error {
	nonce, _, err := t.read(token, b, time.Now())
	if err != nil {
		return err
	}
	var used bool
	err = t.db.View(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM redeemed WHERE nonce = ?)", nonce).Scan(&used)
	})
	if err == nil && used {
		err = errUsed()
	}
	return err
}

const again = "call again without confirm to see the plan and get a new token"

func errUsed() error {
	return fault.New(fault.Conflict, "the confirm token was used already").WithReason("confirm_used").WithHint("%s", again)
}

// read gives what makes a token one of its kind and when it ends, if it was made for the call b.
func (t *Tokens) read(token string, b Binding, now time.Time) (nonce []byte, expires time.Time, err error) {
	invalid := fault.New(fault.Denied, "the confirm token was not given for this call: caller, method or arguments differ, or it was altered").
		WithReason("confirm_invalid").WithHint("%s", again)
	raw, ok := bytesOf(token)
	if !ok {
		return nil, expires, invalid
	}
	body, mac := raw[:bodySize], raw[bodySize:]
	if !hmac.Equal(mac, t.sign(body, b)) {
		return nil, expires, invalid
	}
	expires = time.Unix(int64(binary.BigEndian.Uint64(body)), 0)
	if !now.Before(expires) {
		return nil, expires, fault.New(fault.Conflict, "the confirm token ended at %s", expires.UTC().Format(time.RFC3339)).
			WithReason("confirm_expired").WithHint("%s", again)
	}
	if !hmac.Equal(body[8+nonceSize:], world(b)) {
		return nil, expires, fault.New(fault.Conflict, "what the call is about was started, stopped or changed since the plan was shown").
			WithReason("target_changed").WithHint("%s", again)
	}
	return body[8 : 8+nonceSize], expires, nil
}

func (t *Tokens) spend(ctx context.Context, nonce []byte, now, expires time.Time) error {
	var fresh int64
	err := t.db.Update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM redeemed WHERE expires <= ?", now.UnixNano()); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO redeemed (nonce, expires) VALUES (?, ?)", nonce, expires.UnixNano())
		if err != nil {
			return err
		}
		fresh, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot use up the confirm token: %w", err)
	}
	if fresh == 0 {
		return errUsed()
	}
	return nil
}

// sign binds body, which says when the token ends and on which state of the targets, to the call.
func (t *Tokens) sign(body []byte, b Binding) []byte {
	mac := hmac.New(sha256.New, t.key)
	mac.Write(body)
	mac.Write(b.Identity())
	return mac.Sum(nil)
}

// world is in the token itself, signed, so that a target that has moved can be told from another call.
func world(b Binding) []byte {
	sum := sha256.Sum256(b.World())
	return sum[:worldSize]
}

func bytesOf(token string) ([]byte, bool) {
	if len(token) < len(tokenForm) || token[:len(tokenForm)] != tokenForm {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token[len(tokenForm):])
	return raw, err == nil && len(raw) == bodySize+sha256.Size
}
