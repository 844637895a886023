package wire

import (
	"encoding/json"
	"fmt"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// The codes of JSON-RPC itself.
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
)

// UnknownMethod is the reason of the not_found fault that travels as CodeMethodNotFound.
const UnknownMethod = "unknown_method"

// Error is an error object of JSON-RPC. Data is the fault.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// CodeOf is the number that a fault code has on the wire.
func CodeOf(c fault.Code) int {
	switch c {
	case fault.Invalid:
		return -32602
	case fault.NotFound:
		return -32004
	case fault.Conflict:
		return -32009
	case fault.Internal:
		return -32603
	case fault.Unavailable:
		return -32010
	case fault.Failed:
		return -32005
	case fault.Cancelled:
		return -32800
	case fault.Unauthenticated:
		return -32001
	case fault.Denied:
		return -32003
	case fault.Held:
		return -32011
	case fault.Deadline:
		return -32012
	case fault.Limited:
		return -32013
	}
	return -32603
}

// FaultCodeOf is the way back: the fault code that a number on the wire stands for.
func FaultCodeOf(code int) fault.Code {
	switch code {
	case CodeParse, CodeInvalidRequest:
		return fault.Invalid
	case CodeMethodNotFound:
		return fault.NotFound
	}
	for _, c := range fault.Codes {
		if CodeOf(c) == code {
			return c
		}
	}
	return fault.Internal
}

// FromFault gives the error object of a fault.
func FromFault(f *fault.Error) *Error {
	e := &Error{Code: CodeOf(f.Code), Message: f.Message}
	if f.Code == fault.NotFound && f.Reason == UnknownMethod {
		e.Code = CodeMethodNotFound
	}
	data, err := json.Marshal(f)
	if err != nil { // only Items can fail, and then the rest still tells
		bare := *f
		bare.Items = nil
		data, _ = json.Marshal(&bare)
	}
	e.Data = data
	return e
}

// Fault gives the fault that an error object carries, or makes one of its code and message.
func (e *Error) Fault() *fault.Error {
	f := &fault.Error{}
	if len(e.Data) > 0 && json.Unmarshal(e.Data, f) == nil && FaultCodeOf(CodeOf(f.Code)) == f.Code && f.Message != "" {
		return f
	}
	return &fault.Error{Code: FaultCodeOf(e.Code), Message: e.Message}
}
