// Package tool is a method as this plane shows it: as a tool with its schemas and hints, as a resource with its address, and as a
// stream with its bounds.
package tool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/tools"
)

// Tool is a method with its ready-made forms.
type Tool struct {
	*tools.Method
	Form    *answer.Form
	Output  json.RawMessage // the schema of what this plane answers
	stream  *streamForm     // nil for a unary method
	Hints   bool            // what it answers may name calls
	Lists   bool            // takes limit and cursor and gives a list
	Wide    [2][]byte       // its entry in tools/list, with output schema and title: in the short lists and in the long one
	Narrow  [2][]byte       // the same for clients before 2025-06-18
	Address *Resource       // nil: none
}

// foreign are the services whose answers are full of text that programs wrote.
var foreign = map[string]bool{"logs": true, "events": true, "traces": true}

// New makes the forms of a method. The error says what in its types this plane cannot show.
func New(d *tools.Method) (*Tool, error) {
	m := &Tool{Method: d}
	if d.Stream {
		var err error
		if m.stream, err = newStreamForm(d); err != nil {
			return nil, err
		}
	}
	m.Hints = fault.Hints(d.Out)
	out, item := d.Out, reflect.Type(nil)
	switch {
	case d.Stream:
		out, item = nil, d.Out
	case d.Effect.Changes():
		out = nil // wrapped: no table
	}
	m.Output = Cuttable(d.OutSchema)
	if d.Stream {
		m.Output = Cuttable(d.ItemsSchema)
	}
	var err error
	if m.Form, err = answer.NewForm(m.Output, out, item); err != nil {
		return nil, err
	}
	var in struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(m.Input(), &in); err != nil {
		return nil, fmt.Errorf("cannot read the input schema: %w", err)
	}
	m.Lists = d.Effect == op.Reads && !d.Stream && in.Properties["limit"] != nil && in.Properties["cursor"] != nil
	if m.Address, err = newResource(d); err != nil {
		return nil, err
	}
	if m.Address != nil {
		m.Address.Tool = m
	}
	for i, short := range []bool{false, true} {
		visible, err := m.slim(short)
		if err != nil {
			return nil, err
		}
		m.Wide[i], m.Narrow[i] = m.entry(visible, true, short && m.Core), m.entry(visible, false, false)
	}
	return m, nil
}

// Input is the schema of the arguments, with the bounds of a stream.
func (m *Tool) Input() json.RawMessage {
	if m.stream != nil {
		return m.stream.input
	}
	return m.InSchema
}

// Cuttable gives the schema of an answer that may have been cut: whatever its method is, truncated says so. That a member may
// be anything is put so that validators of other dialects know it.
func Cuttable(schema json.RawMessage) json.RawMessage {
	schema = bytes.ReplaceAll(schema, []byte(`"additionalProperties":{}`), []byte(`"additionalProperties":true`))
	const flag = `"truncated":{"type":"boolean","description":"cut to fit"}}`
	props := object.Get(schema, "properties")
	switch {
	case props == nil:
		return object.Set(schema, "properties", json.RawMessage("{"+flag))
	case object.Get(props, "truncated") != nil:
		return schema
	}
	more := bytes.TrimSuffix(props, []byte("}"))
	if len(more) > 1 {
		more = append(bytes.Clone(more), ',')
	}
	return bytes.Replace(schema, props, append(bytes.Clone(more), flag...), 1) // the first is the outermost
}

// annotations are the four hints of an effect. A stop may be repeated without harm, so an interruption counts as safe to
// repeat only where its target ends up the same: not for a restart.
func (m *Tool) annotations() (readOnly, destructive, idempotent, openWorld bool) {
	switch m.Effect {
	case op.Reads:
		readOnly, idempotent = true, true
	case op.Sets:
		idempotent = true
	case op.Interrupts:
		destructive, idempotent = true, m.Verb != "restart" && m.Verb != "reload"
	case op.Destroys:
		destructive = true
	case op.Adds:
	}
	return readOnly, destructive, idempotent, foreign[m.Service] || m.Verb == "exec" || m.Verb == "logs" || m.Verb == "explain"
}

// entry is the method as tools/list shows it; a client that searches its tools loads prior ones first.
func (m *Tool) entry(input []byte, modern, prior bool) []byte {
	r, d, i, o := m.annotations()
	b := answer.AppendString([]byte(`{"name":`), m.Tool())
	if modern {
		b = answer.AppendString(append(b, `,"title":`...), title(m.Service, m.Verb))
	}
	b = answer.AppendString(append(b, `,"description":`...), m.Doc)
	b = append(append(b, `,"inputSchema":`...), input...)
	if modern {
		b = append(append(b, `,"outputSchema":`...), m.Output...)
	}
	b = fmt.Appendf(b, `,"annotations":{"readOnlyHint":%t,"destructiveHint":%t,"idempotentHint":%t,"openWorldHint":%t}`, r, d, i, o)
	if prior {
		b = append(b, `,"_meta":{"anthropic/alwaysLoad":true}`...)
	}
	return append(b, '}')
}

func title(service, verb string) string {
	return strings.ToUpper(service[:1]) + service[1:] + ": " + strings.ReplaceAll(verb, "_", " ")
}

// unlisted are the optional arguments that many methods have and few calls need. The instructions explain them once for
// all and the lists leave them out; what is listed is open, so that giving them is right by every schema that is shown.
var unlisted = []string{"project", "stack", "dry_run", "idempotency_key"}

// unlistedInFull are those that the long list of the profile full leaves out as well.
var unlistedInFull = append([]string{"no_wait", "timeout_s", "limit", "max_items", "max_seconds", "env_files", "env"}, unlisted...)

// familiar are arguments whose descriptions the instructions have, so that a list need not repeat them.
var familiar = []string{"names", "limit", "cursor", "confirm", "max_items", "max_seconds", "no_wait", "timeout_s", "since", "until"}

// slim gives the input schema of a method as a model sees it in a list: what the instructions say once for all is left out,
// and so are bounds and patterns, which an error names when they matter. ops_describe shows the whole. The pipeline takes
// nothing but what the whole schema has. A short form describes less, for the long list of the profile full.
func (m *Tool) slim(short bool) (json.RawMessage, error) {
	hidden := unlisted
	if short {
		hidden = unlistedInFull
	}
	var top struct {
		Properties json.RawMessage `json:"properties"`
		Required   []string        `json:"required"`
	}
	if err := json.Unmarshal(m.Input(), &top); err != nil {
		return nil, fmt.Errorf("cannot read the input schema: %w", err)
	}
	b := append([]byte(nil), `{"type":"object"`...)
	if len(top.Properties) > 2 {
		b = append(b, `,"properties":{`...)
		start := len(b)
		object.Visit(top.Properties, func(name string, value json.RawMessage) bool {
			confirms := m.Effect == op.Interrupts || m.Effect == op.Destroys
			if !slices.Contains(top.Required, name) && (slices.Contains(hidden, name) || name == "confirm" && !confirms) {
				return true
			}
			if len(b) > start {
				b = append(b, ',')
			}
			b = append(answer.AppendString(b, name), ':')
			described := !slices.Contains(familiar, name) && !(name == "name" && m.Targets) && !(short && object.Get(value, "enum") != nil)
			b = slimValue(b, value, described, short)
			return true
		})
		if len(b) == start {
			b = b[:start-len(`,"properties":{`)]
		} else {
			b = append(b, '}')
		}
	}
	if len(top.Required) > 0 {
		required, _ := json.Marshal(top.Required) // strings
		b = append(append(b, `,"required":`...), required...)
	}
	return append(b, '}'), nil
}

// slimValue appends a schema without what a list can do without.
func slimValue(b []byte, schema json.RawMessage, described, short bool) []byte {
	b = append(b, '{')
	start := len(b)
	object.Visit(schema, func(key string, value json.RawMessage) bool {
		switch key {
		case "description":
			if !described {
				return true
			}
			if first, _, more := strings.Cut(object.Unquote(value), ";"); short && more {
				value = answer.AppendString(nil, first)
			}
		case "additionalProperties":
			if string(value) == "false" {
				return true
			}
		case "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "format", "default":
			return true
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(answer.AppendString(b, key), ':')
		switch key {
		case "items":
			b = slimValue(b, value, false, short)
		case "properties":
			b = append(b, '{')
			inner := len(b)
			object.Visit(value, func(name string, v json.RawMessage) bool {
				if len(b) > inner {
					b = append(b, ',')
				}
				b = slimValue(append(answer.AppendString(b, name), ':'), v, described, short)
				return true
			})
			b = append(b, '}')
		default:
			b = append(b, value...)
		}
		return true
	})
	return append(b, '}')
}

// Spell spells a call that a hint names as the call of its tool.
func Spell(call fault.Call) (string, bool) {
	return strings.ReplaceAll(call.Method, ".", "_") + "(" + call.JSON() + ")", true
}
