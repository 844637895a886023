package token

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestTheDecoderTrustsNoLibrary: every header but ours is refused before the library sees the token, whatever that would make
// of it.
func TestTheDecoderTrustsNoLibrary(t *testing.T) {
	body := `{"iss":"a","aud":"a","sub":"u","sid":"s","jti":"j","iat":1000,"exp":1900}`
	text := func(head string) string {
		e := base64.RawURLEncoding.EncodeToString
		return e([]byte(head)) + "." + e([]byte(body)) + "." + e(make([]byte, 64))
	}
	const own = `{"alg":"EdDSA","typ":"at+jwt","kid":"k"}`
	if h, c, err := decode(text(own)); err != nil || h.kid != "k" || c.subject != "u" {
		t.Fatalf("what is ours is refused, so that nothing below means anything: %v", err)
	}
	for _, change := range [][2]string{
		{`"EdDSA"`, `"none"`}, {`"EdDSA"`, `"HS256"`}, {`"EdDSA"`, `"eddsa"`}, {`"EdDSA"`, `""`}, {`"EdDSA"`, `1`}, {`"EdDSA"`, `["EdDSA"]`}, {`"alg":"EdDSA"`, `"x":"EdDSA"`}, {`"alg"`, `"Alg"`},
		{`"at+jwt"`, `"JWT"`}, {`"at+jwt"`, `"AT+JWT"`}, {`"at+jwt"`, `null`}, {`"typ":"at+jwt"`, `"cty":"at+jwt"`}, {`"k"`, `""`}, {`"k"`, `7`}, {`"kid":"k"`, `"jku":"k"`},
		{`}`, `,"crit":"b64"}`}, {`{`, `{"alg":"none",`}, {`}`, `}{}`}, {`{`, "\ufeff{"},
	} {
		head := strings.Replace(own, change[0], change[1], 1)
		if _, _, err := decode(text(head)); err == nil {
			t.Errorf("%s is taken", head)
		}
	}
}
