package cage

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBindV2 shows what is written where the second version has the controllers. The files are made before: a real group has
// them, and this machine may not.
func TestBindV2(t *testing.T) {
	root := t.TempDir()
	held := filepath.Join(root, "omnitron-x", "app.1-1")
	files := map[string]string{}
	makeFiles := func(dir string, names ...string) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if err := os.WriteFile(filepath.Join(dir, n), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	makeFiles(held, "memory.max", "memory.swap.max", "cpu.max", "cgroup.controllers")
	if err := os.WriteFile(filepath.Join(held, "cgroup.controllers"), []byte("cpu io memory pids\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	further, failed := Bind(Bounds{Memory: 1 << 20, CPU: 1.5}, V2, held, "app.1-1", nil)
	for _, n := range []string{"memory.max", "memory.swap.max", "cpu.max"} {
		b, err := os.ReadFile(filepath.Join(held, n))
		if err != nil {
			t.Fatal(err)
		}
		files[n] = string(b)
	}
	if len(further) > 0 || len(failed) > 0 || files["memory.max"] != "1048576" || files["memory.swap.max"] != "0" || files["cpu.max"] != "150000 100000" {
		t.Errorf("further %v, failed %v, written %v", further, failed, files)
	}
	// Without them, and without a place of the first version, it says which.
	if err := os.WriteFile(filepath.Join(held, "cgroup.controllers"), []byte("pids"), 0o644); err != nil {
		t.Fatal(err)
	}
	further, failed = Bind(Bounds{Memory: 1 << 20, CPU: 1.5}, V2, held, "app.1-1", nil)
	if len(further) > 0 || failed["memory"] == nil || failed["cpu"] == nil {
		t.Errorf("further %v, failed %v", further, failed)
	}
	// Without swap there is no such file, and that is no failure.
	if err := os.Remove(filepath.Join(held, "memory.swap.max")); err != nil {
		t.Fatal(err)
	}
	if err := (Bounds{Memory: 5}).set(V2, memory, held); err != nil {
		t.Error(err)
	}
}

func TestStarved(t *testing.T) {
	v2, v1 := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{v2 + "/memory.events": "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", v1 + "/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := Starved(v2, v1, "", t.TempDir()); n != 3 {
		t.Errorf("%d have starved, not 3", n)
	}
}

func TestBounders(t *testing.T) {
	info := "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
	got := bounders(info, "4:memory:/a/b\n1:cpu,cpuacct:/c\n0::/d\n", "omnitron-x")
	if len(got) != 2 || got["memory"].Dir != "/sys/fs/cgroup/memory/a/b/omnitron-x" || got["cpu"].Dir != "/sys/fs/cgroup/cpu/c/omnitron-x" {
		t.Errorf("%v", got)
	}
	if got := bounders("", "0::/d\n", "omnitron-x"); len(got) > 0 {
		t.Errorf("without the first version: %v", got)
	}
}
