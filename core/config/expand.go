package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)

// lookup finds a variable for ${}: the shell first, then .env beside the file.
func (l *loader) lookup(name string) (string, bool) {
	v, ok := l.src.Env[name]
	if !ok {
		v, ok = l.dotenv[name]
	}
	return v, ok && !strings.ContainsRune(v, 0)
}

// expand replaces ${} in a scalar.
func (l *loader) expand(n *tree.Node) {
	if n.Kind != tree.Text || !strings.Contains(n.Text, "$") {
		return
	}
	out, used, err := expand(n.Text, l.lookup, 0)
	if err == nil {
		n.Text, n.Expanded = out, n.Expanded || used
		return
	}
	at := n.Pos
	if l.problems.Len() < 1000 { // looking for the exact place takes time, and nobody reads so many
		at = l.find(n, err.text)
	}
	p := l.problems.Add(at, tree.Meaning, "%s", err.message)
	p.Hint = err.hint
	if err.unknown != "" && l.problems.Len() < 1000 {
		p.Near = fault.Near(err.unknown, l.variables())
		if p.Near != "" {
			p.Hint = fmt.Sprintf("did you mean ${%s}?", p.Near)
		}
	}
	n.Expanded, n.Broken = true, true
}

// variables lists what ${} can see.
func (l *loader) variables() []string {
	var names []string
	for n := range l.src.Env {
		names = append(names, n)
	}
	for n := range l.dotenv {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// find is the place of a piece of a scalar's text, as exactly as the source shows it.
func (l *loader) find(n *tree.Node, text string) tree.Pos {
	for i := range 1000 {
		line, skip := l.file.Line(n.Line+i), 0
		if i == 0 {
			skip = byteOf(line, n.Column-1)
		}
		if j := strings.Index(line[skip:], text); j >= 0 {
			return tree.Pos{File: l.file, Line: n.Line + i, Column: utf8.RuneCountInString(line[:skip+j]) + 1, Width: utf8.RuneCountInString(text)}
		}
	}
	return n.Pos
}

// byteOf is where the nth character of a line begins.
func byteOf(line string, n int) int {
	for i := range line {
		if n == 0 {
			return i
		}
		n--
	}
	return len(line)
}

type expandError struct {
	text, message, hint, unknown string
}

// expand gives text with ${NAME} and ${NAME:-default} replaced and $$ made $. A lone $ stays as it is.
func expand(text string, lookup func(string) (string, bool), depth int) (out string, used bool, err *expandError) {
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
				return "", false, &expandError{text: clipRunes(text, 20), message: "this ${ is never closed", hint: "write $${ for the text ${ itself"}
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
func replace(inside, whole string, lookup func(string) (string, bool), depth int) (string, *expandError) {
	name := variableName.FindString(inside)
	rest := inside[len(name):]
	fallback, hasDefault := strings.CutPrefix(rest, ":-")
	if name == "" || rest != "" && !hasDefault {
		return "", &expandError{text: whole, message: fmt.Sprintf("%s is not understood", clipRunes(whole, 60)), hint: "only ${NAME} and ${NAME:-default} are replaced; write $${ for the text ${ itself"}
	}
	value, ok := lookup(name)
	if ok && (value != "" || !hasDefault) {
		return value, nil
	}
	if !hasDefault {
		return "", &expandError{text: whole, unknown: name, message: fmt.Sprintf("the variable %s is not set, neither in the shell nor in .env beside the file", name),
			hint: fmt.Sprintf("set it, or give a default: ${%s:-…}; for the shell of a command write $${%s}", name, name)}
	}
	if depth >= 8 {
		return "", &expandError{text: whole, message: "defaults are nested too deep"}
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

func clipRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
