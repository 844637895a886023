package proc_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/proc"
)

func TestExit(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		if got := e.k.Info().Contain; got != contain {
			t.Fatalf("contained by %s, want %s", got, contain)
		}
		for _, c := range []struct {
			script string
			code   int
			signal string
		}{{"exit 0", 0, ""}, {"exit 7", 7, ""}, {"kill -9 $$", 137, "SIGKILL"}, {"kill -TERM $$", 143, "SIGTERM"}} {
			x, out, errs := e.run(e.spec("sh", "-c", "echo out; echo err >&2; "+c.script))
			if !x.Known || x.Code != c.code || x.Signal != c.signal || x.Note != "" || x.At.IsZero() {
				t.Errorf("%s: %+v", c.script, x)
			}
			if out != "out\n" || errs != "err\n" {
				t.Errorf("%s: printed %q, %q", c.script, out, errs)
			}
		}
		x, _, _ := e.run(e.helperSpec("burn", "120"))
		if cpu := x.User + x.Sys; cpu < 110*time.Millisecond || cpu > 5*time.Second || x.MaxRSS < 1<<20 {
			t.Errorf("burnt 120 ms: %+v", x)
		}
	})
}

func TestExecFailures(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		file := func(name, text string, mode os.FileMode) string {
			path := filepath.Join(e.home, name)
			if err := os.WriteFile(path, []byte(text), mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			return path
		}
		file("plain", "#!/bin/sh\n", 0o644)
		file("garbage", "\x01\x02garbage", 0o755)
		file("script", "echo no interpreter\n", 0o755)
		file("lost", "#!/no/such/interpreter\n", 0o755)
		file("refused", "#!"+filepath.Join(e.home, "plain")+"\n", 0o755)
		spec := func(change func(*proc.Spec), argv ...string) proc.Spec {
			s := e.spec(argv...)
			if change != nil {
				change(&s)
			}
			return s
		}
		dir := func(d string) func(*proc.Spec) { return func(s *proc.Spec) { s.Dir = d } }
		for _, c := range []struct {
			name, reason string
			code         fault.Code
			spec         proc.Spec
		}{
			{"not in PATH", "exec_not_found", fault.Invalid, spec(nil, "no-such-program")},
			{"no such file", "exec_not_found", fault.Invalid, spec(nil, "./no/such")},
			{"absolute", "exec_not_found", fault.Invalid, spec(nil, "/no/such")},
			{"mode", "not_executable", fault.Invalid, spec(nil, "./plain")},
			{"mode in PATH", "not_executable", fault.Invalid, spec(func(s *proc.Spec) { s.Env = []string{"PATH=" + e.home} }, "plain")},
			{"directory", "not_executable", fault.Invalid, spec(nil, "/tmp")},
			{"garbage", "not_executable", fault.Invalid, spec(nil, "./garbage")},
			{"no first line", "not_executable", fault.Invalid, spec(nil, "./script")},
			{"interpreter", "bad_interpreter", fault.Invalid, spec(nil, "./lost")},
			{"interpreter's mode", "bad_interpreter", fault.Invalid, spec(nil, "./refused")},
			{"cwd", "cwd_missing", fault.Invalid, spec(dir("/no/such"), "true")},
			{"cwd is a file", "cwd_missing", fault.Invalid, spec(dir(filepath.Join(e.home, "plain")), "true")},
			{"cwd before program", "cwd_missing", fault.Invalid, spec(dir("/no/such"), "./true")},
			{"too large", "too_large", fault.Invalid, spec(func(s *proc.Spec) { s.Env = []string{"A=" + strings.Repeat("x", 200<<10)} }, "/bin/true")},
			{"NUL", "bad_spec", fault.Invalid, spec(nil, "/bin/echo", "a\x00b")},
			{"policy", "bad_spec", fault.Invalid, spec(func(s *proc.Spec) { s.OnFull = "hope" }, "true")},
			{"group", "bad_spec", fault.Invalid, spec(func(s *proc.Spec) { s.Group = "../x" }, "true")},
		} {
			t.Run(c.name, func(t *testing.T) {
				p, err := e.k.Spawn(ctx(t), c.spec)
				if err == nil {
					t.Fatalf("%v runs as %d", c.spec.Argv, p.Identity().PID)
				}
				if reason(err) != c.reason || fault.CodeOf(err) != c.code {
					t.Errorf("%s %s: %v; want %s", fault.CodeOf(err), reason(err), err, c.reason)
				}
			})
		}
		if os.Geteuid() == 0 {
			s := spec(func(s *proc.Spec) { s.UID, s.GID = 65534, 65534 }, "true") // the home is closed to it
			if _, err := e.k.Spawn(ctx(t), s); reason(err) != "cwd_missing" {
				t.Errorf("a directory that the user may not enter: %v", err)
			}
		} else {
			s := spec(func(s *proc.Spec) { s.UID, s.GID = 0, 0 }, "true")
			if _, err := e.k.Spawn(ctx(t), s); reason(err) != "not_permitted" || !fault.Is(err, fault.Denied) {
				t.Errorf("root from nobody: %v", err)
			}
		}
		if left := e.k.Processes(); len(left) != 0 {
			t.Errorf("%d generations are left of failed starts", len(left))
		}
	})
}

func TestNothingInherited(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := &env{t: t, home: shortDir(t), contain: contain}
		// A keeper from a bad home: open descriptors, blocked and ignored signals, a strange umask, many variables.
		cmd := e.keeperCmd()
		script := `trap "" TERM HUP TTOU PIPE; umask 0137; exec 5</dev/null 7</dev/zero; export POISON=1; exec "$0" "$@"`
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", script, keeperBinary}, cmd.Args[1:]...)
		e.cmd = cmd
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go cmd.Wait()
		e.dial()
		t.Cleanup(e.stop)

		s := e.spec("/usr/bin/env")
		_, out, _ := e.run(s)
		got := strings.Split(strings.TrimSpace(out), "\n")
		slices.Sort(got)
		want := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "OMNITRON_GENERATION=" + s.ID}
		if len(got) != 3 || !strings.HasPrefix(got[1], "OMNITRON_HOME_ID=") || got[0] != want[1] || got[2] != want[0] {
			t.Errorf("environment: %q", got)
		}
		_, out, _ = e.run(e.spec("/bin/sh", "-c", "umask; pwd; ulimit -n"))
		var lim unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &lim)
		if f := strings.Fields(out); len(f) != 3 || f[0] != "0022" || f[1] != e.home {
			t.Errorf("umask, directory: %q", out)
		}
		_, out, _ = e.run(e.spec("/bin/cat", "/proc/self/status"))
		for _, field := range []string{"SigBlk", "SigIgn", "SigCgt"} {
			if !strings.Contains(out, field+":\t0000000000000000\n") {
				t.Errorf("%s is not empty:\n%s", field, out)
			}
		}
		_, out, _ = e.run(e.spec("/bin/ls", "-l", "/proc/self/fd")) // 3 is ls's own
		if strings.Count(out, " -> ") != 4 || strings.Count(out, " -> pipe:") != 2 || !strings.Contains(out, " 0 -> /dev/null") {
			t.Errorf("descriptors:\n%s", out)
		}
		_, out, _ = e.run(e.spec("/bin/sh", "-c", `cut -d" " -f1,5,6 /proc/$$/stat; readlink /proc/$$/fd/0`))
		f := strings.Fields(out)
		if len(f) != 4 || f[0] != f[1] || f[1] != f[2] || f[3] != "/dev/null" {
			t.Errorf("pid, group, session, stdin: %q", out)
		}
		s = e.spec("/bin/sh", "-c", "umask")
		s.Umask = 0o027
		if _, out, _ = e.run(s); out != "0027\n" {
			t.Errorf("umask 027: %q", out)
		}
	})
}

func TestBlockedSignals(t *testing.T) {
	e := &env{t: t, home: shortDir(t), contain: "auto"}
	cmd := e.keeperCmd()
	// Only a program of ours can block signals before an exec: perl is in every Debian.
	script := `use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTERM, SIGCHLD, SIGUSR1)); exec @ARGV`
	cmd.Path, cmd.Args = "/usr/bin/perl", append([]string{"perl", "-e", script, keeperBinary}, cmd.Args[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait()
	e.dial()
	t.Cleanup(e.stop)
	_, out, _ := e.run(e.spec("/bin/cat", "/proc/self/status"))
	if !strings.Contains(out, "SigBlk:\t0000000000000000\n") {
		t.Errorf("signals are blocked:\n%s", out)
	}
}

func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // exec failures cover what an unprivileged keeper says
	}
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		s := e.spec("/bin/sh", "-c", "id -u; id -g; id -G; echo through the name > /dev/stdout")
		s.Dir, s.UID, s.GID, s.Groups = "/", 65534, 65533, []int{65533, 1234}
		_, out, errs := e.run(s)
		if out != "65534\n65533\n65533 1234\nthrough the name\n" {
			t.Errorf("%q, %q", out, errs)
		}
	})
}

func TestPathLookup(t *testing.T) {
	e := start(t, "auto")
	bin := filepath.Join(e.home, "bin")
	os.Mkdir(bin, 0o755)
	os.WriteFile(filepath.Join(bin, "prog"), []byte("#!/bin/sh\necho $0 $1\n"), 0o755)
	for _, c := range []struct{ path, arg0, want string }{
		{"/no:" + bin, "prog", filepath.Join(bin, "prog") + " x\n"},
		{"bin", "prog", "./bin/prog x\n"},
		{"/bin", "./bin/prog", "./bin/prog x\n"},
		{"/bin", "bin/prog", "bin/prog x\n"},
	} {
		s := e.spec(c.arg0, "x")
		s.Env = []string{"PATH=" + c.path}
		if _, out, errs := e.run(s); out != c.want {
			t.Errorf("PATH=%s %s: %q, %q", c.path, c.arg0, out, errs)
		}
	}
	s := e.spec("true")
	s.Env = nil
	if x, _, _ := e.run(s); x.Code != 0 {
		t.Errorf("without PATH: %+v", x)
	}
}

func TestSpawnAgainGivesTheSame(t *testing.T) {
	e := start(t, "auto")
	s := e.spec("sleep", "1000")
	a, b := e.spawn(s), e.spawn(s)
	if a != b {
		t.Errorf("two processes of one id: %v, %v", a.Identity(), b.Identity())
	}
	if err := a.Forget(ctx(t)); reason(err) != "running" {
		t.Errorf("forget of a running one: %v", err)
	}
	if err := a.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if x := wait(t, a); x.Signal != "SIGTERM" {
		t.Errorf("%+v", x)
	}
	if err := a.Signal(unix.SIGTERM); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestSignalGroup(t *testing.T) {
	e := start(t, "auto")
	word := fmt.Sprint(86400 + serial.Add(1))
	s := e.spec("/bin/sh", "-c", "sleep "+word+" & wait; exit 5")
	p := e.spawn(s)
	eventually(t, "the child", func() bool { return len(alive("sleep\x00"+word)) == 1 })
	if err := p.SignalGroup(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	eventually(t, "the child to end", func() bool { return len(alive("sleep\x00"+word)) == 0 })
}

func TestSecondKeeperRefused(t *testing.T) {
	e := start(t, "auto")
	cmd := e.keeperCmd()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	late.Stop()
	var x *exec.ExitError
	if !asExit(err, &x) || x.ExitCode() != 1 || !strings.Contains(said.String(), "another keeper has the home "+e.home) {
		t.Errorf("a second keeper: %v, want status 1\n%s", err, said.String())
	}
	if x, _, _ := e.run(e.spec("true")); x.Code != 0 {
		t.Errorf("the first one: %+v", x)
	}
}

func asExit(err error, x **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*x = e
	return ok
}

// TestSpawnGivenUp has nobody wait for the answer any more: what was started must not run on unknown to all.
func TestSpawnGivenUp(t *testing.T) {
	e := start(t, "auto")
	k, err := ident.Of(e.k.Info().PID)
	if err != nil {
		t.Fatal(err)
	}
	word := fmt.Sprintf("33%05d%05d", os.Getpid(), serial.Add(1))
	halt(t, k.PID)
	c, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = e.k.Spawn(c, e.spec("sleep", word))
	if !fault.Is(err, fault.Deadline) || reason(err) != "keeper_slow" {
		t.Errorf("%v", err)
	}
	k.Signal(unix.SIGCONT)
	if x, _, _ := e.run(e.spec("true")); x.Code != 0 { // comes after the one that was given up
		t.Errorf("%+v", x)
	}
	eventually(t, "it to be ended and forgotten", func() bool { return len(alive("sleep\x00"+word)) == 0 && len(e.k.Processes()) == 0 })
}

// TestLogReaderDies takes away whoever reads the keeper's own log.
func TestLogReaderDies(t *testing.T) {
	e := &env{t: t, home: shortDir(t), contain: "auto"}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	e.cmd = e.keeperCmd()
	e.cmd.Stderr = w
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go e.cmd.Wait()
	w.Close()
	e.dial()
	t.Cleanup(e.stop)
	r.Close()
	was := e.k.Info().Instance
	if err := e.k.Upgrade(ctx(t), "/bin/true"); err == nil { // something to be logged about
		t.Error("upgraded to /bin/true")
	}
	s := e.spec("sh", "-c", "echo $NOTIFY_SOCKET; sleep 1000")
	s.Notify = true
	e.spawn(s)
	eventually(t, "the name of the socket", func() bool { return strings.HasSuffix(read(t, s.Out), "\n") })
	if err := sendNotice(strings.TrimSpace(read(t, s.Out)), "READY=1"); err != nil { // refused and logged
		t.Fatal(err)
	}
	if x, _, _ := e.run(e.spec("true")); x.Code != 0 || e.k.Info().Instance != was {
		t.Errorf("%+v, keeper %+v", x, e.k.Info())
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	e := &env{t: t, home: shortDir(t), contain: "auto"}
	e.runKeeper()
	before := goleak.IgnoreCurrent()
	e.dial()
	if x, _, _ := e.run(e.spec("true")); x.Code != 0 {
		t.Errorf("%+v", x)
	}
	e.hangUp()
	goleak.VerifyNone(t, before)
	e.dial()
	e.stop()
}

func TestUnprivileged(t *testing.T) {
	asNobody(t, "^(TestExit|TestExecFailures|TestNothingInherited|TestKillTree|TestStubKilled|TestKeeperKilled|TestOutput|TestNotify|TestBothDie|TestTakeOver|TestUpgrade)$")
}

// TestKeeperOfADyingOne: what a dying keeper was just starting holds its lock and its socket for a moment, and is no keeper.
func TestKeeperOfADyingOne(t *testing.T) {
	e := &env{t: t, home: shortDir(t), contain: "auto"}
	out, err := exec.Command(self(t), "helper", "bequeath", e.home).CombinedOutput()
	if x := (*exec.ExitError)(nil); !asExit(err, &x) || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	e.runKeeper()
	e.dial()
	e.stop()
}

// TestStdin: an open input has no end, whoever dies; without one it is at its end at once.
func TestStdin(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		if x, out, _ := e.run(e.spec("/bin/sh", "-c", "cat; echo end; readlink /proc/self/fd/0")); x.Code != 0 || out != "end\n/dev/null\n" {
			t.Errorf("without an input: %+v, %q", x, out)
		}
		s := e.spec("/bin/sh", "-c", "echo begun; cat; echo end")
		s.Stdin = "open"
		p := e.spawn(s)
		eventually(t, "it to read", func() bool { return read(t, s.Out) == "begun\n" })
		e.killKeeper() // then only the daemon and the new keeper hold its input open
		e.killKeeper()
		probe := e.spec("/bin/true")
		if x, _, _ := e.run(probe); x.Code != 0 {
			t.Errorf("%+v", x)
		}
		select {
		case <-p.Done():
			t.Errorf("its input came to an end: %q", read(t, s.Out))
		default:
		}
		if err := p.Kill(ctx(t)); err != nil {
			t.Fatal(err)
		}
		s = e.spec("/bin/true")
		s.Stdin = "socket"
		if _, err := e.k.Spawn(ctx(t), s); reason(err) != "not_supported" {
			t.Errorf("another input: %v", err)
		}
	})
}
