package render

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape makes foreign text harmless on a terminal: control characters, C1, bidirectional overrides and bytes that are
// no UTF-8 become visible escapes. Everything else stays as it is.
func Escape(s string) string { return escape(s, false) }

// EscapeLines is Escape, but line ends stay.
func EscapeLines(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	if harmless(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' && lines:
			b.WriteByte('\n')
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString("  ") // a tab would move the columns of a table and the fields of a pipe
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, r)
		case hidden(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func harmless(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// hidden are characters that reorder or hide what stands around them.
func hidden(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r >= 0x200b && r <= 0x200f ||
		r == 0x061c || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0xe0000 && r <= 0xe007f
}

// Width is how many columns of a terminal s takes. It does not look for escapes: measure before painting.
func Width(s string) int {
	if harmless(s) {
		return len(s)
	}
	w := 0
	for _, r := range s {
		w += runeWidth(r)
	}
	return w
}

func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff ||
		r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 && r <= 0xffe6 ||
		r >= 0x1f300 && r <= 0x1f64f || r >= 0x1f900 && r <= 0x1f9ff || r >= 0x20000 && r <= 0x3fffd):
		return 2
	}
	return 1
}

// Clip shortens s to w columns, with an ellipsis where something is missing.
func Clip(s string, w int) string {
	if Width(s) <= w {
		return s
	}
	if w < 1 {
		return ""
	}
	used, cut := 0, 0
	for i, r := range s {
		n := runeWidth(r)
		if used+n > w-1 {
			break
		}
		used += n
		cut = i + utf8.RuneLen(r)
	}
	return s[:cut] + "…"
}

func pad(s string, w int, right bool) string {
	gap := w - Width(s)
	if gap <= 0 {
		return s
	}
	if right {
		return strings.Repeat(" ", gap) + s
	}
	return s + strings.Repeat(" ", gap)
}

// Fold breaks a line between words so that it fits width columns, and indents what follows the first. A width of 0 leaves
// it whole, and so does one that leaves too little room beside the indent.
func Fold(line string, indent, width int) string {
	if width <= 0 || width-indent < 20 || Width(line) <= width {
		return line
	}
	var b strings.Builder
	at := 0
	for i, word := range strings.SplitAfter(line, " ") {
		if n := Width(strings.TrimRight(word, " ")); i > 0 && at+n > width && at > indent {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		}
		b.WriteString(word)
		at += Width(word)
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
