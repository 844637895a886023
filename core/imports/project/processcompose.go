package project

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// ProcessCompose is process-compose.yaml.
var ProcessCompose = format.Format{
	Name: "process-compose", About: "process-compose.yaml",
	Match: func(base, _ string) bool {
		return regexp.MustCompile(`^process-compose(\..+)?\.ya?ml$`).MatchString(base)
	},
	Read: readProcessCompose, Known: map[string]map[string]format.Rule{"process": processKeys},
}

// processKeys is what becomes of the keys of a process.
var processKeys = map[string]format.Rule{
	"command": format.Done, "working_dir": format.Done, "environment": {To: func(f format.Field) { variables(f, "environment") }},
	"depends_on": {To: func(f format.Field) {
		for _, p := range f.Node.Pairs {
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
				f.App.Left(p.Place, "depends_on."+p.Key, "the condition "+c+" is not known here")
				continue
			}
			if why != "" {
				f.App.Changed(p.Place, "depends_on."+p.Key, why)
			}
			for _, k := range p.Value.Pairs {
				if k.Key != "condition" {
					f.App.Left(k.Place, "depends_on."+p.Key+"."+k.Key, "only what is waited for can be said")
				}
			}
			waitFor(f, p.Place, p.Key, until)
		}
	}},
	"availability": {To: func(f format.Field) {
		for _, p := range f.Node.Pairs {
			at := f.Below(p)
			switch p.Key {
			case "restart":
				switch p.Value.Text {
				case "always":
					at.Set("restart.policy", draft.Word("always"))
				case "on_failure":
					at.Set("restart.policy", draft.Word("on-failure"))
				case "no", "false":
					at.Set("restart.policy", draft.Word("never"))
				default:
					at.Left("when it fails, the others go on: supervision.strategy says what a failure means for them")
				}
			case "backoff_seconds":
				format.Number(func(f format.Field, n float64) {
					f.Set("restart.backoff.type", draft.Word("fixed"))
					f.Set("restart.backoff.initial", format.Seconds(n))
					f.Set("restart.backoff.max", format.Seconds(n))
				}).To(at)
			case "max_restarts":
				format.Whole("restart.maxRestarts").To(at)
			default:
				at.Left("when it ends, the others go on")
			}
		}
	}},
	"readiness_probe": {To: func(f format.Field) { probe(f, "ready") }}, "liveness_probe": {To: func(f format.Field) { probe(f, "health") }},
	"ready_log_line": {To: func(f format.Field) { f.Set("ready.log", draft.Text(regexp.QuoteMeta(f.Node.Text))) }},
	"shutdown": {To: func(f format.Field) {
		for _, p := range f.Node.Pairs {
			at := f.Below(p)
			switch p.Key {
			case "timeout_seconds":
				format.Number(func(f format.Field, n float64) { f.Set("stop.timeout", format.Seconds(n)) }).To(at)
			case "signal":
				if name := signalName(p.Value.Text); name != "" {
					at.Set("stop.signal", draft.Text(name))
				} else {
					at.Left("a program is asked to end by another signal")
				}
			case "command":
				at.Set("hooks.preStop", format.Argv([]string{"/bin/sh", "-c", p.Value.Text}))
			default:
				at.Left("the signal goes to the program, and whatever is left after the time-out is killed")
			}
		}
	}},
	"disabled": format.YesNo(func(f format.Field, on bool) {
		if on {
			f.Set("enabled", draft.Word("false"))
		}
	}),
	"replicas": format.Whole("instances"), "is_tty": format.YesNo(func(f format.Field, on bool) { f.Set("tty", draft.Word(strconv.FormatBool(on))) }),
	"env_file": {To: func(f format.Field) {
		if words, ok := f.Node.Words(); ok {
			f.Set("envFile", format.Argv(words))
		} else {
			f.Left("it is no list of files")
		}
	}},
	"is_daemon":   format.No("what puts itself into the background leaves, and cannot be supervised: tell it to stay in the foreground"),
	"description": format.No("names and comments say what an app is"), "namespace": format.No("names take patterns, such as omnitron restart 'web*'"),
	"log_location": format.No(format.OwnLogs), "log_configuration": format.No(format.OwnLogs), "disable_ansi_colors": format.No(format.OwnLogs), "is_foreground": format.No("programs have no terminal of their own: omnitron attach"),
	"is_elevated": format.No("user says who a program runs as"), "launch_timeout_seconds": format.No("ready has a timeout"), "vars": format.No("there are no templates"), "is_template_disabled": format.No("there are no templates"),
	"entrypoint": format.No("command is the program and its words"), "schedule": format.No("it is not understood here: schedule takes a line of cron"),
}

var signalNames = map[string]string{"1": "SIGHUP", "2": "SIGINT", "3": "SIGQUIT", "9": "SIGKILL", "10": "SIGUSR1", "12": "SIGUSR2", "14": "SIGALRM", "15": "SIGTERM", "28": "SIGWINCH"}

func signalName(number string) string { return signalNames[number] }

func readProcessCompose(r *format.Reading) error {
	root, err := source.YAML(r.Shown(r.Path), r.Text)
	if err != nil {
		return err
	}
	processes := root.Find("processes")
	if processes == nil || processes.Kind != source.Map {
		return r.At(0).Wrong("it has no processes")
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
			for _, k := range p.Value.Pairs {
				if k.Key != "shell_command" && k.Key != "shell_argument" {
					r.Drop(k.Place, "shell."+k.Key, "this key is not known here")
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
			a.Set(at, "command", "command", format.Argv(append(shell[:2:2], command)))
		} else {
			a.Set(at, "command", "command", draft.Text(command))
		}
		dir := p.Value.Find("working_dir")
		if dir != nil {
			r.Cwd(a, dir.Place, "working_dir", r.Folder(), dir.Text)
		} else {
			r.Cwd(a, p.Place, "folder", r.Folder(), "")
		}
		if e := root.Find("environment"); e != nil {
			variables(format.Field{Reading: r, App: a, Key: "environment", From: e.Place, Node: e, All: root}, "environment")
		}
		// It says nothing of restarts: process-compose makes none.
		a.Set(p.Place, "", "restart.policy", draft.Word("never"))
		r.Apply(a, p.Value, processKeys)
		completes(p.Key, processes, a)
	}
	return nil
}

// completes makes a oneshot of a process that others wait for to end.
func completes(name string, all *source.Node, a *draft.App) {
	for _, p := range all.Pairs {
		on := p.Value.Find("depends_on").Find(name)
		if strings.Contains(on.Get("condition"), "completed") {
			a.Set(on.Place, "", "oneshot", draft.Word("true"))
		}
	}
}

// waitFor has the app wait for another one of the same file.
func waitFor(f format.Field, at source.Place, name, until string) {
	f.Finally(func() {
		on, ok := f.Named(name)
		switch {
		case !ok:
			f.App.Left(at, f.Key+"."+name, "it did not come over")
		case f.App.Depends(on):
		case until == "":
			f.App.Depend(at, f.Key+"."+name, draft.Text(on))
		default:
			f.App.Depend(at, f.Key+"."+name, (&draft.Fields{}).Add("app", draft.Text(on)).Add("until", draft.Text(until)))
		}
	})
}

// variables takes an environment that is a map, or a list of NAME=value.
func variables(f format.Field, what string) {
	set := func(at source.Place, name, value string) {
		if name == "PORT" && format.Port(f.App, at, what+".PORT", value) {
			return
		}
		f.App.Env(at, what+"."+name, name, interpolated(value))
	}
	for _, p := range f.Node.Pairs {
		if p.Value.Kind == source.Null {
			f.App.Left(p.Place, what+"."+p.Key, "it is taken from the shell: inheritEnv names such variables")
			continue
		}
		set(p.Place, p.Key, p.Value.Text)
	}
	for _, i := range f.Node.Items {
		name, value, ok := strings.Cut(i.Text, "=")
		if !ok {
			f.App.Left(i.Place, what+" "+name, "it is taken from the shell: inheritEnv names such variables")
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
func probe(f format.Field, key string) {
	has := false
	for _, p := range f.Node.Pairs {
		at := f.Below(p)
		switch p.Key {
		case "exec":
			has = true
			for _, k := range p.Value.Pairs {
				if k.Key != "command" {
					f.App.Left(k.Place, at.Key+"."+k.Key, "a check is a command, in the folder of its app")
				}
			}
			at.Set(key+".exec", format.Argv([]string{"/bin/sh", "-c", p.Value.Get("command")}))
		case "http_get":
			has = true
			path := p.Value.Get("path")
			if path == "" {
				path = "/"
			}
			at.Set(key+".http", draft.Text(path))
			if n := p.Value.Get("port"); n != "" {
				at.Set(key+".port", draft.Text(n))
			}
			for _, k := range p.Value.Pairs {
				if !slices.Contains([]string{"path", "port", "host"}, k.Key) && (k.Key != "scheme" || k.Value.Text != "http") {
					f.App.Left(k.Place, at.Key+"."+k.Key, "a check is a GET of a path")
				}
			}
			if h := p.Value.Get("host"); h != "" && h != "127.0.0.1" && h != "localhost" {
				at.Left("a check asks 127.0.0.1")
			}
		}
	}
	for _, p := range f.Node.Pairs {
		at := f.Below(p)
		span := func(name string) {
			format.Number(func(f format.Field, n float64) { f.Set(key+"."+name, format.Seconds(n)) }).To(at)
		}
		switch {
		case p.Key == "exec" || p.Key == "http_get":
		case !has:
			at.Left("there is neither exec nor http_get")
		case key == "ready" && p.Key == "timeout_seconds", key == "ready" && p.Key == "period_seconds", key == "ready" && p.Key == "failure_threshold":
			at.Left("readiness is asked for until ready.timeout, 30s")
		case p.Key == "timeout_seconds":
			span("timeout")
		case p.Key == "period_seconds":
			span("interval")
		case p.Key == "failure_threshold":
			format.Whole(key + ".retries").To(at)
		case key == "health" && p.Key == "initial_delay_seconds":
			span("startPeriod")
		default:
			at.Left("it cannot be said here")
		}
	}
}
