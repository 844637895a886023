package boot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// TestSecondDaemon: a home has one daemon, and whoever comes second is told who it is. The lock goes with its owner.
func TestSecondDaemon(t *testing.T) {
	home := t.TempDir()
	first, err := Take(home)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Take(home)
	if second != nil || !fault.Is(err, fault.Conflict) || fault.From(err).Reason != "home_taken" || !strings.Contains(err.Error(), home) {
		t.Fatalf("a second daemon: %v, %v", second, err)
	}
	if p, err := readPID(home); err != nil || p.PID == 0 {
		t.Errorf("daemon.pid after that: %+v %v", p, err)
	}
	first.Release()
	third, err := Take(home)
	if err != nil {
		t.Fatal(err)
	}
	third.Release()
}

// TestLookingTakesNothing: whoever looks whether a home is taken keeps no daemon from taking it.
func TestLookingTakesNothing(t *testing.T) {
	home := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := owned(home); err != nil {
					t.Error(err)
					return
				}
				lockedBy(filepath.Join(home, "daemon.pid"))
			}
		})
	}
	for range 300 {
		l, err := Take(home)
		if err != nil {
			t.Error(err)
			break
		}
		if pid, held, err := owned(home); err != nil || !held || pid != os.Getpid() {
			t.Errorf("it has pid %d, is held: %v, %v", pid, held, err)
		}
		l.Release()
	}
	cancel()
	all.Wait()
}

// TestOwned: the lock says whether a home is taken, whatever the file says.
func TestOwned(t *testing.T) {
	home := t.TempDir()
	look := func(want string) {
		t.Helper()
		pid, held, err := owned(home)
		if got := fmt.Sprint(pid, " ", held, " ", err); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	look("0 false <nil>")
	path := filepath.Join(home, "daemon.pid")
	if err := os.WriteFile(path, []byte("{\"pid\": 1, \"started\": \"2020-01-01T00:00:00Z\", \"boot\": \"a boot that is over and was longer than ours\"}  \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	look("0 false <nil>") // left by a daemon that was killed
	l, err := Take(home)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	look(fmt.Sprint(os.Getpid(), " true <nil>"))
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	look("0 true <nil>") // it has not said who it is
}

// TestPrepareHome makes a home private and refuses what cannot be one.
func TestPrepareHome(t *testing.T) {
	home := filepath.Join(t.TempDir(), "a", "b")
	if err := Prepare(home); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Prepare(home); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(home); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(file, "below")} {
		if err := Prepare(bad); !fault.Is(err, fault.Conflict) || fault.From(err).Reason != "home_not_made" || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	full := t.TempDir()
	if err := os.Chmod(full, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.yaml", "mine"} {
		if err := os.WriteFile(filepath.Join(full, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := Prepare(full)
	if f := fault.From(err); !fault.Is(err, fault.Invalid) || f.Reason != "home_foreign" || !strings.Contains(f.Message, "mine") || f.Hint == "" {
		t.Errorf("a folder that holds something else: %v", err)
	}
	st, err := os.Stat(full)
	if list, _ := os.ReadDir(full); err != nil || st.Mode().Perm() != 0o755 || len(list) != 2 {
		t.Errorf("it was touched: %v %v %v", st.Mode(), list, err)
	}
	if err := os.Remove(filepath.Join(full, "mine")); err != nil {
		t.Fatal(err)
	}
	if err := Prepare(full); err != nil {
		t.Errorf("settings alone, before the first start: %v", err)
	}
	for _, name := range []string{"daemon.pid", "mine"} { // a home is one whatever else is put into it
		if err := os.WriteFile(filepath.Join(full, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Prepare(full); err != nil {
		t.Errorf("a home with something else in it: %v", err)
	}
	if os.Geteuid() != 0 {
		return
	}
	theirs := t.TempDir()
	if err := os.Chown(theirs, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := Prepare(theirs); !fault.Is(err, fault.Denied) || fault.From(err).Reason != "home_not_ours" || fault.From(err).Hint == "" {
		t.Errorf("somebody else's: %v", err)
	}
}

// TestLastWords: the reason why a daemon does not come up is its own, of this start, in words.
func TestLastWords(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339Nano) }
	for name, c := range map[string]struct{ daemon, keeper, want string }{
		"its error":         {`{"time":"` + at(time.Second) + `","level":"ERROR","msg":"the daemon ends","err":"config.yaml:3: no such key"}`, `{"time":"` + at(2*time.Second) + `","level":"info","msg":"the daemon has ended"}`, "config.yaml:3: no such key"},
		"not an old one":    {`{"time":"` + at(-time.Hour) + `","level":"ERROR","msg":"the daemon ends","err":"long ago"}`, "", "it does not say why"},
		"the keeper's":      {"", `{"time":"` + at(time.Second) + `","level":"error","msg":"cannot start the keeper","err":"no room"}`, "no room"},
		"a panic":           {"", "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\n", "panic: runtime error: index out of range"},
		"nothing":           {"", "", "it does not say why"},
		"what is no record": {"nonsense\n", "more nonsense", "it does not say why"},
	} {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, "logs"), 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"daemon.log": c.daemon, "keeper.log": c.keeper} {
			if err := os.WriteFile(filepath.Join(home, "logs", file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := lastWords(home, now); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
