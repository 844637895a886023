package session

import (
	"bufio"
	"context"
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
// there. The newline at the end is no part of it. Fault: invalid.
func (s *Session) Secret(ctx context.Context, what string) (string, error) {
	f, ok := s.Stdin.(*os.File)
	if !s.terminal.In || !ok {
		return s.piped(what)
	}
	fmt.Fprintf(s.Stderr, "%s (not shown): ", what)
	defer fmt.Fprintln(s.Stderr)
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
	if err := s.typed(ctx); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil && line == "" {
		return "", Declined()
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (s *Session) piped(what string) (string, error) {
	if s.Stdin == nil {
		return "", nil
	}
	raw, err := io.ReadAll(io.LimitReader(s.Stdin, maxSecret+1))
	switch {
	case err != nil:
		return "", fault.New(fault.Invalid, "cannot read the %s from standard input: %v", what, err)
	case len(raw) > maxSecret:
		return "", fault.New(fault.Invalid, "the %s on standard input has more than %d bytes", what, maxSecret)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}
