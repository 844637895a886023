package imports

import (
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	noSandbox = "programs are not put into sandboxes"
	notOthers = "units that the machine has are not waited for; omnitron install has the daemon start with it"
)

// serviceKeys is what becomes of the keys of [Service].
var serviceKeys = map[string]rule{
	"Type": {to: func(f field) {
		switch f.node.Text {
		case "notify", "notify-reload":
			f.set("ready.notify", draft.Word("true"))
			if n := f.all.Find("TimeoutStartSec"); n != nil {
				f.span(n, "TimeoutStartSec", "ready.timeout")
			}
		case "oneshot":
			f.set("oneshot", draft.Word("true"))
		case "simple", "exec":
		default:
			f.left("readiness is told by ready")
		}
	}},
	"ExecStart": done, "Restart": done, "WorkingDirectory": done, "TimeoutStartSec": {to: func(f field) {
		if !strings.HasPrefix(f.all.Get("Type"), "notify") {
			f.left("it is about programs that tell when they are ready")
		}
	}},
	"ExecStartPre": {to: func(f field) { f.hook("preStart") }}, "ExecStartPost": {to: func(f field) { f.hook("postStart") }},
	"ExecStop": {to: func(f field) { f.hook("preStop") }}, "ExecStopPost": {to: func(f field) { f.hook("postStop") }},
	"ExecCondition": no("there are no conditions"),
	"ExecReload": {to: func(f field) {
		words := strings.Fields(f.node.Text)
		if len(words) == 3 && filepath.Base(words[0]) == "kill" && (words[2] == "$MAINPID" || words[2] == "${MAINPID}") {
			f.set("reload.signal", draft.Text(strings.TrimPrefix(strings.TrimPrefix(words[1], "-"), "SIG")))
			return
		}
		if v, ok := f.execValue(f.node); ok {
			f.set("reload.command", v)
		}
	}},
	"User": text("user"), "Group": text("group"), "UMask": text("umask"), "Nice": signed("nice"), "OOMScoreAdjust": signed("oomScore"),
	"Environment": {to: func(f field) {
		for _, p := range f.all.Pairs {
			if p.Key != f.key {
				continue
			}
			words, ok := unitWords(p.Value.Text)
			if !ok {
				f.app.Left(p.Place, f.key, "a quote in it is not closed")
			}
			for _, w := range words {
				name, value, ok := strings.Cut(w, "=")
				value, known := f.specifiers(value)
				switch {
				case !ok || !known:
					f.app.Left(p.Place, f.key+" "+w, "it is not understood here")
				case name == "PORT" && port(f.app, p.Place, "PORT", value):
				default:
					f.app.Env(p.Place, "Environment "+name, name, draft.Text(value))
				}
			}
		}
	}},
	"EnvironmentFile": {to: func(f field) {
		var files []string
		for _, p := range f.all.Pairs {
			if p.Key == f.key && p.Value.Text != "" {
				path, optional := strings.CutPrefix(p.Value.Text, "-")
				if _, err := f.Read(path); err != nil && optional {
					f.app.Left(p.Place, f.key, "there is no "+path+" now, and an env file has to be there")
					continue
				}
				files = append(files, path)
			}
		}
		if len(files) > 0 {
			f.set("envFile", argv(files))
		}
	}},
	"PassEnvironment": {to: func(f field) { f.set("inheritEnv", argv(strings.Fields(f.node.Text))) }},
	"UnsetEnvironment": {to: func(f field) {
		for _, name := range strings.Fields(f.node.Text) {
			f.app.Env(f.from, f.key, name, draft.Word("null"))
		}
	}},
	"RestartSec": {to: func(f field) {
		f.set("restart.backoff.type", draft.Word("fixed"))
		f.span(f.node, f.key, "restart.backoff.initial")
		f.span(f.node, f.key, "restart.backoff.max")
	}},
	"TimeoutStopSec": {to: func(f field) { f.span(f.node, f.key, "stop.timeout") }}, "TimeoutSec": {to: func(f field) { f.span(f.node, f.key, "stop.timeout") }},
	"KillSignal": text("stop.signal"), "KillMode": no("the signal goes to the program, and whatever is left after the time-out is killed"),
	"WatchdogSec": {to: func(f field) { f.span(f.node, f.key, "watchdog") }},
	"LimitNOFILE": whole("limits.nofile"), "MemoryMax": {to: func(f field) { f.bytes("limits.memory") }}, "MemoryLimit": {to: func(f field) { f.bytes("limits.memory") }},
	"CPUQuota": {to: func(f field) {
		if n, err := strconv.ParseFloat(strings.TrimSuffix(f.node.Text, "%"), 64); err == nil && n > 0 && n < 1e6 {
			f.set("limits.cpu", draft.Word(strconv.FormatFloat(n/100, 'f', -1, 64)))
			return
		}
		f.left("it is no share that is understood here")
	}},
	"SuccessExitStatus": {to: func(f field) {
		list := draft.Argv{draft.Word("0")}
		for _, w := range strings.Fields(f.node.Text) {
			if n, err := strconv.Atoi(w); err != nil || n < 0 || n > 255 {
				f.left("only numbers are understood, and not " + w)
				return
			}
			list = append(list, draft.Word(w))
		}
		f.set("successCodes", list)
	}},
	"StandardOutput": no(ownLogs), "StandardError": no(ownLogs), "SyslogIdentifier": no(ownLogs), "LogRateLimitIntervalSec": no(ownLogs), "StandardInput": no("stdin is nothing, or an open pipe"),
	"RemainAfterExit": no("a oneshot that has ended is completed"), "PIDFile": no("programs stay in the foreground here"), "RuntimeMaxSec": no("there is no longest time"),
	"NotifyAccess": no("the program and its children are heard"), "SendSIGKILL": no("what does not end in time is killed"), "SendSIGHUP": no("one signal asks a program to end"),
	"NoNewPrivileges": no(noSandbox), "PrivateTmp": no(noSandbox), "ProtectSystem": no(noSandbox), "ProtectHome": no(noSandbox), "ReadWritePaths": no(noSandbox), "ReadOnlyPaths": no(noSandbox),
	"CapabilityBoundingSet": no(noSandbox), "AmbientCapabilities": no(noSandbox), "PrivateDevices": no(noSandbox), "RestrictAddressFamilies": no(noSandbox), "SystemCallFilter": no(noSandbox),
	"RuntimeDirectory": no("folders are not made for programs"), "StateDirectory": no("folders are not made for programs"), "LogsDirectory": no("folders are not made for programs"),
	"CacheDirectory": no("folders are not made for programs"), "ConfigurationDirectory": no("folders are not made for programs"),
	"SupplementaryGroups": no("a program gets the groups of its user"), "Slice": no("control groups are Omnitron's own"), "Delegate": no("control groups are Omnitron's own"),
	"TasksMax": no("the number of processes has no limit"), "LimitNPROC": no("the number of processes has no limit"), "LimitCORE": no("only limits.nofile is set"), "LimitMEMLOCK": no("only limits.nofile is set"),
	"StartLimitBurst": whole("restart.maxRestarts"), "StartLimitInterval": {to: func(f field) { f.span(f.node, f.key, "restart.window") }},
}

// unitKeys is what becomes of the keys of [Unit].
var unitKeys = map[string]rule{
	"Description": no("names and comments say what an app is"), "Documentation": no("comments say it"),
	"After": {to: func(f field) { f.depend() }}, "Requires": {to: func(f field) { f.depend() }}, "Wants": {to: func(f field) { f.depend() }}, "BindsTo": {to: func(f field) { f.depend() }},
	"Before": no("the other one says dependsOn"), "Conflicts": no(notOthers), "PartOf": no(notOthers), "Requisite": no(notOthers), "DefaultDependencies": no(notOthers),
	"StartLimitBurst": whole("restart.maxRestarts"), "StartLimitIntervalSec": {to: func(f field) { f.span(f.node, f.key, "restart.window") }}, "StartLimitInterval": {to: func(f field) { f.span(f.node, f.key, "restart.window") }},
	"ConditionPathExists": no("there are no conditions"), "AssertPathExists": no("there are no conditions"), "OnFailure": no("omnitron events follows what happens"),
}

var installKeys = map[string]rule{
	"WantedBy": no("omnitron up starts what is enabled"), "RequiredBy": no("omnitron up starts what is enabled"), "Alias": no("an app has one name"), "Also": no("name the other unit to omnitron import too"),
	"DefaultInstance": no("templates are not made into apps by themselves"),
}
