package proc_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/proc"
)

// knock says hello at a keeper's socket and then asks for the end of a generation; it gives what came back.
func knock(sock, id string) string {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: sock}); err != nil {
		return "cannot connect: " + err.Error()
	}
	var dec protocol.Decoder
	ask := func(f protocol.Frame, body any) string {
		if err := protocol.Write(fd, f, body, nil); err != nil {
			return "hung up"
		}
		f, fds, err := dec.Read(fd)
		protocol.CloseAll(fds)
		switch {
		case err != nil:
			return "hung up"
		case f.Err != nil:
			return f.Err.Code + "/" + f.Err.Reason
		}
		return "done"
	}
	if said := ask(protocol.Frame{Type: protocol.Hello}, protocol.HelloBody{Role: "tool", PID: os.Getpid()}); said != "done" {
		return said
	}
	return ask(protocol.Frame{Type: protocol.Kill, Seq: 1}, protocol.IDBody{ID: id})
}

// TestStrangerAtTheSocket: another user gets not a word out of the keeper, even where the socket's mode would let him, and
// of those who may talk to it nobody but the daemon can have programs started or ended.
func TestStrangerAtTheSocket(t *testing.T) {
	e := start(t, "auto")
	p := e.spawn(e.spec("sleep", "1000"))
	sock := proc.Socket(e.home)
	if said := knock(sock, p.ID()); said != "denied/not_the_daemon" {
		t.Errorf("a tool that wants to end a program is told: %s", said)
	}
	if os.Geteuid() == 0 {
		for name, mode := range map[string]os.FileMode{e.home: 0o755, sock: 0o666} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(copySelf(t), "helper", "knock", sock, p.ID())
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "hung up" {
			t.Errorf("another user is told: %s %v", out, err)
		}
	}
	select {
	case <-p.Done():
		t.Errorf("it was ended: %+v", p.Exit())
	default:
	}
}
