package schema

import (
	"bytes"
	"encoding/json"
)

// Canonical writes an input that passed Check in the one form that digests are made of: keys sorted, no white space.
func Canonical(raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // a large integer keeps all its digits
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
