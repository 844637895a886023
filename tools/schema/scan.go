package schema

import (
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// syntaxError is what ends a walk: from here on nothing can be said of the text.
type syntaxError struct {
	pos  int
	what string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.pos) }

func (w *walk) bad(what string) error { return &syntaxError{w.pos, what} }

func (w *walk) space() {
	for w.pos < len(w.src) {
		switch w.src[w.pos] {
		case ' ', '\n', '\r', '\t':
			w.pos++
		default:
			return
		}
	}
}

// peek skips white space and gives the next byte, or 0 at the end.
func (w *walk) peek() byte {
	w.space()
	if w.pos < len(w.src) {
		return w.src[w.pos]
	}
	return 0
}

// word steps over true, false or null.
func (w *walk) word(s string) error {
	if len(w.src)-w.pos < len(s) || string(w.src[w.pos:w.pos+len(s)]) != s {
		return w.bad("unknown word")
	}
	w.pos += len(s)
	return nil
}

// str steps over a string and gives what is between its quotes, and whether that holds escapes. It refuses what
// encoding/json would quietly replace: bytes that are not UTF-8 and halves of surrogate pairs.
func (w *walk) str() (inner []byte, escaped bool, err error) {
	w.pos++
	start, ascii := w.pos, true
	for w.pos < len(w.src) {
		switch c := w.src[w.pos]; {
		case c == '"':
			inner = w.src[start:w.pos]
			if !ascii && !utf8.Valid(inner) {
				return nil, false, w.bad("text that is not UTF-8 ends")
			}
			w.pos++
			return inner, escaped, nil
		case c == '\\':
			escaped = true
			if err := w.escape(); err != nil {
				return nil, false, err
			}
		case c < 0x20:
			return nil, false, w.bad("control character in a string")
		default:
			ascii = ascii && c < utf8.RuneSelf
			w.pos++
		}
	}
	return nil, false, w.bad("unfinished string")
}

func (w *walk) escape() error {
	if w.pos+1 >= len(w.src) {
		return w.bad("unfinished string")
	}
	switch w.src[w.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		w.pos += 2
		return nil
	case 'u':
		r, ok := hex4(w.src[w.pos+2:])
		if !ok {
			return w.bad("bad escape")
		}
		if !utf16.IsSurrogate(r) {
			w.pos += 6
			return nil
		}
		rest := w.src[w.pos+6:]
		if len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
			if low, ok := hex4(rest[2:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
				w.pos += 12
				return nil
			}
		}
		return w.bad("half of a surrogate pair")
	}
	return w.bad("bad escape")
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape gives the text of a string that str has accepted.
func unescape(inner []byte, escaped bool) string {
	if !escaped {
		return string(inner)
	}
	out := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); {
		c := inner[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		i += 2
		switch e := inner[i-1]; e {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(inner[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hex4(inner[i+2:])
				r, i = utf16.DecodeRune(r, low), i+6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, e)
		}
	}
	return string(out)
}

// num steps over a number and reports whether it is written without fraction and exponent.
func (w *walk) num() (text []byte, whole bool, err error) {
	start := w.pos
	if w.src[w.pos] == '-' {
		w.pos++
	}
	switch d := w.digits(); {
	case d == 0:
		return nil, false, w.bad("bad number")
	case d > 1 && w.src[w.pos-d] == '0':
		return nil, false, w.bad("number with a leading zero")
	}
	whole = true
	if w.pos < len(w.src) && w.src[w.pos] == '.' {
		w.pos++
		if whole = false; w.digits() == 0 {
			return nil, false, w.bad("bad number")
		}
	}
	if w.pos < len(w.src) && (w.src[w.pos] == 'e' || w.src[w.pos] == 'E') {
		w.pos++
		if w.pos < len(w.src) && (w.src[w.pos] == '+' || w.src[w.pos] == '-') {
			w.pos++
		}
		if whole = false; w.digits() == 0 {
			return nil, false, w.bad("bad number")
		}
	}
	return w.src[start:w.pos], whole, nil
}

func (w *walk) digits() int {
	n := 0
	for w.pos < len(w.src) && '0' <= w.src[w.pos] && w.src[w.pos] <= '9' {
		w.pos++
		n++
	}
	return n
}

// toInt gives the whole number that text stands for; 5.0 and 5e0 are 5.
func toInt(text []byte, whole bool) (int64, bool) {
	if whole {
		i, err := strconv.ParseInt(string(text), 10, 64)
		return i, err == nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f != float64(int64(f)) || f > 1<<53 || f < -1<<53 {
		return 0, false
	}
	return int64(f), true
}
