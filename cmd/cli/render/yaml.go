package render

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// writeYAML writes a JSON value as block YAML. Keys keep their order and numbers their digits; a text that YAML could
// take for anything else is quoted as in JSON, which YAML reads the same.
func writeYAML(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case Object:
		if len(v) > 0 {
			yamlMap(b, v, "", false)
			return
		}
	case []any:
		if len(v) > 0 {
			yamlList(b, v, "")
			return
		}
	}
	b.WriteString(yamlScalar(v) + "\n")
}

func yamlMap(b *bytes.Buffer, o Object, indent string, inline bool) {
	for i, m := range o {
		if i > 0 || !inline {
			b.WriteString(indent)
		}
		b.WriteString(yamlText(m.Key) + ":")
		switch v := m.Value.(type) {
		case Object:
			if len(v) > 0 {
				b.WriteByte('\n')
				yamlMap(b, v, indent+"  ", false)
				continue
			}
		case []any:
			if len(v) > 0 {
				b.WriteByte('\n')
				yamlList(b, v, indent+"  ")
				continue
			}
		}
		b.WriteString(" " + yamlScalar(m.Value) + "\n")
	}
}

func yamlList(b *bytes.Buffer, list []any, indent string) {
	for _, e := range list {
		b.WriteString(indent + "- ")
		switch v := e.(type) {
		case Object:
			if len(v) > 0 {
				yamlMap(b, v, indent+"  ", true)
				continue
			}
		case []any:
			if len(v) > 0 {
				b.Truncate(b.Len() - 1)
				b.WriteByte('\n')
				yamlList(b, v, indent+"  ")
				continue
			}
		}
		b.WriteString(yamlScalar(e) + "\n")
	}
}

func yamlScalar(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	case string:
		return yamlText(v)
	case Object:
		return "{}"
	}
	return "[]"
}

// yamlText quotes every text but those that are plain words in all versions of YAML.
func yamlText(s string) string {
	if plainYAML(s) {
		return s
	}
	q, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s)
	}
	return string(q)
}

func plainYAML(s string) bool {
	if s == "" || strings.TrimSpace(s) != s {
		return false
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf":
		return false
	}
	first := s[0]
	if !(first >= 'a' && first <= 'z' || first >= 'A' && first <= 'Z' || first == '/' || first == '_') {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("_-./ @+(),", c) >= 0:
		case c == ':' && i+1 < len(s) && s[i+1] != ' ':
		default:
			return false
		}
	}
	return true
}
