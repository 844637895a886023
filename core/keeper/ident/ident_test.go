package ident

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func sleeper(t *testing.T) (*exec.Cmd, Identity) {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.Env = []string{"MARK=me", "MARKED=other"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, id
}

func TestOnlyTheSameProcess(t *testing.T) {
	_, id := sleeper(t)
	if !id.Alive() {
		t.Errorf("%+v is not alive", id)
	}
	for name, change := range map[string]func(*Identity){
		"another start": func(i *Identity) { i.Start++ },
		"another boot":  func(i *Identity) { i.Boot = "x" },
		"another space": func(i *Identity) { i.NS = "pid:[1]" },
		"no start":      func(i *Identity) { i.Start = 0 },
		"no boot":       func(i *Identity) { i.Boot = "" },
	} {
		other := id
		change(&other)
		if err := other.Signal(unix.SIGKILL); !errors.Is(err, ErrOther) || other.Alive() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !id.Alive() {
		t.Error("it was hit")
	}
	if v, ok := Environ(id.PID, "MARK"); !ok || v != "me" {
		t.Errorf("%q, %v", v, ok)
	}
	if _, ok := Environ(id.PID, "MAR"); ok {
		t.Error("part of a name is no name")
	}
}

func TestExit(t *testing.T) {
	cmd, id := sleeper(t)
	fd, err := id.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, _, ok := id.Exit(fd); ok {
		t.Error("an exit of a living process")
	}
	if err := id.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000); err != nil {
		t.Fatal(err)
	}
	status, how, ok := id.Exit(fd) // a zombie: nobody has waited yet
	if ws := unix.WaitStatus(status); !ok || ws.Signal() != unix.SIGTERM || how != "stat" {
		t.Errorf("%v by %s, %v", ws, how, ok)
	}
	if id.Alive() {
		t.Error("a zombie is not alive")
	}
	cmd.Wait()
	var u unix.Utsname
	unix.Uname(&u)
	var major, minor int
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	status, how, ok = id.Exit(fd)
	if ws := unix.WaitStatus(status); ok && (ws.Signal() != unix.SIGTERM || how != "pidfd") {
		t.Errorf("%v by %s", ws, how)
	} else if !ok && (major > 6 || major == 6 && minor >= 15) {
		t.Errorf("not known on Linux %d.%d", major, minor)
	}
}

func TestBelow(t *testing.T) {
	all := []Stat{{PID: 2, PPID: 1}, {PID: 3, PPID: 2}, {PID: 4, PPID: 3}, {PID: 5, PPID: 1}}
	got := Below(2, all)
	if len(got) != 2 || got[0].PID != 3 || got[1].PID != 4 {
		t.Errorf("%+v", got)
	}
	found := false
	for _, s := range All() {
		found = found || s.PID == os.Getpid()
	}
	if !found {
		t.Error("we are not among all")
	}
}
