package supervisor

import (
	"errors"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// account is who a program runs as.
type account struct {
	uid, gid int // -1: as the keeper
	groups   []int
	name     string
	home     string
	shell    string
}

// lookup finds the user and group of a program. Faults: invalid, reason no_such_user, no_such_group, not_permitted.
func lookup(p *config.Process) (account, error) {
	a := account{uid: -1, gid: -1}
	if p.User == "" && p.Group == "" {
		return a, nil
	}
	if os.Geteuid() != 0 {
		who := "user " + strconv.Quote(p.User)
		if p.User == "" {
			who = "group " + strconv.Quote(p.Group)
		}
		return a, fault.New(fault.Invalid, "cannot run as %s: the daemon does not run as root", who).WithReason("not_permitted").
			WithHint("drop user: and group:, or run the daemon as root")
	}
	if p.User != "" {
		u, err := user.Lookup(p.User)
		if err != nil {
			u, err = user.LookupId(p.User)
		}
		if err != nil {
			return a, fault.New(fault.Invalid, "there is no user %q", p.User).WithReason("no_such_user").WithHint("getent passwd shows who there is")
		}
		a.uid, _ = strconv.Atoi(u.Uid)
		a.gid, _ = strconv.Atoi(u.Gid)
		a.name, a.home, a.shell = u.Username, u.HomeDir, shellOf(u.Username)
		if ids, err := u.GroupIds(); err == nil {
			for _, id := range ids {
				if n, err := strconv.Atoi(id); err == nil {
					a.groups = append(a.groups, n)
				}
			}
		}
	}
	if p.Group != "" {
		g, err := user.LookupGroup(p.Group)
		if err != nil {
			g, err = user.LookupGroupId(p.Group)
		}
		if err != nil {
			return a, fault.New(fault.Invalid, "there is no group %q", p.Group).WithReason("no_such_group").WithHint("getent group shows which there are")
		}
		a.gid, _ = strconv.Atoi(g.Gid)
		if a.uid < 0 {
			a.groups = []int{a.gid}
		}
	}
	return a, nil
}

// shellOf gives the shell of a user as /etc/passwd names it, or "".
func shellOf(name string) string {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 && f[0] == name {
			return f[6]
		}
	}
	return ""
}

// environment is the whole environment of an instance: what its definition resolved to, then what is ours.
func environment(g *generation, who account, process string, n int) []string {
	env := map[string]string{}
	for k, v := range g.def.Env {
		env[k] = v
	}
	if who.name != "" { // unless the definition says otherwise, even that there is none
		for name, value := range map[string]string{"USER": who.name, "LOGNAME": who.name, "HOME": who.home, "SHELL": who.shell} {
			if _, set := env[name]; !set && value != "" && !slices.Contains(g.def.Unset, name) {
				env[name] = value
			}
		}
	}
	env["OMNITRON_PROJECT"], env["OMNITRON_STACK"], env["OMNITRON_APP"] = projectOf(g.app.Key), stackOf(g.app.Key), g.app.Name
	env["OMNITRON_PROCESS"], env["OMNITRON_INSTANCE"] = process, strconv.Itoa(n)
	for name, port := range g.ports {
		env[PortVariable(name)] = strconv.Itoa(port)
	}
	if len(g.def.Ports) == 1 {
		env["PORT"] = strconv.Itoa(g.ports[g.def.Ports[0].Name])
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// PortVariable is the name of the variable that carries a port's number.
func PortVariable(name string) string {
	return "PORT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// ports hands out the numbers of auto ports, each to one generation at a time.
type ports struct {
	mu    sync.Mutex
	taken map[int]int // number → generations that have it
}

// maxPort is the highest port that there is.
const maxPort = 65535

// draw gives the ports of instance n: base + n - 1, or a free one. free gives them back. Faults: invalid (no_such_port),
// limited (no_free_port).
func (p *ports) draw(def *config.Process, n int) (map[string]int, error) {
	if len(def.Ports) == 0 {
		return nil, nil
	}
	got := map[string]int{}
	for _, port := range def.Ports {
		number := port.Base + n - 1
		if port.Auto {
			var err error
			if number, err = p.unused(); err != nil {
				p.free(got)
				return nil, fault.Wrap(err, fault.Limited, "cannot find a free port for %q: %v", port.Name, err).WithReason("no_free_port")
			}
		} else if number > maxPort {
			p.free(got)
			return nil, fault.New(fault.Invalid, "instance %d would get port %d for %q, but %d is the highest there is", n, number, port.Name, maxPort).
				WithReason("no_such_port").WithHint("a lower base, fewer instances, or auto")
		} else {
			p.keep(map[string]int{port.Name: number})
		}
		got[port.Name] = number
	}
	return got, nil
}

// unused asks the kernel for a free port that no other generation was promised, and marks it as taken.
func (p *ports) unused() (int, error) {
	for range 64 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		number := l.Addr().(*net.TCPAddr).Port
		l.Close()
		p.mu.Lock()
		if free := p.taken[number] == 0; free {
			p.taken[number] = 1
			p.mu.Unlock()
			return number, nil
		}
		p.mu.Unlock()
	}
	return 0, errors.New("all that the kernel offered are promised already")
}

// keep marks ports as taken.
func (p *ports) keep(got map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range got {
		p.taken[n]++
	}
}

func (p *ports) free(got map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range got {
		if p.taken[n]--; p.taken[n] <= 0 {
			delete(p.taken, n)
		}
	}
}
