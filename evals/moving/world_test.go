// Package moving runs projects under the supervisor that they were written for and then, imported, under Omnitron, and
// compares every process as the kernel shows it: argv, folder, environment, user, umask and ports.
package moving

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// seen is a process as /proc shows it.
type seen struct {
	Argv  []string
	Dir   string
	Env   []string
	UID   string
	GID   string
	Umask string
	Ports []int
}

// look reads a process; nil when it is gone, or is not what it is to be yet.
func look(pid int, keep func(variable string) bool) *seen {
	dir := fmt.Sprintf("/proc/%d/", pid)
	cmdline, err1 := os.ReadFile(dir + "cmdline")
	environ, err2 := os.ReadFile(dir + "environ")
	status, err3 := os.ReadFile(dir + "status")
	cwd, err4 := os.Readlink(dir + "cwd")
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || len(cmdline) == 0 {
		return nil
	}
	s := &seen{Argv: strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00"), Dir: cwd}
	for _, e := range strings.Split(strings.TrimRight(string(environ), "\x00"), "\x00") {
		if name, _, _ := strings.Cut(e, "="); keep(name) {
			s.Env = append(s.Env, e)
		}
	}
	slices.Sort(s.Env)
	for line := range bytes.Lines(status) {
		f := strings.Fields(string(line))
		switch f[0] {
		case "Uid:":
			s.UID = f[1]
		case "Gid:":
			s.GID = f[1]
		case "Umask:":
			s.Umask = f[1]
		}
	}
	for _, p := range sample.New().Listening([]int{pid}) {
		s.Ports = append(s.Ports, int(p.Address.Port()))
	}
	return s
}

// below gives the descendants of processes, they themselves left out.
func below(roots ...int) (pids []int) {
	all := rig.Processes()
	for queue := roots; len(queue) > 0; queue = queue[1:] {
		for _, p := range all {
			if p.PPID == queue[0] && p.State != 'Z' {
				pids = append(pids, p.PID)
				queue = append(queue, p.PID)
			}
		}
	}
	return pids
}

// move is a project that is to be compared.
type move struct {
	*rig.Rig
	want  int               // processes
	ports int               // ports that they listen on, all together
	keep  func(string) bool // the variables that are compared: those that neither of the two sets for itself
	alike func(*seen)       // takes away what is no difference; may be nil
	env   []string          // for the source's supervisor
}

// settled waits until the processes are all there with their ports, and gives them in order.
func (m *move) settled(who string, pids func() []int) (all []seen) {
	m.T.Helper()
	var since time.Time
	var last string
	defer func() {
		if m.T.Failed() {
			m.T.Logf("%s: %d processes of %d: %v", who, len(all), m.want, all)
		}
	}()
	m.Until(30*time.Second, who+" runs everything", func() bool {
		all = nil
		ports := 0
		for _, pid := range pids() {
			if s := look(pid, m.keep); s != nil {
				all = append(all, *s)
				ports += len(s.Ports)
			}
		}
		inOrder(all)
		// Between fork and exec a program looks like its parent: what counts is what stays.
		if now := fmt.Sprint(all); now != last {
			last, since = now, time.Now()
		}
		return len(all) == m.want && ports == m.ports && time.Since(since) > 700*time.Millisecond
	})
	return all
}

func inOrder(all []seen) {
	slices.SortFunc(all, func(a, b seen) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

// start runs the source's supervisor in the project's folder until stop is called.
func (m *move) start(argv ...string) (pid int, stop func()) {
	m.T.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = m.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(m.Home), "LANG=C.UTF-8"}
	cmd.Env = append(cmd.Env, m.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		programs := below(cmd.Process.Pid)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // however it ends
		if m.T.Failed() {
			m.T.Logf("%v said:\n%s", argv, out.String())
		}
		for _, pid := range programs { // some supervisors leave a shell's children behind
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		m.Until(20*time.Second, "the programs have ended", func() bool {
			return !slices.ContainsFunc(rig.Processes(), func(p rig.Process) bool { return p.State != 'Z' && slices.Contains(programs, p.PID) })
		})
	}
	m.T.Cleanup(stop)
	return cmd.Process.Pid, stop
}

// ours are the processes of the home's apps.
func (m *move) ours() []int {
	var list struct{ Items []rig.App }
	if m.Call("apps.list", map[string]any{}, &list) != nil {
		return nil
	}
	var roots []int
	for _, a := range list.Items {
		for _, i := range m.App(a.Name).Instances {
			if i.PID > 0 && i.State == "running" {
				roots = append(roots, i.PID)
			}
		}
	}
	return append(roots, below(roots...)...)
}

// moved imports, brings up and compares.
func (m *move) moved(before []seen, args ...string) {
	m.T.Helper()
	m.OK(append([]string{"import", "--write"}, args...)...)
	m.OK("config", "check")
	m.OK("up")
	after := m.settled("omnitron", m.ours)
	if m.alike != nil {
		for _, all := range [][]seen{before, after} {
			for i := range all {
				m.alike(&all[i])
			}
		}
	}
	inOrder(before)
	inOrder(after)
	if d := cmp.Diff(before, after); d != "" {
		m.T.Errorf("-before +after\n%s", d)
	}
}

func newMove(t *testing.T, want, ports int, without string) *move {
	own := regexp.MustCompile(`^(OMNITRON_.*|PORT_[A-Z_]+|` + without + `)$`)
	return &move{Rig: rig.New(t), want: want, ports: ports, keep: func(name string) bool { return !own.MatchString(name) }}
}

// free gives a port that is free, and the hundred after it so many steps on.
func free(t *testing.T) int {
	t.Helper()
	for port := 21000 + os.Getpid()%4000; port < 30000; port += 7 {
		if !taken(port) && !taken(port+1) && !taken(port+100) && !taken(port+200) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func taken(port int) bool {
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), fmt.Sprintf(":%04X ", port)) {
			return true
		}
	}
	return false
}

func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("this test needs %s: make setup installs it", program)
	}
	return path
}

func str(n int) string { return strconv.Itoa(n) }

// at puts a port into a text.
func at(text string, port int) string { return strings.ReplaceAll(text, "@port@", str(port)) }
