package tree

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Parse reads the text of f. Where there are problems the tree may still be of use: nil only when nothing could be read.
func Parse(f *File, ps *Problems) *Node {
	before := ps.Len()
	root := ParseOptional(f, ps)
	if root == nil && ps.Len() == before {
		ps.Add(f.at(0), Syntax, "the file is empty").Hint = "the smallest file is: apps: [{name: web, command: [./web]}]"
	}
	return root
}

// ParseOptional is Parse for a file that may be empty: then it gives nil, and no problem.
func ParseOptional(f *File, ps *Problems) *Node {
	if !check(f, ps) {
		return nil
	}
	doc, ok := document(f, ps)
	if !ok || doc == nil {
		return nil
	}
	b := builder{file: f, problems: ps}
	root := b.node(doc, 0)
	root.label("")
	return root
}

// label gives the node and all below it the name that messages use.
func (n *Node) label(name string) {
	n.Name = name
	for i, item := range n.Items {
		item.label(fmt.Sprintf("%s[%d]", name, i))
	}
	for _, p := range n.Pairs {
		p.Value.label(p.Key.Text)
	}
}

// document gives the one document of the file.
func document(f *File, ps *Problems) (doc ast.Node, ok bool) {
	start := Pos{File: f, Line: 1, Column: 1, Width: 1}
	defer func() { // the parser is not ours: a file that breaks it is a bad file, not the end of the daemon
		if r := recover(); r != nil {
			ps.Add(start, Syntax, "this is not YAML: %v", r)
			doc, ok = nil, false
		}
	}()
	tokens := lexer.Tokenize(f.Text)
	if t, why := excess(tokens); t != nil {
		ps.Add(place(f, t), Syntax, "%s", why)
		return nil, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		syntax(f, err, ps)
		return nil, false
	}
	for _, d := range file.Docs {
		switch {
		case d.Body == nil:
		case d.Body.Type() == ast.DirectiveType:
			ps.Add(place(f, d.Body.GetToken()), Syntax, "YAML directives are not read here").Hint = "remove the line"
			return nil, false
		case doc != nil:
			at := place(f, d.Body.GetToken())
			if d.Start != nil {
				at = place(f, d.Start)
			}
			ps.Add(at, Syntax, "a second document begins here; one file is one document").Hint = "remove the line, or move what follows to a file of its own"
			return nil, false
		default:
			doc = d.Body
		}
	}
	return doc, true
}

func syntax(f *File, err error, ps *Problems) {
	at, msg := Pos{File: f, Line: 1, Column: 1, Width: 1}, err.Error()
	if e, ok := errors.AsType[yaml.Error](err); ok {
		msg = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			at = place(f, t)
		}
	}
	line := f.Line(at.Line)
	if indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; strings.Contains(indent, "\t") {
		at.Column, at.Width = strings.IndexByte(indent, '\t')+1, 1
		ps.Add(at, Syntax, "a tab cannot indent YAML").Hint = "use spaces"
		return
	}
	msg = strings.Join(strings.Fields(msg), " ")
	p := ps.Add(at, Syntax, "this is not YAML: %s", msg)
	switch {
	case strings.Contains(line, "${"):
		p.Hint = `inside brackets, ${…} needs quotes: "${NAME}"`
	case strings.Contains(msg, "mapping value is not allowed"):
		p.Hint = `text with ": " in it needs quotes; keys of one map stand in one column`
	case strings.Contains(msg, "reserved character"), strings.Contains(msg, "directive"):
		p.Hint = "put the value in quotes"
	case strings.Contains(msg, "end character"), strings.Contains(msg, "end token"):
		p.Hint = "close what begins here"
	}
}

// excess finds where a file goes beyond what is read, before a recursive parser sees it whose work grows with the square
// of a map's keys: nesting, the entries of one map or list, and marks (anchors, aliases, tags), which are refused anyway.
func excess(tokens token.Tokens) (*token.Token, string) {
	type level struct{ column, entries int } // column 0: in brackets
	var levels []level
	flow, marks := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
			levels = append(levels, level{})
		case token.SequenceEndType, token.MappingEndType:
			if flow > 0 {
				flow--
				levels = levels[:len(levels)-1]
			}
		case token.CollectEntryType:
			if flow > 0 {
				levels[len(levels)-1].entries++
			}
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			if flow > 0 {
				continue
			}
			c := t.Position.Column
			if t.Type == token.MappingValueType && t.Prev != nil && t.Prev.Position != nil {
				c = t.Prev.Position.Column // the key's
			}
			for len(levels) > 0 && levels[len(levels)-1].column > c {
				levels = levels[:len(levels)-1]
			}
			if len(levels) == 0 || levels[len(levels)-1].column < c {
				levels = append(levels, level{column: c})
			}
			levels[len(levels)-1].entries++
		case token.AnchorType, token.AliasType, token.TagType:
			marks++
		}
		switch n := len(levels); {
		case n > MaxDepth:
			return t, fmt.Sprintf("nested more than %d deep", MaxDepth)
		case n > 0 && levels[n-1].entries > MaxEntries:
			return t, fmt.Sprintf("more than %d entries in one map or list", MaxEntries)
		case marks > MaxDepth:
			return t, "anchors, aliases and tags are not read here"
		}
	}
	return nil, ""
}

func place(f *File, t *token.Token) Pos {
	p := Pos{File: f, Line: min(max(1, t.Position.Line), len(f.lines)), Column: max(1, t.Position.Column), Width: 1}
	switch t.Type {
	case token.SingleQuoteType, token.DoubleQuoteType, token.StringType:
		origin := strings.TrimSpace(t.Origin)
		if i := strings.IndexByte(origin, '\n'); i >= 0 {
			origin = origin[:i]
		}
		p.Width = max(1, utf8.RuneCountInString(origin))
	default:
		p.Width = max(1, utf8.RuneCountInString(t.Value))
	}
	// The parser's columns are off by one here and there after multi-byte text: never point beyond the line.
	p.Column = min(p.Column, f.width(p.Line)+1)
	return p
}

type builder struct {
	file     *File
	problems *Problems
}

func (b *builder) refuse(t *token.Token, what, hint string) {
	b.problems.Add(place(b.file, t), Syntax, "%s not read here", what).Hint = hint
}

// node turns the parser's tree into ours and says what is not allowed in it.
func (b *builder) node(n ast.Node, depth int) *Node {
	if n == nil || depth > 2*MaxDepth {
		return &Node{Pos: Pos{File: b.file, Line: 1, Column: 1, Width: 1}}
	}
	out := &Node{Pos: place(b.file, n.GetToken())}
	switch v := n.(type) {
	case *ast.NullNode:
		out.Kind, out.Width = Null, 1
	case *ast.BoolNode:
		out.Kind, out.Text = Bool, v.Token.Value
	case *ast.IntegerNode:
		out.Kind, out.Text = Int, v.Token.Value
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.Kind, out.Text = Float, n.GetToken().Value
	case *ast.StringNode:
		out.Kind, out.Text = Text, v.Value
		out.Quoted = v.Token.Type != token.StringType
		if strings.ContainsRune(out.Text, 0) {
			b.problems.Add(out.Pos, Syntax, "text cannot hold a NUL character")
		}
	case *ast.LiteralNode:
		out.Kind, out.Text, out.Quoted = Text, v.Value.Value, true
	case *ast.SequenceNode:
		out.Kind = List
		for _, item := range v.Values {
			n := b.node(item, depth+1)
			b.indent(n.Pos)
			out.Items = append(out.Items, n)
		}
	case *ast.MappingValueNode:
		out.Kind = Map
		b.pair(out, v, depth)
	case *ast.MappingNode:
		out.Kind = Map
		for _, p := range v.Values {
			b.pair(out, p, depth)
		}
	case *ast.AnchorNode:
		b.refuse(v.Start, "anchors are", "write the value out")
		return b.node(v.Value, depth+1)
	case *ast.AliasNode:
		b.refuse(v.Start, "aliases are", "write the value out; text that begins with * needs quotes")
		out.Kind, out.Broken = Text, true
	case *ast.TagNode:
		b.refuse(v.Start, "tags are", "remove the tag; text that begins with ! needs quotes")
		return b.node(v.Value, depth+1)
	default:
		b.problems.Add(out.Pos, Syntax, "%s is not read here", strings.ToLower(n.Type().String()))
	}
	if out.Kind == Map && len(out.Pairs) > 0 && out.Pairs[0].Key != nil && n.GetToken().Type != token.MappingStartType {
		out.Pos = out.Pairs[0].Key.Pos // the parser points at the first colon
	}
	return out
}

// indent refuses a tab before the first thing of a line.
func (b *builder) indent(at Pos) {
	line := b.file.Line(at.Line)
	blank := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	if i := strings.IndexByte(blank, '\t'); i >= 0 && at.Column <= len(blank)+1 {
		b.problems.Add(Pos{File: b.file, Line: at.Line, Column: i + 1, Width: 1}, Syntax, "a tab cannot indent YAML").Hint = "use spaces"
	}
}

func (b *builder) pair(out *Node, v *ast.MappingValueNode, depth int) {
	key := b.key(v.Key)
	value := b.node(v.Value, depth+1)
	if key == nil {
		return
	}
	if value.Kind == Null && value.Line == 1 && value.Column == 1 {
		value.Pos = key.Pos
	}
	b.indent(key.Pos)
	if line, twice := out.keys[key.Text]; twice {
		b.problems.Add(key.Pos, Syntax, "%q is given twice", key.Text).Hint = fmt.Sprintf("the first one is in line %d", line)
		return
	}
	if out.keys == nil {
		out.keys = map[string]int{}
	}
	out.keys[key.Text] = key.Line
	out.Pairs = append(out.Pairs, Pair{key, value})
}

func (b *builder) key(k ast.MapKeyNode) *Node {
	at := place(b.file, k.GetToken())
	switch v := k.(type) {
	case *ast.StringNode:
		return &Node{Pos: at, Kind: Text, Text: v.Value, Quoted: v.Token.Type != token.StringType}
	case *ast.MergeKeyNode:
		b.refuse(v.Token, "merge keys are", "write the keys out")
	case *ast.MappingKeyNode:
		b.refuse(v.Start, "keys that begin with ? are", "write key: value")
	default:
		b.problems.Add(at, Syntax, "a key must be text, not %s", k.GetToken().Value).Hint = fmt.Sprintf("put it in quotes: %q", k.GetToken().Value)
	}
	return nil
}
