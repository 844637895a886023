package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// member is an app among apps or a process among processes: what dependencies are about.
type member struct {
	name    string
	at      *tree.Node
	oneshot bool
	planned bool // it has a schedule
	enabled bool
	deps    []schema.Value[dependencyKeys]
	out     *[]Dependency
}

// checkApps looks at what only all apps together show.
func (l *loader) checkApps(def *Definition, keys []schema.Value[appKeys]) {
	apps := make([]member, len(keys))
	seen := map[string]*tree.Node{}
	for i, k := range keys {
		a := &def.Apps[i]
		if first := seen[a.Name]; first != nil {
			l.mean(k.V.Name.Node, "the app %q is there twice", a.Name).Hint = first.Beside(k.V.Name.Node)
		} else if k.V.Name.Set() {
			seen[a.Name] = k.V.Name.Node
		}
		apps[i] = member{a.Name, k.V.Name.Node, a.Oneshot, a.Schedule != nil, a.Enabled, k.V.DependsOn.V, &a.DependsOn}
		if a.Classic {
			continue
		}
		processes := make([]member, len(k.V.Processes.V))
		for j, p := range k.V.Processes.V {
			processes[j] = member{p.V.Name.V, p.V.Name.Node, a.Oneshot, false, true, p.V.DependsOn.V, &a.Processes[j].DependsOn}
		}
		l.dependencies("process", processes)
	}
	l.dependencies("app", apps)
	l.portClashes(def, keys)
	l.socketClashes(def, keys)
}

func (l *loader) dependencies(what string, ms []member) {
	index, names := map[string]int{}, []string{}
	for i, m := range ms {
		if _, twice := index[m.name]; m.name != "" && !twice {
			index[m.name] = i
			names = append(names, m.name)
		}
	}
	edges := make([][]edge, len(ms))
	for i, m := range ms {
		for _, v := range m.deps {
			k := v.V
			name, at, until := k.App.V, v.Node, k.Until
			if k.App.Set() {
				at = k.App.Node
			}
			if k.Process.Set() {
				name, at = k.Process.V, k.Process.Node
			}
			j, known := index[name]
			switch {
			case name == "": // its name is wrong, which has been said
				continue
			case !known:
				p := l.mean(at, "there is no %s %q to depend on", what, name)
				if p.Near = fault.Near(name, names); p.Near == "" {
					p.Allowed = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == m.name })
				}
				continue
			case ms[j].planned:
				l.mean(at, "%s runs at its times, so nothing can wait for it", name).Hint = "remove the dependency, or its schedule"
				continue
			case slices.ContainsFunc(*m.out, func(d Dependency) bool { return d.Name == name }):
				l.mean(at, "%q is named twice", name)
				continue
			}
			edges[i] = append(edges[i], edge{j, at})
			*m.out = append(*m.out, Dependency{name, l.until(ms[j], until)})
			if m.enabled && !ms[j].enabled {
				l.warn(at.Pos, "%s depends on %s, which is not enabled: it waits until somebody starts that", m.name, name)
			}
		}
	}
	l.cycles(ms, edges)
}

// until is what a dependency waits for; a oneshot is never ready, everything else never completes.
func (l *loader) until(on member, v schema.Value[string]) string {
	switch {
	case !v.Set() && on.oneshot:
		return "completed"
	case !v.Set():
		return "ready"
	case v.V == "completed" && !on.oneshot:
		l.mean(v.Node, "%s never completes: it is no oneshot", on.name).Hint = "use ready or started, or make it a oneshot"
	case v.V == "ready" && on.oneshot:
		l.mean(v.Node, "%s is a oneshot and never ready", on.name).Hint = "use completed or started"
	}
	return v.V
}

type edge struct {
	to int
	at *tree.Node
}

// cycles reports each dependency that closes a circle, with the circle spelled out.
func (l *loader) cycles(ms []member, edges [][]edge) {
	const open, done = 1, 2
	state := make([]int, len(ms))
	var path []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = open
		path = append(path, i)
		for _, e := range edges[i] {
			switch {
			case e.to == i:
				l.mean(e.at, "%s depends on itself", ms[i].name)
			case state[e.to] == open:
				var names []string
				for _, j := range path[slices.Index(path, e.to):] {
					names = append(names, ms[j].name)
				}
				l.mean(e.at, "dependencies go in a circle: %s", circle(names)).Hint = "remove one of them"
			case state[e.to] == 0:
				visit(e.to)
			}
		}
		path = path[:len(path)-1]
		state[i] = done
	}
	for i := range ms {
		if state[i] == 0 {
			visit(i)
		}
	}
}

func circle(names []string) string {
	if len(names) > 12 {
		names = append(append(slices.Clone(names[:6]), "…"), names[len(names)-5:]...)
	}
	return strings.Join(append(names, names[0]), " → ")
}

// portClashes finds programs that would want the same port.
func (l *loader) portClashes(def *Definition, keys []schema.Value[appKeys]) {
	type span struct {
		low, high int
		owner     string
		at        *tree.Node
	}
	var spans []span
	for i, a := range def.Apps {
		if !a.Enabled {
			continue
		}
		for j, p := range a.Processes {
			k, owner := keys[i].V.programKeys, a.Name
			if !a.Classic {
				k, owner = keys[i].V.Processes.V[j].V, a.Name+":"+p.Name
			}
			for n, port := range p.Ports {
				if port.Base > 0 {
					spans = append(spans, span{port.Base, port.Base + p.Instances - 1, owner + " " + port.Name, k.Ports.V[n].Value.Node})
				}
			}
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.low, b.low) })
	reach := -1 // the span so far that goes furthest
	for i, s := range spans {
		if reach >= 0 && s.low <= spans[reach].high {
			first, second := spans[reach], s
			if second.at.Line < first.at.Line || second.at.Line == first.at.Line && second.at.Column < first.at.Column {
				first, second = second, first
			}
			l.mean(second.at, "%s and %s both want port %d", first.owner, second.owner, s.low).Hint = "choose another number, or auto; each instance takes the next number"
		}
		if reach < 0 || s.high > spans[reach].high {
			reach = i
		}
	}
}

// socketClashes finds sockets at one address, and ports that would be taken by a socket.
func (l *loader) socketClashes(def *Definition, keys []schema.Value[appKeys]) {
	type place struct {
		owner, network string
		ip             netip.Addr
		low, high      int
		path           string
		at             *tree.Node
	}
	clash := func(a, b place) bool {
		if a.network != b.network {
			return false
		}
		anywhere := !a.ip.IsValid() || !b.ip.IsValid() || a.ip.IsUnspecified() || b.ip.IsUnspecified() // of a port nobody knows where its program listens
		return a.path == b.path && a.low <= b.high && b.low <= a.high && (anywhere || a.ip == b.ip)
	}
	var ports, sockets []place
	for i, a := range def.Apps {
		for j, p := range a.Processes {
			if !a.Enabled {
				continue
			}
			k, owner := keys[i].V.programKeys, a.Name
			if !a.Classic {
				k, owner = keys[i].V.Processes.V[j].V, a.Name+":"+p.Name
			}
			for n, port := range p.Ports {
				if port.Base > 0 {
					ports = append(ports, place{owner: owner + " " + port.Name, network: "tcp", low: port.Base, high: port.Base + p.Instances - 1, at: k.Ports.V[n].Value.Node})
				}
			}
			for _, s := range p.Sockets {
				n := slices.IndexFunc(k.Sockets.V, func(e schema.Entry[socketKeys]) bool { return e.Key.Text == s.Name })
				one := place{owner: owner + " " + s.Name, network: s.Network, path: s.Address, at: k.Sockets.V[n].Value.Node}
				if at, err := netip.ParseAddrPort(s.Address); s.Network == "tcp" && err == nil {
					one.path, one.ip, one.low, one.high = "", at.Addr(), int(at.Port()), int(at.Port())
				}
				sockets = append(sockets, one)
			}
		}
	}
	for i, s := range sockets {
		for _, o := range slices.Concat(ports, sockets[:i]) {
			if clash(s, o) {
				l.mean(s.at, "%s and %s both want %s", o.owner, s.owner, cmp.Or(s.path, fmt.Sprintf("port %d", s.low))).Hint = "choose another address"
				break
			}
		}
	}
}

// sockets resolves where a program's sockets are.
func (l *loader) sockets(k programKeys) []Socket {
	var out []Socket
	for _, e := range k.Sockets.V {
		v, at := e.Value.V, e.Value.Node
		s := Socket{Name: e.Key.Text, Network: "tcp", Address: v.Address}
		path := v.Address
		if v.Path.Set() {
			path, at = v.Path.V, v.Path.Node
		}
		if v.Path.Set() || strings.Contains(path, "/") {
			s.Network, s.Address, s.Mode = "unix", l.path(l.dir, path), v.Mode.Or(defaultSocketMode)
			if len(s.Address) > longestSocketPath {
				l.mean(at, "the path of a socket has at most %d bytes, and %s has %d", longestSocketPath, l.shown(s.Address), len(s.Address)).Hint = "a shorter one"
			}
			out = append(out, s)
			continue
		}
		host, port, err := net.SplitHostPort(path)
		n, bad := strconv.Atoi(port)
		if err != nil || bad != nil || n < 1 || n > 65535 {
			l.mean(at, "%.60q is no address to listen on", path).Hint = "ip:port, such as 127.0.0.1:8000; :8000 for every address of the machine; or a path with a slash"
			continue
		}
		switch host {
		case "":
			host = "::"
		case "localhost":
			host = "127.0.0.1"
		}
		ip, err := netip.ParseAddr(host)
		if err != nil || ip.Zone() != "" {
			l.mean(at, "%.60q is no address of this machine", host).Hint = "a number such as 127.0.0.1: names are not looked up"
			continue
		}
		s.Address = netip.AddrPortFrom(ip.Unmap(), uint16(n)).String()
		out = append(out, s)
	}
	return out
}

// What holds of sockets in the file system.
const (
	defaultSocketMode = 0o660
	longestSocketPath = 107
)

// reload resolves how a program is reloaded.
func (l *loader) reload(c programContext, p *Process, v schema.Value[reloadKeys]) *Reload {
	if !v.Set() {
		return nil
	}
	if c.app.Oneshot {
		l.mean(v.Node, "a oneshot is not reloaded: it ends by itself").Hint = "remove reload, or oneshot"
	}
	r := &Reload{Signal: v.V.Signal.V, Timeout: v.V.Timeout.Or(defaultReadyTimeout)}
	if v.V.Command.Set() {
		r.Command = plain(v.V.Command.V)
		if r.Command[0] == "" {
			l.mean(v.V.Command.Node, "the first word of the command is empty")
		} else if strings.Contains(r.Command[0], "/") {
			r.Command[0] = l.path(p.Dir, r.Command[0])
		}
	}
	return r
}

// hashApp is the SHA-256 of an app as JSON, which sorts the keys of maps. What came from the shell unasked is no part
// of it.
func hashApp(a App) string {
	a.Hash = ""
	a.Processes = slices.Clone(a.Processes)
	for i := range a.Processes {
		p := &a.Processes[i]
		env := map[string]string{}
		for name, value := range p.Env {
			if !slices.Contains(p.Captured, name) {
				env[name] = value
			}
		}
		p.Env, p.Captured = env, nil
	}
	text, err := json.Marshal(a)
	if err != nil { // floats within bounds, strings and numbers: there is nothing that JSON could refuse
		panic("config: an app that is no JSON: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
