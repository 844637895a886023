package answer

import (
	"bytes"
	"encoding/json"
	"sort"
	"unicode/utf8"
)

// shape is the part of an output schema that says what may be cut.
type shape struct {
	Type       json.RawMessage   `json:"type"`
	Properties map[string]*shape `json:"properties"`
	Required   []string          `json:"required"`
	Items      *shape            `json:"items"`
	More       json.RawMessage   `json:"additionalProperties"`
	Enum       json.RawMessage   `json:"enum"`
	Pattern    string            `json:"pattern"`
	Format     string            `json:"format"`
	MinItems   int               `json:"minItems"`
	MinLength  int               `json:"minLength"`

	values *shape // of a map
}

func parseShape(schema json.RawMessage) (*shape, error) {
	s := new(shape)
	if err := json.Unmarshal(schema, s); err != nil {
		return nil, err
	}
	return s, s.maps()
}

func (s *shape) maps() error {
	if s.Items != nil {
		if err := s.Items.maps(); err != nil {
			return err
		}
	}
	for _, p := range s.Properties {
		if err := p.maps(); err != nil {
			return err
		}
	}
	if len(s.More) == 0 || s.More[0] != '{' {
		return nil
	}
	s.values = new(shape)
	if err := json.Unmarshal(s.More, s.values); err != nil {
		return err
	}
	return s.values.maps()
}

// keepWhole names members that are useless when they are cut.
var keepWhole = map[string]bool{"token": true, "id": true, "cursor": true, "next_cursor": true, "digest": true, "key": true, "method": true, "confirm": true}

// bounds says how much of each kind of value stays.
type bounds struct{ text, items, members int }

// clip cuts long text, long lists and big maps of a decoded JSON value, so that the value still fits its schema.
func clip(v any, s *shape, b bounds) any {
	if s == nil {
		s = &shape{}
	}
	switch v := v.(type) {
	case string:
		if len(v) <= b.text || s.Enum != nil || s.Pattern != "" || s.Format != "" || s.MinLength > b.text {
			return v
		}
		return Cut(v, b.text)
	case []any:
		if n := max(b.items, s.MinItems); len(v) > n {
			v = v[:n]
		}
		for i := range v {
			v[i] = clip(v[i], s.Items, b)
		}
		return v
	case map[string]any:
		open := s.values != nil || s.Properties == nil && !bytes.Equal(s.More, []byte("false"))
		if open && len(v) > b.members {
			drop(v, s, b.members)
		}
		for k := range v {
			if !keepWhole[k] {
				v[k] = clip(v[k], s.member(k), b)
			}
		}
		return v
	}
	return v
}

// drop takes members out of a map, the last ones by name first, but none that is required.
func drop(v map[string]any, s *shape, leave int) {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, r := range s.Required {
		if i := sort.SearchStrings(keys, r); i < len(keys) && keys[i] == r {
			keys = append(keys[:i], keys[i+1:]...)
			leave--
		}
	}
	for _, k := range keys[min(len(keys), max(leave, 0)):] {
		delete(v, k)
	}
}

func (s *shape) member(k string) *shape {
	if p, ok := s.Properties[k]; ok {
		return p
	}
	return s.values
}

// Cut gives the first n bytes of s at most, whole runes, and a mark that says how much is gone.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…[cut]"
}

// fit cuts a JSON value further and further until it has at most limit bytes. The flag truncated is set where the schema
// has one. It reports false when even the barest form is too big.
func fit(whole []byte, s *shape, limit int) ([]byte, bool) {
	b := bounds{text: 8 << 10, items: 400, members: 400}
	for ; ; b = (bounds{max(b.text/2, 32), b.items / 2, b.members / 2}) {
		var v any
		dec := json.NewDecoder(bytes.NewReader(whole))
		dec.UseNumber()
		if dec.Decode(&v) != nil {
			return nil, false
		}
		v = clip(v, s, b)
		if o, ok := v.(map[string]any); ok {
			markTruncated(o, s)
		}
		out, err := Marshal(v)
		if err != nil {
			return nil, false
		}
		if len(out) <= limit {
			return out, true
		}
		if b.items == 0 && b.text == 32 {
			return nil, false
		}
	}
}

// markTruncated sets the flag of an answer, and of a list that is the result of a changing call.
func markTruncated(o map[string]any, s *shape) {
	if s == nil {
		return
	}
	if _, ok := s.Properties["truncated"]; ok {
		o["truncated"] = true
	}
	if r, ok := o["result"].(map[string]any); ok {
		markTruncated(r, s.Properties["result"])
	}
}
