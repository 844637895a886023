// Package answer turns what a method gave into what a model reads: a typed value that fits its schema and a short text,
// both within bounds, with nothing in them that a terminal or a reader would take for something else than data.
package answer

import (
	"strconv"
	"unicode/utf8"
)

// hidden reports runes that show nothing or change how the rest is shown: controls, bidirectional marks, zero width,
// tag characters, variation selectors, line and paragraph separators.
func hidden(r rune) bool {
	switch {
	case r < 0x20, 0x7f <= r && r <= 0x9f:
		return true
	case r < 0xad:
		return false
	}
	switch {
	case r == 0xad, r == 0x61c, r == 0x34f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x3164, r == 0xffa0,
		0x180b <= r && r <= 0x180f, 0x200b <= r && r <= 0x200f, 0x2028 <= r && r <= 0x202e, 0x2060 <= r && r <= 0x206f,
		0xfe00 <= r && r <= 0xfe0f, r == 0xfeff, 0xfff9 <= r && r <= 0xfffb, 0x13430 <= r && r <= 0x1343f,
		0x1bca0 <= r && r <= 0x1bca3, 0x1d173 <= r && r <= 0x1d17a, 0xe0000 <= r && r <= 0xe0fff:
		return true
	}
	return false
}

const hex = "0123456789abcdef"

// appendRune appends r as a JSON escape, as a surrogate pair where it needs one.
func appendRune(dst []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		return appendRune(appendRune(dst, 0xd800+r>>10), 0xdc00+r&0x3ff)
	}
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// JSON gives a valid JSON text in which every hidden rune is written as an escape: the value is the same, and what shows
// the text shows the rune.
func JSON(text []byte) []byte {
	i := 0
	for i < len(text) && text[i] < 0x7f {
		i++
	}
	if i == len(text) {
		return text
	}
	out := append(make([]byte, 0, len(text)+len(text)/8), text[:i]...)
	for i < len(text) {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, '\\', 'u', 'f', 'f', 'f', 'd')
		case r >= 0x7f && hidden(r):
			out = appendRune(out, r)
		default:
			out = append(out, text[i:i+n]...)
		}
		i += n
	}
	return out
}

// Line gives foreign text as one visible line: every hidden rune becomes an escape such as \u202e or \n, and what is
// beyond limit runes is cut with a mark.
func Line(s string, limit int) string {
	out := make([]byte, 0, min(len(s), limit*2)+8)
	n := 0
	for i, r := range s {
		if n++; n > limit {
			return string(append(append(out, "…+"...), strconv.Itoa(len(s)-i)+"B"...))
		}
		switch {
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r == '\\':
			out = append(out, `\\`...)
		case r == utf8.RuneError:
			out = append(out, `\ufffd`...)
		case hidden(r):
			out = appendRune(out, r)
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}

// Text is Line for text of ours that may carry names: lines stay lines.
func Text(s string, limit int) string {
	out := make([]byte, 0, len(s)+8)
	for _, r := range s {
		if len(out) > limit {
			return string(append(out, "…"...))
		}
		if r != '\n' && hidden(r) {
			out = appendRune(out, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}
