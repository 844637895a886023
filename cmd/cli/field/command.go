package field

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

// Line writes an input as the command that makes it, so that examples and next calls can be pasted.
func Line(command string, fields []Field, in map[string]any) string {
	var args, flags []string
	for _, f := range fields {
		v, ok := in[f.Name]
		if !ok {
			continue
		}
		switch {
		case f.Secret: // it is asked for
		case f.Arg != "":
			args = append(args, words(v)...)
		case f.waits():
			if v == false {
				flags = append(flags, "--no-wait")
			}
		default:
			flags = append(flags, f.flags(v)...)
		}
	}
	if key, ok := in["idempotency_key"].(string); ok { // every changing call takes it
		flags = append(flags, "--idempotency-key "+strings.Join(words(key), " "))
	}
	return strings.Join(append(append([]string{command}, args...), flags...), " ")
}

func (f Field) flags(v any) []string {
	name := "--" + f.Flag()
	switch v := v.(type) {
	case bool:
		if v {
			return []string{name}
		}
		return []string{name + "=false"}
	case []any:
		if f.many() {
			var all []string
			for _, w := range words(v) {
				all = append(all, name+" "+w)
			}
			return all
		}
	case map[string]any:
		if f.many() {
			keys := make([]string, 0, len(v))
			for k := range v {
				keys = append(keys, k)
			}
			sort.Strings(keys)
			var all []string
			for _, k := range keys {
				all = append(all, name+" "+Quote(k+"="+fmt.Sprint(v[k])))
			}
			return all
		}
	case float64:
		if unit, ok := f.unit(); ok {
			word := "s"
			if unit.Milliseconds() == 1 {
				word = "ms"
			}
			return []string{name + " " + fmt.Sprint(v) + word}
		}
	}
	if list, ok := v.([]any); ok { // no list of words: JSON
		raw, err := json.Marshal(list)
		if err != nil {
			return nil
		}
		return []string{name + " " + Quote(string(raw))}
	}
	return []string{name + " " + strings.Join(words(v), " ")}
}

func words(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{Quote(v)}
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, words(e)...)
		}
		return all
	case float64, bool, int, int64, json.Number:
		return []string{fmt.Sprint(v)}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return []string{Quote(string(raw))}
}

// Quote writes a word so that a shell reads it as it is.
func Quote(s string) string {
	safe := s != ""
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-./:=@,+%", c) >= 0) {
			safe = false
		}
	}
	if safe {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
