package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var plain = regexp.MustCompile(`^(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_./-]*$`)

// words that YAML, or one of its versions, takes for something else than text.
var words = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

// Escape makes a text stand for itself where ${} is replaced.
func Escape(text string) Template {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		b.WriteByte(text[i])
		if text[i] == '$' && i+1 < len(text) && (text[i+1] == '$' || text[i+1] == '{') {
			b.WriteByte('$')
		}
	}
	return Template(b.String())
}

// quote writes a scalar, always in one line.
func quote(t Template) string {
	text := string(t)
	if plain.MatchString(text) && !slices.Contains(words, strings.ToLower(text)) {
		return text
	}
	if strings.ContainsAny(text, `"\\`) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x100 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000 && (!unicode.IsPrint(r) || r == 0xfeff):
			fmt.Fprintf(&b, `\u%04x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// printable makes a text fit for a line of a comment or a report.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '\ufffd'
		}
		return r
	}, text)
	if r := []rune(text); len(r) > 300 {
		text = string(r[:300]) + "…"
	}
	return text
}

// flow writes a value in one line.
func flow(v Value) string {
	switch v := v.(type) {
	case Text:
		return quote(Escape(string(v)))
	case Template:
		return quote(v)
	case Word:
		return string(v)
	case Argv:
		parts := make([]string, len(v))
		for i, w := range v {
			parts[i] = flow(w)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case *Fields:
		parts := make([]string, len(v.list))
		for i, s := range v.list {
			parts[i] = flow(Text(s.Key)) + ": " + flow(s.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	panic(fmt.Sprintf("draft: a %T cannot be written in one line", v))
}

// broken says why a value cannot be written at all.
func broken(v Value) string {
	text := ""
	switch v := v.(type) {
	case Text:
		text = string(v)
	case Template:
		text = string(v)
	case Argv:
		for _, w := range v {
			if why := broken(w); why != "" {
				return why
			}
		}
	}
	switch {
	case !utf8.ValidString(text):
		return "it is not UTF-8 text"
	case strings.ContainsRune(text, 0):
		return "there is a NUL in it"
	}
	return ""
}
