package session

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/core/fault"
	"golang.org/x/sys/unix"
)

// Show writes the one answer of a command in the format in force. text writes it for a person; nil is the general
// form for t, which may be nil too.
func (s *Session) Show(ctx context.Context, raw json.RawMessage, t reflect.Type, text func(v any, o render.Options)) error {
	raw, err := s.spelled(raw, t)
	if err != nil {
		return err
	}
	if s.Machine() {
		err := s.document(ctx, raw)
		s.written = err == nil
		return err
	}
	if s.Quiet {
		return nil
	}
	if s.template != nil {
		return s.template.Apply(s.Stdout, raw, s.terminal.Out)
	}
	if text == nil {
		text = func(v any, o render.Options) { render.Text(s.Stdout, v, t, o) }
	}
	return s.tell(raw, text)
}

// tell writes an answer or an item for a person.
func (s *Session) tell(raw json.RawMessage, text func(v any, o render.Options)) error {
	v, err := render.Decode(raw)
	if err != nil {
		return err
	}
	if s.format == render.Name {
		render.Names(s.Stdout, v)
	} else {
		text(v, s.Options())
	}
	return nil
}

func (s *Session) document(ctx context.Context, raw json.RawMessage) error {
	if s.filter != nil {
		return s.filter.Apply(ctx, s.Stdout, raw)
	}
	return render.Document(s.Stdout, s.format, raw, s.terminal.Out)
}

// ShowValue is Show for a value of our own.
func (s *Session) ShowValue(ctx context.Context, v any, text func(o render.Options)) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot write the answer: %w", err)
	}
	if text == nil {
		return s.Show(ctx, raw, reflect.TypeOf(v), nil)
	}
	return s.Show(ctx, raw, reflect.TypeOf(v), func(_ any, o render.Options) { text(o) })
}

// ShowItem writes one item of a stream.
func (s *Session) ShowItem(ctx context.Context, raw json.RawMessage, t reflect.Type, text func(v any, o render.Options)) error {
	s.streaming = true
	if s.filter != nil {
		return s.filter.Apply(ctx, s.Stdout, raw)
	}
	if render.Machine(s.format) {
		return render.Item(s.Stdout, s.format, raw)
	}
	if s.template != nil {
		err := s.template.Apply(s.Stdout, raw, s.terminal.Out)
		if err == nil {
			_, err = fmt.Fprintln(s.Stdout)
		}
		return err
	}
	if text == nil {
		text = func(v any, o render.Options) { fmt.Fprintln(s.Stdout, render.Line(v, t, o)) }
	}
	return s.tell(raw, text)
}

// Note tells a person something on standard error. Programs and quiet people are spared.
func (s *Session) Note(format string, args ...any) {
	if s.Quiet || s.Machine() {
		return
	}
	fmt.Fprintf(s.Stderr, format+"\n", args...)
}

// CanAsk reports whether there is a person to ask.
func (s *Session) CanAsk() bool { return s.terminal.In && s.terminal.Err }

// Ask puts a question to a person; anything but yes is no. The error is that of ctx.
func (s *Session) Ask(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(s.Stderr, "%s [y/N] ", question)
	if err := s.typed(ctx); err != nil {
		fmt.Fprintln(s.Stderr)
		return false, err
	}
	answer, err := bufio.NewReader(s.Stdin).ReadString('\n')
	if err != nil && answer == "" {
		fmt.Fprintln(s.Stderr) // the input ended: that is no yes
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// typed returns when there is something to read. A read from a terminal cannot be given up, so Ctrl-C is looked for
// before it begins.
func (s *Session) typed(ctx context.Context) error {
	f, ok := s.Stdin.(*os.File)
	if !ok {
		return ctx.Err()
	}
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 100); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return nil
		}
	}
	return ctx.Err()
}

// Declined is the fault of a question answered with no.
func Declined() error {
	return fault.New(fault.Cancelled, "nothing was changed").WithReason("declined")
}
