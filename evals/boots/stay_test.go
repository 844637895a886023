package boots

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// another builds omnitron of another version, its keeper too.
func another(t *testing.T, version string) string {
	t.Helper()
	root, err := rig.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keeper, whole, overlay := filepath.Join(dir, "keeper"), filepath.Join(dir, "omnitron"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, "cmd", "boot", "keeper.bin"): keeper}})
	if err == nil {
		err = os.WriteFile(overlay, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"build", "-trimpath", "-ldflags", "-s -w -X main.version=" + version, "-o", keeper, "./cmd/omnitron-keeper"},
		{"build", "-trimpath", "-tags", "embedkeeper", "-overlay", overlay, "-ldflags", "-s -w -X main.version=" + version, "-o", whole, "./cmd/omnitron"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	return whole
}

// TestUpgrade: another version takes over, and one that is no good does not.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.omnitron("install")
	s.serves()
	apps := s.up()
	main := s.show("MainPID")
	next := another(t, "v9.9.9")
	s.put(next, "/root/next", 0o755)
	text, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	out := s.omnitron("upgrade", "--from", "/root/next", "--sha256", hex.EncodeToString(sum[:]))
	if !strings.Contains(out, program+" is v9.9.9") || !strings.Contains(out, "daemon: replaced") {
		t.Errorf("upgrade says:\n%s", out)
	}
	s.until(20*time.Second, "daemon and keeper are the new ones", func() bool {
		st := s.serves()
		return st.Version == "v9.9.9" && st.Keeper.Version == "v9.9.9"
	})
	s.same(apps, "it was upgraded")
	if now := s.show("MainPID"); now != main {
		t.Errorf("systemd's main process was %s and is %s", main, now)
	}

	// One that says its version, and cannot be a daemon.
	bad := "#!/bin/sh\nif [ \"$1\" = version ]; then echo '{\"version\":\"v10\"}'; exit; fi\nexit 1\n"
	if err := s.write("/root/bad", []byte(bad), 0o755); err != nil {
		t.Fatal(err)
	}
	sum = sha256.Sum256([]byte(bad))
	if err := s.write("/root/bad.sha256", []byte(hex.EncodeToString(sum[:])+"  bad\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	failed, err := s.try("", program, "upgrade", "--from", "/root/bad", "-o", "json")
	if err == nil || !strings.Contains(failed, "upgrade_undone") {
		t.Errorf("%v\n%s", err, failed)
	}
	if st := s.serves(); st.Version != "v9.9.9" {
		t.Errorf("%+v", st)
	}
	s.same(apps, "an upgrade was undone")
	if left := strings.Fields(s.run("ls", "-A", filepath.Dir(program))); len(left) != 1 {
		t.Errorf("left beside the program: %v", left)
	}
}

// TestPackage: installed, upgraded, removed and purged as dpkg does.
func TestPackage(t *testing.T) {
	t.Parallel()
	root, err := rig.Root()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{machine: newMachine(t, systemd...), user: "root"}
	if err := s.write("/root/omnitron.yaml", []byte(project), 0o644); err != nil {
		t.Fatal(err)
	}
	deb := func(version, binary string) string {
		t.Helper()
		dir := t.TempDir()
		cmd := exec.Command("make", "-s", "-o", "build", "package", "BIN="+binary, "PACKAGE="+dir, "DEB_VERSION="+version)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%v %v", found, err)
		}
		to := "/root/omnitron_" + version + ".deb"
		s.put(found[0], to, 0o644)
		return to
	}
	s.run("dpkg", "-i", deb("1.0.0", rig.Binary(t)))
	s.serves()
	if got := s.show("FragmentPath"); got != "/lib/systemd/system/omnitron.service" && got != "/usr/lib/systemd/system/omnitron.service" {
		t.Errorf("the unit is %s", got)
	}
	apps, main := s.up(), s.show("MainPID")
	for path, want := range map[string]string{"/usr/share/man/man1/omnitron.1.gz": "Omnitron runs your apps", "/usr/share/man/man1/omnitron-up.1.gz": "omnitron-up"} {
		if text := s.run("zcat", path); !strings.Contains(text, want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}
	if out := s.run("bash", "-c", ". /usr/share/bash-completion/completions/omnitron; type __start_omnitron; omnitron __complete stop w"); !strings.Contains(out, "worker\trunning") {
		t.Errorf("completion:\n%s", out)
	}
	if out, err := s.try("", "omnitron", "upgrade", "--json"); err == nil || !strings.Contains(out, `"packaged"`) {
		t.Errorf("what dpkg owns is upgraded: %v\n%s", err, out)
	}
	if out := s.omnitron("install"); !strings.Contains(out, "nothing to do") {
		t.Errorf("install beside the package:\n%s", out)
	}

	s.run("dpkg", "-i", deb("2.0.0", another(t, "v2.0.0")))
	s.until(20*time.Second, "daemon and keeper are the new ones", func() bool {
		st := s.serves()
		return st.Version == "v2.0.0" && st.Keeper.Version == "v2.0.0"
	})
	s.same(apps, "the package was upgraded")
	if now := s.show("MainPID"); now != main {
		t.Errorf("systemd's main process was %s and is %s", main, now)
	}
	s.reboot()
	s.serves()
	s.running()

	s.run("dpkg", "-r", "omnitron")
	if left, _ := s.try("", "sh", "-c", "pgrep -a '^omnitron'; pgrep -ax -f 'sleep 10000[0-9]'; systemctl is-active omnitron.service | grep -v inactive"); strings.TrimSpace(left) != "" {
		t.Errorf("removed, and left:\n%s", left)
	}
	if out := s.run("dpkg", "--purge", "omnitron"); !strings.Contains(out, "/root/.omnitron stays") {
		t.Errorf("purge says:\n%s", out)
	}
	s.run("test", "-e", "/root/.omnitron/state.json")
	s.run("dpkg", "-i", "/root/omnitron_2.0.0.deb")
	s.serves()
	s.running()
	s.run("env", "OMNITRON_PURGE_HOME=yes", "dpkg", "--purge", "omnitron")
	if left, _ := s.try("", "sh", "-c", "find / -xdev -name '*omnitron*' ! -path '/root/omnitron*' ! -path '/proc/*' ! -path '/var/log/*' ! -path '/var/lib/dpkg/*'; pgrep -a '^omnitron'"); strings.TrimSpace(left) != "" {
		t.Errorf("purged, and left:\n%s", left)
	}
}

// TestUser: somebody's own daemon, which is there after a boot without anybody logging in.
func TestUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.run("useradd", "-m", "-s", "/bin/sh", "ann")
	s.run("loginctl", "enable-linger", "ann")
	s.run("cp", "/root/omnitron.yaml", "/home/ann/omnitron.yaml")
	s.user = "ann"
	uid := strings.TrimSpace(s.run("id", "-u", "ann"))
	s.until(20*time.Second, "ann has a systemd", func() bool {
		_, err := s.try("", "test", "-e", "/run/user/"+uid+"/systemd/private")
		return err == nil
	})
	if out := s.omnitron("install"); !strings.Contains(out, "/home/ann/.config/systemd/user/omnitron.service") {
		t.Errorf("install says:\n%s", out)
	}
	apps := s.up()
	s.run("sh", "-c", fmt.Sprintf("kill -9 %d", s.status().Keeper.PID))
	active := func() string {
		out, _ := s.try("", "systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=ann", "--setenv=XDG_RUNTIME_DIR=/run/user/"+uid, "systemctl", "--user", "show", "--value", "-p", "ActiveState,MainPID", "omnitron.service")
		return strings.Join(strings.Fields(out), " ")
	}
	s.until(20*time.Second, "ann's service has the keeper again", func() bool { return active() == fmt.Sprintf("%d active", s.status().Keeper.PID) })
	s.same(apps, "ann's keeper was killed")
	s.reboot()
	s.running()
	s.omnitron("uninstall")
	if left := s.pids(); left != "" {
		t.Errorf("still running: %s", left)
	}
}

// TestCron: a machine without systemd, whose first process is cron.
func TestCron(t *testing.T) {
	t.Parallel()
	s := &site{machine: newMachine(t, "/usr/sbin/cron", "-f"), user: "root"}
	s.put(rig.Binary(t), program, 0o755)
	if err := s.write("/root/omnitron.yaml", []byte(project), 0o644); err != nil {
		t.Fatal(err)
	}
	cd := func(args ...string) string {
		t.Helper()
		return s.run(append([]string{"env", "-C", "/root", "omnitron"}, args...)...)
	}
	if out := cd("install"); !strings.Contains(out, "written   crontab of root") {
		t.Errorf("install says:\n%s", out)
	}
	if out := cd("install"); !strings.Contains(out, "nothing to do") {
		t.Errorf("once more:\n%s", out)
	}
	cd("up")
	cd("stop", "idle")
	s.running()
	s.reboot()
	s.running()
	cd("uninstall")
	if out, _ := s.try("", "crontab", "-l"); strings.Contains(out, "omnitron") {
		t.Errorf("the crontab is\n%s", out)
	}
	cd("down")
	s.reboot()
	if left := s.pids(); left != "" {
		t.Errorf("still running: %s", left)
	}
}
