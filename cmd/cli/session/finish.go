package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// The exit codes.
const (
	OK          = 0
	Failed      = 1
	Unreachable = 2
	Forbidden   = 3
	Held        = 4
	Late        = 5
	Pending     = 6
	Usage       = 64
	Interrupted = 130
)

// ExitCode gives the exit code of a fault code.
func ExitCode(c fault.Code) int {
	switch c {
	case fault.Invalid:
		return Usage
	case fault.NotFound, fault.Conflict, fault.Internal, fault.Failed, fault.Limited:
		return Failed
	case fault.Unavailable:
		return Unreachable
	case fault.Unauthenticated, fault.Denied:
		return Forbidden
	case fault.Held:
		return Held
	case fault.Deadline:
		return Late
	case fault.Cancelled:
		return Interrupted
	}
	return Failed
}

// Exit is an error that only sets the exit code: what there is to say has been said.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Finish shows a failure and gives the exit code. For a program it is the one document on standard output, or the last
// line of a stream; for a person it is on standard error.
func (s *Session) Finish(err error) int {
	if s.outlet.err != nil {
		fmt.Fprintf(s.Stderr, "%s cannot write the answer: %v\n", s.ErrOptions().Style.Paint(render.Bad, "error:"), s.outlet.err)
		return Failed
	}
	if err == nil {
		return OK
	}
	if code, ok := errors.AsType[Exit](err); ok {
		return int(code)
	}
	f := Fault(err)
	spell := s.Spell
	if slices.Contains(unreached, f.Reason) {
		spell = s.local
	}
	f = f.Spelled(spell)
	code := ExitCode(f.Code)
	switch {
	case s.Machine():
		if s.written { // the document is out; a second one would break its reader
			break
		}
		if s.streaming {
			err = render.Item(s.Stdout, s.format, render.FaultJSON(f))
		} else {
			err = render.Document(s.Stdout, s.format, render.FaultJSON(f), s.terminal.Out)
		}
		if err != nil {
			fmt.Fprintln(s.Stderr, err)
		}
	case f.Code == fault.Cancelled && f.Reason == "interrupted":
		// whoever pressed Ctrl-C knows
	default:
		render.Fault(s.Stderr, f, s.ErrOptions())
	}
	return code
}

// Fault makes a fault of what failed in this process. Unlike in the daemon, the text is for the one who caused it.
func Fault(err error) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fault.Wrap(err, fault.Cancelled, "interrupted").WithReason("interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, fault.Deadline, "took too long; what was begun goes on").WithReason("timeout")
	}
	return fault.Wrap(err, fault.Failed, "%v", err)
}
