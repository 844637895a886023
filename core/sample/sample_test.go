package sample

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// start runs a command that ends with the test, and gives it as a target.
func start(t testing.TB, key string, argv ...string) (Target, *exec.Cmd) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	in, err := cmd.StdinPipe() // what reads it lives until the test closes it
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := reader{}
	r.prepare("/proc")
	st, ok := r.stat(cmd.Process.Pid)
	if !ok {
		t.Fatal("no stat of a process that was just started")
	}
	return Target{Key: key, PID: cmd.Process.Pid, Start: st.start}, cmd
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not so in time: %s", what)
		}
	}
}

func TestUsageOfATree(t *testing.T) {
	s := New()
	target, _ := start(t, "busy", "/bin/sh", "-c", `exec 7</dev/null 8</dev/null; (while :; do :; done) & read x`)
	until(t, "the child runs", func() bool {
		s.Tick(time.Now(), []Target{target})
		u, ok := s.Latest("busy")
		return ok && u.Processes == 2 && u.CPUTime > 50*time.Millisecond
	})
	began := time.Now()
	until(t, "some time has passed", func() bool { return time.Since(began) > 300*time.Millisecond })
	s.Tick(time.Now(), []Target{target})
	u, _ := s.Latest("busy")
	if u.CPU < 20 || u.CPU > 130 {
		t.Errorf("a loop uses %.1f %%", u.CPU)
	}
	if u.RSS < 500<<10 || u.RSS > 100<<20 || u.Threads != 2 || u.FDs < 8 || u.FDs > 20 {
		t.Errorf("got %+v", u)
	}
	list := s.Processes(target)
	if len(list) != 2 || list[0].PID != target.PID || list[1].PPID != target.PID || list[0].Name != "sh" || list[0].Command[0] != "/bin/sh" {
		t.Errorf("processes %+v", list)
	}
	if age := time.Since(list[0].Started); age < 0 || age > time.Minute {
		t.Errorf("started %s ago", age)
	}
	killTree(t, list)
}

func killTree(t *testing.T, list []Process) {
	t.Helper()
	for _, p := range list {
		if proc, err := os.FindProcess(p.PID); err == nil {
			_ = proc.Kill()
		}
	}
}

func TestIdleUsesNothing(t *testing.T) {
	s := New()
	target, cmd := start(t, "idle", "cat")
	s.Tick(time.Now(), []Target{target})
	s.Tick(time.Now().Add(time.Second), []Target{target})
	if u, ok := s.Latest("idle"); !ok || u.CPU > 5 || u.Processes != 1 {
		t.Errorf("got %+v, %v", u, ok)
	}
	s.Tick(time.Now(), nil)
	if _, ok := s.Latest("idle"); ok {
		t.Error("a target that is not named any more is remembered")
	}
	stranger := target
	stranger.Start++
	s.Tick(time.Now(), []Target{stranger})
	if u, ok := s.Latest("idle"); ok || len(s.Processes(stranger)) != 0 {
		t.Errorf("another process under the pid was sampled: %+v", u)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	s.Tick(time.Now(), []Target{target})
	if u, ok := s.Latest("idle"); ok {
		t.Errorf("a dead process was sampled: %+v", u)
	}
}

// TestCgroupNamesTheProcesses samples a process that is no descendant, and outlives the main process.
func TestCgroupNamesTheProcesses(t *testing.T) {
	s := New()
	one, cmd := start(t, "app", "cat")
	two, _ := start(t, "other", "cat")
	one.Cgroup = t.TempDir()
	procs := fmt.Sprintf("%d\n%d\n999999999\n", one.PID, two.PID)
	if err := os.WriteFile(filepath.Join(one.Cgroup, "cgroup.procs"), []byte(procs), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Tick(time.Now(), []Target{one})
	if u, _ := s.Latest("app"); u.Processes != 2 {
		t.Errorf("got %+v", u)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	s.Tick(time.Now(), []Target{one})
	if u, _ := s.Latest("app"); u.Processes != 1 {
		t.Errorf("after the main process ended: %+v", u)
	}
}

// TestDeltas checks the arithmetic on a /proc that is made up.
func TestDeltas(t *testing.T) {
	root := t.TempDir()
	write := func(pid int, start, user, system uint64) {
		dir := filepath.Join(root, strconv.Itoa(pid))
		if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o700); err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%d (a) ) b) S 1 1 1 0 -1 0 0 0 0 0 %d %d 0 0 20 0 3 0 %d 1000 10 0", pid, user, system, start)
		if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cgroup := t.TempDir()
	member := func(pids string) {
		if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(pids), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &Sampler{root: root}
	target := []Target{{Key: "k", PID: 10, Start: 5, Cgroup: cgroup}}
	at := time.Now()
	tick := func(after time.Duration) Usage {
		at = at.Add(after)
		s.Tick(at, target)
		u, ok := s.Latest("k")
		if !ok {
			t.Fatal("no sample")
		}
		return u
	}
	write(10, 5, 100, 50)
	member("10\n")
	if u := tick(0); u.CPUTime != 1500*time.Millisecond || u.Threads != 3 || u.RSS != 10*pageSize {
		t.Errorf("first: %+v", u)
	}
	write(10, 5, 150, 100)
	write(11, 900, 20, 0) // new: all it used, it used since
	member("10\n11\n")
	if u := tick(2 * time.Second); math.Abs(u.CPU-60) > .01 || u.Processes != 2 {
		t.Errorf("second: %+v", u)
	}
	write(11, 950, 5, 0) // another process under the same pid
	if u := tick(time.Second); math.Abs(u.CPU-5) > .01 {
		t.Errorf("third: %+v", u)
	}
	member("10\n") // one ended: nothing negative
	if u := tick(time.Second); u.CPU != 0 {
		t.Errorf("fourth: %+v", u)
	}
}

func TestParseStat(t *testing.T) {
	good := "7 (x y) (z)) R 3 1 1 0 -1 4194560 0 0 0 0 11 22 0 0 20 0 5 0 12345 999 17 18446744073709551615"
	s, ok := parseStat([]byte(good))
	if want := (stat{state: 'R', ppid: 3, ticks: 33, threads: 5, start: 12345, rss: 17 * pageSize}); !ok || s != want {
		t.Errorf("got %+v %v", s, ok)
	}
	for _, bad := range []string{"", "7 (x", "7 (x)", "7 (x) ", "7 (x) R 3 1", strings.Replace(good, " R ", " 0 ", 1), good[:40]} {
		if s, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q gave %+v", bad, s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (x) R 3 1 1 0 -1 4194560 0 0 0 0 11 22 0 0 20 0 5 0 12345 999 17 1"))
	f.Add([]byte("1 ()) ) ) )"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if s, ok := parseStat(line); ok && (s.state < 'A' || s.state > 'z') {
			t.Errorf("%q gave %+v", line, s)
		}
	})
}

func TestListening(t *testing.T) {
	for _, network := range []struct{ name, at string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		l, err := net.Listen(network.name, network.at)
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial(network.name, l.Addr().String()) // a connection is no port
		if err != nil {
			t.Fatal(err)
		}
		want := Port{netip.MustParseAddrPort(l.Addr().String()), os.Getpid()}
		if got := New().Listening([]int{os.Getpid(), os.Getpid()}); !slices.Contains(got, want) || slices.ContainsFunc(got, func(p Port) bool { return p.Address.Port() == uint16(client.LocalAddr().(*net.TCPAddr).Port) }) {
			t.Errorf("%v is not as it should be in %v", want, got)
		}
		_ = client.Close()
		_ = l.Close()
		if got := New().Listening([]int{os.Getpid()}); slices.Contains(got, want) {
			t.Errorf("closed, but still there: %v", got)
		}
	}
	for _, line := range []string{"", "sl local_address", "0: 0100007F:1F90 0 0A", "0: 01:1F90 0 0A 0 0 0 0 0 9", "0: 0100007F 0 0A 0 0 0 0 0 9"} {
		if at, inode, ok := listening([]byte(line)); ok {
			t.Errorf("%q gave %v %s", line, at, inode)
		}
	}
}

func TestMachine(t *testing.T) {
	m, err := New().Machine(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if m.CPUs < 1 || m.Kernel == "" || m.Boot != strings.TrimSpace(string(boot)) || m.Uptime <= 0 || m.MemTotal < m.MemAvailable ||
		m.MemAvailable <= 0 || m.DiskTotal < m.DiskFree || m.DiskTotal <= 0 || m.Threads < 1 || m.Hostname == "" {
		t.Errorf("got %+v", m)
	}
	if _, err := New().Machine("/nowhere/at/all"); err == nil {
		t.Error("a disk that is not there")
	}
}

func TestTickLeaksNothing(t *testing.T) {
	target, _ := start(t, "cat", "cat")
	s := New()
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	s.Tick(time.Now(), []Target{target})
	before := count()
	for range 200 {
		s.Tick(time.Now(), []Target{target, {Key: "gone", PID: 1 << 22, Cgroup: "/nowhere"}})
		s.Listening([]int{target.PID})
		s.Processes(target)
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

// BenchmarkTick samples 100 programs of one process each: with the cgroup's list of each, and by one look at all processes.
func BenchmarkTick(b *testing.B) {
	var byGroup, byParent []Target
	for i := range 100 {
		t, _ := start(b, strconv.Itoa(i), "cat")
		byParent = append(byParent, t)
		t.Cgroup = b.TempDir()
		if err := os.WriteFile(filepath.Join(t.Cgroup, "cgroup.procs"), strconv.AppendInt(nil, int64(t.PID), 10), 0o600); err != nil {
			b.Fatal(err)
		}
		byGroup = append(byGroup, t)
	}
	for _, c := range []struct {
		name    string
		targets []Target
	}{{"cgroup", byGroup}, {"parent", byParent}} {
		b.Run(c.name, func(b *testing.B) {
			s := New()
			b.ReportAllocs()
			for b.Loop() {
				s.Tick(time.Now(), c.targets)
			}
			if u, ok := s.Latest("99"); !ok || u.Processes != 1 {
				b.Fatal(u, io.ErrUnexpectedEOF)
			}
		})
	}
}
