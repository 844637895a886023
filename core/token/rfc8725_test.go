package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
)

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// forge signs what it is given with the home's own key, so that only the form is wrong.
type forge struct {
	private ed25519.PrivateKey
	kid     string
	claims  map[string]any
}

func (f *forge) sign(head, body string) string {
	text := b64(head) + "." + b64(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(f.private, []byte(text)))
}

func (f *forge) head() string { return `{"alg":"EdDSA","typ":"at+jwt","kid":"` + f.kid + `"}` }

// with is a token whose claims differ.
func (f *forge) with(change map[string]any) string {
	c := map[string]any{}
	for k, v := range f.claims {
		c[k] = v
	}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	raw, _ := json.Marshal(c)
	return f.sign(f.head(), string(raw))
}

func newForge(t *testing.T, w *world, access string) *forge {
	t.Helper()
	parts := strings.Split(access, ".")
	var head struct{ Kid string }
	f := &forge{}
	for i, to := range []any{&head, &f.claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(raw, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for k := range f.claims {
		if v, ok := f.claims[k].(float64); ok {
			f.claims[k] = int64(v)
		}
	}
	f.kid, f.private = head.Kid, ed25519.NewKeyFromSeed(must(w.keys.Key("token.signing."+head.Kid))(t))
	return f
}

// TestBestCurrentPractice goes through RFC 8725, section by section: every token here would be good but for what the
// section is about.
func TestBestCurrentPractice(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	access := w.in("alice").Access
	f := newForge(t, w, access)
	now := w.clock().Unix()
	body := strings.Split(access, ".")[1]
	claims := func() string {
		raw, _ := base64.RawURLEncoding.DecodeString(body)
		return string(raw)
	}()
	if w.admit(f.with(nil)).Caller.User != "alice" {
		t.Fatal("what the forge makes is not good, so that nothing below means anything")
	}
	pub := f.private.Public().(ed25519.PublicKey)
	mac := func(key []byte, alg string) string {
		text := b64(`{"alg":"`+alg+`","typ":"at+jwt","kid":"`+f.kid+`"}`) + "." + body
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	foreign := ed25519.NewKeyFromSeed(make([]byte, 32))
	alg := func(v string) string { return f.sign(`{"alg":`+v+`,"typ":"at+jwt","kid":"`+f.kid+`"}`, claims) }
	kid := func(v string) string { return f.sign(`{"alg":"EdDSA","typ":"at+jwt","kid":`+v+`}`, claims) }
	extra := func(v string) string { return f.sign(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+f.kid+`",`+v+`}`, claims) }
	typ := func(v string) string { return f.sign(`{"alg":"EdDSA","typ":`+v+`,"kid":"`+f.kid+`"}`, claims) }
	claim := func(from, to string) string { return f.sign(f.head(), strings.Replace(claims, from, to, 1)) }

	for section, tokens := range map[string]map[string]string{
		"3.1 algorithm verification": {
			"none": alg(`"none"`), "None": alg(`"None"`), "nOnE": alg(`"nOnE"`), "NONE": alg(`"NONE"`), "empty": alg(`""`), "array": alg(`["EdDSA"]`), "null": alg(`null`), "number": alg(`0`),
			"missing": f.sign(`{"typ":"at+jwt","kid":"`+f.kid+`"}`, claims), "other case": alg(`"eddsa"`), "other curve": alg(`"Ed448"`),
			"no signature":                            b64(`{"alg":"none","typ":"at+jwt","kid":"`+f.kid+`"}`) + "." + body + ".",
			"HS256 with the public key":               mac(pub, "HS256"),
			"HS256 with the public key, called EdDSA": mac(pub, "EdDSA"),
			"ES256": alg(`"ES256"`) + fmt.Sprint(other.X.Sign()),
		},
		"3.2 appropriate algorithms": {"RS256": alg(`"RS256"`), "HS512": alg(`"HS512"`), "ES384": alg(`"ES384"`)},
		"3.3 all cryptographic operations": {
			"a changed byte":     access[:len(access)-8] + strings.Map(func(r rune) rune { return map[bool]rune{true: 'B', false: 'A'}[r == 'A'] }, access[len(access)-8:]),
			"cut":                access[:len(access)-4],
			"of another key":     strings.Join([]string{b64(f.head()), body, base64.RawURLEncoding.EncodeToString(ed25519.Sign(foreign, []byte(b64(f.head())+"."+body)))}, "."),
			"of another token":   strings.Join([]string{b64(f.head()), b64(strings.Replace(claims, `"sub":"u`, `"sub":"v`, 1)), strings.Split(access, ".")[2]}, "."),
			"an empty signature": b64(f.head()) + "." + body + ".",
		},
		"3.4 inputs to cryptographic operations": {
			"exp text": f.with(map[string]any{"exp": fmt.Sprint(now + 60)}), "exp fraction": claim(fmt.Sprintf(`"exp":%d`, now+900), fmt.Sprintf(`"exp":%d.5`, now+60)),
			"exp 1e308": claim(fmt.Sprintf(`"exp":%d`, now+900), `"exp":1e308`), "exp negative": f.with(map[string]any{"exp": -1}), "exp missing": f.with(map[string]any{"exp": nil}),
			"iat missing": f.with(map[string]any{"iat": nil}), "exp null": claim(fmt.Sprintf(`"exp":%d`, now+900), `"exp":null`), "exp array": f.with(map[string]any{"exp": []int64{now + 60}}),
			"exp before iat": f.with(map[string]any{"exp": now - 1}), "a day of life": f.with(map[string]any{"exp": now + 86400}), "one second too many": f.with(map[string]any{"exp": now + 901}),
			"padding": strings.Replace(access, ".", "=.", 1), "no base64url": strings.Replace(access, "e", "+", 1), "a million dots": strings.Repeat(".", 1_000_000), "100 KB": access + strings.Repeat("A", 100<<10),
			"4 KB, signed":                 f.with(map[string]any{"jti": strings.Repeat("j", 4<<10)}),
			"a line feed in the signature": access[:len(access)-5] + "\n" + access[len(access)-5:], "a line end behind it": access + "\r\n", "a line feed in the claims": strings.Replace(access, ".", ".\n", 1),
			"four parts": access + ".e30", "two parts": strings.Join(strings.Split(access, ".")[:2], "."),
		},
		"3.5 entropy of keys": {"a key of nothing but zeroes": strings.Join([]string{b64(f.head()), body, base64.RawURLEncoding.EncodeToString(ed25519.Sign(foreign, []byte(b64(f.head())+"."+body)))}, ".")},
		"3.6 no compression":  {"zip": extra(`"zip":"DEF"`), "JWE": access + ".a.b"},
		"3.7 UTF-8":           {"bytes that are none": f.sign(f.head(), strings.Replace(claims, `"sub":"u`, "\"sub\":\"\xff", 1)), "a byte order mark": f.sign("\ufeff"+f.head(), claims), "in the header": f.sign(strings.Replace(f.head(), "at+", "\xff", 1), claims)},
		"3.8 issuer and subject": {
			"another issuer": f.with(map[string]any{"iss": "omnitron:other"}), "no issuer": f.with(map[string]any{"iss": nil}), "issuer array": f.with(map[string]any{"iss": []string{"omnitron:abc123"}}),
			"no subject": f.with(map[string]any{"sub": nil}), "subject number": f.with(map[string]any{"sub": 1}),
		},
		"3.9 audience": {
			"another": f.with(map[string]any{"aud": "omnitron:other"}), "none": f.with(map[string]any{"aud": nil}), "array": f.with(map[string]any{"aud": []string{"omnitron:abc123"}}),
			"prefix": f.with(map[string]any{"aud": "omnitron:abc12"}), "longer": f.with(map[string]any{"aud": "omnitron:abc1234"}), "part": f.with(map[string]any{"aud": "abc123"}),
		},
		"3.10 received claims": {
			"kid path": kid(`"../../dev/null"`), "kid file": kid(`"/proc/self/environ"`), "kid SQL": kid(`"' OR 1=1 --"`), "kid NUL": kid(`"\u0000"`), "kid unknown": kid(`"aaaaaaaaaa"`), "kid number": kid(`1`),
			"kid long": kid(`"` + strings.Repeat("k", 1<<20) + `"`), "kid empty": kid(`""`), "no kid": f.sign(`{"alg":"EdDSA","typ":"at+jwt"}`, claims),
			"jku": extra(`"jku":"https://evil.example/jwks.json"`), "x5u": extra(`"x5u":"https://evil.example"`), "jwk": extra(`"jwk":{"kty":"OKP"}`), "x5c": extra(`"x5c":["AAAA"]`), "crit": extra(`"crit":["b64"]`), "b64": extra(`"b64":false`),
			"twice": f.sign(`{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"`+f.kid+`"}`, claims), "twin": extra(`"ALG":"none"`), "kid twice": extra(`"kid":"x"`),
			"claim twice": claim(`"sub":`, `"sub":"x","sub":`), "claim twin": claim(`{`, `{"Sub":"x",`), "exp twice": claim(`"exp":`, `"exp":99999999999,"exp":`), "behind it": f.sign(f.head(), claims+"{}"), "an array": f.sign(f.head(), "["+claims+"]"),
			"a role of its own": f.with(map[string]any{"role": "admin"}), "roles": f.with(map[string]any{"roles": []string{"admin"}}), "scopes": f.with(map[string]any{"scope": "*"}), "nbf": f.with(map[string]any{"nbf": now}), "an object": f.with(map[string]any{"sub": map[string]string{"a": "b"}}),
		},
		"3.11 explicit typing": {"JWT": typ(`"JWT"`), "none": f.sign(`{"alg":"EdDSA","kid":"`+f.kid+`"}`, claims), "application/at+jwt": typ(`"application/at+jwt"`), "other case": typ(`"AT+JWT"`), "secevent": typ(`"secevent+jwt"`), "number": typ(`1`)},
		"3.12 kinds of tokens": {"a refresh token": w.in("alice").Refresh, "a nested token": b64(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+f.kid+`","cty":"JWT"}`) + "." + b64(access) + "." + strings.Split(access, ".")[2], "something else": "Basic YWxpY2U6eA==", "half a named token": "omt_aaaaaaaaaa_"},
	} {
		for what, bearer := range tokens {
			if bearer == access {
				t.Errorf("%s, %s: that is the good one", section, what)
			}
			w.again() // nothing is left to be guessed otherwise
			if id, err := w.Admit(t.Context(), bearer, here, ""); id != nil || reason(err) != "bad_token" || err.Error() != "the token is not good here" {
				t.Errorf("%s, %s: %v %v", section, what, id, err)
			}
		}
	}
	if strings.Contains(w.log.String(), strings.Split(access, ".")[2]) || !strings.Contains(w.log.String(), "cause=") {
		t.Error("the log has to say why, and not with what")
	}
}

func TestClocksMayDiffer(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	f := newForge(t, w, w.in("alice").Access)
	now := w.clock().Unix()
	for what, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"just ended":              {map[string]any{"iat": now - 300, "exp": now - 59}, ""},
		"ended beyond the leeway": {map[string]any{"iat": now - 300, "exp": now - 61}, "expired"},
		"from a minute ahead":     {map[string]any{"iat": now + 59, "exp": now + 300}, ""},
		"from further ahead":      {map[string]any{"iat": now + 62, "exp": now + 300}, "bad_token"},
		"from 2100":               {map[string]any{"iat": 4102444800, "exp": 4102444900}, "bad_token"},
	} {
		if _, err := w.Admit(t.Context(), f.with(c.change), here, ""); reason(err) != c.want {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.pass(17 * time.Minute)
	w.refused(f.with(nil), "expired")
}

// FuzzAdmit looks for a text that is let in and was not made here.
func FuzzAdmit(f *testing.F) {
	w := newWorld(f)
	w.user("alice", op.Admin)
	access := w.in("alice").Access
	for _, seed := range []string{access, "", "a.b.c", "omt_", strings.Repeat(".", 9), access + "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, bearer string) {
		if id, err := w.Admit(t.Context(), bearer, here, ""); (err == nil) != (bearer == access) {
			t.Errorf("%q: %v %v", bearer, id, err)
		}
	})
}

// TestWhatWasGoodIsLookedAtAgain: a token that was let in before ends when it ends, and when its key or session does.
func TestWhatWasGoodIsLookedAtAgain(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	for what, end := range map[string]func(session string){
		"expired":   func(string) { w.pass(16 * time.Minute) },
		"bad_token": func(string) { must(w.Rotate(t.Context(), true))(t) },
		"revoked": func(id string) {
			if err := w.End(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		},
	} {
		c := w.in("alice")
		w.admit(c.Access)
		w.admit(c.Access)
		end(c.Session)
		w.refused(c.Access, what)
		w.refused(c.Access, what)
	}
}
