package source

import (
	"regexp"
	"strings"
)

var inlineComment = regexp.MustCompile(`\s[;#].*$`)

// INI reads the sections of a file as Python's configparser does for supervisord: comments after ; and #, values that go
// on in indented lines, the later of two equal keys wins. Faults: invalid (import_invalid).
func INI(path, text string) (*Node, error) {
	if err := Check(path, text); err != nil {
		return nil, err
	}
	root := &Node{Place: Place{path, 1}, Kind: Map}
	var section, value *Node
	for i, line := range Lines(text) {
		at := Place{path, i + 1}
		bare := strings.TrimSpace(line)
		switch {
		case bare == "" || bare[0] == ';' || bare[0] == '#':
			if bare == "" {
				value = nil
			}
			continue
		case line[0] == ' ' || line[0] == '\t':
			if value == nil {
				if section == nil || strings.IndexAny(bare, "=:") < 0 {
					return nil, at.Wrong("an indented line continues nothing")
				}
				break
			}
			value.Text = strings.TrimPrefix(value.Text+"\n"+strings.TrimSpace(inlineComment.ReplaceAllString(bare, "")), "\n")
			continue
		}
		if bare[0] == '[' {
			name, _, ok := strings.Cut(bare[1:], "]")
			if !ok {
				return nil, at.Wrong("the section's name has no ]")
			}
			if section, value = root.Find(name), nil; section == nil {
				section = &Node{Place: at, Kind: Map}
				root.Pairs = append(root.Pairs, Pair{at, name, section})
			}
			continue
		}
		bare = strings.TrimSpace(inlineComment.ReplaceAllString(bare, ""))
		j := strings.IndexAny(bare, "=:")
		switch {
		case section == nil:
			return nil, at.Wrong("a line before the first [section]")
		case j <= 0:
			return nil, at.Wrong("%.60q is no key = value", bare)
		}
		value = &Node{Place: at, Kind: Scalar, Text: strings.TrimSpace(bare[j+1:])}
		key := strings.ToLower(strings.TrimSpace(bare[:j]))
		for k := range section.Pairs {
			if section.Pairs[k].Key == key {
				section.Pairs[k].Value, section.Pairs[k].Place, key = value, at, ""
				break
			}
		}
		if key != "" {
			section.Pairs = append(section.Pairs, Pair{at, key, value})
		}
	}
	return root, nil
}

// Unit reads a unit of systemd: keys may come more than once, a \ at the end continues a line. Faults: invalid
// (import_invalid).
func Unit(path, text string) (*Node, error) {
	if err := Check(path, text); err != nil {
		return nil, err
	}
	root := &Node{Place: Place{path, 1}, Kind: Map}
	var section *Node
	lines := Lines(text)
	for i := 0; i < len(lines); i++ {
		at, line := Place{path, i + 1}, strings.TrimSpace(lines[i])
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			next := strings.TrimSpace(lines[i])
			if next != "" && (next[0] == '#' || next[0] == ';') { // a comment in the middle is left out
				continue
			}
			line = strings.TrimSuffix(line, `\`) + " " + next
		}
		line = strings.TrimSpace(strings.TrimSuffix(line, `\`))
		if line == "" {
			continue
		}
		if line[0] == '[' {
			name, rest, ok := strings.Cut(line[1:], "]")
			if !ok || rest != "" {
				return nil, at.Wrong("%.60q is no [Section]", line)
			}
			section = &Node{Place: at, Kind: Map}
			if known := root.Find(name); known != nil {
				section = known
			} else {
				root.Pairs = append(root.Pairs, Pair{at, name, section})
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		switch {
		case section == nil:
			return nil, at.Wrong("a line before the first [Section]")
		case !ok || strings.TrimSpace(key) == "":
			return nil, at.Wrong("%.60q is no Key=value", line)
		}
		section.Pairs = append(section.Pairs, Pair{at, strings.TrimSpace(key), &Node{Place: at, Kind: Scalar, Text: strings.TrimSpace(value)}})
	}
	return root, nil
}
