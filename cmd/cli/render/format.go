package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// The output formats.
const (
	Table = "table"
	Wide  = "wide"
	JSON  = "json"
	YAML  = "yaml"
	JSONL = "jsonl"
	Name  = "name"
)

// Formats is every output format, in the order in which help names them.
var Formats = []string{Table, Wide, JSON, YAML, JSONL, Name}

// Machine reports whether a program reads the format, so that failures belong on stdout too.
func Machine(format string) bool { return format == JSON || format == YAML || format == JSONL }

// Document writes an answer as the one document of a machine's format; pretty spreads JSON over lines.
func Document(w io.Writer, format string, raw []byte, pretty bool) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("null")
	}
	var b bytes.Buffer
	switch format {
	case YAML:
		v, err := Decode(raw)
		if err != nil {
			return err
		}
		writeYAML(&b, v)
	case JSONL:
		if err := lines(&b, raw); err != nil {
			return err
		}
	default:
		var err error
		if pretty {
			err = json.Indent(&b, raw, "", "  ")
		} else {
			err = json.Compact(&b, raw)
		}
		if err != nil {
			return fmt.Errorf("cannot read the answer: %w", err)
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Item writes one item of a stream. In YAML each is a document of its own.
func Item(w io.Writer, format string, raw []byte) error {
	if format == YAML {
		if _, err := io.WriteString(w, "---\n"); err != nil {
			return err
		}
		return Document(w, YAML, raw, false)
	}
	return Document(w, JSON, raw, false)
}

// lines writes the items of a list a line each, anything else as one line.
func lines(b *bytes.Buffer, raw []byte) error {
	items := []json.RawMessage{raw}
	var list struct{ Items *[]json.RawMessage }
	if trimmed := bytes.TrimSpace(raw); trimmed[0] == '[' {
		if err := json.Unmarshal(raw, &items); err != nil {
			return fmt.Errorf("cannot read the answer: %w", err)
		}
	} else if json.Unmarshal(raw, &list) == nil && list.Items != nil {
		items = *list.Items
	}
	for _, item := range items {
		if err := json.Compact(b, item); err != nil {
			return fmt.Errorf("cannot read the answer: %w", err)
		}
		b.WriteByte('\n')
	}
	return nil
}

// Names writes what an answer is about, a name a line, so that it can be handed to the next command.
func Names(w io.Writer, v any) {
	for _, n := range names(v) {
		fmt.Fprintln(w, Escape(n))
	}
}

func names(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case json.Number:
		return []string{v.String()}
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, names(e)...)
		}
		return all
	case Object:
		for _, key := range []string{"key", "name", "id", "target", "items", "result", "plan", "job", "approval", "app", "path", "method", "status"} {
			if inner := v.Get(key); inner != nil {
				return names(inner)
			}
		}
		for _, m := range v { // a list under a name of its own
			if list, ok := m.Value.([]any); ok {
				return names(list)
			}
		}
		for _, m := range v {
			if s, ok := m.Value.(string); ok && strings.TrimSpace(s) != "" {
				return []string{s}
			}
		}
	}
	return nil
}
