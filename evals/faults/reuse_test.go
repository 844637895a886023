package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// An app dies while no daemon lives, and its pid is given to a stranger with the very same command line. The daemon that
// comes knows how the app ended, and the stranger never feels a thing. It all happens in a pid namespace of its own,
// where the next pid can be chosen.
func TestReusedPID(t *testing.T) {
	if os.Getenv("FAULTS_INSIDE") == "" {
		inside(t)
		return
	}
	for round := range rig.Count(2, 20) {
		t.Run(fmt.Sprint(round), reuse)
	}
}

// inside runs this test again in a new pid namespace. A shell is its first process: it takes the orphans in.
func inside(t *testing.T) {
	args := []string{"-fp", "--mount-proc", "--kill-child", "sh", "-c", `"$0" "$@"; exit $?`, os.Args[0], "-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=10m"}
	if os.Geteuid() != 0 {
		args = append([]string{"-r"}, args...)
	}
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), "FAULTS_INSIDE=1", "FAULTS_ACTOR="+actor(t), "OMNITRON_BINARY="+rig.Binary(t))
	out, err := cmd.CombinedOutput()
	t.Logf("in a namespace of its own:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%s did not run there", t.Name())
	}
}

func reuse(t *testing.T) {
	r := rig.New(t)
	prog, mark, orders := actor(t), marker(), filepath.Join(t.TempDir(), "orders") // not in the rig's folder: strangers are none of it
	if err := os.WriteFile(orders, []byte("7 FATAL the well is dry\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command := []string{prog, "sit", mark + ".victim", "orders=" + orders}
	r.Up(fmt.Sprintf(`
apps:
  - {name: victim, command: %s, restart: never, ready: {delay: 20ms}, stop: {timeout: 2s}}
  - {name: other, command: %s, ready: {delay: 20ms}}
`, argv(command...), argv(prog, "sit", mark+".other")))
	strangers := map[int]bool{}
	living := func() int {
		for _, p := range rig.Marked(mark + ".victim") {
			if !strangers[p.PID] {
				return p.PID
			}
		}
		return 0
	}

	// The app fails while only the keeper is there.
	r.OK("kill")
	victim := living()
	if err := syscall.Kill(victim, sigOrder); err != nil {
		t.Fatal(err)
	}
	r.Until(5*time.Second, "the victim is gone", func() bool { _, there := rig.ReadProcess(victim); return !there })
	first := newStranger(t, r, victim, command)
	strangers[victim] = true
	r.OK("start", "other")
	why := r.OK("why", "victim")
	for _, want := range []string{"FATAL the well is dry", "exited 7"} {
		if !strings.Contains(why, want) {
			t.Errorf("why does not say %q:\n%s", want, why)
		}
	}
	a := r.App("victim")
	if x := a.Instances[0].LastExit; a.State != "crashed" || x == nil || !x.Known || x.Code != 7 {
		t.Errorf("victim is %s, its last exit %+v", a.State, x)
	}
	first.unharmed("by a daemon that took over")
	r.OK("stop", "victim")
	first.unharmed("by a stop")
	r.OK("start", "victim")
	first.unharmed("by a start")

	// It is killed while neither is there.
	daemon, keeper := daemonPID(r), r.KeeperPID()
	for _, pid := range []int{daemon, keeper} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	kill9(t, "keeper", keeper)
	kill9(t, "daemon", daemon)
	victim = living()
	kill9(t, "victim", victim)
	r.Until(5*time.Second, "the victim is gone", func() bool { _, there := rig.ReadProcess(victim); return !there })
	second := newStranger(t, r, victim, command)
	runFresh(t, r)
	back(r, 10*time.Second)
	second.unharmed("by a keeper that cleaned up")
	r.OK("restart", "victim")
	r.OK("down")
	first.unharmed("by a down")
	second.unharmed("by a down")
}

// stranger is a process that has a dead app's pid and command line, and writes down every signal that it gets.
type stranger struct {
	t    *testing.T
	pid  int
	file string
	cmd  *exec.Cmd
}

func newStranger(t *testing.T, r *rig.Rig, pid int, command []string) *stranger {
	t.Helper()
	s := &stranger{t: t, pid: pid, file: filepath.Join(t.TempDir(), "signals")}
	for range 100 { // another process may come in between
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", fmt.Append(nil, pid-1), 0); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = []string{"ACTOR_STRANGER=" + s.file}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == pid {
			s.cmd = cmd
			break
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(s.file)
	}
	if s.cmd == nil {
		t.Fatalf("pid %d cannot be had again", pid)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // it was killed
	})
	r.Until(5*time.Second, "the stranger listens", func() bool { text, err := os.ReadFile(s.file); return err == nil && string(text) == "here\n" })
	return s
}

// unharmed fails the test if the stranger has ended or was signalled.
func (s *stranger) unharmed(what string) {
	s.t.Helper()
	if p, ok := rig.ReadProcess(s.pid); !ok || p.State == 'Z' || p.PPID != os.Getpid() {
		s.t.Fatalf("the stranger was ended %s", what)
	}
	text, err := os.ReadFile(s.file)
	if err != nil || string(text) != "here\n" {
		s.t.Fatalf("the stranger was signalled %s: %q %v", what, text, err)
	}
}
