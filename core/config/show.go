package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/omnitron-dev/omnitron/core/config/unit"
)

// Show writes a definition as an omnitron.yaml in which everything is said: defaults filled in, variables replaced, env
// files taken in, secrets masked.
func Show(d *Definition) []byte { return show(Mask(d)) }

// show writes a file that loads as d again.
func show(d *Definition) []byte {
	apps := []any{}
	for _, a := range d.Apps {
		apps = append(apps, showApp(a))
	}
	var stacks yaml.MapSlice
	if d.Stack != DefaultStack { // the only one is the one that is meant
		stacks = yaml.MapSlice{{Key: "stacks", Value: yaml.MapSlice{{Key: d.Stack, Value: yaml.MapSlice{}}}}}
	}
	text, err := yaml.MarshalWithOptions(append(append(yaml.MapSlice{{Key: "project", Value: d.Project}}, stacks...), yaml.MapSlice{
		{Key: "supervision", Value: showSupervision(d.Supervision)},
		{Key: "monitoring", Value: yaml.MapSlice{
			{Key: "healthCheck", Value: yaml.MapSlice{{Key: "interval", Value: unit.FormatDuration(d.Monitoring.HealthInterval)}, {Key: "timeout", Value: unit.FormatDuration(d.Monitoring.HealthTimeout)}, {Key: "retries", Value: d.Monitoring.HealthRetries}}},
			{Key: "metrics", Value: yaml.MapSlice{{Key: "interval", Value: unit.FormatDuration(d.Monitoring.MetricsInterval)}, {Key: "retention", Value: unit.FormatDuration(d.Monitoring.Retention)}}},
		}},
		{Key: "apps", Value: apps},
	}...), yaml.IndentSequence(true), yaml.UseSingleQuote(false))
	if err != nil { // lists and maps of text, numbers and booleans
		panic("config: a definition that is no YAML: " + err.Error())
	}
	return text
}

func showApp(a App) yaml.MapSlice {
	out := yaml.MapSlice{{Key: "name", Value: a.Name}}
	if !a.Classic {
		var processes []any
		for _, p := range a.Processes {
			processes = append(processes, append(yaml.MapSlice{{Key: "name", Value: p.Name}}, append(showProgram(p), showDependencies("process", p.DependsOn)...)...))
		}
		out = append(out, yaml.MapItem{Key: "processes", Value: processes})
	} else {
		out = append(out, showProgram(a.Processes[0])...)
	}
	out = append(out, showDependencies("app", a.DependsOn)...)
	if s := a.Schedule; s != nil {
		keys := yaml.MapSlice{{Key: "cron", Value: s.Cron}, {Key: "overlap", Value: s.Overlap}, {Key: "catchUp", Value: s.CatchUp}}
		if s.Timezone != "" {
			keys = append(keys, yaml.MapItem{Key: "timezone", Value: s.Timezone})
		}
		out = append(out, yaml.MapItem{Key: "schedule", Value: keys})
	}
	return append(out, yaml.MapItem{Key: "supervision", Value: showSupervision(a.Supervision)}, yaml.MapItem{Key: "enabled", Value: a.Enabled},
		yaml.MapItem{Key: "oneshot", Value: a.Oneshot}, yaml.MapItem{Key: "onDaemonExit", Value: a.OnDaemonExit}, yaml.MapItem{Key: "critical", Value: a.Critical})
}

func showDependencies(key string, ds []Dependency) yaml.MapSlice {
	if len(ds) == 0 {
		return nil
	}
	var list []any
	for _, d := range ds {
		list = append(list, yaml.MapSlice{{Key: key, Value: d.Name}, {Key: "until", Value: d.Until}})
	}
	return yaml.MapSlice{{Key: "dependsOn", Value: list}}
}

// literal keeps the loader from replacing anything in a text.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }

func literals(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = literal(t)
	}
	return out
}

func showProgram(p Process) yaml.MapSlice {
	out := yaml.MapSlice{{Key: "command", Value: literals(p.Argv)}, {Key: "cwd", Value: literal(p.Dir)}}
	add := func(key string, value any) { out = append(out, yaml.MapItem{Key: key, Value: value}) }
	if p.User != "" {
		add("user", literal(p.User))
	}
	if p.Group != "" {
		add("group", literal(p.Group))
	}
	if p.Umask != nil {
		add("umask", fmt.Sprintf("%03o", *p.Umask))
	}
	env := yaml.MapSlice{}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		env = append(env, yaml.MapItem{Key: name, Value: literal(p.Env[name])})
	}
	for _, name := range slices.Sorted(maps.Keys(p.Secrets)) {
		env = append(env, yaml.MapItem{Key: name, Value: yaml.MapSlice{{Key: "secret", Value: p.Secrets[name]}}})
	}
	for _, name := range p.Unset {
		env = append(env, yaml.MapItem{Key: name, Value: nil})
	}
	add("env", env)
	if len(p.Ports) > 0 {
		ports := yaml.MapSlice{}
		for _, port := range p.Ports {
			var base any = port.Base
			if port.Auto {
				base = "auto"
			}
			ports = append(ports, yaml.MapItem{Key: port.Name, Value: base})
		}
		add("ports", ports)
	}
	if len(p.Sockets) > 0 {
		add("sockets", showSockets(p.Sockets))
	}
	if ready := showReady(p.Ready); ready != nil {
		add("ready", ready)
	}
	if h := p.Health; h != nil {
		add("health", append(showProbe(h.Probe), yaml.MapItem{Key: "interval", Value: unit.FormatDuration(h.Interval)}, yaml.MapItem{Key: "timeout", Value: unit.FormatDuration(h.Timeout)},
			yaml.MapItem{Key: "retries", Value: h.Retries}, yaml.MapItem{Key: "startPeriod", Value: unit.FormatDuration(h.StartPeriod)}))
	}
	r := p.Restart
	restart := yaml.MapSlice{{Key: "policy", Value: r.Policy}, {Key: "maxRestarts", Value: r.MaxRestarts}, {Key: "window", Value: unit.FormatDuration(r.Window)}, {Key: "resetAfter", Value: unit.FormatDuration(r.ResetAfter)}, {Key: "backoff", Value: showBackoff(r.Backoff)}}
	if r.MaxMemory > 0 {
		restart = append(restart, yaml.MapItem{Key: "maxMemory", Value: unit.FormatSize(r.MaxMemory)})
	}
	add("restart", restart)
	add("stop", yaml.MapSlice{{Key: "signal", Value: p.Stop.Signal}, {Key: "timeout", Value: unit.FormatDuration(p.Stop.Timeout)}})
	if r := p.Reload; r != nil && r.Signal != "" {
		add("reload", yaml.MapSlice{{Key: "signal", Value: r.Signal}, {Key: "timeout", Value: unit.FormatDuration(r.Timeout)}})
	} else if r != nil {
		add("reload", yaml.MapSlice{{Key: "command", Value: literals(r.Command)}, {Key: "timeout", Value: unit.FormatDuration(r.Timeout)}})
	}
	if hooks := showHooks(p.Hooks); hooks != nil {
		add("hooks", hooks)
	}
	add("instances", p.Instances)
	g := p.Logging
	add("logging", yaml.MapSlice{{Key: "level", Value: g.Level}, {Key: "maxSize", Value: unit.FormatSize(g.MaxSize)}, {Key: "maxFiles", Value: g.MaxFiles}, {Key: "compress", Value: g.Compress}, {Key: "onFull", Value: g.OnFull}, {Key: "merge", Value: g.Merge}})
	if p.Stdin != "" {
		add("stdin", p.Stdin)
	}
	if l := p.Limits; l != nil {
		limits := yaml.MapSlice{}
		limit := func(key string, set bool, value any) {
			if set {
				limits = append(limits, yaml.MapItem{Key: key, Value: value})
			}
		}
		limit("memory", l.Memory > 0, unit.FormatSize(l.Memory))
		limit("cpu", l.CPU > 0, l.CPU)
		limit("nofile", l.NoFile > 0, l.NoFile)
		limit("best", l.Best, true)
		add("limits", limits)
	}
	if len(p.SuccessCodes) > 0 {
		add("successCodes", p.SuccessCodes)
	}
	if p.Watchdog > 0 {
		add("watchdog", unit.FormatDuration(p.Watchdog))
	}
	if p.Nice != nil {
		add("nice", *p.Nice)
	}
	if p.OOMScore != nil {
		add("oomScore", *p.OOMScore)
	}
	return out
}

func showSockets(sockets []Socket) yaml.MapSlice {
	var out yaml.MapSlice
	for _, s := range sockets {
		var at any = s.Address
		if s.Network == "unix" {
			at = yaml.MapSlice{{Key: "path", Value: literal(s.Address)}, {Key: "mode", Value: fmt.Sprintf("%03o", s.Mode)}}
		}
		out = append(out, yaml.MapItem{Key: s.Name, Value: at})
	}
	return out
}

func showHooks(h Hooks) (out yaml.MapSlice) {
	all := h.All()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, yaml.MapItem{Key: name, Value: yaml.MapSlice{{Key: "command", Value: literals(all[name].Argv)}, {Key: "timeout", Value: unit.FormatDuration(all[name].Timeout)}}})
	}
	return out
}

func showSupervision(s Supervision) yaml.MapSlice {
	return yaml.MapSlice{{Key: "strategy", Value: s.Strategy}, {Key: "maxRestarts", Value: s.Restart.MaxRestarts}, {Key: "window", Value: unit.FormatDuration(s.Restart.Window)}, {Key: "backoff", Value: showBackoff(s.Restart.Backoff)}}
}

func showBackoff(b Backoff) yaml.MapSlice {
	return yaml.MapSlice{{Key: "type", Value: b.Type}, {Key: "initial", Value: unit.FormatDuration(b.Initial)}, {Key: "max", Value: unit.FormatDuration(b.Max)}, {Key: "factor", Value: b.Factor}, {Key: "jitter", Value: b.Jitter}}
}

// showReady is nil where the file would say nothing.
func showReady(r Ready) yaml.MapSlice {
	var out yaml.MapSlice
	switch r.Kind {
	case "alive", "none":
		return nil
	case "delay":
		return yaml.MapSlice{{Key: "delay", Value: unit.FormatDuration(r.Delay)}}
	case "notify":
		out = yaml.MapSlice{{Key: "notify", Value: true}}
	case "log":
		out = yaml.MapSlice{{Key: "log", Value: literal(r.Log)}}
	default:
		out = showProbe(r.Probe)
	}
	return append(out, yaml.MapItem{Key: "timeout", Value: unit.FormatDuration(r.Timeout)})
}

func showProbe(p Probe) yaml.MapSlice {
	switch {
	case p.HTTP != "" && p.Port != "":
		return yaml.MapSlice{{Key: "http", Value: literal(p.HTTP)}, {Key: "port", Value: p.Port}}
	case p.HTTP != "":
		return yaml.MapSlice{{Key: "http", Value: literal(p.HTTP)}}
	case p.TCP != "":
		return yaml.MapSlice{{Key: "tcp", Value: p.TCP}}
	}
	return yaml.MapSlice{{Key: "exec", Value: literals(p.Exec)}}
}

// Mask copies a definition with the values of secret-looking variables, and passwords in commands and checks, hidden. What was
// hidden somewhere is hidden everywhere: the same value under another name, or in a command, says as much.
func Mask(d *Definition) *Definition {
	hide := hidden(d)
	out := *d
	out.Apps = slices.Clone(d.Apps)
	for i := range out.Apps {
		out.Apps[i] = maskApp(out.Apps[i], hide)
	}
	return &out
}

// maskApp copies an app as it may be shown.
func maskApp(a App, hide *strings.Replacer) App {
	a.Processes = slices.Clone(a.Processes)
	for j := range a.Processes {
		p := &a.Processes[j]
		p.Env = maps.Clone(p.Env)
		for name, value := range p.Env {
			p.Env[name] = hide.Replace(MaskValue(name, value))
		}
		p.Argv = hideAll(hide, p.Argv)
		p.Hooks = Hooks{maskHook(hide, p.Hooks.PreStart), maskHook(hide, p.Hooks.PostStart), maskHook(hide, p.Hooks.PreStop), maskHook(hide, p.Hooks.PostStop)}
		p.Ready.Probe, p.Ready.Log = maskProbe(hide, p.Ready.Probe), hide.Replace(p.Ready.Log)
		if p.Health != nil {
			h := *p.Health
			h.Probe = maskProbe(hide, h.Probe)
			p.Health = &h
		}
		if p.Reload != nil {
			how := *p.Reload
			how.Command = hideAll(hide, how.Command)
			p.Reload = &how
		}
	}
	return a
}

// telling is how long a value has to be for it to be hidden wherever it stands: with a shorter one too much else would go.
const telling = 8

// hidden gives what takes the values of secret-looking variables of some definitions, and the passwords of URLs, out of a text.
func hidden(ds ...*Definition) *strings.Replacer {
	var apps []App
	for _, d := range ds {
		if d != nil {
			apps = append(apps, d.Apps...)
		}
	}
	var values []string
	for _, a := range apps {
		for _, p := range a.Processes {
			for name, value := range p.Env {
				if secretName.MatchString(name) {
					values = append(values, value)
				}
				for _, m := range userinfo.FindAllStringSubmatch(value, -1) {
					values = append(values, m[2])
				}
			}
		}
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // a longer one may hold a shorter one
	var pairs []string
	for _, v := range slices.Compact(values) {
		if len(v) >= telling {
			pairs = append(pairs, v, Masked)
		}
	}
	return strings.NewReplacer(pairs...)
}

func maskHook(hide *strings.Replacer, h *Hook) *Hook {
	if h == nil {
		return nil
	}
	return &Hook{Argv: hideAll(hide, h.Argv), Timeout: h.Timeout}
}

func maskProbe(hide *strings.Replacer, p Probe) Probe {
	p.HTTP, p.Exec = hide.Replace(MaskText(p.HTTP)), hideAll(hide, p.Exec)
	return p
}

func hideAll(hide *strings.Replacer, words []string) []string {
	out := maskAll(words)
	for i := range out {
		out[i] = hide.Replace(out[i])
	}
	return out
}

// Origins says which keys the files behind the first decide, a line each, in the order of the files; nil where there is one file.
func Origins(src Source) []string {
	if len(src.Files) < 2 {
		return nil
	}
	l := newLoader(src)
	var out []string
	places := Locate(src)
	for _, f := range src.Files[1:] {
		name := l.shown(f.Path)
		type entry struct {
			line int
			key  string
		}
		var found []entry
		for app, keys := range places {
			for path, at := range keys {
				if at.File != name || path == "name" || app == "" && path == "apps" {
					continue
				}
				if app != "" {
					path = "apps." + app + "." + path
				}
				found = append(found, entry{at.Line, path})
			}
		}
		slices.SortFunc(found, func(a, b entry) int { return 2*(a.line-b.line) + strings.Compare(a.key, b.key) })
		for _, e := range found {
			out = append(out, fmt.Sprintf("%s:%d: %s", name, e.line, e.key))
		}
	}
	return out
}
