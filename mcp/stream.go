package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
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

// streamBounds takes the bounds out of the arguments.
func streamBounds(args json.RawMessage) (rest json.RawMessage, items int, d time.Duration, err error) {
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

// enoughItems ends a stream that has given what was asked for.
var enoughItems = fault.New(fault.Cancelled, "enough items").WithReason("enough")

// collect runs a stream until it ends or one of its bounds is reached. Progress is told item by item, before the answer.
func (c *conn) collect(ctx context.Context, r *request, m *method, args json.RawMessage) (any, error) {
	args, most, d, err := streamBounds(args)
	if err != nil {
		return nil, err
	}
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	batch := answer.Batch{Items: []json.RawMessage{}}
	size := 0
	enough := false
	_, err = c.srv.reg.Do(until, tools.Call{Method: m.ID(), In: args, Emit: func(item any) error {
		if until.Err() != nil {
			return until.Err()
		}
		raw, err := answer.Marshal(item)
		if err != nil {
			return err
		}
		if len(batch.Items) > 0 && size+len(raw) > answer.Room-512 {
			enough, batch.Truncated = true, true
			return enoughItems
		}
		size += len(raw) + 1
		batch.Items, batch.Rows = append(batch.Items, raw), append(batch.Rows, item)
		if cursor := object.String(raw, "cursor"); cursor != "" {
			batch.NextCursor = cursor
		}
		if l, ok := item.(op.Lossy); ok {
			batch.Dropped += l.Lost()
		}
		if err := c.progress(r, len(batch.Items), most); err != nil {
			return err
		}
		if len(batch.Items) == most {
			enough, batch.Truncated = true, true
			return enoughItems
		}
		return nil
	}})
	timeUp := ctx.Err() == nil && errors.Is(until.Err(), context.DeadlineExceeded)
	if err != nil && !enough && !timeUp {
		return nil, err
	}
	return batch, nil
}

// progress tells how many items have come, if the caller wants to know.
func (c *conn) progress(r *request, n, total int) error {
	if r.token == nil {
		return nil
	}
	b := append([]byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`), r.token...)
	return r.out.Write(fmt.Appendf(b, `,"progress":%d,"total":%d}}`, n, total))
}
