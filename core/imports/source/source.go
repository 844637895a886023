// Package source reads the files that other supervisors are told what to run with: YAML, JSON, INI and systemd's units.
// All become one tree that knows the line of everything, and what in it was used. Reading runs nothing.
package source

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Limits of a file; what is above is refused.
const (
	MaxBytes = 1 << 20
	maxDepth = 64
	maxNodes = 100_000 // aliases of YAML count as often as they are used
)

// Place is a line of a file.
type Place struct {
	File string
	Line int // from 1; 0 is the whole file
}

func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Wrong is the fault of a file that cannot be read: invalid (import_invalid), with its place.
func (p Place) Wrong(format string, args ...any) error {
	return fault.New(fault.Invalid, "%s: %s", p, fmt.Sprintf(format, args...)).WithReason("import_invalid")
}

// Kind is the form of a node.
type Kind uint8

// The kinds of node.
const (
	Null Kind = iota
	Scalar
	List
	Map
)

func (k Kind) String() string { return [...]string{"nothing", "a value", "a list", "a map"}[k] }

// Node is a value of a file.
type Node struct {
	Place
	Kind   Kind
	Text   string // of a scalar
	Quoted bool   // a scalar that is text whatever it looks like
	Items  []*Node
	Pairs  []Pair // in the file's order; a key may come more than once in a unit
}

// Pair is a key with its value.
type Pair struct {
	Place
	Key   string
	Value *Node
}

// Find gives the last value of a key, or nil.
func (n *Node) Find(key string) *Node {
	if n == nil {
		return nil
	}
	for i := len(n.Pairs) - 1; i >= 0; i-- {
		if n.Pairs[i].Key == key {
			return n.Pairs[i].Value
		}
	}
	return nil
}

// Get is the text of a key, or "".
func (n *Node) Get(key string) string {
	if v := n.Find(key); v != nil && v.Kind == Scalar {
		return v.Text
	}
	return ""
}

// Words gives the texts of a list, or the one text of a scalar. false when something else is in it.
func (n *Node) Words() (words []string, ok bool) {
	switch n.Kind {
	case Scalar:
		return []string{n.Text}, true
	case List:
		for _, i := range n.Items {
			if i.Kind != Scalar {
				return nil, false
			}
			words = append(words, i.Text)
		}
		return words, true
	}
	return nil, n.Kind == Null
}

// Bool reads a scalar as true or false.
func (n *Node) Bool() (value, ok bool) {
	if n == nil || n.Kind != Scalar {
		return false, false
	}
	switch strings.ToLower(n.Text) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	}
	return false, false
}

// Check refuses what is no text or too much of it.
func Check(path, text string) error {
	at := Place{File: path}
	switch {
	case len(text) > MaxBytes:
		return at.Wrong("the file has more than %d bytes, which is the most that is read", MaxBytes)
	case !utf8.ValidString(text):
		for i, r := range text {
			if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd") {
				at.Line = strings.Count(text[:i], "\n") + 1
				break
			}
		}
		return at.Wrong("the file is not UTF-8 text")
	case strings.ContainsRune(text, 0):
		at.Line = strings.Count(text[:strings.IndexByte(text, 0)], "\n") + 1
		return at.Wrong("there is a NUL in the file: it is no text")
	}
	return nil
}

// Lines gives the lines of a text without their ends.
func Lines(text string) []string {
	text = strings.TrimPrefix(text, "\ufeff")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines
}

// Unplace takes the lines off a tree that was not read from the file itself.
func (n *Node) Unplace() {
	n.Line = 0
	for _, i := range n.Items {
		i.Unplace()
	}
	for i := range n.Pairs {
		n.Pairs[i].Line = 0
		n.Pairs[i].Value.Unplace()
	}
}
