// Package programs_test keeps servers alive that nobody here wrote: redis, PostgreSQL, nginx, python and node, each with
// its own idea of processes, users, signals and output.
package programs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

func TestProgramsThatNobodyHereWrote(t *testing.T) {
	p := newProjectOfRoot(t)
	up := func(t *testing.T) {
		p.Up(p.yaml())
		p.listed(t)
		p.logged(t)
		p.served(t)
	}
	p.step(t, "up", up)
	for _, name := range p.names {
		p.step(t, "kill -9 "+name, func(t *testing.T) { p.killed(t, name) })
	}
	p.step(t, "kill -9 of the daemon", p.daemonKilled)
	p.step(t, "down", p.down)
	p.step(t, "up again", up)
	p.step(t, "down again", p.down)
}

// TestProgramsOfAnOrdinaryUser: the same for somebody without rights, where no control group holds a tree together.
func TestProgramsOfAnOrdinaryUser(t *testing.T) {
	uid := 65534
	if os.Geteuid() != 0 {
		uid = 0 // it is one who runs the tests
	}
	p := newProject(t, uid)
	p.step(t, "up", func(t *testing.T) {
		p.Up(p.yaml())
		p.listed(t)
		p.logged(t)
		p.served(t)
		p.mine(t)
	})
	for _, name := range p.names {
		p.step(t, "kill -9 "+name, func(t *testing.T) { p.killed(t, name) })
	}
	p.step(t, "kill -9 of the daemon", p.daemonKilled)
	p.step(t, "down", p.down)
}

// mine looks at who everything runs as: the programs, the daemon and the keeper.
func (p *project) mine(t *testing.T) {
	t.Helper()
	pids := []int{p.DaemonPID(), p.KeeperPID()}
	for _, name := range p.names {
		for _, q := range p.tree(name) {
			pids = append(pids, q.PID)
		}
	}
	for _, pid := range pids {
		st, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		if err != nil {
			t.Fatal(err)
		}
		if uid := st.Sys().(*syscall.Stat_t).Uid; uid != uint32(max(p.UID, os.Geteuid())) {
			t.Errorf("pid %d runs as %d", pid, uid)
		}
	}
}

// step runs a part of the scenario; the next one needs it to have gone well.
func (p *project) step(t *testing.T, name string, f func(t *testing.T)) {
	if !t.Run(name, func(sub *testing.T) {
		p.T = sub
		defer func() { p.T = t }()
		f(sub)
	}) {
		t.FailNow()
	}
}

// row is what ls shows of an app.
type row struct {
	Name, State, Health, Ready string
	PID                        int
	Ports                      []int
	Restarts                   int
}

// rows waits until every app runs and every probe has answered, and gives what ls then shows.
func (p *project) rows() map[string]row {
	p.T.Helper()
	got := map[string]row{}
	p.Until(30*time.Second, "every app is running, and healthy where it has a probe", func() bool {
		ran := p.Run("ls", "--json")
		if ran.Code == 2 { // the daemon has been killed, and the next one is on its way
			return false
		}
		var list struct{ Items []row }
		if err := json.Unmarshal([]byte(ran.Out), &list); err != nil {
			p.T.Fatal(err, ran.Out)
		}
		clear(got)
		for _, r := range list.Items {
			if r.State != "running" || r.Name != "node" && r.Health != "healthy" {
				return false
			}
			got[r.Name] = r
		}
		return true
	})
	return got
}

// listed looks at ls: everything is ready, with its pid, its port and its health.
func (p *project) listed(t *testing.T) {
	t.Helper()
	rows := p.rows()
	if len(rows) != len(p.names) {
		t.Errorf("ls shows %d apps, expected %d", len(rows), len(p.names))
	}
	for _, name := range p.names {
		r := rows[name]
		if r.Ready != "1/1" || r.PID == 0 {
			t.Errorf("%s: ready %q, pid %d", name, r.Ready, r.PID)
		}
		if want := p.port(name); len(r.Ports) != 1 || r.Ports[0] != want {
			t.Errorf("%s: ls shows ports %v, it listens on %d", name, r.Ports, want)
		}
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.port(name)))
		if err != nil {
			t.Errorf("%s is ready and cannot be reached: %v", name, err)
			continue
		}
		c.Close()
	}
	table := p.OK("ls")
	for _, name := range p.names {
		if !strings.Contains(table, name) {
			t.Errorf("the table lacks %s:\n%s", name, table)
		}
	}
}

// hallmarks are what each program is known to print at its start.
var hallmarks = map[string]string{
	"cache": "Ready to accept connections",
	"db":    "database system is ready to accept connections",
	"web":   "start worker process",
	"files": `"GET / HTTP/1.1" 200`, // of the readiness probe
	"node":  `"msg":"listening"`,
}

// logged looks at the lines of each and at what why says while all is well.
func (p *project) logged(t *testing.T) {
	t.Helper()
	for _, name := range p.names {
		p.Until(10*time.Second, name+" has printed "+hallmarks[name], func() bool {
			return strings.Contains(p.OK("logs", name, "--grep", regexp.QuoteMeta(hallmarks[name])), hallmarks[name])
		})
		var why struct{ State, Summary, Health string }
		if err := json.Unmarshal([]byte(p.OK("why", name, "--json")), &why); err != nil {
			t.Fatal(err)
		}
		if why.State != "running" || !strings.Contains(why.Summary, name+" runs since") {
			t.Errorf("why %s: %s, %q", name, why.State, why.Summary)
		}
	}
}

// killed ends a main process by SIGKILL: it comes back with a new pid and is ready again, nothing of the old tree is
// left, and why names the signal.
func (p *project) killed(t *testing.T, name string) {
	before := p.App(name)
	old := before.Instances[0]
	tree := p.tree(name)
	if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var now rig.App
	p.Until(30*time.Second, name+" is back", func() bool {
		now = p.App(name)
		return now.State == "running" && now.Instances[0].PID != old.PID
	})
	if now.Instances[0].Generation != old.Generation+1 || now.Restarts != before.Restarts+1 {
		t.Errorf("generation %d → %d, restarts %d → %d: expected one start", old.Generation, now.Instances[0].Generation, before.Restarts, now.Restarts)
	}
	for _, q := range tree {
		if q.lives() {
			t.Errorf("pid %d of the killed tree lives: %s", q.PID, q.Args)
		}
	}
	p.listed(t)
	p.answers(t, name)
	var why struct {
		Summary string
		Exits   []struct{ Signal, Message string }
	}
	if err := json.Unmarshal([]byte(p.OK("why", name, "--json")), &why); err != nil {
		t.Fatal(err)
	}
	if len(why.Exits) == 0 || why.Exits[0].Signal != "SIGKILL" {
		t.Errorf("why %s does not name the SIGKILL: %+v", name, why)
	}
}

// daemonKilled ends the daemon by SIGKILL while node prints: same programs afterwards, and not a line is missing.
func (p *project) daemonKilled(t *testing.T) {
	for range rig.Count(2, 10) {
		before := map[string][]process{}
		for _, name := range p.names {
			before[name] = p.tree(name)
		}
		line := p.lastNumber(t)
		p.KillDaemon()
		rows := p.rows()
		for _, name := range p.names {
			main := before[name][0]
			if rows[name].PID != main.PID || !main.lives() {
				t.Errorf("%s: pid %d before the daemon died, %d after", name, main.PID, rows[name].PID)
			}
			p.answers(t, name)
		}
		p.Until(10*time.Second, "node has printed a hundred lines more", func() bool { return p.lastNumber(t) > line+100 })
	}
	p.numbered(t)
}

// numbered reads what is stored of node's output: every run counts from 1 without a hole.
func (p *project) numbered(t *testing.T) {
	t.Helper()
	var stored bytes.Buffer
	if _, err := rig.Stored(&stored, p.LogPath(p.key("node"), "out")); err != nil {
		t.Fatal(err)
	}
	next, runs, lines := 0, 0, 0
	for line := range bytes.Lines(stored.Bytes()) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			continue // the one that is being printed, or that the kill cut
		}
		n, ok := number(line)
		switch {
		case !ok:
			continue
		case n == 1 && next != 1:
			runs, next = runs+1, 1
		case n != next:
			t.Fatalf("line %d follows line %d", n, next-1)
		}
		next, lines = n+1, lines+1
	}
	if runs != 2 || lines < 200 {
		t.Errorf("%d runs with %d numbered lines are stored, expected 2 runs: it was killed once", runs, lines)
	}
	t.Logf("%d numbered lines in %d runs", lines, runs)
}

// number reads the n of one of node's lines.
func number(line []byte) (int, bool) {
	var v struct{ N int }
	if json.Unmarshal(line, &v) != nil || v.N == 0 {
		return 0, false
	}
	return v.N, true
}

// lastNumber is how far node has counted, as the daemon tells.
func (p *project) lastNumber(t *testing.T) int {
	t.Helper()
	var page struct{ Items []struct{ Text string } }
	p.Until(20*time.Second, "logs.query answers with a numbered line", func() bool {
		if p.Call("logs.query", map[string]any{"names": []string{"node"}, "stream": "out", "limit": 1}, &page) != nil {
			return false
		}
		if len(page.Items) == 0 {
			return false
		}
		_, ok := number([]byte(page.Items[0].Text))
		return ok
	})
	n, _ := number([]byte(page.Items[0].Text))
	return n
}

// down ends everything: no process of any tree, nothing in a cgroup of the project, no listener.
func (p *project) down(t *testing.T) {
	var all []process
	ports := map[string]int{}
	for _, name := range p.names {
		tree := p.tree(name)
		all, ports[name] = append(all, tree...), p.port(name)
	}
	if len(all) < p.fewest {
		t.Errorf("only %d processes before down", len(all))
	}
	p.OK("down")
	for _, q := range all {
		if q.lives() {
			t.Errorf("after down pid %d lives: %s", q.PID, q.Args)
		}
	}
	for _, q := range p.inGroups() {
		t.Errorf("after down pid %d is in a group of the project: %s", q.PID, q.Args)
	}
	for name, port := range ports {
		if c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second); err == nil {
			c.Close()
			t.Errorf("after down somebody listens on the port of %s", name)
		}
	}
	p.Until(5*time.Second, "daemon and keeper have ended", func() bool { return len(p.Left()) == 0 })
	if _, err := os.Stat(p.data + "/pg/postmaster.pid"); err == nil {
		t.Error("PostgreSQL has left its postmaster.pid: it was not stopped by its own signal")
	}
}

// process is one member of a tree, by pid and start.
type process struct{ rig.Process }

func (q process) lives() bool {
	now, ok := rig.ReadProcess(q.PID)
	return ok && now.Start == q.Start && now.State != 'Z'
}

// tree gives the main process of an app and everything below it.
func (p *project) tree(name string) []process {
	p.T.Helper()
	root := p.PID(name)
	all := rig.Processes()
	var out []process
	var add func(pid int)
	add = func(pid int) {
		for _, q := range all {
			if q.PID == pid {
				out = append(out, process{q})
			}
			if q.PPID == pid {
				add(q.PID)
			}
		}
	}
	add(root)
	if len(out) == 0 {
		p.T.Fatalf("%s has no process", name)
	}
	slices.SortStableFunc(out, func(a, b process) int { // the main process first
		return boolInt(b.PID == root) - boolInt(a.PID == root)
	})
	return out
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// inGroups gives the processes in cgroups that carry the project's name, which no other test has.
func (p *project) inGroups() []rig.Process {
	var out []rig.Process
	for _, q := range rig.Processes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", q.PID))
		if err == nil && strings.Contains(string(text), p.name+".dev.") {
			out = append(out, q)
		}
	}
	return out
}
