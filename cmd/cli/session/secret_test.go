package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal gives both ends of a pseudo terminal.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	termios, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return termios.Lflag&unix.ECHO != 0
}

func asking(program *os.File, said *bytes.Buffer) *Session {
	return New(nil, Env{Stdin: program, Stdout: said, Stderr: said, Terminal: &Terminal{In: true, Err: true}})
}

// TestSecretIsNotShown: a terminal shows nothing of what is typed, and shows again what comes after it.
func TestSecretIsNotShown(t *testing.T) {
	person, program := terminal(t)
	var said bytes.Buffer
	s := asking(program, &said)
	type answer struct {
		text string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := s.Secret(t.Context(), "value", false)
		done <- answer{text, err}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for echoes(t, program) { // typed before that it would be thrown away
		<-tick.C
	}
	if _, err := person.WriteString("hush hush\n"); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.err != nil || a.text != "hush hush" {
		t.Fatalf("it is %q, %v", a.text, a.err)
	}
	if !echoes(t, program) {
		t.Error("the terminal stays silent")
	}
	if strings.Contains(said.String(), "hush") || !strings.Contains(said.String(), "value") {
		t.Errorf("it says %q", said.String())
	}
	fds := []unix.PollFd{{Fd: int32(person.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); n > 0 && err == nil {
		shown := make([]byte, 100)
		n, _ := person.Read(shown) // what came is there
		if strings.Contains(string(shown[:n]), "hush") {
			t.Errorf("the terminal shows %q", shown[:n])
		}
	}
}

// TestAskingEnds: Ctrl-C gives the terminal back as it was.
func TestAskingEnds(t *testing.T) {
	_, program := terminal(t)
	var said bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := asking(program, &said).Secret(ctx, "value", false)
		done <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for echoes(t, program) {
		<-tick.C
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !echoes(t, program) {
		t.Errorf("%v, echo %v", err, echoes(t, program))
	}
}

func TestSecretFromAPipe(t *testing.T) {
	for in, want := range map[string]string{"hush\n": "hush", "a\nb\n": "a\nb", "hush": "hush", "hush\r\n": "hush"} {
		s := New(nil, Env{Stdin: strings.NewReader(in), Terminal: &Terminal{}})
		if got, err := s.Secret(t.Context(), "value", false); err != nil || got != want {
			t.Errorf("%q is %q, %v", in, got, err)
		}
	}
	s := New(nil, Env{Stdin: strings.NewReader(strings.Repeat("a", maxSecret+1)), Terminal: &Terminal{}})
	if _, err := s.Secret(t.Context(), "value", false); err == nil {
		t.Error("one without an end is taken")
	}
}

// TestSeveralSecretsAreLines: where more than one is wanted, each is a line.
func TestSeveralSecretsAreLines(t *testing.T) {
	s := New(nil, Env{Stdin: strings.NewReader("one\r\ntwo words\nthree"), Terminal: &Terminal{}})
	for _, want := range []string{"one", "two words", "three", ""} {
		if got, err := s.Secret(t.Context(), "value", true); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}
