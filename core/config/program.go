package config

import (
	"maps"
	"path/filepath"
	"slices"
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
	p := Process{Name: k.Name.V, Dir: l.dir, User: either(k.User, app.User).V, Group: either(k.Group, app.Group).V, Instances: k.Instances.Or(1)}
	if cwd := either(k.CWD, app.CWD); cwd.Set() {
		p.Dir = l.path(l.dir, cwd.V)
	}
	if m := either(k.Umask, app.Umask); m.Set() {
		p.Umask = &m.V
	}
	l.checkIdentity(either(k.User, app.User), either(k.Group, app.Group))
	p.Argv = l.argv(n, k, p.Dir)
	p.Ports = l.ports(k)
	l.env(&p, k, app)
	p.Ready = l.ready(c, &p, k.Ready)
	p.Health = l.health(c, &p, k.Health)
	p.Restart = l.restart(l.restart(c.app.Supervision.Restart, app.Restart), k.Restart)
	if r := either(k.Restart, app.Restart); c.app.Oneshot && p.Restart.Policy == "always" {
		l.mean(r.Node, "a oneshot runs once, so it cannot be restarted always").Hint = "never (the default) or on-failure"
	}
	p.Stop = l.stop(l.stop(defaultStop, app.Stop.V), k.Stop.V)
	p.Logging = l.logging(l.logging(c.logging, app.Logging.V), k.Logging.V)
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

func (l *loader) argv(n *tree.Node, k programKeys, dir string) []string {
	command, script := n.Find("command") != nil, n.Find("script") != nil
	switch {
	case command && script:
		l.mean(n.Find("script"), `"command" and "script" exclude each other`).Hint = "keep one of them"
		return nil
	case !command && !script && n.Find("processes") == nil:
		l.mean(n, "there is nothing to run: give a command or a script").Hint = "for example command: [./server]"
		return nil
	case k.Command.Set() && k.Command.V.Shell != "":
		return []string{"/bin/sh", "-c", k.Command.V.Shell}
	case k.Command.Set():
		argv := slices.Clone(k.Command.V.Argv)
		if argv[0] == "" {
			l.mean(k.Command.Node, "the first word of the command is empty")
		} else if strings.Contains(argv[0], "/") {
			argv[0] = l.path(dir, argv[0])
		}
		return argv
	case !k.Script.Set():
		return nil
	}
	path, args := k.Script.V.Argv[0], k.Script.V.Argv[1:]
	ext := strings.ToLower(filepath.Ext(path))
	switch ext {
	case ".ts", ".tsx", ".mts", ".cts", ".jsx":
		l.mean(k.Script.Node, "%s scripts are not supported yet", ext).Hint = "compile it first, or give a command such as [npx, tsx, " + filepath.Base(path) + "]"
	}
	if path == "" {
		l.mean(k.Script.Node, "the path of the script is empty")
	}
	return append(append(slices.Clone(interpreters[ext]), l.path(dir, path)), args...)
}

func (l *loader) ports(k programKeys) []Port {
	var out []Port
	variables := map[string]*tree.Node{}
	for _, e := range k.Ports.V {
		port := e.Value.V
		port.Name = e.Key.Text
		if port.Base > 0 && port.Base+k.Instances.Or(1)-1 > 65535 {
			l.mean(e.Value.Node, "%d instances from port %d on go beyond 65535", k.Instances.Or(1), port.Base)
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
			unset[name] = true
		default:
			p.Env[name] = e.Value.V.Text
			delete(unset, name)
		}
		delete(captured, name)
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
