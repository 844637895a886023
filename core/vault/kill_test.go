package vault

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
)

// TestMain lets the test binary be the program that gets killed.
func TestMain(m *testing.M) {
	if home := os.Getenv("VAULT_TEST_HOME"); home != "" {
		os.Exit(doomed(home, os.Getenv("VAULT_TEST_DO"), os.Getenv("VAULT_TEST_STEP")))
	}
	goleak.VerifyTestMain(m)
}

// killer is a disk that kills the process at the n-th change: a write is torn first.
type killer struct {
	store.Disk
	left int
}

func (k *killer) step(torn func()) {
	if k.left--; k.left == 0 {
		torn()
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (k *killer) Write(name string, data []byte) error {
	k.step(func() { _ = k.Disk.Write(name, data[:len(data)/2]) })
	return k.Disk.Write(name, data)
}

func (k *killer) Link(from, to string) error   { k.step(func() {}); return k.Disk.Link(from, to) }
func (k *killer) Exchange(a, b string) error   { k.step(func() {}); return k.Disk.Exchange(a, b) }
func (k *killer) Rename(from, to string) error { k.step(func() {}); return k.Disk.Rename(from, to) }
func (k *killer) Remove(name string) error     { k.step(func() {}); return k.Disk.Remove(name) }
func (k *killer) SyncDir(dir string) error     { k.step(func() {}); return k.Disk.SyncDir(dir) }

// doomed does one thing to a vault and is killed at a step of it, if it has that many.
func doomed(home, do, step string) int {
	n, _ := strconv.Atoi(step)
	v := on(home, &killer{store.OS, n})
	if err := work(v, do); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func work(v *Vault, do string) error {
	switch do {
	case "rotate":
		_, err := v.Rotate()
		return err
	case "delete":
		_, err := v.Delete("a")
		return err
	}
	_, _, err := v.Set("a", []byte("new"))
	return err
}

// begun is what a vault may hold before and after work.
var begun = map[string]struct{ old, new string }{
	"begin":  {"", "new"},
	"set":    {"old", "new"},
	"delete": {"old", ""},
	"rotate": {"old", "old"},
}

func TestKilledAtEveryStep(t *testing.T) {
	for do, want := range begun {
		t.Run(do, func(t *testing.T) {
			seen := map[string]bool{}
			for step := 1; ; step++ {
				home := t.TempDir()
				if want.old != "" {
					set(t, at(home), "b", "beside")
					set(t, at(home), "a", want.old)
				}
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "VAULT_TEST_HOME="+home, "VAULT_TEST_DO="+do, "VAULT_TEST_STEP="+strconv.Itoa(step))
				out, err := cmd.CombinedOutput()
				if err == nil { // it has fewer steps
					if step < 5 || !seen[want.old] && step > 1 && do != "begin" || !seen[want.new] {
						t.Fatalf("%d steps, seen %v", step, seen)
					}
					return
				}
				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("step %d: %v: %s", step, err, out)
				}
				survives(t, home, fmt.Sprintf("killed at step %d", step), want.old, want.new, seen)
			}
		})
	}
}

// survives opens a vault after harm: it holds the old or the new value, takes another, and leaves one key and no litter.
func survives(t *testing.T, home, what, old, new string, seen map[string]bool) {
	t.Helper()
	v := at(home)
	got := value(t, v, "a")
	if got != old && got != new {
		t.Fatalf("%s: the vault holds %q, want %q or %q", what, got, old, new)
	}
	seen[got] = true
	if old != "" && value(t, v, "b") != "beside" {
		t.Fatalf("%s: another secret is lost", what)
	}
	if len(v.Notices()) != 0 {
		t.Fatalf("%s: %q", what, v.Notices())
	}
	set(t, v, "c", "after")
	if got := value(t, at(home), "c"); got != "after" {
		t.Fatalf("%s: what was set afterwards is %q", what, got)
	}
	if keys, err := v.readKeys(); err != nil || len(keys) != 1 {
		t.Fatalf("%s: %d keys are left, %v", what, len(keys), err)
	}
	for _, name := range []string{"vault.key.tmp", "secrets.enc.tmp"} {
		if _, err := os.Stat(filepath.Join(home, name)); err == nil {
			t.Fatalf("%s: %s is left", what, name)
		}
	}
}

// TestRefusedAtEveryStep lets the disk refuse each step, tries again with the same vault, and kills nothing.
func TestRefusedAtEveryStep(t *testing.T) {
	for do, want := range begun {
		t.Run(do, func(t *testing.T) {
			for step := 1; ; step++ {
				home := t.TempDir()
				if want.old != "" {
					set(t, at(home), "b", "beside")
					set(t, at(home), "a", want.old)
				}
				disk := faulty.WrapDisk(store.OS)
				v := on(home, disk)
				if err := v.Err(); err != nil {
					t.Fatal(err)
				}
				before := disk.Calls()
				disk.FailAt(step, syscall.ENOSPC)
				err := work(v, do)
				if disk.Calls()-before < step {
					if step < 5 || err != nil {
						t.Fatalf("%d steps, %v", step, err)
					}
					return
				}
				if err != nil && !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("step %d: %v", step, err)
				}
				if err != nil && value(t, v, "a") != want.old {
					t.Fatalf("step %d failed and yet the memory holds %q", step, value(t, v, "a"))
				}
				copied := t.TempDir() // a death now, before anything else
				if err := os.CopyFS(copied, os.DirFS(home)); err != nil {
					t.Fatal(err)
				}
				_ = os.Chmod(filepath.Join(copied, "vault.key"), 0o600) // a copy has other rights; it need not be there
				survives(t, copied, fmt.Sprintf("refused at step %d, then killed", step), want.old, want.new, map[string]bool{})
				if _, err := v.Rotate(); err != nil {
					t.Fatalf("step %d: cannot rotate afterwards: %v", step, err)
				}
				survives(t, home, fmt.Sprintf("refused at step %d, then rotated", step), value(t, v, "a"), want.new, map[string]bool{})
			}
		})
	}
}

// TestRefusedTwice rotates with a disk that refuses a step, and once more with one that refuses another: the file may be
// under the key of the first try by then. Whatever is on the disk opens.
func TestRefusedTwice(t *testing.T) {
	for first := 1; ; first++ {
		for second := 1; ; second++ {
			home := t.TempDir()
			set(t, at(home), "b", "beside")
			set(t, at(home), "a", "old")
			disk := faulty.WrapDisk(store.OS)
			v := on(home, disk)
			if err := v.Err(); err != nil {
				t.Fatal(err)
			}
			before := disk.Calls()
			disk.FailAt(first, syscall.ENOSPC)
			_ = work(v, "rotate") // what it says is another test's
			if disk.Calls()-before < first {
				if first < 10 {
					t.Fatalf("%d steps", first)
				}
				return
			}
			before = disk.Calls()
			disk.FailAt(second, syscall.ENOSPC)
			_ = work(v, "rotate")
			last := disk.Calls()-before < second
			survives(t, home, fmt.Sprintf("refused at step %d, then at step %d", first, second), "old", "old", map[string]bool{})
			if last {
				break
			}
		}
	}
}
