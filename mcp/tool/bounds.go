package tool

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/tools"
)

// Bounds of a stream that is called as a tool.
const (
	defaultItems   = 100
	maxItems       = 1000
	defaultSeconds = 10
	maxSeconds     = 50 // clients give up after a minute
)

// streamForm is a streaming method as a tool.
type streamForm struct{ input json.RawMessage }

// newStreamForm adds the bounds to the input of a stream.
func newStreamForm(d *tools.Method) (*streamForm, error) {
	props := object.Get(d.InSchema, "properties")
	if props == nil {
		props = json.RawMessage("{}")
	}
	for _, name := range []string{"max_items", "max_seconds"} {
		if object.Get(props, name) != nil {
			return nil, fmt.Errorf("the input has a field %s, which belongs to this plane", name)
		}
	}
	props = object.Set(props, "max_seconds", fmt.Appendf(nil, `{"type":"integer","description":"seconds until the answer is given, 1 to %d","minimum":1,"maximum":%d,"default":%d}`, maxSeconds, maxSeconds, defaultSeconds))
	props = object.Set(props, "max_items", fmt.Appendf(nil, `{"type":"integer","description":"items after which the answer is given, 1 to %d","minimum":1,"maximum":%d,"default":%d}`, maxItems, maxItems, defaultItems))
	return &streamForm{object.Set(d.InSchema, "properties", props)}, nil
}

// Bounds takes the bounds out of the arguments.
func Bounds(args json.RawMessage) (rest json.RawMessage, items int, d time.Duration, err error) {
	items, seconds := defaultItems, defaultSeconds
	var problems []fault.Problem
	read := func(name string, to *int, most int) {
		raw := object.Get(args, name)
		if raw == nil || string(raw) == "null" {
			return
		}
		text := string(raw)
		if raw[0] == '"' {
			text = object.Unquote(raw)
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			problems = append(problems, fault.Problem{Path: name, Message: fmt.Sprintf("expected an integer from 1 to %d, got %s", most, answer.Line(string(raw), 40))})
		}
		*to = n
	}
	read("max_items", &items, maxItems)
	read("max_seconds", &seconds, maxSeconds)
	if len(problems) > 0 {
		f := fault.New(fault.Invalid, "the bounds of the stream are wrong")
		f.Problems = problems
		return nil, 0, 0, f
	}
	rest, _ = object.Delete(args, "max_items", "max_seconds")
	return rest, items, time.Duration(seconds) * time.Second, nil
}
