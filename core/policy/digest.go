package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// meta are the arguments that say how to call, not what: two calls that differ in them are the same call.
var meta = []string{"dry_run", "confirm", "idempotency_key"}

// Digest is the fingerprint of a method's arguments, the same however they are written.
func Digest(args json.RawMessage) (string, error) {
	text, err := Canonical(args)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Canonical writes arguments in the one form of RFC 8785 (keys in UTF-16 order, no spaces, shortest numbers), without
// dry_run, confirm and idempotency_key. Unlike there, an integer keeps all of its digits, so that two large ones that a
// float cannot tell apart stay different. No arguments are {}. A key that stands twice is an error.
func Canonical(args json.RawMessage) ([]byte, error) {
	if len(bytes.TrimSpace(args)) == 0 {
		return []byte("{}"), nil
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	out, err := canonical(d, nil, true)
	if err != nil {
		return nil, fmt.Errorf("cannot bring arguments into their canonical form: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("cannot bring arguments into their canonical form: something follows them")
	}
	return out, nil
}

func canonical(d *json.Decoder, out []byte, top bool) ([]byte, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '[' {
			return canonicalArray(d, out)
		}
		return canonicalObject(d, out, top)
	case json.Number:
		return appendNumber(out, v.String())
	case string:
		return appendString(out, v), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	default:
		return append(out, "null"...), nil
	}
}

func canonicalArray(d *json.Decoder, out []byte) (_ []byte, err error) {
	out = append(out, '[')
	for first := true; d.More(); first = false {
		if !first {
			out = append(out, ',')
		}
		if out, err = canonical(d, out, false); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return append(out, ']'), err
}

func canonicalObject(d *json.Decoder, out []byte, top bool) ([]byte, error) {
	values := map[string][]byte{}
	var keys []string
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string) // the decoder takes nothing else for a key
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("the key %q stands twice", key)
		}
		if values[key], err = canonical(d, nil, false); err != nil {
			return nil, err
		}
		if !top || !slices.Contains(meta, key) {
			keys = append(keys, key)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	slices.SortFunc(keys, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	out = append(out, '{')
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(out, key), ':')
		out = append(out, values[key]...)
	}
	return append(out, '}'), nil
}

// appendString writes s as RFC 8785 wants it: only what must be escaped is.
func appendString(out []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\b':
			out = append(out, `\b`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\f':
			out = append(out, `\f`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r < 0x20:
			out = append(out, `\u00`...)
			out = append(out, hexDigits[r>>4], hexDigits[r&0xf])
		default:
			out = append(out, string(r)...)
		}
	}
	return append(out, '"')
}

// appendNumber writes an integer as its digits and everything else in the form of ECMAScript.
func appendNumber(out []byte, n string) ([]byte, error) {
	if !strings.ContainsAny(n, ".eE") {
		if n == "-0" {
			n = "0"
		}
		return append(out, n...), nil
	}
	f, err := strconv.ParseFloat(n, 64)
	if err != nil {
		return nil, err
	}
	abs := math.Abs(f)
	switch {
	case f == 0:
		return append(out, '0'), nil
	case abs >= 1e-6 && abs < 1e21:
		return strconv.AppendFloat(out, f, 'f', -1, 64), nil
	}
	text := strconv.AppendFloat(nil, f, 'e', -1, 64)
	mantissa, exponent, _ := strings.Cut(string(text), "e")
	sign := exponent[:1]
	return append(out, mantissa+"e"+sign+strings.TrimLeft(exponent[1:], "0")...), nil
}
