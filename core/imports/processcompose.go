package imports

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

var processCompose = format{
	name: "process-compose", about: "process-compose.yaml",
	match: func(base, _ string) bool {
		return regexp.MustCompile(`^process-compose(\..+)?\.ya?ml$`).MatchString(base)
	},
	read: readProcessCompose, known: map[string]map[string]rule{"process": processKeys},
}

// processKeys is what becomes of the keys of a process.
var processKeys = map[string]rule{
	"command": done, "working_dir": done, "environment": {to: func(f field) { f.variables("environment") }},
	"depends_on": {to: func(f field) {
		for _, p := range f.node.Pairs {
			until, why := "", ""
			switch c := p.Value.Get("condition"); c {
			case "process_healthy", "process_log_ready":
			case "process_started", "":
				until = "started"
			case "process_completed_successfully", "process_completed":
				until = "completed"
				if c == "process_completed" {
					why = "here it has to end well"
				}
			default:
				f.app.Left(p.Place, "depends_on."+p.Key, "the condition "+c+" is not known here")
				continue
			}
			if why != "" {
				f.app.Changed(p.Place, "depends_on."+p.Key, why)
			}
			f.waitFor(p.Place, p.Key, until)
		}
	}},
	"availability": {to: func(f field) {
		for _, p := range f.node.Pairs {
			at := field{f.reading, f.app, "availability." + p.Key, p.Place, p.Value, f.node}
			switch p.Key {
			case "restart":
				switch p.Value.Text {
				case "always":
					at.set("restart.policy", draft.Word("always"))
				case "on_failure":
					at.set("restart.policy", draft.Word("on-failure"))
				case "no", "false":
					at.set("restart.policy", draft.Word("never"))
				default:
					at.left("when it fails, the others go on: supervision.strategy says what a failure means for them")
				}
			case "backoff_seconds":
				number(func(f field, n float64) {
					f.set("restart.backoff.type", draft.Word("fixed"))
					f.set("restart.backoff.initial", seconds(n))
					f.set("restart.backoff.max", seconds(n))
				}).to(at)
			case "max_restarts":
				whole("restart.maxRestarts").to(at)
			default:
				at.left("when it ends, the others go on")
			}
		}
	}},
	"readiness_probe": {to: func(f field) { f.probe("ready") }}, "liveness_probe": {to: func(f field) { f.probe("health") }},
	"ready_log_line": {to: func(f field) { f.set("ready.log", draft.Text(regexp.QuoteMeta(f.node.Text))) }},
	"shutdown": {to: func(f field) {
		for _, p := range f.node.Pairs {
			at := field{f.reading, f.app, "shutdown." + p.Key, p.Place, p.Value, f.node}
			switch p.Key {
			case "timeout_seconds":
				number(func(f field, n float64) { f.set("stop.timeout", seconds(n)) }).to(at)
			case "signal":
				if name := signalName(p.Value.Text); name != "" {
					at.set("stop.signal", draft.Text(name))
				} else {
					at.left("a program is asked to end by another signal")
				}
			case "command":
				at.set("hooks.preStop", argv([]string{"/bin/sh", "-c", p.Value.Text}))
			default:
				at.left("the signal goes to the program, and whatever is left after the time-out is killed")
			}
		}
	}},
	"disabled": yesno(func(f field, on bool) {
		if on {
			f.set("enabled", draft.Word("false"))
		}
	}),
	"replicas": whole("instances"), "is_tty": yesno(func(f field, on bool) { f.set("tty", draft.Word(strconv.FormatBool(on))) }),
	"env_file": {to: func(f field) {
		if words, ok := f.node.Words(); ok {
			f.set("envFile", argv(words))
		} else {
			f.left("it is no list of files")
		}
	}},
	"is_daemon":   no("what puts itself into the background leaves, and cannot be supervised: tell it to stay in the foreground"),
	"description": no("names and comments say what an app is"), "namespace": no("names take patterns, such as omnitron restart 'web*'"),
	"log_location": no(ownLogs), "log_configuration": no(ownLogs), "disable_ansi_colors": no(ownLogs), "is_foreground": no("programs have no terminal of their own: omnitron attach"),
	"is_elevated": no("user says who a program runs as"), "launch_timeout_seconds": no("ready has a timeout"), "vars": no("there are no templates"), "is_template_disabled": no("there are no templates"),
	"entrypoint": no("command is the program and its words"), "schedule": no("it is not understood here: schedule takes a line of cron"),
}

var signalNames = map[string]string{"1": "SIGHUP", "2": "SIGINT", "3": "SIGQUIT", "9": "SIGKILL", "10": "SIGUSR1", "12": "SIGUSR2", "14": "SIGALRM", "15": "SIGTERM", "28": "SIGWINCH"}

func signalName(number string) string { return signalNames[number] }

func readProcessCompose(r *reading) error {
	root, err := source.YAML(r.shown(r.path), r.text)
	if err != nil {
		return err
	}
	processes := root.Find("processes")
	if processes == nil || processes.Kind != source.Map {
		return r.at(0).Wrong("it has no processes")
	}
	shell := []string(nil)
	for _, p := range root.Pairs {
		switch p.Key {
		case "processes", "version", "environment":
		case "shell":
			if c := p.Value.Get("shell_command"); c != "" {
				shell = []string{c, "-c"}
				if a := p.Value.Get("shell_argument"); a != "" {
					shell[1] = a
				}
			}
		default:
			r.Drop(p.Place, p.Key, "it is about process-compose itself")
		}
	}
	for _, p := range processes.Pairs {
		command := p.Value.Get("command")
		if command == "" {
			return p.Place.Wrong("the process %q has no command", p.Key)
		}
		a := r.App(p.Place, p.Key)
		command = strings.ReplaceAll(command, "$$", "$")
		if at := p.Value.Find("command").Place; shell != nil {
			a.Set(at, "command", "command", argv(append(shell[:2:2], command)))
		} else {
			a.Set(at, "command", "command", draft.Text(command))
		}
		dir := p.Value.Find("working_dir")
		if dir != nil {
			r.place(a, dir.Place, "working_dir", r.dir(), dir.Text)
		} else {
			r.place(a, p.Place, "folder", r.dir(), "")
		}
		if e := root.Find("environment"); e != nil {
			field{r, a, "environment", e.Place, e, root}.variables("environment")
		}
		// It says nothing of restarts: process-compose makes none.
		a.Set(p.Place, "", "restart.policy", draft.Word("never"))
		r.apply(a, p.Value, processKeys)
		r.completes(p.Key, processes, a)
	}
	return nil
}

// completes makes a oneshot of a process that others wait for to end.
func (r *reading) completes(name string, all *source.Node, a *draft.App) {
	for _, p := range all.Pairs {
		on := p.Value.Find("depends_on").Find(name)
		if strings.Contains(on.Get("condition"), "completed") {
			a.Set(on.Place, "", "oneshot", draft.Word("true"))
		}
	}
}

// waitFor has the app wait for another one of the same file.
func (f field) waitFor(at source.Place, name, until string) {
	f.Finally(func() {
		on, ok := f.Named(name)
		switch {
		case !ok:
			f.app.Left(at, f.key+"."+name, "it did not come over")
		case f.app.Depends(on):
		case until == "":
			f.app.Depend(at, f.key+"."+name, draft.Text(on))
		default:
			f.app.Depend(at, f.key+"."+name, (&draft.Fields{}).Add("app", draft.Text(on)).Add("until", draft.Text(until)))
		}
	})
}

// variables takes an environment that is a map, or a list of NAME=value.
func (f field) variables(what string) {
	set := func(at source.Place, name, value string) {
		if name == "PORT" && port(f.app, at, what+".PORT", value) {
			return
		}
		f.app.Env(at, what+"."+name, name, interpolated(value))
	}
	for _, p := range f.node.Pairs {
		if p.Value.Kind == source.Null {
			f.app.Left(p.Place, what+"."+p.Key, "it is taken from the shell: inheritEnv names such variables")
			continue
		}
		set(p.Place, p.Key, p.Value.Text)
	}
	for _, i := range f.node.Items {
		name, value, ok := strings.Cut(i.Text, "=")
		if !ok {
			f.app.Left(i.Place, what+" "+name, "it is taken from the shell: inheritEnv names such variables")
			continue
		}
		set(i.Place, name, value)
	}
}

var interpolation = regexp.MustCompile(`\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^{}$]*)|:?\?[^{}]*)?\}|([A-Za-z_][A-Za-z0-9_]*))`)

// interpolated keeps the variables of a value: ${X}, ${X:-default} and $X are the shell's, or .env's, as there.
func interpolated(text string) draft.Template {
	var out draft.Template
	last := 0
	for _, m := range interpolation.FindAllStringSubmatchIndex(text, -1) {
		out += draft.Escape(text[last:m[0]])
		last = m[1]
		group := func(i int) string {
			if m[i] < 0 {
				return ""
			}
			return text[m[i]:m[i+1]]
		}
		switch name := group(2) + group(6); {
		case name == "":
			out += "$$"
		default:
			out += draft.Template("${" + name + ":-" + group(4) + "}")
		}
	}
	return out + draft.Escape(text[last:])
}

// probe takes a readiness or liveness probe.
func (f field) probe(key string) {
	has := false
	for _, p := range f.node.Pairs {
		at := field{f.reading, f.app, f.key + "." + p.Key, p.Place, p.Value, f.node}
		switch p.Key {
		case "exec":
			has = true
			at.set(key+".exec", argv([]string{"/bin/sh", "-c", p.Value.Get("command")}))
		case "http_get":
			has = true
			path := p.Value.Get("path")
			if path == "" {
				path = "/"
			}
			at.set(key+".http", draft.Text(path))
			if n := p.Value.Get("port"); n != "" {
				at.set(key+".port", draft.Text(n))
			}
			if h := p.Value.Get("host"); h != "" && h != "127.0.0.1" && h != "localhost" {
				at.left("a check asks 127.0.0.1")
			}
		}
	}
	for _, p := range f.node.Pairs {
		at := field{f.reading, f.app, f.key + "." + p.Key, p.Place, p.Value, f.node}
		span := func(name string) {
			number(func(f field, n float64) { f.set(key+"."+name, seconds(n)) }).to(at)
		}
		switch {
		case p.Key == "exec" || p.Key == "http_get":
		case !has:
			at.left("there is neither exec nor http_get")
		case key == "ready" && p.Key == "timeout_seconds", key == "ready" && p.Key == "period_seconds", key == "ready" && p.Key == "failure_threshold":
			at.left("readiness is asked for until ready.timeout, 30s")
		case p.Key == "timeout_seconds":
			span("timeout")
		case p.Key == "period_seconds":
			span("interval")
		case p.Key == "failure_threshold":
			whole(key + ".retries").to(at)
		case key == "health" && p.Key == "initial_delay_seconds":
			span("startPeriod")
		default:
			at.left("it cannot be said here")
		}
	}
}
