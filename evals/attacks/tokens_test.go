package attacks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/vault"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// forge makes tokens with the home's own key, taken out of a copy of its vault, so that only what a row is about is wrong.
type forge struct {
	private ed25519.PrivateKey
	kid     string
	claims  map[string]any
	text    string // of the claims
	access  string // the good one that all are made of
}

func newForge(t testing.TB, w *world, access string) *forge {
	t.Helper()
	f := &forge{access: access}
	parts := strings.Split(access, ".")
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if json.Unmarshal(head, &h) != nil || json.Unmarshal(body, &f.claims) != nil {
		t.Fatalf("%s %s", head, body)
	}
	for k, v := range f.claims {
		if n, ok := v.(float64); ok {
			f.claims[k] = int64(n)
		}
	}
	copied := t.TempDir()
	for _, name := range []string{"vault.key", "secrets.enc"} {
		raw, err := os.ReadFile(filepath.Join(w.Home, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, name), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	seed, err := vault.New(vault.Options{Home: copied, Disk: store.OS, Log: slog.New(slog.DiscardHandler), Now: time.Now}).Key("token.signing." + h.Kid)
	if err != nil {
		t.Fatal(err)
	}
	f.kid, f.text, f.private = h.Kid, string(body), ed25519.NewKeyFromSeed(seed)
	return f
}

func (f *forge) head() string { return `{"alg":"EdDSA","typ":"at+jwt","kid":"` + f.kid + `"}` }

func (f *forge) sign(head, body string) string {
	text := b64([]byte(head)) + "." + b64([]byte(body))
	return text + "." + b64(ed25519.Sign(f.private, []byte(text)))
}

// header is a token whose header has one value that differs, or more.
func (f *forge) header(name, value string) string {
	h := map[string]string{"alg": `"EdDSA"`, "typ": `"at+jwt"`, "kid": `"` + f.kid + `"`}
	if h[name] = value; value == "" {
		delete(h, name)
	}
	var all []string
	for k, v := range h {
		all = append(all, fmt.Sprintf("%q:%s", k, v))
	}
	return f.sign("{"+strings.Join(all, ",")+"}", f.text)
}

// with is a token whose claims differ; nil takes one away.
func (f *forge) with(changes ...any) string {
	c := map[string]any{}
	for k, v := range f.claims {
		c[k] = v
	}
	for i := 0; i+1 < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == nil {
			delete(c, name)
		} else {
			c[name] = changes[i+1]
		}
	}
	raw, _ := json.Marshal(c)
	return f.sign(f.head(), string(raw))
}

// edit is a token whose claims were written over as text.
func (f *forge) edit(from, to string) string {
	return f.sign(f.head(), strings.Replace(f.text, from, to, 1))
}

// signed is the good claims under another header, signed by whatever does that.
func (f *forge) signed(head string, by func([]byte) []byte) string {
	text := b64([]byte(head)) + "." + b64([]byte(f.text))
	return text + "." + b64(by([]byte(text)))
}

// bearer is an attack with a credential, on every plane that takes one.
func bearer(section, name, text, want string) row {
	r := row{section: section, name: name}
	for _, p := range []plane{tcp, rest, agents} {
		c := &cell{func(w *world) string { return w.try(p, text) }, want}
		if p != tcp {
			if c.want = "401 " + want; len(text) > 15<<10 {
				c.want = "431"
			}
		} else if len(text) > 15<<10 {
			c.want = "invalid/protocol"
		}
		r.cells[p] = c
	}
	return r
}

const bad = "unauthenticated/bad_token"

// forged are credentials that nobody was given.
func forged(w *world) (all []row) {
	t := w.T
	former := newForge(t, w, w.signIn("alice").Access)
	w.must("auth.rotate", map[string]any{"at_once": true}, nil)
	f := newForge(t, w, w.signIn("alice").Access)
	w.proofs = append(w.proofs, func(p plane) string { return w.try(p, f.with("jti", rand.Text())) }) // else nothing below means anything
	pub := []byte(f.private.Public().(ed25519.PublicKey))
	mac := func(key []byte) func([]byte) []byte {
		return func(text []byte) []byte { m := hmac.New(sha256.New, key); m.Write(text); return m.Sum(nil) }
	}
	rsaKey, err1 := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, stranger, err3 := ed25519.GenerateKey(rand.Reader)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	byRSA := func(text []byte) []byte {
		sum := sha256.Sum256(text)
		mac, _ := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
		return mac
	}
	byEC := func(text []byte) []byte {
		sum := sha256.Sum256(text)
		r, s, _ := ecdsa.Sign(rand.Reader, ecKey, sum[:])
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	by := func(k ed25519.PrivateKey) func([]byte) []byte {
		return func(text []byte) []byte { return ed25519.Sign(k, text) }
	}
	alg := func(name string) string { return `{"alg":"` + name + `","typ":"at+jwt","kid":"` + f.kid + `"}` }
	now := time.Now().Unix()
	exp := fmt.Sprintf(`"exp":%d`, f.claims["exp"])
	parts := strings.Split(f.access, ".")
	section := "JWT: algorithm and key"
	add := func(name, text string) { all = append(all, bearer(section, name, text, bad)) }
	for _, name := range []string{`"none"`, `"None"`, `"nOnE"`, `"NONE"`, `""`, `null`, `["EdDSA"]`, "", `"eddsa"`, `"Ed448"`, `"HS256"`, `"RS256"`, `"ES256"`, `"PS256"`, `"dir"`} {
		add("alg "+pick(name == "", "missing", name), f.header("alg", name))
	}
	add("alg none, no signature", b64([]byte(alg("none")))+"."+parts[1]+".")
	add("alg none, two parts", b64([]byte(alg("none")))+"."+parts[1])
	add("HS256 by the public key", f.signed(alg("HS256"), mac(pub)))
	add("HS256 by the public key as text", f.signed(alg("HS256"), mac([]byte(b64(pub)))))
	add("HS256 by the public key, called EdDSA", f.signed(f.head(), mac(pub)))
	add("HS256 by the JWKS itself", f.signed(alg("HS256"), mac(jwks(t, w))))
	add("HS256 by nothing", f.signed(alg("HS256"), mac(nil)))
	add("RS256 by a key of RSA", f.signed(alg("RS256"), byRSA))
	add("RS256, called EdDSA", f.signed(f.head(), byRSA))
	add("ES256 by a key of P-256", f.signed(alg("ES256"), byEC))
	add("ES256, called EdDSA", f.signed(f.head(), byEC))
	add("another key of Ed25519", f.signed(f.head(), by(stranger)))
	add("a signature of zeroes", f.signed(f.head(), func([]byte) []byte { return make([]byte, 64) }))
	add("no signature", parts[0]+"."+parts[1]+".")
	add("the signature of another token", b64([]byte(f.head()))+"."+b64([]byte(strings.Replace(f.text, `"sub":"u`, `"sub":"v`, 1)))+"."+parts[2])
	flipped := []byte(parts[2])
	flipped[3] ^= 1
	add("a changed letter", parts[0]+"."+parts[1]+"."+string(flipped))
	add("a key that was rotated out", former.with())
	add("a key that was rotated out, by its successor's name", f.signed(f.head(), by(former.private)))
	add("cut by a letter", f.access[:len(f.access)-1])
	add("cut in the middle", f.access[:len(f.access)/2])

	section = "JWT: header"
	for _, kid := range []string{`"../../dev/null"`, `"/proc/self/environ"`, `"' OR 1=1 --"`, `"\u0000"`, `"aaaaaaaaaa"`, `1`, `""`, `null`, "", `"` + strings.Repeat("k", 1500) + `"`, `"` + strings.Repeat("k", 1<<20) + `"`} {
		add(fmt.Sprintf("kid %.24s, %d bytes", pick(kid == "", "missing", kid), len(kid)), f.header("kid", kid))
	}
	for _, typ := range []string{`"JWT"`, `"AT+JWT"`, `"application/at+jwt"`, `"secevent+jwt"`, `1`, ""} {
		add("typ "+pick(typ == "", "missing", typ), f.header("typ", typ))
	}
	for _, name := range []string{"jku", "x5u"} {
		add(name, f.header(name, `"http://127.0.0.1:1/jwks.json"`))
	}
	add("jwk of its own", f.signed(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+f.kid+`","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+b64(stranger.Public().(ed25519.PublicKey))+`"}}`, by(stranger)))
	extras := map[string]string{"x5c": `["AAAA"]`, "crit": `["b64"]`, "b64": `false`, "zip": `"DEF"`, "enc": `"A256GCM"`, "cty": `"JWT"`}
	for _, name := range slices.Sorted(maps.Keys(extras)) {
		add(name, f.header(name, extras[name]))
	}
	add("alg twice", f.sign(`{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"`+f.kid+`"}`, f.text))
	add("alg twice, by an escape", f.sign(`{"alg":"EdDSA","\u0061lg":"none","typ":"at+jwt","kid":"`+f.kid+`"}`, f.text))
	add("alg and ALG", f.header("ALG", `"none"`))
	add("kid and Kid", f.header("Kid", `"x"`))
	add("a BOM before it", f.sign("\ufeff"+f.head(), f.text))
	add("something behind it", f.sign(f.head()+"{}", f.text))
	add("an array", f.sign("["+f.head()+"]", f.text))

	section = "JWT: claims"
	for _, c := range []struct {
		name    string
		changes []any
	}{
		{"another audience", []any{"aud", "omnitron:0123456789ab"}}, {"the audience longer", []any{"aud", fmt.Sprint(f.claims["aud"], "0")}}, {"the audience shorter", []any{"aud", strings.TrimSuffix(f.claims["aud"].(string), f.claims["aud"].(string)[len(f.claims["aud"].(string))-1:])}},
		{"the audience in an array", []any{"aud", []any{f.claims["aud"]}}}, {"no audience", []any{"aud", nil}}, {"another issuer", []any{"iss", "omnitron:0123456789ab"}}, {"no issuer", []any{"iss", nil}},
		{"no expiry", []any{"exp", nil}}, {"expiry as text", []any{"exp", fmt.Sprint(f.claims["exp"])}}, {"expiry negative", []any{"exp", -1}}, {"a life of a day", []any{"exp", now + 86400}}, {"a second too long", []any{"exp", f.claims["iat"].(int64) + 901}},
		{"expiry in 2100", []any{"exp", 4102444800}}, {"issued in 2100", []any{"iat", 4102444000, "exp", 4102444800}}, {"issued later than now", []any{"iat", now + 120, "exp", now + 600}}, {"no time of issue", []any{"iat", nil}}, {"issued after its expiry", []any{"iat", now, "exp", now - 5}},
		{"nbf, past", []any{"nbf", now - 60}}, {"nbf, future", []any{"nbf", now + 3600}}, {"a role of its own", []any{"role", "admin"}}, {"scopes of its own", []any{"scope", "*"}}, {"a channel of its own", []any{"channel", "person"}},
		{"no session", []any{"sid", nil}}, {"a number as session", []any{"sid", 1}}, {"no subject", []any{"sub", nil}}, {"an object as subject", []any{"sub", map[string]string{"a": "b"}}}, {"no id", []any{"jti", nil}},
	} {
		add(c.name, f.with(c.changes...))
	}
	add("expiry 1e308", f.edit(exp, `"exp":1e308`))
	add("expiry with a fraction", f.edit(exp, exp+".5"))
	add("expiry twice", f.edit(exp, `"exp":99999999999,`+exp))
	add("subject twice", f.edit(`"sub":`, `"sub":"x","sub":`))
	add("sub and Sub", f.edit(`{`, `{"Sub":"x",`))
	add("bytes that are no UTF-8", f.edit(`"sub":"`, "\"sub\":\"\xff"))
	add("something behind them", f.sign(f.head(), f.text+"{}"))
	section = "JWT: form"
	add("four parts", f.access+".e30")
	add("padding", strings.Replace(f.access, ".", "=.", 1))
	add("nested", b64([]byte(f.head()))+"."+b64([]byte(f.access))+"."+parts[2])
	add("JWE", f.access+".a.b")
	add("2 kB", f.access+strings.Repeat("A", 2048))
	add("100 kB", f.access+strings.Repeat("A", 100<<10))
	add("a million dots", strings.Repeat(".", 1_000_000))
	add("text that is none", "Basic YWxpY2U6eA")
	lines := map[string]string{"a line feed in the signature": f.access[:len(f.access)-5] + "\n" + f.access[len(f.access)-5:], "a line end behind it": f.access + "\r\n", "NUL behind it": f.access + "\x00", "a space before it": " " + f.access}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		r := bearer(section, name, lines[name], bad)
		r.cells[rest], r.cells[agents] = nil, nil // no header can have these
		all = append(all, r)
	}

	section = "Opaque credentials"
	good := w.token("forged", "app")
	add("omt_ with a wrong checksum", good[:len(good)-1]+pick(good[len(good)-1] != '0', "0", "1"))
	add("omt_ with the checksum of another secret", resealed(good, func(b []byte) { b[20] = pick[byte](b[20] == 'a', 'b', 'a') }))
	add("omt_ of an id that there is not", resealed(good, func(b []byte) { copy(b[4:], "aaaaaaaaaa") }))
	add("omt_ in capitals", strings.ToUpper(good))
	add("omt_ cut", good[:len(good)-9])
	add("omt_ with something behind it", good+"0")
	add("omt_ without anything", "omt_")
	add("omt_ twice", good+","+good)
	add("omr_ as a bearer", w.signIn("alice").Refresh)
	add("omr_ that was made up", "omr_"+strings.Repeat("a", 52)+"_"+fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte("omr_"+strings.Repeat("a", 52)))))
	cookie, key := browser(t, w)
	add("a browser's cookie", cookie)
	add("a browser's key", key)
	add("both", cookie+key)
	all = append(all,
		row{section, "a cookie without its key", [columns]*cell{rest: {func(w *world) string {
			return w.raw(w.post(api, "", effect, "Cookie", jar(w)+cookie, "Origin", "http://"+w.web))
		}, "401 " + bad}, agents: {func(w *world) string {
			return w.raw(w.post(endpoint, "", message{"tools/call", tool}.String(), append(standard, "Cookie", jar(w)+cookie)...))
		}, "401 unauthenticated/no_token"}}},
		row{section, "a cookie replayed by another port", [columns]*cell{rest: {func(w *world) string {
			return w.raw(w.post(api, "", effect, "Cookie", jar(w)+cookie, "Origin", "http://127.0.0.1:3000"))
		}, "403 denied/origin"}}},
		row{section, "a cookie with its key, on /mcp", [columns]*cell{agents: {func(w *world) string {
			return w.raw(w.post(endpoint, "", message{"tools/call", tool}.String(), append(standard, "Cookie", jar(w)+cookie, "X-Omnitron-Key", key)...))
		}, "401 unauthenticated/no_token"}}},
		row{section, "no credential", [columns]*cell{tcp: {func(w *world) string { return w.try(tcp, "") }, "unauthenticated/no_token"},
			rest:   {func(w *world) string { return w.try(rest, "") }, "401 unauthenticated/no_token"},
			agents: {func(w *world) string { return w.try(agents, "") }, "401 unauthenticated/no_token"}}})
	for _, name := range []string{"token", "access_token", "Authorization", "bearer"} {
		all = append(all, row{section, "in the URL as " + name, [columns]*cell{
			rest: {func(w *world) string { return w.raw(w.post(api+"?"+name+"="+w.good, "", effect)) }, "400 invalid/bad_request"},
			agents: {func(w *world) string {
				return w.raw(w.post(endpoint+"?"+name+"="+w.good, "", message{"tools/call", tool}.String(), standard...))
			}, "400 invalid/bad_request"}}})
	}
	return all
}
