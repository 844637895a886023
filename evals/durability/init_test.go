package durability_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// container runs `daemon run` as PID 1 of a pid namespace, and gives its pid as we see it.
func (w world) container() (pid int, ended <-chan error, said *bytes.Buffer) {
	w.T.Helper()
	if os.Geteuid() != 0 {
		w.T.Fatal("a pid namespace needs root")
	}
	like := w.Command(context.Background(), "daemon", "run")
	cmd := exec.Command("unshare", append([]string{"--fork", "--pid", "--mount-proc", "--kill-child"}, like.Args...)...)
	cmd.Dir, cmd.Env = like.Dir, like.Env
	said = &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		w.T.Fatalf("this needs unshare: %v", err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	w.T.Cleanup(func() { _ = cmd.Process.Kill() }) // and with it what it runs; it may have ended
	w.Until(20*time.Second, "the daemon answers", func() bool { return w.call("daemon.ping", nil) == nil })
	pid = w.KeeperPID()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !strings.Contains(string(status), fmt.Sprintf("NSpid:\t%d\t1\n", pid)) {
		w.T.Fatalf("the keeper is not PID 1 of its namespace: %v\n%s", err, status)
	}
	return pid, over, said
}

// zombies counts the dead children that a process has not taken notice of.
func zombies(parent int) (n int) {
	for _, p := range rig.Processes() {
		if p.PPID == parent && p.State == 'Z' {
			n++
		}
	}
	return n
}

// TestPIDOne: as the first process of a container the keeper reaps whatever is left to it, tells how programs ended, and
// ends everything in order when it is told to.
func TestPIDOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pid, ended, said := w.container()
	const codes = 8
	orphans := rig.Count(400, 2000)
	order := filepath.Join(w.Dir, "order")
	stops := func(name, needs string) string {
		script := w.Write(name, fmt.Sprintf("#!/bin/sh\ntrap 'echo %s >> %s; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n", name, order))
		return fmt.Sprintf("  - {name: %s, command: [%s], ready: {log: up}, dependsOn: [%s]}\n", name, script, needs)
	}
	apps := []string{stops("base", ""), stops("middle", "base"), stops("top", "middle")}
	for code := range codes {
		apps = append(apps, fmt.Sprintf("  - {name: x%d, command: 'kill -0 1; exit %d # %s/', restart: never, ready: {delay: 2s}}\n", code, code, w.Dir))
	}
	flood := w.Write("flood", fmt.Sprintf("#!/bin/sh\ni=0; while [ $i -lt %d ]; do (/bin/true &); i=$((i+1)); done\necho done\n", orphans/2))
	apps = append(apps, fmt.Sprintf("  - {name: flood, command: [%s], oneshot: true}\n", flood))
	w.Write("omnitron.yaml", w.project(apps...))

	// Half of the orphans are an app's, half are nobody's, as with docker exec.
	stray := exec.Command("nsenter", "--target", strconv.Itoa(pid), "--pid", "--mount", flood)
	if err := stray.Start(); err != nil {
		t.Fatalf("this needs nsenter: %v", err)
	}
	if ran := w.Run("up"); ran.Code != 1 { // some of them fail, as they are meant to
		t.Fatalf("up: exit %d\n%s%s", ran.Code, ran.Out, ran.Err)
	}
	for code := range codes {
		name := fmt.Sprintf("x%d", code)
		w.Until(10*time.Second, name+" has ended", func() bool {
			a := w.App(name)
			return len(a.Instances) == 1 && a.Instances[0].LastExit != nil
		})
		if x := w.App(name).Instances[0].LastExit; !x.Known || x.Code != code || x.Signal != "" {
			t.Errorf("%s: %+v, not exit %d", name, x, code)
		}
	}
	w.WaitState("flood", "completed", 30*time.Second)
	if err := stray.Wait(); err != nil {
		t.Fatal(err)
	}
	w.Until(time.Second, "no zombie is left", func() bool { return zombies(pid) == 0 })

	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("SIGTERM: %v\n%s", err, said)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not end\n%s", said)
	}
	text, err := os.ReadFile(order)
	if err != nil || string(text) != "top\nmiddle\nbase\n" {
		t.Errorf("they ended in the order %q, %v", text, err)
	}
	if left := w.Left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
