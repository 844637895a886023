package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"golang.org/x/sys/unix"
)

// maxSecret bounds what is read as one secret.
const maxSecret = 1 << 20

// Secret asks for a secret without showing what is typed; where standard input is no terminal, it is all that comes from
// there, or the next line of it. The newline at the end is no part of it. Fault: invalid.
func (s *Session) Secret(ctx context.Context, what string, line bool) (string, error) {
	f, ok := s.Stdin.(*os.File)
	if !s.terminal.In || !ok {
		return s.piped(what, line)
	}
	was, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return "", fault.New(fault.Invalid, "cannot keep the terminal from showing the %s: %v", what, err).WithReason("no_terminal").
			WithHint("send it to standard input: … < file")
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	quiet.Lflag |= unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETSF, &quiet); err != nil {
		return "", err
	}
	defer func() { _ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETSF, was) }() // there is nothing else to try
	fmt.Fprintf(s.Stderr, "%s (not shown): ", what)                             // now: what is typed before would be shown, and then flushed
	defer fmt.Fprintln(s.Stderr)
	if err := s.typed(ctx); err != nil {
		return "", err
	}
	text, err := bufio.NewReader(f).ReadString('\n')
	if err != nil && text == "" {
		return "", Declined()
	}
	return strings.TrimRight(text, "\r\n"), nil
}

func (s *Session) piped(what string, line bool) (string, error) {
	if s.Stdin == nil {
		return "", nil
	}
	if s.lines == nil {
		s.lines = bufio.NewReader(io.LimitReader(s.Stdin, maxSecret+1))
	}
	var raw []byte
	var err error
	if line {
		if raw, err = s.lines.ReadBytes('\n'); errors.Is(err, io.EOF) {
			err = nil
		}
	} else {
		raw, err = io.ReadAll(s.lines)
	}
	switch {
	case err != nil:
		return "", fault.New(fault.Invalid, "cannot read the %s from standard input: %v", what, err)
	case len(raw) > maxSecret:
		return "", fault.New(fault.Invalid, "the %s on standard input has more than %d bytes", what, maxSecret)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}
