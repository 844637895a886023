package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

const (
	tokenType  = "at+jwt"         // RFC 9068
	algorithm  = "EdDSA"          // of every key there is
	maxToken   = 2048             // bytes of an access token
	accessLife = 15 * time.Minute // of an access token, at most
	leeway     = time.Minute      // between clocks
)

var errForm = errors.New("it is not an access token of this home")

// claims are all that an access token says. What its bearer may do is not among them: that comes from the store.
type claims struct {
	issuer, audience, subject, session, id string
	issued, expires                        time.Time
}

// header is what the first part of a token says.
type header struct{ kid string }

var strictBase64 = base64.RawURLEncoding.Strict()

// decode reads a token without believing it. Everything but the one form that we write is refused before the library sees
// it: another header, a claim too many or too few, a key twice or in another case, a date that is no whole number.
func decode(text string) (h header, c claims, err error) {
	if len(text) > maxToken || strings.Count(text, ".") != 2 || strings.ContainsAny(text, "\r\n") { // which base64 reads over
		return h, c, errForm
	}
	first, rest, _ := strings.Cut(text, ".")
	second, third, _ := strings.Cut(rest, ".")
	head, err1 := part(first)
	body, err2 := part(second)
	mac, err3 := strictBase64.DecodeString(third)
	if err1 != nil || err2 != nil || err3 != nil || len(mac) != 64 {
		return h, c, errForm
	}
	if len(head) != 3 || str(head["alg"]) != algorithm || str(head["typ"]) != tokenType || str(head["kid"]) == "" {
		return h, c, errForm
	}
	h.kid = str(head["kid"])
	c = claims{issuer: str(body["iss"]), audience: str(body["aud"]), subject: str(body["sub"]), session: str(body["sid"]), id: str(body["jti"])}
	var ok1, ok2 bool
	c.issued, ok1 = date(body["iat"])
	c.expires, ok2 = date(body["exp"])
	if len(body) != 7 || c.issuer == "" || c.audience == "" || c.subject == "" || c.session == "" || c.id == "" || !ok1 || !ok2 {
		return h, c, errForm
	}
	if life := c.expires.Sub(c.issued); life <= 0 || life > accessLife {
		return h, c, errForm
	}
	return h, c, nil
}

// part reads a part of a token: one flat object of texts and numbers, no key twice.
func part(text string) (map[string]json.Token, error) {
	raw, err := strictBase64.DecodeString(text)
	if err != nil || !utf8.Valid(raw) {
		return nil, errForm
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errForm
	}
	fields := map[string]json.Token{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, errForm
		}
		value, err := d.Token()
		if err != nil {
			return nil, errForm
		}
		name, _ := key.(string)
		if _, twice := fields[name]; twice {
			return nil, errForm
		}
		switch value.(type) {
		case string, json.Number:
			fields[name] = value
		default:
			return nil, errForm
		}
	}
	if _, err := d.Token(); err != nil || d.InputOffset() != int64(len(raw)) {
		return nil, errForm
	}
	return fields, nil
}

func str(v json.Token) string {
	s, _ := v.(string)
	return s
}

// date reads seconds since 1970: digits and nothing else.
func date(v json.Token) (time.Time, bool) {
	n, _ := v.(json.Number)
	if len(n) == 0 || len(n) > 11 || strings.Trim(string(n), "0123456789") != "" {
		return time.Time{}, false
	}
	sec, err := strconv.ParseInt(string(n), 10, 64)
	return time.Unix(sec, 0), err == nil
}

// verify reads a token and checks that a key of ours has signed it, for us, and that it counts now. what says why not, for
// the log.
func (k *keyring) verify(text, home string, now time.Time) (c claims, err error) {
	hash := digest(text)
	k.mu.RLock()
	s, ok := k.seen[hash]
	k.mu.RUnlock()
	if ok && k.public(s.kid, now) != nil && now.Before(s.claims.expires.Add(leeway)) {
		return s.claims, nil
	}
	h, c, err := decode(text)
	if err != nil {
		return c, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(home), jwt.WithAudience(home), jwt.WithLeeway(leeway), jwt.WithIssuedAt(),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithTimeFunc(func() time.Time { return now }))
	_, err = parser.ParseWithClaims(text, &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) {
		pub := k.public(h.kid, now)
		if pub == nil {
			return nil, errors.New("its key is not known")
		}
		return pub, nil
	})
	k.remember(hash, signed{h.kid, c}, err == nil)
	return c, err
}

// remember keeps that a token is good, or forgets it.
func (k *keyring) remember(hash [32]byte, s signed, good bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case !good:
		delete(k.seen, hash)
		return
	case k.seen == nil || len(k.seen) >= maxSeen:
		k.seen = map[[32]byte]signed{}
	}
	k.seen[hash] = s
}
