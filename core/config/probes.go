package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func (l *loader) ready(c programContext, p *Process, v schema.Value[readyKeys]) Ready {
	if c.app.Oneshot {
		if v.Set() {
			l.mean(v.Node, "a oneshot has no readiness: it is completed when it ends").Hint = "remove ready, or oneshot"
		}
		return Ready{Kind: "none"}
	}
	r, k := Ready{Timeout: v.V.Timeout.Or(defaultReadyTimeout)}, v.V
	switch {
	case !v.Set():
		return Ready{Kind: "alive", Delay: aliveDelay, Timeout: defaultReadyTimeout}
	case k.Notify.V:
		r.Kind = "notify"
	case k.Log.Set():
		r.Kind, r.Log = "log", k.Log.V
	case k.Delay.Set():
		r.Kind, r.Delay, r.Timeout = "delay", k.Delay.V, k.Delay.V+defaultReadyTimeout
		if k.Timeout.Set() {
			l.mean(k.Timeout.Node, "a delay needs no timeout: it ends by itself").Hint = "remove the timeout"
		}
	default:
		r.Kind, r.Probe = l.probe(p, v.Node, k.probeKeys)
		return r
	}
	if k.Port.Set() {
		l.mean(k.Port.Node, `"port" belongs to http`).Hint = "remove it"
	}
	return r
}

func (l *loader) health(c programContext, p *Process, v schema.Value[healthKeys]) *Health {
	if !v.Set() {
		return nil
	}
	if c.app.Oneshot {
		l.mean(v.Node, "a oneshot is not checked while it runs: its exit code says how it went").Hint = "remove health, or oneshot"
	}
	m, k := c.monitoring, v.V
	h := &Health{Interval: k.Interval.Or(m.HealthInterval), Timeout: k.Timeout.Or(m.HealthTimeout), Retries: k.Retries.Or(m.HealthRetries), StartPeriod: k.StartPeriod.Or(0)}
	_, h.Probe = l.probe(p, v.Node, k.probeKeys)
	return h
}

// probe resolves what is asked, and says which of the kinds it is.
func (l *loader) probe(p *Process, n *tree.Node, k probeKeys) (string, Probe) {
	if k.Port.Set() && !k.HTTP.Set() && (k.TCP.Set() || k.Exec.Set()) {
		l.mean(k.Port.Node, `"port" belongs to http`).Hint = "write tcp: " + k.Port.V
	}
	switch {
	case k.HTTP.Set():
		return "http", l.httpProbe(p, k)
	case k.TCP.Set():
		return "tcp", Probe{TCP: l.tcpAddress(p, k.TCP)}
	case k.Exec.Set():
		words := plain(k.Exec.V)
		if words[0] == "" {
			l.mean(k.Exec.Node, "the first word of the command is empty")
		} else if strings.Contains(words[0], "/") {
			words[0] = l.path(p.Dir, words[0])
		}
		return "exec", Probe{Exec: words}
	}
	return "", Probe{}
}

func (l *loader) httpProbe(p *Process, k probeKeys) Probe {
	if strings.HasPrefix(k.HTTP.V, "/") {
		if _, err := url.ParseRequestURI(k.HTTP.V); err != nil || strings.HasPrefix(k.HTTP.V, "//") {
			l.mean(k.HTTP.Node, "%.60q is no path of a URL", k.HTTP.V)
		}
		return l.httpPath(p, k)
	}
	u, err := url.Parse(k.HTTP.V)
	switch {
	case err != nil || u.Scheme != "http" || u.Host == "":
		l.mean(k.HTTP.Node, "%.60q is neither a path that begins with / nor an http:// URL", k.HTTP.V).Hint = "for example /healthz"
	case !loopback(u.Hostname()):
		l.mean(k.HTTP.Node, "a check asks this machine only, and %.60s is another", u.Hostname()).Hint = "use 127.0.0.1, or exec with a client of your choice"
	case k.Port.Set():
		l.mean(k.Port.Node, "the URL already says the port").Hint = "remove port, or give http a path only"
	}
	return Probe{HTTP: k.HTTP.V}
}

func (l *loader) httpPath(p *Process, k probeKeys) Probe {
	if k.Port.Set() {
		if n, ok := l.number(k.Port); ok {
			l.literalPort(p, k.Port.Node)
			return Probe{HTTP: fmt.Sprintf("http://127.0.0.1:%d%s", n, k.HTTP.V)}
		}
		l.declared(p, k.Port)
		return Probe{HTTP: k.HTTP.V, Port: k.Port.V}
	}
	switch len(p.Ports) {
	case 1:
		return Probe{HTTP: k.HTTP.V, Port: p.Ports[0].Name}
	case 0:
		l.mean(k.HTTP.Node, "which port? %s declares none", p.Name).Hint = "add a number (port: 8080), or declare one under ports"
	default:
		l.mean(k.HTTP.Node, "which port? %s declares several: %s", p.Name, strings.Join(portNames(p.Ports), ", ")).Hint = "add port: " + p.Ports[0].Name
	}
	return Probe{HTTP: k.HTTP.V}
}

func (l *loader) tcpAddress(p *Process, v schema.Value[string]) string {
	if n, ok := l.number(v); ok {
		l.literalPort(p, v.Node)
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(n))
	}
	if !strings.Contains(v.V, ":") {
		l.declared(p, v)
		return v.V
	}
	host, port, err := net.SplitHostPort(v.V)
	n, bad := strconv.Atoi(port)
	if err != nil || bad != nil || n < 1 || n > 65535 || host == "" {
		l.mean(v.Node, "%.60q is no host:port", v.V).Hint = "for example 127.0.0.1:5432"
	}
	return v.V
}

// number reads a port that is given as a number.
func (l *loader) number(v schema.Value[string]) (int, bool) {
	n, err := strconv.Atoi(v.V)
	if err != nil {
		return 0, false
	}
	if n < 1 || n > 65535 {
		l.mean(v.Node, "%d is no port", n).Hint = "from 1 to 65535"
	}
	return n, true
}

func (l *loader) literalPort(p *Process, n *tree.Node) {
	if p.Instances > 1 {
		l.warn(n.Pos, "all %d instances of %s are asked at the same port", p.Instances, p.Name)
	}
}

// declared demands that a port is one of the program's.
func (l *loader) declared(p *Process, v schema.Value[string]) {
	names := portNames(p.Ports)
	if slices.Contains(names, v.V) {
		return
	}
	m := l.mean(v.Node, "%s declares no port %q", p.Name, v.V)
	if m.Near = fault.Near(v.V, names); m.Near == "" {
		m.Hint = fmt.Sprintf("add it: ports: {%s: auto}", v.V)
	}
}

func portNames(ports []Port) []string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.Name
	}
	return names
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
