// Package render writes what a method answered: as a table for a person, as tabs for a pipe, as JSON, YAML, lines or
// names for a program. It knows types and values, never commands or connections.
package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Member is one key of an Object.
type Member struct {
	Key   string
	Value any
}

// Object is a JSON object that keeps the order of its keys, which is the order of the fields in the Go type.
type Object []Member

// Get gives the value of a key, or nil.
func (o Object) Get(key string) any {
	for _, m := range o {
		if m.Key == key {
			return m.Value
		}
	}
	return nil
}

// Text gives the value of a key when it is a string, or "".
func (o Object) Text(key string) string {
	s, _ := o.Get(key).(string)
	return s
}

// MarshalJSON keeps the order.
func (o Object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		key, err1 := json.Marshal(m.Key)
		value, err2 := json.Marshal(m.Value)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}

// Decode reads one JSON document into nil, bool, json.Number, string, []any and Object.
func Decode(raw []byte) (any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := decode(d)
	if err != nil {
		return nil, fmt.Errorf("cannot read the answer: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("cannot read the answer: more than one document")
	}
	return v, nil
}

func decode(d *json.Decoder) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := decode(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	obj := Object{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decode(d)
		if err != nil {
			return nil, err
		}
		obj = append(obj, Member{key.(string), v})
	}
	_, err = d.Token()
	return obj, err
}
