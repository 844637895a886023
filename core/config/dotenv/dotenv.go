// Package dotenv reads env files: one KEY=VALUE a line, read and never run.
//
//	# a comment
//	export NAME=plain text     # "export" is allowed; a comment needs a blank before its #
//	SINGLE='taken as it is, $HOME and \n too'
//	DOUBLE="escapes \n \t \r \\ \" \$ work, and it
//	may go over several lines"
//
// ${} is not replaced in an env file: the value is what is written.
package dotenv

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/tree"
)

// NamePattern is what a variable may be called.
const NamePattern = `^[A-Za-z_][A-Za-z0-9_.-]*$`

var name = regexp.MustCompile(NamePattern)

// Var is a variable with the place of its name.
type Var struct {
	tree.Pos
	Name, Value string
}

// Parse reads the text of f. What is wrong goes to ps with its line; the other lines are still read. Of a name given
// twice the later one wins, as in a shell.
func Parse(f *tree.File, ps *tree.Problems) []Var {
	if len(f.Text) > tree.MaxBytes {
		ps.Add(tree.Pos{File: f, Line: 1, Column: 1, Width: 1}, tree.Syntax, "the env file has more than %d bytes, which is the most that is read", tree.MaxBytes)
		return nil
	}
	p := parser{file: f, problems: ps, rest: f.Text, line: 1}
	for p.rest != "" {
		p.entry()
	}
	return p.vars
}

type parser struct {
	file     *tree.File
	problems *tree.Problems
	rest     string
	line     int
	vars     []Var
}

func (p *parser) fail(line, column, width int, format string, args ...any) *tree.Problem {
	return p.problems.Add(tree.Pos{File: p.file, Line: line, Column: column, Width: max(1, width)}, tree.Syntax, format, args...)
}

// take cuts the current line off.
func (p *parser) take() (string, int) {
	line, rest, _ := strings.Cut(p.rest, "\n")
	p.rest = rest
	p.line++
	return strings.TrimSuffix(line, "\r"), p.line - 1
}

func (p *parser) entry() {
	line, n := p.take()
	body := strings.TrimLeft(line, " \t")
	if body == "" || body[0] == '#' {
		return
	}
	if strings.IndexByte(line, 0) >= 0 {
		p.fail(n, runes(line[:strings.IndexByte(line, 0)])+1, 1, "an env file cannot hold a NUL character")
		return
	}
	if after, ok := strings.CutPrefix(body, "export"); ok && after != "" && (after[0] == ' ' || after[0] == '\t') {
		body = strings.TrimLeft(after, " \t")
	}
	column := runes(line[:len(line)-len(body)]) + 1
	key, value, found := strings.Cut(body, "=")
	key = strings.TrimRight(key, " \t")
	switch {
	case !found:
		p.fail(n, column, runes(body), "this line is no KEY=VALUE").Hint = "a comment begins with #"
		return
	case !name.MatchString(key):
		p.fail(n, column, runes(key), "%.60q cannot be the name of a variable", key).Hint = "letters, digits, _ . and -, not beginning with a digit"
		return
	}
	trimmed := strings.TrimLeft(value, " \t")
	v := Var{Pos: tree.Pos{File: p.file, Line: n, Column: column, Width: runes(key)}, Name: key}
	at := runes(line[:len(line)-len(trimmed)]) + 1
	var ok bool
	switch {
	case strings.HasPrefix(trimmed, `"`):
		v.Value, ok = p.double(trimmed[1:], n, at)
	case strings.HasPrefix(trimmed, "'"):
		v.Value, ok = p.single(trimmed[1:], n, at)
	default:
		v.Value, ok = plain(value), true
	}
	if ok {
		p.vars = append(p.vars, v)
	}
}

// plain is a value without quotes: up to a comment, blanks around it cut.
func plain(s string) string {
	for i := range len(s) {
		if s[i] == '#' && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t') {
			s = s[:i]
			break
		}
	}
	return strings.Trim(s, " \t")
}

// single is taken as it is, to the next quote of the same line.
func (p *parser) single(s string, line, column int) (string, bool) {
	value, rest, found := strings.Cut(s, "'")
	if !found {
		p.fail(line, column, 1, "the single quote that begins here is never closed").Hint = "single quotes end on their line; double quotes may go over several"
		return "", false
	}
	return value, p.tail(rest, line, column+runes(value)+2)
}

// double reads escapes and goes on over lines.
func (p *parser) double(s string, line, column int) (string, bool) {
	var b strings.Builder
	n, at, ok := line, column+1, true
	for {
		for i := 0; i < len(s); i++ {
			switch s[i] {
			case '"':
				return b.String(), p.tail(s[i+1:], n, at+runes(s[:i])+1) && ok
			case '\\':
				i++
				if i == len(s) {
					continue // a backslash at the end of a line joins the lines
				}
				if r, known := escapes[s[i]]; known {
					b.WriteByte(r)
				} else {
					p.fail(n, at+runes(s[:i-1]), 2, "there is no escape \\%c", s[i]).Hint = `known are \n \t \r \\ \" \$; write \\ for a backslash`
					ok = false
				}
			default:
				b.WriteByte(s[i])
			}
		}
		if p.rest == "" {
			p.fail(line, column, 1, "the double quote that begins here is never closed")
			return "", false
		}
		if !strings.HasSuffix(s, `\`) || strings.HasSuffix(s, `\\`) {
			b.WriteByte('\n')
		}
		s, n = p.take()
		at = 1
		if j := strings.IndexByte(s, 0); j >= 0 {
			p.fail(n, runes(s[:j])+1, 1, "an env file cannot hold a NUL character")
			ok = false
		}
	}
}

var escapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', '"': '"', '$': '$', '\'': '\''}

// tail is what may follow a closing quote: blanks and a comment.
func (p *parser) tail(s string, line, column int) bool {
	t := strings.TrimLeft(s, " \t")
	if t == "" || t[0] == '#' && len(t) < len(s) {
		return true
	}
	p.fail(line, column+runes(s)-runes(t), runes(t), "%s follows the closing quote", fmt.Sprintf("%.40q", t)).Hint = "put the whole value in quotes"
	return false
}

func runes(s string) int { return len([]rune(s)) }
