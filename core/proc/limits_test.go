package proc_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/proc"
)

const mb = 1 << 20

// limited is a spec with one limit.
func limited(s proc.Spec, limits ...string) proc.Spec {
	s.Limits = map[string]string{}
	for i := 0; i < len(limits); i += 2 {
		s.Limits[limits[i]] = limits[i+1]
	}
	return s
}

// ways runs a test for every way in which trees are held together where a controller of this machine limits them.
func ways(t *testing.T, controller string, f func(t *testing.T, e *env)) {
	p, ok := cage.Bounders("omnitron-try-" + strconv.Itoa(os.Getpid()))[controller]
	if ok {
		dir, err := p.Make("try")
		if err == nil {
			err = cage.Remove(dir)
			_ = os.Remove(p.Dir)
		}
		ok = err == nil
	}
	if !ok {
		if os.Geteuid() == 0 {
			t.Fatalf("no %[1]s controller of the first version here: mkdir -p /sys/fs/cgroup/%[1]s && mount -t cgroup -o %[1]s cgroup /sys/fs/cgroup/%[1]s", controller)
		}
		t.Skipf("only root makes groups of the %s controller", controller)
	}
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		f(t, e)
		for c, p := range cage.Bounders("omnitron-" + homeID(e)) {
			if left := cage.Groups(p.Dir); len(left) > 1 {
				t.Errorf("groups of %s are left: %v", c, left)
			}
			_ = os.Remove(p.Dir) // the keeper is killed, not ended
		}
	})
}

func TestLimits(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		plain := e.spec("/bin/sh", "-c", "ulimit -n; ulimit -Hn; nice; cat /proc/self/oom_score_adj")
		_, before, _ := e.run(plain)
		s := limited(e.spec(plain.Argv...), protocol.LimitNoFile, "321", protocol.LimitNice, "7", protocol.LimitOOMScore, "456")
		p := e.spawn(s)
		skipped := p.Skipped()
		wait(t, p)
		if err := p.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if out := read(t, s.Out); out != "321\n321\n7\n456\n" || out == before || len(skipped) > 0 {
			t.Errorf("it has %q, without them %q; skipped: %v", out, before, skipped)
		}
	})
}

// TestLimitsBesideSockets: what is limited and what is passed on go the same way to the program; a limit that it does without is
// told, and nothing of the way is left open in it.
func TestLimitsBesideSockets(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		for _, name := range []string{"one", "two"} {
			if err := e.k.Listen(ctx(t), proc.Listener{ID: name, Network: "unix", Address: e.home + "/" + name, UID: -1, GID: -1}); err != nil {
				t.Fatal(err)
			}
		}
		const script = `nice; ulimit -n; echo $LISTEN_FDS $LISTEN_FDNAMES $(($LISTEN_PID - $$)); for n in 3 4 5 6; do readlink /proc/$$/fd/$n; done`
		for _, nofile := range []string{"321", strconv.Itoa(1<<30 - 1)} {
			s := limited(e.spec("/bin/sh", "-c", script), protocol.LimitNoFile, nofile, protocol.LimitBest, "true", protocol.LimitNice, "7")
			s.Passed, s.Sockets = []string{"a", "b"}, []string{"one", "two"}
			p := e.spawn(s)
			wait(t, p)
			skipped := p.Skipped()
			if err := p.Forget(ctx(t)); err != nil {
				t.Fatal(err)
			}
			out := strings.Split(read(t, s.Out), "\n")
			if len(out) != 6 || out[0] != "7" || out[2] != "2 a:b 0" || !strings.HasPrefix(out[3], "socket:") || !strings.HasPrefix(out[4], "socket:") || out[5] != "" {
				t.Fatalf("nofile %s: %q", nofile, out)
			}
			if most := nofile == "321"; most != (out[1] == "321") || most != (len(skipped) == 0) || !most && !strings.Contains(skipped[0], "limits.nofile") {
				t.Errorf("nofile %s: it has %s, skipped: %v", nofile, out[1], skipped)
			}
		}
		s := limited(e.spec("/bin/true"), protocol.LimitNoFile, strconv.Itoa(1<<30-1))
		s.Passed, s.Sockets = []string{"a"}, []string{"one"}
		if _, err := e.k.Spawn(ctx(t), s); reason(err) != "limit_unavailable" {
			t.Errorf("a limit that cannot be: %v", err)
		}
	})
}

func TestMemoryLimit(t *testing.T) {
	ways(t, "memory", func(t *testing.T, e *env) {
		neighbour := e.spawn(e.spec("/bin/sleep", "600"))
		few, plenty := strconv.Itoa(64*mb), strconv.Itoa(1024*mb)
		if x, _, _ := e.run(limited(e.helperSpec("eat", "300"), protocol.LimitMemory, few)); x.Signal != "SIGKILL" || x.Starved != 1 {
			t.Errorf("beyond its limit it ended so: %+v", x)
		}
		if x, _, _ := e.run(limited(e.helperSpec("eat", "300"), protocol.LimitMemory, plenty)); x.Code != 0 || x.Starved != 0 {
			t.Errorf("within its limit it ended so: %+v", x)
		}
		parent := e.spec("/bin/sh", "-c", `"$0" helper eat 300; exit 3`, self(t))
		if x, _, _ := e.run(limited(parent, protocol.LimitMemory, few)); x.Code != 3 || x.Starved != 1 {
			t.Errorf("with a child that starved it ended so: %+v", x)
		}
		// The limit outlives the keeper, and so does what is known of it.
		s := limited(e.spec("/bin/sh", "-c", `read go < go; exec "$0" helper eat 300`, self(t)), protocol.LimitMemory, few)
		e.fifo("go")
		p := e.spawn(s)
		e.killKeeper()
		if err := os.WriteFile(e.home+"/go", []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
		if x := wait(t, p); x.Starved != 1 {
			t.Errorf("under another keeper it ended so: %+v", x)
		}
		if err := p.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-neighbour.Done():
			t.Error("its neighbour ended too")
		default:
		}
	})
}

func TestCPULimit(t *testing.T) {
	ways(t, "cpu", func(t *testing.T, e *env) {
		s := limited(e.helperSpec("burn", "300"), protocol.LimitCPU, "0.2")
		p := e.spawn(s)
		x := wait(t, p)
		if err := p.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if took := x.At.Sub(p.Started()); x.Code != 0 || took.Seconds() < 1.1 { // but for the first share a fifth of the time
			t.Errorf("300 ms of work took %s at a fifth of a CPU: %+v", took, x)
		}
	})
}

func TestLimitsThatCannotBe(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		for _, c := range []struct{ name, value, reason string }{
			{"gpu", "1", "not_supported"}, {protocol.LimitMemory, "much", "bad_spec"}, {protocol.LimitNice, "99", "bad_spec"}, {protocol.LimitOOMScore, "-2000", "bad_spec"},
			{protocol.LimitNoFile, "99999999999", "limit_unavailable"}, // beyond fs.nr_open, root or not
		} {
			if _, err := e.k.Spawn(ctx(t), limited(e.spec("/bin/true"), c.name, c.value)); reason(err) != c.reason {
				t.Errorf("%s=%s: %v", c.name, c.value, err)
			}
		}
		p := e.spawn(limited(e.spec("/bin/sh", "-c", "exit 4"), protocol.LimitNoFile, "99999999999", protocol.LimitBest, "true"))
		if x := wait(t, p); x.Code != 4 || len(p.Skipped()) != 1 || !strings.Contains(p.Skipped()[0], "limits.nofile") {
			t.Errorf("it ended with %+v without %v", x, p.Skipped())
		}
	})
}

// TestLimitsOfNobody: who may not make control groups cannot limit memory; the start fails and says so, or goes on and says so.
func TestLimitsOfNobody(t *testing.T) {
	if os.Geteuid() == 0 {
		asNobody(t, "^TestLimitsOfNobody$")
		return
	}
	e := start(t, "stub")
	for _, c := range []struct{ name, value string }{{protocol.LimitMemory, "1000000000"}, {protocol.LimitCPU, "1.5"}, {protocol.LimitNice, "-5"}, {protocol.LimitOOMScore, "-500"}} {
		if _, err := e.k.Spawn(ctx(t), limited(e.spec("/bin/true"), c.name, c.value)); reason(err) != "limit_unavailable" {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		}
	}
	p := e.spawn(limited(e.spec("/bin/sh", "-c", "exit 4"), protocol.LimitMemory, "1000000000", protocol.LimitCPU, "1", protocol.LimitBest, "true"))
	if x := wait(t, p); x.Code != 4 || len(p.Skipped()) != 2 || !strings.Contains(p.Skipped()[0], "limits.memory") || !strings.Contains(p.Skipped()[1], "limits.cpu") {
		t.Errorf("it ended with %+v without %v", x, p.Skipped())
	}
}
