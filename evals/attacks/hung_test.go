package attacks

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRemoteHangs stops the process of a daemon while commands of another machine wait for it: within some 20 s a call says that it
// hangs, and that nobody knows whether it was begun, and ends as not reachable; so does what is only begun then. A stream says so
// and goes on behind its last line once the daemon does, without a gap. Before that a call that takes longer runs to its end.
func TestRemoteHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a minute")
	}
	w := newWorld(t)
	w.Write("slow/omnitron.yaml", "project: slow\napps:\n  - {name: mule, command: 'trap \"\" TERM; while :; do sleep 1; done', stop: {timeout: 24s}, ready: {delay: 10ms}}\n"+
		"  - {name: clock, command: 'i=0; while :; do i=$((i+1)); echo tick $i.; sleep 0.2; done', ready: {delay: 10ms}}\n")
	w.OK("up", "-c", "slow/omnitron.yaml")
	var st struct{ Planes []struct{ Name, Pin string } }
	w.must("daemon.status", nil, &st)
	elsewhere, pin := t.TempDir(), ""
	for _, p := range st.Planes {
		if p.Name == "tcp" {
			pin = p.Pin
		}
	}
	token := filepath.Join(elsewhere, "token")
	if err := os.WriteFile(token, []byte(w.good), 0o600); err != nil {
		t.Fatal(err)
	}
	type ran struct {
		out, errs bytes.Buffer
		code      int
		took      time.Duration
	}
	begin := func(args ...string) func() *ran {
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		cmd := exec.CommandContext(ctx, w.Bin, append([]string{"--home", filepath.Join(elsewhere, "h")}, args...)...)
		cmd.Dir, cmd.WaitDelay = elsewhere, 5*time.Second
		r := &ran{}
		cmd.Stdout, cmd.Stderr = &r.out, &r.errs
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { defer stop(); done <- cmd.Wait(); r.took = time.Since(began); close(done) }()
		return func() *ran {
			err := <-done
			<-done
			if x, is := errors.AsType[*exec.ExitError](err); is {
				r.code = x.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			return r
		}
	}
	if r := begin("remote", "add", "prod", w.native, "--pin", pin, "--token-file", token)(); r.code != 0 {
		t.Fatal(&r.errs)
	}

	seen, err := os.Create(filepath.Join(elsewhere, "seen"))
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close()
	told, err := os.Create(filepath.Join(elsewhere, "told"))
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	said := func() string {
		raw, err := os.ReadFile(told.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	follow := exec.Command(w.Bin, "--home", filepath.Join(elsewhere, "h"), "logs", "-f", "slow/dev/clock", "--remote", "prod")
	follow.Dir, follow.Stdout, follow.Stderr = elsewhere, seen, told
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	followed := make(chan error, 1)
	go func() { followed <- follow.Wait() }()
	t.Cleanup(func() { _ = follow.Process.Kill() })
	ticks := func() (all []int) {
		raw, err := os.ReadFile(seen.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`tick (\d+)\.`).FindAllSubmatch(raw, -1) {
			n, _ := strconv.Atoi(string(m[1])) // digits
			all = append(all, n)
		}
		return all
	}
	if r := begin("stop", "slow/dev/mule", "--yes", "--remote", "prod")(); r.code != 0 || r.took < 22*time.Second {
		t.Errorf("a long call: exit %d after %s\n%s%s", r.code, r.took, &r.out, &r.errs)
	}
	w.must("apps.start", map[string]any{"names": []string{"slow/dev/mule"}}, nil)

	long := begin("stop", "slow/dev/mule", "--yes", "--remote", "prod")
	w.Until(20*time.Second, "the stop is on its way", func() bool {
		var app struct{ State string }
		return w.Call("apps.get", map[string]any{"name": "slow/dev/mule"}, &app) == nil && app.State == "stopping"
	})
	pid := w.DaemonPID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	late := begin("ls", "--remote", "prod")
	for what, wait := range map[string]func() *ran{"a call": long, "a new one": late} {
		r := wait()
		if waited := time.Since(stopped); r.code != 2 || waited > 25*time.Second || !strings.Contains(r.errs.String(), "prod") {
			t.Errorf("%s: exit %d after %s\n%s%s", what, r.code, waited, &r.out, &r.errs)
		}
		if what != "a new one" && (!strings.Contains(r.errs.String(), "does not answer") || !strings.Contains(r.errs.String(), "omnitron kill")) {
			t.Errorf("%s: %s", what, &r.errs)
		}
		if known := strings.Contains(r.errs.String(), "is not known") && strings.Contains(r.errs.String(), "--idempotency-key"); known != (what == "a call") {
			t.Errorf("%s: %s", what, &r.errs)
		}
		t.Logf("%s, after %s: %s", what, time.Since(stopped).Round(100*time.Millisecond), &r.errs)
	}
	w.Until(25*time.Second, "the stream says that it waits", func() bool { return strings.Contains(said(), "this goes on when it does") })
	select {
	case err := <-followed:
		t.Fatalf("the stream has ended: %v\n%s", err, said())
	default:
	}
	before := len(ticks())
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.Until(60*time.Second, "the stream goes on", func() bool { return len(ticks()) > before+150 })
	_ = follow.Process.Signal(os.Interrupt)
	<-followed
	all := ticks()
	for i := range all[1:] {
		if all[i+1] != all[i]+1 {
			t.Fatalf("behind tick %d comes %d, number %d of %d (%d before)", all[i], all[i+1], i+1, len(all), before)
		}
	}
	if r := begin("ls", "--all", "--remote", "prod")(); r.code != 0 || w.DaemonPID() != pid {
		t.Errorf("the daemon goes on: exit %d\n%s", r.code, &r.errs)
	}
}
