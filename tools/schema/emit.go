package schema

import (
	"encoding/json"
	"strconv"
)

// schema appends the JSON Schema of n. Keys and properties keep one order, so that goldens and caches are stable.
func (n *node) schema(b []byte) []byte {
	b = append(b, '{')
	switch n.kind {
	case object:
		b = append(b, `"type":"object"`...)
	case dict:
		b = append(b, `"type":"object"`...)
	case list:
		b = append(b, `"type":"array"`...)
	case text:
		b = append(b, `"type":"string"`...)
	case integer:
		b = append(b, `"type":"integer"`...)
	case number:
		b = append(b, `"type":"number"`...)
	case boolean:
		b = append(b, `"type":"boolean"`...)
	case free: // says nothing of the type on purpose
	}
	if n.doc != "" {
		b = quoted(key(b, "description"), n.doc)
	}
	if n.date {
		b = quoted(key(b, "format"), "date-time")
	}
	if len(n.enum) > 0 {
		b = append(key(b, "enum"), '[')
		for i, v := range n.enum {
			if i > 0 {
				b = append(b, ',')
			}
			b = quoted(b, v)
		}
		b = append(b, ']')
	}
	if n.pattern != nil {
		b = quoted(key(b, "pattern"), n.pattern.text)
	}
	b = n.bounds(b)
	if n.initial != nil {
		b = append(key(b, "default"), n.initial...)
	}
	switch n.kind {
	case object:
		b = n.properties(b)
	case dict:
		b = n.elem.schema(key(b, "additionalProperties"))
	case list:
		b = n.elem.schema(key(b, "items"))
	}
	return append(b, '}')
}

func (n *node) properties(b []byte) []byte {
	b = append(key(b, "properties"), '{')
	for i, f := range n.fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(quoted(b, f.name), ':')
		b = f.node.schema(b)
	}
	b = append(b, '}')
	first := true
	for _, f := range n.fields {
		if !f.required {
			continue
		}
		if first {
			b = append(key(b, "required"), '[')
		} else {
			b = append(b, ',')
		}
		b, first = quoted(b, f.name), false
	}
	if !first {
		b = append(b, ']')
	}
	return append(b, `,"additionalProperties":false`...)
}

func (n *node) bounds(b []byte) []byte {
	low, high := "minimum", "maximum"
	switch n.kind {
	case text:
		low, high = "minLength", "maxLength"
	case list:
		low, high = "minItems", "maxItems"
	}
	if n.lo != nil && n.said[0] {
		b = strconv.AppendInt(key(b, low), *n.lo, 10)
	}
	if n.hi != nil && n.said[1] {
		b = strconv.AppendInt(key(b, high), *n.hi, 10)
	}
	if n.flo != nil {
		b = strconv.AppendFloat(key(b, low), *n.flo, 'g', -1, 64)
	}
	if n.fhi != nil {
		b = strconv.AppendFloat(key(b, high), *n.fhi, 'g', -1, 64)
	}
	return b
}

// key appends a key of the schema that is not the object's first one, unless nothing was written yet (a free value).
func key(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(quoted(b, name), ':')
}

func quoted(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always can be
	return append(b, q...)
}
