package source

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// JSON reads a text of JSON. Faults: invalid (import_invalid).
func JSON(path, text string) (*Node, error) {
	if err := Check(path, text); err != nil {
		return nil, err
	}
	r := jsonReader{path: path, text: text, d: json.NewDecoder(strings.NewReader(text))}
	r.d.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.d.Token(); !errors.Is(err, io.EOF) {
		return nil, r.at().Wrong("something follows the end of the JSON")
	}
	return n, nil
}

type jsonReader struct {
	path, text string
	d          *json.Decoder
	nodes      int
	line, upto int // lines counted so far
}

func (r *jsonReader) at() Place {
	to := min(int(r.d.InputOffset()), len(r.text))
	r.line += strings.Count(r.text[r.upto:to], "\n")
	r.upto = to
	return Place{r.path, r.line + 1}
}

func (r *jsonReader) token() (json.Token, error) {
	t, err := r.d.Token()
	if err == nil {
		return t, nil
	}
	at := r.at()
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		at.Line = strings.Count(r.text[:min(int(e.Offset), len(r.text))], "\n") + 1
	}
	if errors.Is(err, io.EOF) {
		return nil, at.Wrong("the JSON ends too early")
	}
	return nil, at.Wrong("this is not JSON: %v", err)
}

func (r *jsonReader) value(depth int) (*Node, error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	n := &Node{Place: r.at()}
	if r.nodes++; depth > maxDepth || r.nodes > maxNodes {
		return nil, n.Wrong("the file is nested too deep, or has too many values")
	}
	switch t := t.(type) {
	case string:
		n.Kind, n.Text, n.Quoted = Scalar, t, true
	case json.Number:
		n.Kind, n.Text = Scalar, t.String()
	case bool:
		n.Kind, n.Text = Scalar, map[bool]string{true: "true", false: "false"}[t]
	case json.Delim:
		n.Kind = List
		if t == '{' {
			n.Kind = Map
		}
		for r.d.More() {
			if err := r.entry(n, depth); err != nil {
				return nil, err
			}
		}
		if _, err := r.token(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (r *jsonReader) entry(n *Node, depth int) error {
	var key string
	at := n.Place
	if n.Kind == Map {
		t, err := r.token()
		if err != nil {
			return err
		}
		key, _ = t.(string) // a key of JSON is text, which the decoder has seen to
		at = r.at()
	}
	v, err := r.value(depth + 1)
	if err != nil {
		return err
	}
	if n.Kind == List {
		n.Items = append(n.Items, v)
	} else {
		n.Pairs = append(n.Pairs, Pair{at, key, v})
	}
	return nil
}
