// Package tree reads the strict part of YAML that Omnitron's files are written in, keeping the place of every value.
// No anchors, aliases, merge keys, tags, directives or second documents; every key is text and given once.
package tree

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a file. What is above is refused before it is parsed.
const (
	MaxBytes   = 1 << 20
	MaxDepth   = 64
	MaxEntries = 10_000 // of one map or list
)

// Kind is the form of a value.
type Kind uint8

// The kinds. A scalar says what it would be without quotes.
const (
	Null Kind = iota
	Bool
	Int
	Float
	Text
	List
	Map
)

var kindNames = [...]string{"nothing", "true or false", "a number", "a number", "text", "a list", "a map"}

func (k Kind) String() string { return kindNames[k] }

// Node is a value of the file.
type Node struct {
	Pos
	Kind     Kind
	Name     string  // what it is the value of: interval, dependsOn[0]; "" for the whole file
	Text     string  // of a scalar: its text; of a number or bool: as written
	Quoted   bool    // a scalar in quotes or a block
	Expanded bool    // its text had a ${} in it: it may stand for any scalar, and is never repeated in a message
	Gone     bool    // a null that takes away what an earlier file says of the key: as if the key were not there
	Broken   bool    // its ${} could not be replaced: that has been said, nothing more is
	Items    []*Node // of a list
	Pairs    []Pair  // of a map, in the file's order

	keys map[string]int // lines of the keys, while the map is read
}

// Pair is a key of a map with its value.
type Pair struct{ Key, Value *Node }

// Find gives the value of a key, or nil: also of one that was taken away.
func (n *Node) Find(key string) *Node {
	if n == nil {
		return nil
	}
	for _, p := range n.Pairs {
		if p.Key.Text == key && !p.Value.Gone {
			return p.Value
		}
	}
	return nil
}

// Beside says where n is to somebody who looks at another one of the same name.
func (n *Node) Beside(other *Node) string {
	if n.File == other.File {
		return fmt.Sprintf("the first one is in line %d", n.Line)
	}
	return fmt.Sprintf("the first one is at %s:%d", n.File.Name, n.Line)
}

// Scalar reports whether n is one value.
func (n *Node) Scalar() bool { return n.Kind < List }

// Walk calls fn for n and everything below.
func (n *Node) Walk(fn func(*Node)) {
	fn(n)
	for _, i := range n.Items {
		i.Walk(fn)
	}
	for _, p := range n.Pairs {
		p.Value.Walk(fn)
	}
}

// check refuses what no parser should see.
func check(f *File, ps *Problems) bool {
	start := Pos{File: f, Line: 1, Column: 1, Width: 1}
	before := ps.Len()
	switch i := strings.IndexFunc(f.Text, control); {
	case len(f.Text) > MaxBytes:
		ps.Add(start, Syntax, "the file has more than %d bytes, which is the most that is read", MaxBytes)
	case !utf8.ValidString(f.Text):
		ps.Add(f.at(invalid(f.Text)), Syntax, "the file is not UTF-8 text")
	case bareReturn(f.Text) >= 0: // a line break for YAML, for nobody else
		ps.Add(f.at(bareReturn(f.Text)), Syntax, "a carriage return without a line feed").Hint = "save the file with \\n or \\r\\n at the end of lines"
	case i >= 0:
		r, _ := utf8.DecodeRuneInString(f.Text[i:])
		ps.Add(f.at(i), Syntax, "the file has a control character (%U)", r).Hint = "write it as an escape in double quotes"
	}
	return ps.Len() == before
}

func control(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\r' && r != '\t' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff'
}

func bareReturn(s string) int {
	for i := strings.IndexByte(s, '\r'); i >= 0 && i < len(s); i++ {
		if s[i] == '\r' && (i+1 == len(s) || s[i+1] != '\n') {
			return i
		}
	}
	return -1
}

func invalid(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			return i
		}
	}
	return 0
}

// at is the place of a byte.
func (f *File) at(offset int) Pos {
	before := f.Text[:offset]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return Pos{File: f, Line: line, Column: column, Width: 1}
}

// Keys lists the keys of a map.
func (n *Node) Keys() []string {
	keys := make([]string, 0, len(n.Pairs))
	for _, p := range n.Pairs {
		keys = append(keys, p.Key.Text)
	}
	slices.Sort(keys)
	return keys
}
