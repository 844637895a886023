package unix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"golang.org/x/sys/unix"
)

func TestSocketIsPrivateFromItsFirstMoment(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	p := newPlane(home(t)).run(t)
	info, err := os.Lstat(p.Path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(p.Path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestListenFaults(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		code         fault.Code
		prepare      func(s *Server)
	}{
		{"long path", "socket_path_too_long", fault.Invalid, func(s *Server) { s.Path = "/" + strings.Repeat("x", 107) }},
		{"open home", "home_not_private", fault.Denied, func(s *Server) { must(t, os.Chmod(filepath.Dir(s.Path), 0o750)) }},
		{"another's home", "home_not_private", fault.Denied, func(s *Server) { s.Owner++ }},
		{"open parent", "home_not_private", fault.Denied, func(s *Server) { must(t, os.Chmod(filepath.Dir(filepath.Dir(s.Path)), 0o777)) }},
		{"a file in the way", "socket_path_taken", fault.Conflict, func(s *Server) { must(t, os.WriteFile(s.Path, []byte("mine"), 0o600)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlane(home(t))
			c.prepare(p.Server)
			err := p.Run(t.Context())
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Code != c.code || f.Reason != c.reason || f.Hint == "" {
				t.Fatalf("got %#v", err)
			}
		})
	}
	p := newPlane(filepath.Join(home(t), "nowhere"))
	if err := p.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot look at the home") {
		t.Errorf("got %v", err)
	}
}

func TestDeadDaemonsSocketIsReplacedAndAnothersKept(t *testing.T) {
	p := newPlane(home(t))
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.Path})
	must(t, err)
	dead.SetUnlinkOnClose(false)
	must(t, dead.Close())
	must(t, os.WriteFile(filepath.Join(filepath.Dir(p.Path), ".aemon.sock"), nil, 0o600)) // left by a crash while binding
	ctx, stop := context.WithCancel(t.Context())
	up, done := make(chan struct{}), make(chan error, 1)
	p.OnListen = func() { close(up) }
	go func() { done <- p.Run(ctx) }()
	<-up
	conn := p.dial(t)
	conn.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	conn.wantCode(0)

	successor := newPlane(filepath.Dir(p.Path)).run(t) // takes the name over
	stop()
	must(t, <-done)
	conn = successor.dial(t)
	conn.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	conn.wantCode(0)
}

// TestAnotherUserIsRefused opens home and socket to everybody: the peer credentials still refuse. Without root no other
// user can be had, so the server belongs to another one then.
func TestAnotherUserIsRefused(t *testing.T) {
	p := newPlane(home(t))
	var said []byte
	turned := make(chan string, 1)
	p.Refused = func(_ int, why *fault.Error) { turned <- why.Reason }
	if os.Getuid() == 0 {
		p.run(t)
		must(t, os.Chmod(filepath.Dir(filepath.Dir(p.Path)), 0o755))
		must(t, os.Chmod(filepath.Dir(p.Path), 0o755))
		must(t, os.Chmod(p.Path, 0o666))
		self, err := os.ReadFile("/proc/self/exe")
		must(t, err)
		exe := filepath.Join(filepath.Dir(p.Path), "stranger")
		must(t, os.WriteFile(exe, self, 0o755))
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		cmd := exec.CommandContext(ctx, exe)
		cmd.Env = []string{asStranger + "=" + p.Path}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		said, err = cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	} else {
		p.Owner++
		p.FirstTimeout = patience
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		ours, theirs := connOf(t, pair[0]), connOf(t, pair[1])
		p.serve(t.Context(), ours)
		said, err = io.ReadAll(theirs)
		must(t, err)
	}
	select {
	case reason := <-turned:
		if reason != "peer_uid" {
			t.Errorf("told was %s", reason)
		}
	default:
		t.Error("nobody was told")
	}
	var a answer
	if err := json.Unmarshal(said, &a); err != nil || a.Error == nil || a.Error.Code != -32003 || a.Error.Fault().Reason != "peer_uid" || bytes.Count(said, []byte("\n")) != 1 {
		t.Errorf("the stranger got %q", said)
	}
	if len(p.seen) != 0 || strings.Count(p.logs.String(), "refusing a connection of another user") != 1 {
		t.Errorf("seen %v, log %s", p.seen, p.logs.String())
	}
}

func TestPassedDescriptorsAreNotKept(t *testing.T) {
	p := newPlane(home(t)).run(t)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	conn := p.dial(t)
	for i := range 3 { // with the first message and with later ones
		line := []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(i) + `,"method":"toy.echo"}` + "\n")
		if _, _, err := conn.WriteMsgUnix(line, unix.UnixRights(int(w.Fd())), nil); err != nil {
			t.Fatal(err)
		}
		conn.wantCode(0)
	}
	must(t, w.Close())
	// The pipe ends only if no copy of its writing end is open anywhere.
	must(t, r.SetReadDeadline(time.Now().Add(patience)))
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a passed descriptor is still open: %v", err)
	}
}
