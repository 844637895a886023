// Package object looks into JSON objects that have been checked already, without taking them apart.
package object

import (
	"bytes"
	"encoding/json"

	"github.com/omnitron-dev/omnitron/mcp/answer"
)

// stringEnd is the index after the string that starts at b[i].
func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// Visit hands over the members of a valid JSON object in their order, until visit says false.
func Visit(object json.RawMessage, visit func(key string, value json.RawMessage) bool) {
	i := skipSpace(object, 0) + 1
	for {
		i = skipSpace(object, i)
		if i >= len(object) || object[i] == '}' {
			return
		}
		if object[i] == ',' {
			i = skipSpace(object, i+1)
		}
		end := stringEnd(object, i)
		key := Unquote(object[i:end])
		i = skipSpace(object, skipSpace(object, end)+1)
		end = valueEnd(object, i)
		if !visit(key, object[i:end:end]) {
			return
		}
		i = end
	}
}

// Get gives one member of a valid JSON object, or nil.
func Get(object json.RawMessage, name string) (value json.RawMessage) {
	if !Is(object) {
		return nil
	}
	Visit(object, func(key string, v json.RawMessage) bool {
		if key == name {
			value = v
		}
		return value == nil
	})
	return value
}

// String gives a member that is a string, or "".
func String(object json.RawMessage, name string) string { return Unquote(Get(object, name)) }

// Is reports whether a valid JSON value is an object.
func Is(value json.RawMessage) bool { return len(value) > 0 && value[0] == '{' }

// Unquote gives the text of a valid JSON string, or "" for any other value.
func Unquote(value json.RawMessage) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	var s string
	_ = json.Unmarshal(value, &s) // valid already
	return s
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd is the index after the value that starts at b[i].
func valueEnd(b []byte, i int) int {
	nested := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			if i = stringEnd(b, i) - 1; nested == 0 {
				return i + 1
			}
		case '{', '[':
			nested++
		case '}', ']':
			if nested == 0 {
				return i // the end of a bare value before it
			}
			if nested--; nested == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if nested == 0 {
				return i
			}
		}
	}
	return i
}

// Set gives a JSON object with a member of that value, in place of one of the name if there is one.
func Set(object json.RawMessage, name string, value json.RawMessage) json.RawMessage {
	out := append(make([]byte, 0, len(object)+len(name)+len(value)+8), '{')
	out = append(append(answer.AppendString(out, name), ':'), value...)
	Visit(object, func(key string, v json.RawMessage) bool {
		if key != name {
			out = append(answer.AppendString(append(out, ','), key), ':')
			out = append(out, v...)
		}
		return true
	})
	return append(out, '}')
}

// Delete gives a JSON object without the members of those names, and tells whether one was there.
func Delete(object json.RawMessage, names ...string) (json.RawMessage, bool) {
	out, found := []byte{'{'}, false
	Visit(object, func(key string, v json.RawMessage) bool {
		for _, n := range names {
			if key == n {
				found = true
				return true
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(answer.AppendString(out, key), ':'), v...)
		return true
	})
	if !found {
		return object, false
	}
	return append(out, '}'), true
}
