package machine

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
)

const (
	noSandbox = "programs are not put into sandboxes"
	notOthers = "units that the machine has are not waited for; omnitron install has the daemon start with it"
)

// serviceKeys is what becomes of the keys of [Service].
var serviceKeys = map[string]format.Rule{
	"Type": {To: func(f format.Field) {
		switch f.Node.Text {
		case "notify", "notify-reload":
			f.Set("ready.notify", draft.Word("true"))
			if n := f.All.Find("TimeoutStartSec"); n != nil {
				span(f, n, "TimeoutStartSec", "ready.timeout")
			}
		case "oneshot":
			f.Set("oneshot", draft.Word("true"))
		case "simple", "exec":
		default:
			f.Left("readiness is told by ready")
		}
	}},
	"ExecStart": format.Done, "Restart": format.Done, "WorkingDirectory": format.Done, "TimeoutStartSec": {To: func(f format.Field) {
		if !strings.HasPrefix(f.All.Get("Type"), "notify") {
			f.Left("it is about programs that tell when they are ready")
		}
	}},
	"ExecStartPre": {To: func(f format.Field) { hook(f, "preStart") }}, "ExecStartPost": {To: func(f format.Field) { hook(f, "postStart") }},
	"ExecStop": {To: func(f format.Field) { hook(f, "preStop") }}, "ExecStopPost": {To: func(f format.Field) { hook(f, "postStop") }},
	"ExecCondition": format.No("there are no conditions"),
	"ExecReload": {To: func(f format.Field) {
		words := strings.Fields(f.Node.Text)
		if len(words) == 3 && filepath.Base(words[0]) == "kill" && (words[2] == "$MAINPID" || words[2] == "${MAINPID}") {
			f.Set("reload.signal", draft.Text(strings.TrimPrefix(strings.TrimPrefix(words[1], "-"), "SIG")))
			return
		}
		if v, ok := execValue(f, f.Node); ok {
			f.Set("reload.command", v)
		}
	}},
	"User": format.Text("user"), "Group": format.Text("group"), "UMask": format.Text("umask"), "Nice": format.Signed("nice"), "OOMScoreAdjust": format.Signed("oomScore"),
	"Environment": {To: func(f format.Field) {
		for _, p := range f.All.Pairs {
			if p.Key != f.Key {
				continue
			}
			words, ok := unitWords(p.Value.Text)
			if !ok {
				f.App.Left(p.Place, f.Key, "a quote in it is not closed")
			}
			for _, w := range words {
				name, value, ok := strings.Cut(w, "=")
				value, known := specifiers(f, value)
				switch {
				case !ok || !known:
					f.App.Left(p.Place, f.Key+" "+w, "it is not understood here")
				case name == "PORT" && format.Port(f.App, p.Place, "PORT", value):
				default:
					f.App.Env(p.Place, "Environment "+name, name, draft.Text(value))
				}
			}
		}
	}},
	"EnvironmentFile": {To: func(f format.Field) {
		var files []string
		for _, p := range f.All.Pairs {
			if p.Key == f.Key && p.Value.Text != "" {
				path, optional := strings.CutPrefix(p.Value.Text, "-")
				if _, err := f.Read(path); err != nil && optional {
					f.App.Left(p.Place, f.Key, "there is no "+path+" now, and an env file has to be there")
					continue
				}
				files = append(files, path)
			}
		}
		if len(files) > 0 {
			f.Set("envFile", format.Argv(files))
		}
	}},
	"PassEnvironment": {To: func(f format.Field) { f.Set("inheritEnv", format.Argv(strings.Fields(f.Node.Text))) }},
	"UnsetEnvironment": {To: func(f format.Field) {
		for _, name := range strings.Fields(f.Node.Text) {
			f.App.Env(f.From, f.Key, name, draft.Word("null"))
		}
	}},
	"RestartSec": {To: func(f format.Field) {
		f.Set("restart.backoff.type", draft.Word("fixed"))
		span(f, f.Node, f.Key, "restart.backoff.initial")
		span(f, f.Node, f.Key, "restart.backoff.max")
	}},
	"TimeoutStopSec": {To: func(f format.Field) { span(f, f.Node, f.Key, "stop.timeout") }}, "TimeoutSec": {To: func(f format.Field) { span(f, f.Node, f.Key, "stop.timeout") }},
	"KillSignal": format.Text("stop.signal"), "KillMode": format.No("the signal goes to the program, and whatever is left after the time-out is killed"),
	"WatchdogSec": {To: func(f format.Field) { span(f, f.Node, f.Key, "watchdog") }},
	"LimitNOFILE": format.Whole("limits.nofile"), "MemoryMax": {To: func(f format.Field) { bytes(f, "limits.memory") }}, "MemoryLimit": {To: func(f format.Field) { bytes(f, "limits.memory") }},
	"CPUQuota": {To: func(f format.Field) {
		if n, err := strconv.ParseFloat(strings.TrimSuffix(f.Node.Text, "%"), 64); err == nil && n > 0 && n < 1e6 {
			f.Set("limits.cpu", draft.Word(strconv.FormatFloat(n/100, 'f', -1, 64)))
			return
		}
		f.Left("it is no share that is understood here")
	}},
	"SuccessExitStatus": {To: func(f format.Field) {
		list := draft.Argv{draft.Word("0")}
		for _, w := range strings.Fields(f.Node.Text) {
			if n, err := strconv.Atoi(w); err != nil || n < 0 || n > 255 {
				f.Left("only numbers are understood, and not " + w)
				return
			}
			list = append(list, draft.Word(w))
		}
		f.Set("successCodes", list)
	}},
	"StandardOutput": format.No(format.OwnLogs), "StandardError": format.No(format.OwnLogs), "SyslogIdentifier": format.No(format.OwnLogs), "LogRateLimitIntervalSec": format.No(format.OwnLogs), "StandardInput": format.No("stdin is nothing, or an open pipe"),
	"RemainAfterExit": format.No("a oneshot that has ended is completed"), "PIDFile": format.No("programs stay in the foreground here"), "RuntimeMaxSec": format.No("there is no longest time"),
	"NotifyAccess": format.No("the program and its children are heard"), "SendSIGKILL": format.No("what does not end in time is killed"), "SendSIGHUP": format.No("one signal asks a program to end"),
	"NoNewPrivileges": format.No(noSandbox), "PrivateTmp": format.No(noSandbox), "ProtectSystem": format.No(noSandbox), "ProtectHome": format.No(noSandbox), "ReadWritePaths": format.No(noSandbox), "ReadOnlyPaths": format.No(noSandbox),
	"CapabilityBoundingSet": format.No(noSandbox), "AmbientCapabilities": format.No(noSandbox), "PrivateDevices": format.No(noSandbox), "RestrictAddressFamilies": format.No(noSandbox), "SystemCallFilter": format.No(noSandbox),
	"RuntimeDirectory": format.No("folders are not made for programs"), "StateDirectory": format.No("folders are not made for programs"), "LogsDirectory": format.No("folders are not made for programs"),
	"CacheDirectory": format.No("folders are not made for programs"), "ConfigurationDirectory": format.No("folders are not made for programs"),
	"SupplementaryGroups": format.No("a program gets the groups of its user"), "Slice": format.No("control groups are Omnitron's own"), "Delegate": format.No("control groups are Omnitron's own"),
	"TasksMax": format.No("the number of processes has no limit"), "LimitNPROC": format.No("the number of processes has no limit"), "LimitCORE": format.No("only limits.nofile is set"), "LimitMEMLOCK": format.No("only limits.nofile is set"),
	"StartLimitBurst": format.Whole("restart.maxRestarts"), "StartLimitInterval": {To: func(f format.Field) { span(f, f.Node, f.Key, "restart.window") }},
}

// unitKeys is what becomes of the keys of [Unit].
var unitKeys = map[string]format.Rule{
	"Description": format.No("names and comments say what an app is"), "Documentation": format.No("comments say it"),
	"After": {To: func(f format.Field) { depend(f) }}, "Requires": {To: func(f format.Field) { depend(f) }}, "Wants": {To: func(f format.Field) { depend(f) }}, "BindsTo": {To: func(f format.Field) { depend(f) }},
	"Before": format.No("the other one says dependsOn"), "Conflicts": format.No(notOthers), "PartOf": format.No(notOthers), "Requisite": format.No(notOthers), "DefaultDependencies": format.No(notOthers),
	"StartLimitBurst": format.Whole("restart.maxRestarts"), "StartLimitIntervalSec": {To: func(f format.Field) { span(f, f.Node, f.Key, "restart.window") }}, "StartLimitInterval": {To: func(f format.Field) { span(f, f.Node, f.Key, "restart.window") }},
	"ConditionPathExists": format.No("there are no conditions"), "AssertPathExists": format.No("there are no conditions"), "OnFailure": format.No("omnitron events follows what happens"),
}

var installKeys = map[string]format.Rule{
	"WantedBy": format.No("omnitron up starts what is enabled"), "RequiredBy": format.No("omnitron up starts what is enabled"), "Alias": format.No("an app has one name"), "Also": format.No("name the other unit to omnitron import too"),
	"DefaultInstance": format.No("templates are not made into apps by themselves"),
}
