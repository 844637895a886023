package redact

import (
	"bytes"
	"encoding/json"
)

// JSON gives a JSON text without the secrets in its strings, and whether there were any. Names of members, numbers and
// words stay: without them it would not be what its reader expects.
func (m *Matcher) JSON(text []byte) ([]byte, bool) {
	if m == nil || len(m.Spans(text)) == 0 && !(m.escaped && bytes.Contains(text, []byte(`\\`))) { // JSON in JSON hides the quotes
		return text, false
	}
	var out bytes.Buffer
	hit := false
	for at := 0; at < len(text); {
		if text[at] != '"' {
			out.WriteByte(text[at])
			at++
			continue
		}
		end := at + 1
		for end < len(text) && text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end+1, len(text))
		literal := text[at:end]
		at = end
		var s string
		if isName(text[end:]) || json.Unmarshal(literal, &s) != nil {
			out.Write(literal)
			continue
		}
		if clean := m.String(s); clean != s {
			hit = true
			literal, _ = json.Marshal(clean) // a string always has a form
		}
		out.Write(literal)
	}
	if !hit {
		return text, false
	}
	return out.Bytes(), true
}

// isName reports whether what follows a string says that it names a member.
func isName(rest []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
}
