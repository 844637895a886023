package tree

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// File is a text that problems point into.
type File struct {
	Path string // absolute
	Name string // how it is shown
	Text string

	Private bool // its lines are never shown: an env file

	lines  []string
	widths map[int]int // of the lines asked for, in characters
}

// NewFile gives text a path and a shown name. A byte order mark at its beginning, which some editors write, is no part of it.
func NewFile(path, name, text string) *File {
	text = strings.TrimPrefix(text, "\ufeff")
	return &File{Path: path, Name: name, Text: text, lines: strings.Split(text, "\n"), widths: map[int]int{}}
}

// width is how many characters a line has; long lines are asked for often.
func (f *File) width(n int) int {
	w, known := f.widths[n]
	if !known {
		w = utf8.RuneCountInString(f.Line(n))
		f.widths[n] = w
	}
	return w
}

// Line is the text of a line, counted from 1; "" beyond the end.
func (f *File) Line(n int) string {
	if n < 1 || n > len(f.lines) {
		return ""
	}
	return strings.TrimSuffix(f.lines[n-1], "\r")
}

// Pos is a place in a file. Lines and columns count from 1, columns in characters.
type Pos struct {
	File         *File
	Line, Column int
	Width        int // characters that belong to it on its line
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File.Name, p.Line, p.Column) }

// Class says at which step a problem was found.
type Class uint8

// The classes. What a JSON Schema can see is Structure; what only the whole file shows is Meaning.
const (
	Syntax Class = iota
	Structure
	Meaning
)

// Problem is one thing wrong, at its place.
type Problem struct {
	Pos
	Class   Class
	Message string
	Hint    string   // what to do about it
	Allowed []string // the values that would do
	Near    string   // the one that was probably meant
}

// Excerpt is the line of the file with carets below the place.
func (p Problem) Excerpt() string {
	const room = 100
	line := []rune(p.File.Line(p.Line))
	if len(line) == 0 || p.File.Private {
		return ""
	}
	col := min(max(p.Column-1, 0), len(line))
	from, cut := 0, ""
	if col > room/2 && len(line) > room {
		from, cut = col-room/2, "…"
	}
	to := min(len(line), from+room)
	shown := cut
	for _, r := range line[from:to] {
		switch {
		case r == '\t':
			shown += " "
		case unicode.IsPrint(r):
			shown += string(r)
		default:
			shown += "�"
		}
	}
	if to < len(line) {
		shown += "…"
	}
	gutter := fmt.Sprintf("%5d", p.Line)
	pad := strings.Repeat(" ", col-from+len([]rune(cut)))
	carets := strings.Repeat("^", max(1, min(p.Width, to-col)))
	return fmt.Sprintf("%s | %s\n%s | %s%s", gutter, shown, strings.Repeat(" ", len(gutter)), pad, carets)
}

// Advice is the hint, or the suggestion, or the values that would do.
func (p Problem) Advice() string {
	switch {
	case p.Hint != "":
		return p.Hint
	case p.Near != "":
		return fmt.Sprintf("did you mean %q?", p.Near)
	case len(p.Allowed) > 0:
		return "one of: " + strings.Join(p.Allowed, ", ")
	}
	return ""
}

// String is everything about the problem, over several lines.
func (p Problem) String() string {
	s := p.Pos.String() + ": " + p.Message
	if x := p.Excerpt(); x != "" {
		s += "\n" + x
	}
	if a := p.Advice(); a != "" {
		s += "\n        " + a
	}
	return s
}

// Problems gathers what is wrong, so that everything can be said at once.
type Problems struct{ list []Problem }

// Add records a problem and returns it for its details.
func (ps *Problems) Add(at Pos, class Class, format string, args ...any) *Problem {
	ps.list = append(ps.list, Problem{Pos: at, Class: class, Message: fmt.Sprintf(format, args...)})
	return &ps.list[len(ps.list)-1]
}

// Len is how many there are.
func (ps *Problems) Len() int { return len(ps.list) }

// Sorted gives them in the order of their places; the same thing said twice of one place stays once.
func (ps *Problems) Sorted() []Problem {
	out := slices.Clone(ps.list)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File.Path, b.File.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(out, func(a, b Problem) bool { return a.Pos == b.Pos && a.Message == b.Message })
}
