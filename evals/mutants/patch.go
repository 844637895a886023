package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one line broken.
type mutant struct {
	name     string
	why      string // what would then be untrue
	file     string // below the module's root
	test     test
	old, new string
}

// test is a package and the names of the tests in it that must fail, as a regular expression.
type test struct{ pkg, run string }

// pattern is what go test takes: whole names at each level.
func (t test) pattern() string {
	return "^(" + strings.ReplaceAll(t.run, "/", ")$/^(") + ")$"
}

// mutants reads all patches in the order of their names.
func mutants(from fs.FS) ([]mutant, error) {
	names, err := fs.Glob(from, "*.patch")
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, n := range names {
		text, err := fs.ReadFile(from, n)
		if err != nil {
			return nil, err
		}
		m, err := parse(strings.TrimSuffix(filepath.Base(n), ".patch"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b mutant) int { return cmp.Compare(a.name, b.name) })
	return all, nil
}

// parse reads one patch:
//
//	Why: what would then be untrue
//	File: core/store/disk.go
//	Test: ./core/store TestOne|TestTwo
//
//	 a line that stays
//	-a line that goes
//	+a line that comes
//
// Lines that stay say which place is meant, where that line is there more than once.
func parse(name, text string) (mutant, error) {
	m := mutant{name: name}
	head, hunk, ok := strings.Cut(text, "\n\n")
	if !ok {
		return m, fmt.Errorf("there is no empty line between head and hunk")
	}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "Why":
			m.why = value
		case "File":
			m.file = value
		case "Test":
			m.test.pkg, m.test.run, _ = strings.Cut(value, " ")
		default:
			return m, fmt.Errorf("unknown line %q", line)
		}
	}
	gone := 0
	for line := range strings.Lines(hunk) {
		switch line[0] {
		case ' ':
			m.old += line[1:]
			m.new += line[1:]
		case '-':
			gone++
			m.old += line[1:]
		case '+':
			m.new += line[1:]
		default:
			return m, fmt.Errorf("a line of a hunk begins with a space, - or +: %q", line)
		}
	}
	switch {
	case m.why == "" || m.file == "" || m.test.pkg == "" || m.test.run == "":
		return m, fmt.Errorf("Why, File and Test are needed")
	case gone == 0 || m.old == m.new:
		return m, fmt.Errorf("it changes nothing")
	}
	return m, nil
}

// apply gives the text of the file with the line broken.
func (m mutant) apply(text string) (string, error) {
	if n := strings.Count(text, m.old); n != 1 {
		return "", fmt.Errorf("the lines to break are %d times in %s, and have to be there once", n, m.file)
	}
	return strings.Replace(text, m.old, m.new, 1), nil
}
