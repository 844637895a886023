package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// machine is a network namespace with the home of a user.
type machine struct {
	name, home, dir string
	env             []string
}

// machines are two that are connected by a wire: ops, which others call ops.example.com, and laptop.
func machines(t *testing.T, base string) map[string]*machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this needs root, which makes network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("this needs ip: apt-get install -y iproute2")
	}
	bin := called(t, rig.Binary(t))
	id := filepath.Base(base)
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	all := map[string]*machine{}
	for _, name := range []string{"ops", "laptop"} {
		m := &machine{name: id + name, home: filepath.Join(base, name)}
		m.dir = filepath.Join(m.home, "shop")
		write(t, filepath.Join(m.dir, "README"), "a folder\n")
		m.env = []string{"HOME=" + m.home, "USER=ann", "PATH=" + bin + ":" + os.Getenv("PATH"), "TERM=dumb", "LANG=C.UTF-8"}
		all[name] = m
		ip("netns", "add", m.name)
		t.Cleanup(func() { ip("netns", "del", m.name) })
		ip("-n", m.name, "link", "set", "lo", "up")
	}
	ops, laptop := all["ops"], all["laptop"]
	ip("-n", ops.name, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", laptop.name)
	for m, address := range map[*machine]string{ops: "192.0.2.1/24", laptop: "192.0.2.2/24"} {
		ip("-n", m.name, "addr", "add", address, "dev", "wire")
		ip("-n", m.name, "link", "set", "wire", "up")
	}
	write(t, filepath.Join(base, "hosts"), "127.0.0.1 localhost\n192.0.2.1 ops.example.com\n")
	return all
}

// typed runs a line of shell on a machine, at a terminal at which somebody answers what is asked.
func (m *machine) typed(t *testing.T, base, line string, answers map[string]string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	master, slave := terminal(t)
	defer master.Close()
	inside := fmt.Sprintf("mount --bind '%s' /etc/hosts && exec bash -eo pipefail -c \"$0\"", filepath.Join(base, "hosts"))
	cmd := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+m.name, "unshare", "-m", "bash", "-c", inside, line)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = m.dir, m.env, slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	from := 0
	for buf := make([]byte, 4096); ; {
		n, err := master.Read(buf)
		said.Write(buf[:n])
		for prompt, answer := range answers {
			if i := strings.Index(said.String()[from:], prompt); i >= 0 {
				from += i + len(prompt)
				if _, err := master.WriteString(answer + "\n"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err != nil { // the last program at the terminal has ended
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, said.String())
	}
	return said.String()
}

// terminal makes a pseudo-terminal (pts(4)).
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// TestReadmeRemotes follows the chapter on another machine word for word, on two machines that are network namespaces.
func TestReadmeRemotes(t *testing.T) {
	base, _ := place(t, "x")
	all := machines(t, base)
	ops := all["ops"]
	write(t, filepath.Join(ops.dir, "omnitron.yaml"), "project: shop\napps:\n  - {name: web, command: [sh, -c, 'echo hello; exec sleep 1000']}\n")
	t.Cleanup(func() { ops.typed(t, base, "omnitron down --all", nil) })
	answers := map[string]string{"is it the same? [y/N]": "y", "password of ann (not shown):": "correct horse battery staple", "password (not shown):": "correct horse battery staple"}
	said := map[string]string{}
	ran := 0
	for _, b := range blocks(t, "README.md") {
		kind, on, _ := strings.Cut(b.what, "on ")
		m := all[on]
		switch {
		case m == nil:
		case kind == "file ":
			write(t, filepath.Join(m.home, b.arg), b.text)
		default:
			said[on] += m.typed(t, base, b.text, answers)
			ran++
		}
	}
	if ran < 5 {
		t.Errorf("%d blocks were run", ran)
	}
	for on, wants := range map[string][]string{
		"ops":    {"1 app ready", "ann", "sha256/", "omt_"},
		"laptop": {"is it the same?", "prod is added: you are ann (person, admin) there", "web", "running", "hello", "prod: ops.example.com:9700", `"--remote"`, "prod is forgotten"},
	} {
		for _, want := range wants {
			if !strings.Contains(said[on], want) {
				t.Errorf("%s: nothing says %q", on, want)
			}
		}
	}
	if t.Failed() {
		t.Logf("%s", said)
	}
}
