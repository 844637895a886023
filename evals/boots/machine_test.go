// Package boots boots machines with a real systemd, in namespaces of their own, and sees how Omnitron stays on them: installed,
// packaged, killed, upgraded, rebooted, removed.
package boots

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

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestMain removes the groups of machines whose test was killed: nothing lives in them any more, but nobody was left to remove them.
func TestMain(m *testing.M) {
	groups, _ := filepath.Glob("/sys/fs/cgroup/**/omnitron-boots-*") // the pattern is right
	more, _ := filepath.Glob("/sys/fs/cgroup/omnitron-boots-*")
	for _, g := range append(groups, more...) {
		if pid := strings.Split(filepath.Base(g), "-")[2]; pid != "" {
			if _, err := os.Stat("/proc/" + pid); err != nil {
				removed(g)
			}
		}
	}
	os.Exit(m.Run())
}

func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-euc", script).Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return string(out)
}

// systemd is the init of a machine that has one.
var systemd = []string{"/lib/systemd/systemd", "--log-target=console", "--show-status=false"}

// machine is one, with what was changed on it; it may be booted several times.
type machine struct {
	t      *testing.T
	image  string
	dir    string
	cgroup string
	init   []string

	cmd     *exec.Cmd
	pid     int // of its init, as we see it
	console bytes.Buffer
}

// newMachine boots a machine, which ends with the test, and leaves neither processes nor groups nor mounts behind.
func newMachine(t *testing.T, init ...string) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("machines are booted by root; run this test as root")
	}
	path, err := exec.Command("./image.sh", "path").Output()
	if err != nil {
		t.Fatal(err)
	}
	image := strings.TrimSpace(string(path))
	if _, err := os.Stat(image); err != nil {
		t.Fatalf("there is no image to boot: evals/boots/image.sh makes it, and so does make setup (%v)", err)
	}
	m := &machine{t: t, image: image, dir: t.TempDir(), init: init, cgroup: filepath.Join(unified(t), fmt.Sprintf("omnitron-boots-%d-%d", os.Getpid(), time.Now().UnixNano()))}
	t.Cleanup(func() {
		m.autopsy()
		m.off()
		// What overlayfs made for itself may not be entered, not even by those who clean up.
		_ = os.Chmod(filepath.Join(m.dir, "work", "work"), 0o700)
		if err := syscall.Rmdir(m.cgroup); err == nil {
			t.Errorf("%s was left behind", m.cgroup)
		}
	})
	m.boot()
	return m
}

// autopsy shows what is known of a test that has failed.
func (m *machine) autopsy() {
	if !m.t.Failed() {
		return
	}
	m.t.Logf("the console ends with:\n%s", lastLines(m.console.String(), 20))
	if m.pid == 0 {
		return
	}
	out, _ := m.try("", "sh", "-c", "for f in /root/.omnitron/logs/daemon.log /root/.omnitron/logs/keeper.log /home/*/.omnitron/logs/daemon.log; do echo \"== $f\"; tail -n 15 $f; done; journalctl --no-pager -n 30")
	m.t.Log(out)
}

// unified is where the second version of control groups is mounted.
func unified(t *testing.T) string {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		before, after, _ := strings.Cut(line, " - ")
		if strings.HasPrefix(after, "cgroup2 ") {
			return strings.Fields(before)[4]
		}
	}
	t.Fatal("there is no second version of control groups to boot systemd in")
	return ""
}

func lastLines(text string, n int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// boot starts it and waits until it is up.
func (m *machine) boot() {
	m.t.Helper()
	m.cmd = exec.Command("./boot.sh", append([]string{m.image, m.dir, m.cgroup, ""}, m.init...)...)
	m.cmd.Stdout, m.cmd.Stderr = &m.console, &m.console
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	m.cmd.WaitDelay = 5 * time.Second
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.until(20*time.Second, "the machine has an init", func() bool {
		for _, p := range rig.Processes() {
			if p.PPID == m.cmd.Process.Pid && strings.HasPrefix(p.Args, strings.Join(m.init, " ")) {
				m.pid = p.PID
				return true
			}
		}
		return false
	})
	if m.init[0] == systemd[0] {
		m.until(60*time.Second, "the machine is up", func() bool {
			out, _ := m.try("", "systemctl", "is-system-running")
			return strings.TrimSpace(out) == "running"
		})
	}
}

// off takes the current away: everything in it is killed with its init, and its group is empty then.
func (m *machine) off() {
	m.t.Helper()
	if m.pid == 0 {
		if m.cmd != nil && m.cmd.Process != nil { // it has not come far
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait()
		}
	} else {
		_ = unix.Kill(m.pid, unix.SIGKILL) // our child's child, whose parent has not reaped it
		_ = m.cmd.Wait()
		m.pid = 0
	}
	deadline := time.Now().Add(10 * time.Second)
	for !removed(m.cgroup) {
		if time.Now().After(deadline) {
			m.t.Errorf("%s does not get empty", m.cgroup)
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// removed removes a group with those below it.
func removed(dir string) bool {
	var all []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for i := len(all) - 1; i >= 0; i-- {
		_ = syscall.Rmdir(all[i])
	}
	_, err := os.Lstat(dir)
	return os.IsNotExist(err)
}

// reboot is off and on again, without a word of warning to anybody.
func (m *machine) reboot() {
	m.t.Helper()
	m.off()
	m.boot()
}

// shutdown ends it in order, and boots it again.
func (m *machine) shutdown() {
	m.t.Helper()
	began := time.Now()
	_, _ = m.try("", "systemctl", "poweroff") // the connection may end before the answer
	done := make(chan error, 1)
	go func() { done <- m.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		m.t.Errorf("it does not end")
		_ = unix.Kill(m.pid, unix.SIGKILL)
		<-done
	}
	m.pid, m.cmd = 0, nil
	m.off()
	m.t.Logf("ended in order within %s", time.Since(began).Round(time.Millisecond))
	m.boot()
}

// try runs a program on the machine, and gives what it printed.
func (m *machine) try(stdin string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(m.pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "env", "-i", "HOME=/root", "USER=root",
		"LOGNAME=root", "LANG=C.UTF-8", "TERM=dumb", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, argv...)...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	return out.String(), err
}

// run is try for what has to work.
func (m *machine) run(argv ...string) string {
	m.t.Helper()
	out, err := m.try("", argv...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// sh runs a shell on the machine.
func (m *machine) sh(script string) string {
	m.t.Helper()
	return m.run("sh", "-euc", script)
}

// apart runs a program as somebody's login would: in a group of its own, not in that of who tests.
func (m *machine) apart(user string, argv ...string) string {
	m.t.Helper()
	home := "/root"
	if user != "root" {
		home = "/home/" + user
	}
	uid := strings.TrimSpace(m.run("id", "-u", user))
	return m.run(append([]string{"systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=" + user, "--property=KillMode=process", "--property=WorkingDirectory=" + home,
		"--setenv=HOME=" + home, "--setenv=USER=" + user, "--setenv=XDG_RUNTIME_DIR=/run/user/" + uid, "--setenv=PATH=/usr/local/bin:/usr/bin:/bin"}, argv...)...)
}

// put copies a file onto the machine.
func (m *machine) put(from, to string, mode os.FileMode) {
	m.t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = m.write(to, data, mode)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// write makes a file on the machine, in one step, as what runs may not be written to.
func (m *machine) write(to string, data []byte, mode os.FileMode) error {
	path := fmt.Sprintf("/proc/%d/root%s", m.pid, to)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		return err
	}
	if err := os.Chmod(path+".new", mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// until waits for a condition.
func (m *machine) until(within time.Duration, what string, ok func() bool) {
	m.t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			m.t.Fatalf("not within %s: %s", within, what)
		}
		<-time.After(20 * time.Millisecond)
	}
}
