// Package fault holds the errors that a caller can act on. Every plane maps the closed list of codes to its own form;
// everything that is not a fault reaches a caller as internal, with a call id instead of a text.
package fault

import (
	"errors"
	"fmt"
)

// Code says what kind of thing went wrong. The list is closed: a new code needs a row in every plane's table.
type Code string

// The codes, and what a caller can do about each.
const (
	Invalid         Code = "invalid"         // the input is wrong: mend it
	NotFound        Code = "not_found"       // no such thing: see the candidates
	Conflict        Code = "conflict"        // true of the world now, so it cannot be done: look, then decide
	Internal        Code = "internal"        // our fault: the call id leads to the log
	Unavailable     Code = "unavailable"     // the daemon is not reachable: start it or try again
	Failed          Code = "failed"          // some or all targets failed: see the items
	Cancelled       Code = "cancelled"       // the caller gave up
	Unauthenticated Code = "unauthenticated" // who are you?
	Denied          Code = "denied"          // not allowed for this principal
	Held            Code = "held"            // a person said no, or a read waits for one
	Deadline        Code = "deadline"        // took too long: the work goes on
	Limited         Code = "limited"         // too much at once: try again later
)

// Codes is every code in the order in which they are documented.
var Codes = []Code{Invalid, NotFound, Conflict, Internal, Unavailable, Failed, Cancelled, Unauthenticated, Denied, Held, Deadline, Limited}

// Problem is one thing wrong with an input.
type Problem struct {
	Path    string   `json:"path"`              // JSON path of the value, such as names[0]
	Message string   `json:"message"`           // what is expected and what was got
	Allowed []string `json:"allowed,omitempty"` // the values that would do
	Near    string   `json:"near,omitempty"`    // the closest allowed value or name
}

// Error is a fault. Its JSON form is what every plane carries as the error object.
type Error struct {
	Code       Code      `json:"code"`
	Reason     string    `json:"reason,omitempty"` // an open snake_case word, such as port_in_use
	Message    string    `json:"message"`
	Hint       string    `json:"hint,omitempty"` // what to do next; it may name calls, as Call spells them
	Call       string    `json:"call,omitempty"`
	Candidates []string  `json:"candidates,omitempty"`
	RetryAfter float64   `json:"retry_after_s,omitempty"` // seconds
	Problems   []Problem `json:"problems,omitempty"`
	Items      any       `json:"items,omitempty"`    // one result a target, for failed
	Approval   any       `json:"approval,omitempty"` // the decision that a held read waits for
	cause      error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause that Wrap recorded; it is for logs and errors.Is, never for a caller of a plane.
func (e *Error) Unwrap() error { return e.cause }

// New makes a fault of a code.
func New(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault that keeps its cause.
func Wrap(cause error, c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...), cause: cause}
}

// WithReason sets the snake_case reason and returns e.
func (e *Error) WithReason(reason string) *Error { e.Reason = reason; return e }

// WithHint sets what to do next and returns e. A call that a method answers is a Call made by Do, so that every plane can
// spell it.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithCandidates sets the names that were perhaps meant and returns e.
func (e *Error) WithCandidates(names ...string) *Error { e.Candidates = names; return e }

// WithItems sets the results of each target and returns e.
func (e *Error) WithItems(items any) *Error { e.Items = items; return e }

// WithRetryAfter says in how many seconds another try makes sense and returns e.
func (e *Error) WithRetryAfter(seconds float64) *Error { e.RetryAfter = seconds; return e }

// WithApproval says which decision is waited for and returns e.
func (e *Error) WithApproval(ref any) *Error { e.Approval = ref; return e }

// From gives err as a fault. An error that is none becomes internal, without its text; nil stays nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Internal, Message: "something went wrong inside the daemon", cause: err}
}

// CodeOf gives the code of err, or "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return From(err).Code
}

// Is reports whether err is a fault of code c.
func Is(err error, c Code) bool { return CodeOf(err) == c }
