package source

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// YAML reads the first document of a text. Anchors, aliases and << are followed; tags are taken off. Faults: invalid
// (import_invalid).
func YAML(path, text string) (root *Node, err error) {
	if err := Check(path, text); err != nil {
		return nil, err
	}
	defer func() { // the parser is not ours
		if r := recover(); r != nil {
			root, err = nil, Place{File: path}.Wrong("this is not YAML: %v", r)
		}
	}()
	for i, line := range Lines(text) { // depth costs the parser more than time
		if open := strings.Count(line, "[") + strings.Count(line, "{"); open > 1000 {
			return nil, Place{path, i + 1}.Wrong("more brackets than are read in a line")
		}
	}
	file, perr := parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
	if perr != nil {
		at, msg := Place{File: path}, perr.Error()
		if e, ok := errors.AsType[yaml.Error](perr); ok {
			msg = e.GetMessage()
			if t := e.GetToken(); t != nil && t.Position != nil {
				at.Line = t.Position.Line
			}
		}
		msg, _, _ = strings.Cut(msg, "\n")
		return nil, at.Wrong("this is not YAML: %s", msg)
	}
	b := yamlReader{path: path, anchors: map[string]ast.Node{}}
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.DirectiveType {
			return b.node(d.Body, 0)
		}
	}
	return &Node{Place: Place{path, 1}}, nil
}

type yamlReader struct {
	path    string
	anchors map[string]ast.Node
	nodes   int
}

func (b *yamlReader) at(t *token.Token) Place {
	p := Place{b.path, 1}
	if t != nil && t.Position != nil {
		p.Line = t.Position.Line
	}
	return p
}

func (b *yamlReader) node(n ast.Node, depth int) (*Node, error) {
	if n == nil {
		return &Node{Place: Place{b.path, 1}}, nil
	}
	out := &Node{Place: b.at(n.GetToken())}
	if b.nodes++; depth > maxDepth || b.nodes > maxNodes {
		return nil, out.Wrong("the file is nested too deep or refers to itself too often")
	}
	switch v := n.(type) {
	case *ast.AnchorNode:
		if v.Name != nil {
			b.anchors[v.Name.GetToken().Value] = v.Value
		}
		return b.node(v.Value, depth+1)
	case *ast.AliasNode:
		name := v.Value.GetToken().Value
		to, ok := b.anchors[name]
		if !ok {
			return nil, out.Wrong("there is no anchor %q before this line", name)
		}
		return b.node(to, depth+1)
	case *ast.TagNode:
		return b.node(v.Value, depth+1)
	case *ast.NullNode:
	case *ast.StringNode:
		out.Kind, out.Text = Scalar, v.Value
		out.Quoted = v.Token.Type == token.SingleQuoteType || v.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		out.Kind, out.Quoted = Scalar, true
		if v.Value != nil {
			out.Text = v.Value.Value
		}
	case *ast.SequenceNode:
		out.Kind = List
		for _, i := range v.Values {
			item, err := b.node(i, depth+1)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, item)
		}
	case *ast.MappingNode:
		return b.mapping(out, v.Values, depth)
	case *ast.MappingValueNode:
		return b.mapping(out, []*ast.MappingValueNode{v}, depth)
	default: // numbers, true and false, .inf
		out.Kind, out.Text = Scalar, n.GetToken().Value
	}
	return out, nil
}

func (b *yamlReader) mapping(out *Node, values []*ast.MappingValueNode, depth int) (*Node, error) {
	out.Kind = Map
	var merged []Pair
	for _, v := range values {
		value, err := b.node(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if v.Key.Type() == ast.MergeKeyType {
			for _, from := range append(value.Items, value) {
				merged = append(merged, from.Pairs...)
			}
			continue
		}
		key := v.Key.GetToken().Value
		if s, ok := v.Key.(*ast.StringNode); ok {
			key = s.Value
		}
		at := b.at(v.Key.GetToken())
		if out.Find(key) != nil {
			return nil, at.Wrong("the key %q is there twice", key)
		}
		if value.Kind == Null {
			value.Place = at
		}
		out.Pairs = append(out.Pairs, Pair{at, key, value})
	}
	for _, p := range merged {
		if out.Find(p.Key) == nil {
			out.Pairs = append(out.Pairs, p)
		}
	}
	return out, nil
}
