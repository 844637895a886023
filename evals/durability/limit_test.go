package durability_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// descriptors sets how many descriptors the daemon may have.
func (w world) descriptors(n uint64) {
	w.T.Helper()
	if err := unix.Prlimit(w.DaemonPID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: 20000}, nil); err != nil {
		w.T.Fatal(err)
	}
}

// guest is a client that stays. It gives its first answer, or the error.
func (w world) guest() (net.Conn, string) {
	w.T.Helper()
	conn, err := net.DialTimeout("unix", filepath.Join(w.Home, "daemon.sock"), 2*time.Second)
	if err != nil {
		return nil, err.Error()
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))                        // a socket has deadlines
	_, _ = fmt.Fprintln(conn, `{"jsonrpc":"2.0","id":1,"method":"daemon.ping"}`) // refused before we spoke: why is there to read
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return conn, err.Error()
	}
	return conn, line
}

// ticks is the CPU time of a process, in hundredths of a second.
func ticks(t *testing.T, pid int) (n int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	var user, sys int
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &sys); err != nil {
		t.Fatal(err)
	}
	return user + sys
}

// TestFewDescriptors: two hundred clients and forty apps have to do with 128 descriptors. New clients are told that it is
// too much, supervision goes on, and all is well once the clients have left.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var few, all []string
	for i := range 40 {
		app := w.sitter(fmt.Sprintf("a%d", i))
		if all = append(all, app); i < 10 {
			few = append(few, app)
		}
	}
	w.Up(w.project(few...))
	was := w.pids("a1", "a2")
	w.App("a0") // a connection that was there before
	w.descriptors(128)
	logged := len(w.read("logs/daemon.log"))

	var guests []net.Conn
	t.Cleanup(func() {
		for _, c := range guests {
			c.Close()
		}
	})
	served, refused := 0, 0
	for range 200 {
		conn, answer := w.guest()
		if conn != nil {
			guests = append(guests, conn)
		}
		switch {
		case strings.Contains(answer, `"ok":true`):
			served++
		case strings.Contains(answer, `"limited"`):
			refused++
		default:
			t.Fatalf("client %d was answered with %s", len(guests), answer)
		}
	}
	t.Logf("%d clients are served, %d were refused", served, refused)
	if served < 20 || refused < 50 {
		t.Errorf("%d clients are served, %d were refused", served, refused)
	}
	if ran := w.Run("ls"); ran.Code == 0 || !strings.Contains(ran.Err, "few file descriptors left") {
		t.Errorf("ls: exit %d, %s", ran.Code, ran.Err)
	}

	old := w.PID("a0") // through the connection that was there before
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.Until(5*time.Second, "a0 is back", func() bool {
		a := w.App("a0")
		return a.State == "running" && a.Instances[0].PID != old
	})
	daemon := w.DaemonPID()
	began, used := time.Now(), ticks(t, daemon)
	<-time.After(time.Second) // it is looked at for this long
	if load := float64(ticks(t, daemon)-used) / time.Since(began).Seconds(); load > 10 {
		t.Errorf("it takes %.0f %% of a core meanwhile", load)
	}
	if lines := strings.Count(w.read("logs/daemon.log")[logged:], "\n"); lines > 10 {
		t.Errorf("it has logged %d lines:\n%s", lines, w.read("logs/daemon.log")[logged:])
	}

	// More apps than there is room for: some run, the others say why not, and what ran goes on.
	w.Write("omnitron.yaml", w.project(all...))
	var result struct{ Apps []any }
	file := map[string]string{"path": filepath.Join(w.Dir, "omnitron.yaml"), "text": w.project(all...)}
	if err := w.Call("apps.apply", map[string]any{"files": []any{file}}, &result); err != nil {
		t.Fatal(err)
	}
	err := w.Call("apps.start", map[string]any{"names": []string{"a*"}, "timeout_s": 3}, nil)
	if err == nil || !strings.Contains(err.Error(), "too few file descriptors left") {
		t.Errorf("start of forty apps: %v", err)
	}
	w.same(was)
	if pid := w.DaemonPID(); pid != daemon {
		t.Errorf("another daemon runs")
	}

	for _, c := range guests {
		c.Close()
	}
	left := time.Now()
	w.Until(time.Second, "new clients are served", func() bool { return w.call("daemon.status", nil) == nil })
	t.Logf("new clients are served %s after the others left", time.Since(left))
	w.descriptors(1024)
	w.OK("start", "a*")
	for i := range 40 {
		name := fmt.Sprintf("a%d", i)
		if n := len(rig.Marked(filepath.Join(w.Dir, name+".txt"))); n != 1 {
			t.Errorf("%s runs %d times", name, n)
		}
	}
	w.same(was)
}
