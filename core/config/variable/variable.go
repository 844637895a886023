// Package variable replaces ${NAME} and ${NAME:-default} in texts.
package variable

import (
	"fmt"
	"regexp"
	"strings"
)

var nameAtStart = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)

const maxDepth = 8 // of defaults within defaults

// Error says what could not be replaced.
type Error struct {
	Text    string // the piece of the text
	Message string
	Hint    string
	Unknown string // the variable that is not set, where that is the reason
}

func (e *Error) Error() string { return e.Message }

// Expand gives text with ${NAME} and ${NAME:-default} replaced and $$ made $. A lone $ stays as it is. used says whether
// anything came from a variable or a default.
func Expand(text string, lookup func(string) (string, bool)) (out string, used bool, err *Error) {
	return expand(text, lookup, 0)
}

func expand(text string, lookup func(string) (string, bool), depth int) (out string, used bool, err *Error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 || i == len(text)-1 {
			b.WriteString(text)
			return b.String(), used, nil
		}
		b.WriteString(text[:i])
		switch text = text[i:]; text[1] {
		case '$':
			b.WriteByte('$')
			text = text[2:]
		case '{':
			end := closing(text)
			if end < 0 {
				return "", false, &Error{Text: clip(text, 20), Message: "this ${ is never closed", Hint: "write $${ for the text ${ itself"}
			}
			value, e := replace(text[2:end], text[:end+1], lookup, depth)
			if e != nil {
				return "", false, e
			}
			b.WriteString(value)
			text, used = text[end+1:], true
		default:
			b.WriteByte('$')
			text = text[1:]
		}
	}
}

// replace gives what stands for the inside of one ${}.
func replace(inside, whole string, lookup func(string) (string, bool), depth int) (string, *Error) {
	name := nameAtStart.FindString(inside)
	rest := inside[len(name):]
	fallback, hasDefault := strings.CutPrefix(rest, ":-")
	if name == "" || rest != "" && !hasDefault {
		return "", &Error{Text: whole, Message: fmt.Sprintf("%s is not understood", clip(whole, 60)), Hint: "only ${NAME} and ${NAME:-default} are replaced; write $${ for the text ${ itself"}
	}
	value, ok := lookup(name)
	if ok && (value != "" || !hasDefault) {
		return value, nil
	}
	if !hasDefault {
		return "", &Error{Text: whole, Unknown: name, Message: fmt.Sprintf("the variable %s is not set, neither in the shell nor in .env beside the file", name),
			Hint: fmt.Sprintf("set it, or give a default: ${%s:-…}; for the shell of a command write $${%s}", name, name)}
	}
	if depth >= maxDepth {
		return "", &Error{Text: whole, Message: "defaults are nested too deep"}
	}
	out, _, err := expand(fallback, lookup, depth+1)
	return out, err
}

// closing finds the brace that ends the ${ at the start of text.
func closing(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '$' && i+1 < len(text) && text[i+1] == '{':
			depth++
			i++
		case text[i] == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
