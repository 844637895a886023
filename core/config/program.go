package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/dotenv"
	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/config/unit"
)

var showDuration = unit.FormatDuration

// programContext is what a program inherits.
type programContext struct {
	app        *App
	monitoring Monitoring
	logging    Logging
}

// program resolves one program. app is the multi-process app's own keys, which hold where k says nothing; nil for a
// classic app.
func (l *loader) program(c programContext, n *tree.Node, k programKeys, app *programKeys) Process {
	if app == nil {
		app = &programKeys{}
	}
	p := Process{Name: k.Name.V, Dir: l.dir, User: either(k.User, app.User).V, Group: either(k.Group, app.Group).V, Instances: l.instances(k)}
	if cwd := either(k.CWD, app.CWD); cwd.Set() {
		p.Dir = l.path(l.dir, cwd.V)
	}
	if m := either(k.Umask, app.Umask); m.Set() {
		p.Umask = &m.V
	}
	l.checkIdentity(either(k.User, app.User), either(k.Group, app.Group))
	p.Argv = l.argv(n, k, p.Dir)
	p.Ports, p.Sockets = l.ports(k), l.sockets(k)
	l.env(&p, k, app)
	p.Ready = l.ready(c, &p, k.Ready)
	p.Health = l.health(c, &p, k.Health)
	p.Watchdog = l.watchdog(p.Ready, k.Watchdog)
	p.Restart = l.restart(l.restart(c.app.Supervision.Restart, app.Restart), k.Restart)
	if r := either(k.Restart, app.Restart); c.app.Oneshot && p.Restart.Policy == "always" {
		l.mean(r.Node, "a oneshot runs once, so it cannot be restarted always").Hint = "never (the default) or on-failure"
	}
	l.checkMemory(c, p.Restart, either(k.Restart, app.Restart))
	p.Hooks = l.hooks(p.Dir, k.Hooks.V)
	p.Stop = l.stop(l.stop(defaultStop, app.Stop.V), k.Stop.V)
	p.Reload = l.reload(c, &p, k.Reload)
	p.Logging = l.logging(l.logging(c.logging, app.Logging.V), k.Logging.V)
	if either(k.Stdin, app.Stdin).V == "open" {
		p.Stdin = "open"
	}
	p.Limits = limits(app.Limits, k.Limits)
	p.SuccessCodes = plain(either(k.SuccessCodes, app.SuccessCodes).V)
	if n := either(k.Nice, app.Nice); n.Set() {
		p.Nice = &n.V
	}
	if n := either(k.OOMScore, app.OOMScore); n.Set() {
		p.OOMScore = &n.V
	}
	return p
}

// either is a, or b where the file does not give a.
func either[T any](a, b schema.Value[T]) schema.Value[T] {
	if a.Set() {
		return a
	}
	return b
}

func (l *loader) checkIdentity(user, group schema.Value[string]) {
	if l.src.User == "" || l.src.User == "root" {
		return
	}
	if user.Set() && user.V != l.src.User {
		l.mean(user.Node, "the daemon runs as %s and cannot start programs as another user", l.src.User).Hint = "remove it, or run the daemon as root"
	}
	if group.Set() {
		l.mean(group.Node, "the daemon runs as %s and cannot start programs with another group", l.src.User).Hint = "remove it, or run the daemon as root"
	}
}

// interpreters run scripts by their extension.
var interpreters = map[string][]string{
	".js": {"node"}, ".mjs": {"node"}, ".cjs": {"node"}, ".py": {"python3"}, ".sh": {"sh"}, ".bash": {"bash"},
	".rb": {"ruby"}, ".pl": {"perl"}, ".php": {"php"}, ".lua": {"lua"}, ".jar": {"java", "-jar"},
}

// Interpreter gives what runs a script of this path, by its extension: nothing when it is run itself. ok is false for what cannot be run yet.
func Interpreter(path string) (argv []string, ok bool) {
	ext := strings.ToLower(filepath.Ext(path))
	return slices.Clone(interpreters[ext]), !slices.Contains(sources, ext)
}

// sources are scripts that have to be built before they run.
var sources = []string{".ts", ".tsx", ".mts", ".cts", ".jsx"}

func (l *loader) argv(n *tree.Node, k programKeys, dir string) []string {
	command, script := n.Find("command") != nil, n.Find("script") != nil
	switch {
	case command && script:
		l.mean(n.Find("script"), `"command" and "script" exclude each other`).Hint = "keep one of them"
		return nil
	case !command && !script && n.Find("processes") == nil:
		l.mean(n, "there is nothing to run: give a command or a script").Hint = "for example command: [./server]"
		return nil
	case k.Command.Set():
		return l.words(k.Command.Node, k.Command.V, dir)
	case !k.Script.Set():
		return nil
	}
	path, args := k.Script.V.Argv[0], k.Script.V.Argv[1:]
	by, ok := Interpreter(path)
	if !ok {
		l.mean(k.Script.Node, "%s scripts are not supported yet", strings.ToLower(filepath.Ext(path))).Hint = "compile it first, or give a command such as [npx, tsx, " + filepath.Base(path) + "]"
	}
	if path == "" {
		l.mean(k.Script.Node, "the path of the script is empty")
	}
	return append(append(by, l.path(dir, path)), args...)
}

func (l *loader) ports(k programKeys) []Port {
	var out []Port
	variables := map[string]*tree.Node{}
	for _, e := range k.Ports.V {
		port := e.Value.V
		port.Name = e.Key.Text
		if port.Base > 0 && port.Base+l.instances(k)-1 > 65535 {
			l.mean(e.Value.Node, "%d instances from port %d on go beyond 65535", l.instances(k), port.Base)
		}
		if other := variables[portVariable(port.Name)]; other != nil {
			l.mean(e.Key, "the ports %q and %q would share the variable %s", other.Text, port.Name, portVariable(port.Name))
		}
		variables[portVariable(port.Name)] = e.Key
		out = append(out, port)
	}
	return out
}

// portVariable is how a program finds a named port.
func portVariable(name string) string {
	return "PORT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// env adds up the environment, weakest first.
func (l *loader) env(p *Process, k programKeys, app *programKeys) {
	p.Env = map[string]string{}
	secrets := map[string]string{}
	captured, unset := map[string]bool{}, map[string]bool{}
	all := k.InheritEnv.V.All || app.InheritEnv.V.All
	for name, value := range l.src.Env {
		foreign := p.User != "" && slices.Contains(identityNames, name)
		if isBase(name) && !foreign || all && !foreign && !reserved(name) && !strings.ContainsRune(name+value, 0) {
			p.Env[name], captured[name] = value, true
		}
	}
	for _, v := range slices.Concat(app.InheritEnv.V.Names, k.InheritEnv.V.Names) {
		if reserved(v.V) {
			l.reserved(v.Node.Pos, v.V)
		} else if value, ok := l.src.Env[v.V]; ok && !strings.ContainsRune(value, 0) {
			p.Env[v.V] = value
			delete(captured, v.V)
		}
	}
	ours := ownPorts(p.Ports)
	for _, f := range slices.Concat(app.EnvFile.V, k.EnvFile.V) {
		for _, v := range l.envFileOf(f) {
			switch {
			case reserved(v.Name):
				l.reserved(v.Pos, v.Name)
				continue
			case ours[v.Name]:
				l.warn(v.Pos, "%s is set by the ports of %s: this value is not used", v.Name, p.Name)
			}
			p.Env[v.Name] = v.Value
			delete(captured, v.Name)
		}
	}
	for _, e := range slices.Concat(app.Env.V, k.Env.V) {
		name := e.Key.Text
		switch {
		case reserved(name):
			l.reserved(e.Key.Pos, name)
		case ours[name]:
			l.mean(e.Key, "%s is set by the ports of %s: a value here would not be used", name, p.Name).Hint = "remove it, or give the number under ports"
		case e.Value.V.Unset:
			delete(p.Env, name)
			delete(secrets, name)
			unset[name] = true
		case e.Value.V.Secret != "":
			delete(p.Env, name)
			delete(unset, name)
			secrets[name] = e.Value.V.Secret
		default:
			p.Env[name] = e.Value.V.Text
			delete(secrets, name)
			delete(unset, name)
		}
		delete(captured, name)
	}
	if len(secrets) > 0 {
		p.Secrets = secrets
	}
	p.Captured, p.Unset = slices.Sorted(maps.Keys(captured)), slices.Sorted(maps.Keys(unset))
}

func (l *loader) reserved(at tree.Pos, name string) {
	l.problems.Add(at, tree.Meaning, "%s is reserved: Omnitron sets it", name).Hint = "choose another name"
}

// ownPorts names the variables that ports set.
func ownPorts(ports []Port) map[string]bool {
	ours := map[string]bool{}
	for _, p := range ports {
		ours[portVariable(p.Name)] = true
	}
	if len(ports) == 1 {
		ours["PORT"] = true
	}
	return ours
}

// envFileOf gives the variables of a declared env file, which has to be there.
func (l *loader) envFileOf(f schema.Value[string]) []dotenv.Var {
	path := l.path(l.dir, f.V)
	if _, ok := l.src.EnvFiles[path]; !ok {
		l.mean(f.Node, "there is no env file %s", l.shown(path)).Hint = "create it, or remove it from envFile"
		return nil
	}
	return l.envFile(path)
}

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
		l.mean(k.HTTP.Node, "%.60q is neither a path that begins with / nor an http:// URL", MaskText(k.HTTP.V)).Hint = "for example /healthz"
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

func portNames(ports []Port) []string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.Name
	}
	return names
}
