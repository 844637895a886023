package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// frame is a message being written: a pooled buffer with an encoder on it.
type frame struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var frames = sync.Pool{New: func() any {
	f := &frame{}
	f.enc = json.NewEncoder(&f.buf)
	f.enc.SetEscapeHTML(false)
	return f
}}

func newFrame() *frame {
	f := frames.Get().(*frame)
	f.buf.Reset()
	return f
}

func (f *frame) free() {
	if f.buf.Cap() <= keepBuffer {
		frames.Put(f)
	}
}

func (f *frame) bytes() []byte { return f.buf.Bytes() }

// value writes v as JSON. On failure the frame is as it was before.
func (f *frame) value(v any) error {
	at := f.buf.Len()
	if err := f.enc.Encode(v); err != nil {
		f.buf.Truncate(at)
		return fmt.Errorf("cannot encode %T: %w", v, err)
	}
	f.buf.Truncate(f.buf.Len() - 1) // the encoder's newline
	if f.buf.Len() > MaxAnswer {
		f.buf.Truncate(at)
		return fmt.Errorf("cannot encode %T: more than %d bytes", v, MaxAnswer)
	}
	return nil
}

func (f *frame) result(id json.RawMessage, v any) error {
	f.buf.WriteString(`{"jsonrpc":"2.0","id":`)
	f.buf.Write(id)
	f.buf.WriteString(`,"result":`)
	if err := f.value(v); err != nil {
		f.buf.Reset()
		return err
	}
	f.buf.WriteString("}\n")
	return nil
}

func (f *frame) item(id json.RawMessage, v any) error {
	f.buf.WriteString(`{"jsonrpc":"2.0","method":"$/item","params":{"id":`)
	f.buf.Write(id)
	f.buf.WriteString(`,"item":`)
	if err := f.value(v); err != nil {
		f.buf.Reset()
		return err
	}
	f.buf.WriteString("}}\n")
	return nil
}

func (f *frame) error(id json.RawMessage, e *Error) {
	if id == nil {
		id = json.RawMessage("null")
	}
	f.buf.WriteString(`{"jsonrpc":"2.0","id":`)
	f.buf.Write(id)
	f.buf.WriteString(`,"error":`)
	if f.value(e) != nil { // an error object is plain text and valid JSON; should it not be, its code is still told
		fmt.Fprintf(&f.buf, `{"code":%d,"message":"error"}`, e.Code)
	}
	f.buf.WriteString("}\n")
}

// request writes a call, or a notification when id is nil.
func (f *frame) request(id json.RawMessage, method string, params any) error {
	f.buf.WriteString(`{"jsonrpc":"2.0",`)
	if id != nil {
		f.buf.WriteString(`"id":`)
		f.buf.Write(id)
		f.buf.WriteByte(',')
	}
	f.buf.WriteString(`"method":`)
	if err := f.value(method); err != nil {
		return err
	}
	if params != nil {
		f.buf.WriteString(`,"params":`)
		if err := f.value(params); err != nil {
			return err
		}
	}
	f.buf.WriteString("}\n")
	return nil
}

// ErrorLine is a whole answer that carries an error, for planes that refuse before a dialect is known. A nil id is null.
func ErrorLine(id json.RawMessage, e *Error) []byte {
	f := newFrame()
	defer f.free()
	f.error(id, e)
	return bytes.Clone(f.bytes())
}

// ResultLine is a whole answer, for planes that answer before Serve does.
func ResultLine(id json.RawMessage, v any) []byte {
	f := newFrame()
	defer f.free()
	if err := f.result(id, v); err != nil {
		f.error(id, FromFault(fault.From(err)))
	}
	return bytes.Clone(f.bytes())
}
