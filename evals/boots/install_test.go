package boots

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

const program = "/usr/local/bin/omnitron"

// project has an app with a child of its own, one that depends on it, and one that is not to run.
const project = `project: shop
apps:
  - {name: api, command: 'sleep 100001 & exec sleep 100002'}
  - {name: worker, command: [sleep, "100003"], dependsOn: [api]}
  - {name: idle, command: [sleep, "100004"]}
`

// status is what the daemon says of itself.
type status struct {
	Version string
	PID     int
	Keeper  struct {
		PID     int
		Version string
	}
}

// site is a machine with omnitron on it, and how it is called there.
type site struct {
	*machine
	user string
	home []string // flags
}

func (s *site) omnitron(args ...string) string {
	s.t.Helper()
	return s.apart(s.user, append([]string{"omnitron"}, args...)...)
}

func (s *site) status() (st status) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.omnitron("status", "-o", "json")), &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// pids gives the processes of what should run, sorted as pgrep does: those of api, its child, and worker.
func (s *site) pids() string {
	out, _ := s.try("", "pgrep", "-x", "-f", "sleep 10000[0-9]") // none is an answer too
	return strings.Join(strings.Fields(out), " ")
}

// running waits until exactly what is to run does.
func (s *site) running() string {
	s.t.Helper()
	var pids string
	s.until(20*time.Second, "api, its child and worker run", func() bool {
		out, _ := s.try("", "pgrep", "-a", "-x", "-f", "sleep 10000[0-9]")
		pids = s.pids()
		return strings.Count(out, "100001") == 1 && strings.Count(out, "100002") == 1 && strings.Count(out, "100003") == 1 && !strings.Contains(out, "100004")
	})
	return pids
}

// show is a property of the unit.
func (s *site) show(property string) string {
	s.t.Helper()
	return strings.TrimSpace(s.run("systemctl", "show", "--value", "-p", property, "omnitron.service"))
}

// same fails the test if other processes run than before.
func (s *site) same(before, after string) {
	s.t.Helper()
	if now := s.running(); now != before {
		s.t.Fatalf("%s: %s ran, and now %s", after, before, now)
	}
}

// serves waits until systemd's main process is the daemon's keeper, and gives what the daemon says.
func (s *site) serves() (st status) {
	s.t.Helper()
	s.until(20*time.Second, "the service is active, and its main process is the keeper of a daemon that answers", func() bool {
		st = status{}
		out, err := s.try("", "omnitron", "status", "-o", "json")
		return err == nil && json.Unmarshal([]byte(out), &st) == nil && s.show("ActiveState") == "active" && s.show("MainPID") == strconv.Itoa(st.Keeper.PID)
	})
	return st
}

func newSite(t *testing.T) *site {
	s := &site{machine: newMachine(t, systemd...), user: "root"}
	s.put(rig.Binary(t), program, 0o755)
	if err := s.write("/root/omnitron.yaml", []byte(project), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) up() string {
	s.t.Helper()
	s.omnitron("up")
	s.omnitron("stop", "idle")
	return s.running()
}

// TestInstall: installed, everything killed, restarted, rebooted, removed.
func TestInstall(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	out := s.omnitron("install")
	for _, want := range []string{"written   /etc/systemd/system/omnitron.service", "systemctl daemon-reload", "systemctl enable omnitron.service", "systemctl start omnitron.service"} {
		if !strings.Contains(out, want) {
			t.Errorf("install does not say %q:\n%s", want, out)
		}
	}
	if out := s.omnitron("install"); !strings.Contains(out, "nothing to do") {
		t.Errorf("once more:\n%s", out)
	}
	s.run("systemd-analyze", "verify", "--man=no", "/etc/systemd/system/omnitron.service")
	s.serves()
	apps := s.up()

	s.run("kill", "-9", s.show("MainPID"))
	s.until(20*time.Second, "systemd has started the service again", func() bool { return s.show("NRestarts") == "1" })
	s.serves()
	s.same(apps, "the keeper was killed")

	daemon := s.status().PID
	s.run("kill", "-9", strconv.Itoa(daemon))
	s.until(20*time.Second, "another daemon answers", func() bool {
		var st status
		out, err := s.try("", "omnitron", "status", "-o", "json")
		return err == nil && json.Unmarshal([]byte(out), &st) == nil && st.PID != daemon
	})
	s.serves()
	s.same(apps, "the daemon was killed")

	s.run("systemctl", "reload", "omnitron.service")
	s.same(apps, "the service was reloaded")

	s.run("systemctl", "restart", "omnitron.service")
	s.serves()
	if now := s.running(); now == apps {
		t.Error("restarting the service stops what it runs, and starts it again; it did not")
	}

	s.reboot()
	s.serves()
	s.running()
	s.shutdown()
	s.serves()
	s.running()

	out = s.omnitron("uninstall")
	if !strings.Contains(out, "removed   /etc/systemd/system/omnitron.service") {
		t.Errorf("uninstall says:\n%s", out)
	}
	if left := s.pids(); left != "" {
		t.Errorf("still running: %s", left)
	}
	if out, _ := s.try("", "sh", "-c", "pgrep -a '^omnitron'; find /etc/systemd /run/systemd/system /sys/fs/cgroup -name '*omnitron*'; systemctl list-units --all --no-legend '*omnitron*'"); strings.TrimSpace(out) != "" {
		t.Errorf("left behind:\n%s", out)
	}
	if out := s.omnitron("uninstall"); !strings.Contains(out, "nothing to do") {
		t.Errorf("once more:\n%s", out)
	}
	s.reboot()
	if left := s.pids(); left != "" {
		t.Errorf("started after a boot, uninstalled: %s", left)
	}
}

// TestInstallWhatRuns: a daemon that was started by hand goes on under systemd, and its apps see nothing of it.
func TestInstallWhatRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	apps, before := s.up(), s.status()
	s.omnitron("install")
	after := s.serves()
	s.same(apps, "the daemon that ran was installed")
	if after.PID != before.PID || after.Keeper.PID == before.Keeper.PID {
		t.Errorf("before %+v, after %+v", before, after)
	}
	s.run("systemctl", "stop", "omnitron.service")
	if left := s.pids(); left != "" {
		t.Errorf("still running: %s", left)
	}
	s.run("systemctl", "start", "omnitron.service")
	s.serves()
	s.running()
}
