package config

import (
	"time"

	"github.com/omnitron-dev/omnitron/core/config/dotenv"
	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/sched/cron"
)

func dependencyKind(what string, field schema.FieldOf[dependencyKeys]) schema.Kind[[]schema.Value[dependencyKeys]] {
	return schema.List("a list of names", schema.OneOf("the name of "+what+", or a map",
		schema.AsScalar(schema.Name(what), func(s string) dependencyKeys { return dependencyKeys{App: schema.Value[string]{V: s}} }),
		schema.AsMap(schema.Object("a dependency", nil, field,
			schema.Field("until", schema.Enum("ready, started or completed", "ready", "started", "completed"), func(d *dependencyKeys) *schema.Value[string] { return &d.Until },
				"What it waits for.", schema.Default("ready; completed for a oneshot"), schema.Example("completed"), schema.Live()),
		), func(d dependencyKeys) dependencyKeys { return d })), 0)
}

var appDependencies = dependencyKind("an app", schema.Field("app", schema.Name("an app"), func(d *dependencyKeys) *schema.Value[string] { return &d.App },
	"The app of the same stack.", schema.Required(), schema.Example("migrate"), schema.Live()))

var processDependencies = dependencyKind("a process", schema.Field("process", schema.Name("a process"), func(d *dependencyKeys) *schema.Value[string] { return &d.Process },
	"The process of the same app.", schema.Required(), schema.Example("worker"), schema.Live()))

var inheritKind = schema.OneOf("a list of variables, or true for all",
	schema.AsList(schema.List("a list of variables", schema.Pattern("the name of a variable", dotenv.NamePattern, envHint), 0), func(names []schema.Value[string]) inheritance { return inheritance{Names: names} }),
	schema.AsBool(schema.Bool(), func(all bool) inheritance { return inheritance{All: all} }))

var limitsKind = schema.Object("limits", nil,
	schema.Field("memory", schema.Size(1<<20), func(l *limitKeys) *schema.Value[int64] { return &l.Memory },
		"Memory of all its processes together, swap not used instead. Beyond it the kernel ends one of them.", schema.Default("unlimited"), schema.Example("512MB")),
	schema.Field("cpu", schema.Float(0.01, 4096), func(l *limitKeys) *schema.Value[float64] { return &l.CPU },
		"Processors' time of all its processes together: 1.5 is that of one and a half.", schema.Default("unlimited"), schema.Example("1.5")),
	schema.Field("nofile", schema.Int(16, 1<<30), func(l *limitKeys) *schema.Value[int] { return &l.NoFile },
		"Open descriptors of each of its processes. More than the hard limit of the daemon needs root.", schema.Default("the daemon's own limit"), schema.Example("65536")),
	schema.Field("best", schema.Bool(), func(l *limitKeys) *schema.Value[bool] { return &l.Best },
		"Go on without a limit that cannot be enforced here, and show a warning.", schema.Default("false"), schema.Example("true")),
)

func runs(words []schema.Value[string]) hookKeys {
	return hookKeys{Command: schema.Value[commandLine]{V: commandLine{Argv: plain(words)}}}
}

// hookKind is a command beside a program. Its words have no place of their own where it is written short.
var hookKind = schema.OneOf("a command: an argv list, text for /bin/sh -c, or a map with command and timeout",
	schema.AsList(argv, runs),
	schema.AsScalar(schema.Text("a command"), func(s string) hookKeys {
		return hookKeys{Command: schema.Value[commandLine]{V: commandLine{Shell: s}}}
	}),
	schema.AsMap(schema.Object("a hook", nil,
		schema.Field("command", commandKind, func(h *hookKeys) *schema.Value[commandLine] { return &h.Command },
			"What is run: an argv list, or text that /bin/sh -c runs.", schema.Required(), schema.Example("[./prepare, --fast]"), schema.Live()),
		schema.Field("timeout", schema.Duration(ms), func(h *hookKeys) *schema.Value[time.Duration] { return &h.Timeout },
			"How long it may take; then it is ended with everything that it started.", schema.Default("30s"), schema.Example("2m"), schema.Live()),
	), func(h hookKeys) hookKeys { return h }))

var hooksKind = schema.Object("hooks", nil,
	schema.Field("preStart", hookKind, func(h *hooksKeys) *schema.Value[hookKeys] { return &h.PreStart },
		"Before each start, restarts included. When it fails, the start has failed, and the restart policy says what follows.", schema.Example("[./prepare]"), schema.Live()),
	schema.Field("postStart", hookKind, func(h *hooksKeys) *schema.Value[hookKeys] { return &h.PostStart },
		"Once it is ready. up and start wait for it; its failure is told and changes nothing.", schema.Example("[./announce]"), schema.Live()),
	schema.Field("preStop", hookKind, func(h *hooksKeys) *schema.Value[hookKeys] { return &h.PreStop },
		"Before the stop signal, whoever asked for the stop; not when the program has ended by itself. Its time is no part of stop.timeout.", schema.Example("[./drain]"), schema.Live()),
	schema.Field("postStop", hookKind, func(h *hooksKeys) *schema.Value[hookKeys] { return &h.PostStop },
		"When nothing of a run is left, after crashes too, and before the next start. It finds OMNITRON_EXIT_CODE (128 + n for signal n, empty when nobody saw it), OMNITRON_EXIT_SIGNAL and OMNITRON_EXIT_REASON (exited, signal, oom, stopped, unready, unhealthy, watchdog, memory, lost).", schema.Example("[./clean]"), schema.Live()),
)

func cronLine(text string) (string, *schema.Mistake) {
	if _, err := cron.Parse(text); err != nil {
		return "", &schema.Mistake{Message: "%s is no line of cron: " + err.Error(), Hint: "minute hour day month weekday, such as 0 3 * * *"}
	}
	return text, nil
}

func zoneName(text string) (string, *schema.Mistake) {
	if _, err := cron.Zone(text); err != nil || text == "" {
		return "", &schema.Mistake{Message: "%s is no time zone", Hint: "a name such as Europe/Berlin or UTC"}
	}
	return text, nil
}

var cronKind = schema.Parsed("a line of cron such as 0 3 * * *", cronLine)

var scheduleKind = schema.OneOf("a line of cron, or a map with cron, timezone, overlap and catchUp",
	schema.AsScalar(cronKind, func(s string) scheduleKeys { return scheduleKeys{Cron: schema.Value[string]{V: s}} }),
	schema.AsMap(schema.Object("a schedule", nil,
		schema.Field("cron", cronKind, func(s *scheduleKeys) *schema.Value[string] { return &s.Cron },
			"Minute, hour, day of the month, month, day of the week (when both days are given, either will do), or @hourly, @daily, @weekly, @monthly, @yearly. A time that is skipped because clocks are put forward is due once after that; one that comes twice, the first time.", schema.Required(), schema.Example("0 3 * * *"), schema.Live()),
		schema.Field("timezone", schema.Parsed("a time zone such as Europe/Berlin", zoneName), func(s *scheduleKeys) *schema.Value[string] { return &s.Timezone },
			"Whose clocks it goes by.", schema.Default("the machine's"), schema.Example("Europe/Berlin"), schema.Live()),
		schema.Field("overlap", schema.Enum("skip, queue or replace", "skip", "queue", "replace"), func(s *scheduleKeys) *schema.Value[string] { return &s.Overlap },
			"When it is due and still runs: that time is left out, one more run follows at the end, or the old run is stopped for the new one.", schema.Default("skip"), schema.Example("queue"), schema.Live()),
		schema.Field("catchUp", schema.Bool(), func(s *scheduleKeys) *schema.Value[bool] { return &s.CatchUp },
			"Whether times that passed while the daemon was not there are made up for, by one run.", schema.Default("false"), schema.Example("true"), schema.Live()),
	), func(s scheduleKeys) scheduleKeys { return s }))

// programFields are the keys that a process has, and a classic app too.
func programFields[S any](what string, dependencies schema.Kind[[]schema.Value[dependencyKeys]], at func(*S) *programKeys) []schema.FieldOf[S] {
	later := func(name, doc string) schema.FieldOf[S] { return schema.Later[S](name, doc) }
	return []schema.FieldOf[S]{
		schema.Field("name", schema.Name(what), func(s *S) *schema.Value[string] { return &at(s).Name },
			"What it is called.", schema.Required(), schema.Example("api")),
		schema.Field("command", commandKind, func(s *S) *schema.Value[commandLine] { return &at(s).Command },
			"What is run: an argv list, or text that /bin/sh -c runs. A relative path with a slash is taken from cwd.", schema.Example("[./bin/api, --port, 8080]")),
		schema.Field("script", scriptKind, func(s *S) *schema.Value[commandLine] { return &at(s).Script },
			"A script, run by what its extension says (.js .mjs .cjs node, .py python3, .sh sh, .bash bash, .rb ruby, .pl perl, .php php, .lua lua, .jar java -jar); any other file must be executable and is run itself. Arguments follow in a list.", schema.Example("./server.js")),
		schema.Field("cwd", schema.Text("a folder"), func(s *S) *schema.Value[string] { return &at(s).CWD },
			"The folder it runs in, relative to the file; ~ is your home.", schema.Default("the folder of the file"), schema.Example("./api")),
		schema.Field("user", schema.Written("a user"), func(s *S) *schema.Value[string] { return &at(s).User },
			"Run as this user, by name or number; only where the daemon runs as root. HOME, USER, LOGNAME and SHELL are then that user's, unless env sets them.", schema.Example("www-data")),
		schema.Field("group", schema.Written("a group"), func(s *S) *schema.Value[string] { return &at(s).Group },
			"Run with this group; only where the daemon runs as root.", schema.Default("the user's own groups"), schema.Example("www-data")),
		schema.Field("umask", umaskKind, func(s *S) *schema.Value[int] { return &at(s).Umask },
			"Which permissions new files do not get, in octal.", schema.Default("022"), schema.Example("027")),
		schema.Field("env", environment, func(s *S) *schema.Value[[]schema.Entry[schema.Variable]] { return &at(s).Env },
			"Environment variables. Numbers and booleans are taken as written; {secret: name} is a secret of the vault, looked up at each start; null unsets. Strongest first: what Omnitron itself sets, the process's env, the app's env, envFiles (later ones first), inheritEnv, the base list PATH HOME USER LOGNAME SHELL LANG LC_* TZ TMPDIR. Names that begin with OMNITRON_ are reserved, but for OMNITRON_HOME and OMNITRON_OUTPUT.", schema.Example("{LOG: debug, WORKERS: 4, DB_PASSWORD: {secret: db/password}}")),
		schema.Field("envFile", schema.List("a list of files", schema.Text("a path"), 0), func(s *S) *schema.Value[[]schema.Value[string]] { return &at(s).EnvFile },
			"Files of KEY=VALUE lines, relative to the file, later ones winning. They are read by up, apply and reload.", schema.Example("[.env]")),
		schema.Field("inheritEnv", inheritKind, func(s *S) *schema.Value[inheritance] { return &at(s).InheritEnv },
			"Variables taken from the shell that ran up, beyond the base list; true takes all, but for reserved ones. Only those named count as a change when the shell's value differs.", schema.Default("false"), schema.Example("[AWS_PROFILE]")),
		schema.Field("ports", schema.Dict("a map of ports", portPattern, portHint, portKind), func(s *S) *schema.Value[[]schema.Entry[Port]] { return &at(s).Ports },
			"Named ports: a number is the base (instance 2 gets base + 1), auto picks a free one. The program finds them in PORT_<NAME>, and in PORT when there is exactly one.", schema.Example("{admin: auto}")),
		schema.Field("sockets", schema.Dict("a map of sockets", portPattern, portHint, socketKind), func(s *S) *schema.Value[[]schema.Entry[socketKeys]] { return &at(s).Sockets },
			"Listening sockets that are kept open by us from the first start to the stop, and passed on as systemd does (LISTEN_FDS, LISTEN_FDNAMES): one a name for all instances and generations, so that no connection is refused while programs come and go. ip:port, :port for every address of the machine, or a path.", schema.Example("{http: 127.0.0.1:8000}")),
		schema.Field("ready", readyKind, func(s *S) *schema.Value[readyKeys] { return &at(s).Ready },
			"When a start has succeeded.", schema.Default("alive for one second; a oneshot has none"), schema.Example("{http: /healthz, port: admin}"), schema.Live()),
		schema.Field("health", healthKind, func(s *S) *schema.Value[healthKeys] { return &at(s).Health },
			"How a running program is checked.", schema.Default("not checked"), schema.Example("{http: /healthz, port: admin, startPeriod: 10s}"), schema.Live()),
		schema.Field("restart", restartKind, func(s *S) *schema.Value[restartKeys] { return &at(s).Restart },
			"When it is started again.", schema.Default("on-failure"), schema.Example("{policy: always, maxRestarts: 5, window: 60s}"), schema.Live()),
		schema.Field("stop", stopKind, func(s *S) *schema.Value[stopKeys] { return &at(s).Stop },
			"How it is ended.", schema.Example("{signal: SIGTERM, timeout: 10s}"), schema.Live()),
		schema.Field("reload", reloadKind, func(s *S) *schema.Value[reloadKeys] { return &at(s).Reload },
			"How it is reloaded: by a signal or a command.", schema.Default("each instance is replaced by a new one, which is ready before the old one ends; where a fixed port allows one only, the old one ends first"), schema.Example("{signal: HUP}"), schema.Live()),
		schema.Field("hooks", hooksKind, func(s *S) *schema.Value[hooksKeys] { return &at(s).Hooks },
			"Commands beside each instance, with its user, folder, environment and limits, and OMNITRON_HOOK, which names the hook. What they print is in its log; nothing of them is left when they end.", schema.Example("{preStart: [./prepare], postStop: {command: [./clean], timeout: 10s}}"), schema.Live()),
		schema.Field("instances", instancesKind, func(s *S) *schema.Value[int] { return &at(s).Instances },
			"How many run at the same time; max is one for each processor.", schema.Default("1"), schema.Example("2"), schema.Live()),
		schema.Field("dependsOn", dependencies, func(s *S) *schema.Value[[]schema.Value[dependencyKeys]] { return &at(s).DependsOn },
			"What has to be there before it starts.", schema.Example("[pool]"), schema.Live()),
		schema.Field("logging", loggingKind, func(s *S) *schema.Value[loggingKeys] { return &at(s).Logging },
			"How much of its output is kept.", schema.Default("the logging above"), schema.Example("{maxSize: 10MB}")),
		schema.Field("watchdog", schema.Duration(100*ms), func(s *S) *schema.Value[time.Duration] { return &at(s).Watchdog },
			"Once it is ready it has to say WATCHDOG=1 over NOTIFY_SOCKET again and again, and finds in WATCHDOG_USEC how often; silence for so long is a failure, and it is started again. Only with ready: notify.", schema.Default("not watched"), schema.Example("10s")),
		later("tty", "A pseudo terminal."),
		schema.Field("stdin", schema.OrNull(schema.Enum("null or open", "null", "open")), func(s *S) *schema.Value[string] { return &at(s).Stdin },
			"What its standard input is: null has nothing to read and is at its end at once; open has nothing to read either, but no end before the program's, for programs that end with their input.", schema.Default("null"), schema.Example("open")),
		schema.Field("limits", limitsKind, func(s *S) *schema.Value[limitKeys] { return &at(s).Limits },
			"What each instance may use, with everything that it starts. What cannot be enforced where the daemon runs fails the start, unless best is true.", schema.Default("no limits of its own"), schema.Example("{memory: 512MB, cpu: 1.5, nofile: 65536}")),
		schema.Field("successCodes", schema.List("a list of exit codes", schema.Int(0, 255), 1), func(s *S) *schema.Value[[]schema.Value[int]] { return &at(s).SuccessCodes },
			"The exit codes that are no failure; 128 + number stands for an end by that signal. A list without 0 makes 0 a failure.", schema.Default("[0]"), schema.Example("[0, 143]"), schema.Live()),
		schema.Field("nice", schema.Int(-20, 19), func(s *S) *schema.Value[int] { return &at(s).Nice },
			"Its priority: the higher, the more it lets others go first. Less than the daemon's own needs root, else the start fails.", schema.Default("that of the daemon"), schema.Example("10")),
		schema.Field("oomScore", schema.Int(-1000, 1000), func(s *S) *schema.Value[int] { return &at(s).OOMScore },
			"How ready the kernel is to end it when memory is short: the higher, the sooner. Less than the daemon's own needs root, else the start fails.", schema.Default("that of the daemon"), schema.Example("500")),
		later("watch", "Reload when files change."),
		later("build", "What is built before it starts."),
		later("node", "Settings of node programs."),
	}
}

var processKind = schema.Object("a process", nil, programFields("a process", processDependencies, func(p *programKeys) *programKeys { return p })...)

var appKind = schema.Object("an app", nil, append(programFields("an app", appDependencies, func(a *appKeys) *programKeys { return &a.programKeys }),
	schema.Field("processes", schema.List("a list of processes", processKind, 1), func(a *appKeys) *schema.Value[[]schema.Value[programKeys]] { return &a.Processes },
		"Several programs in one app, each with its own instances. What the app says of cwd, user, group, umask, env, envFile, inheritEnv, restart, stop, logging, limits, successCodes, nice, oomScore and stdin holds for those that say nothing.", schema.Example("[{name: web, command: [./web]}, {name: worker, command: [./worker]}]")),
	schema.Field("supervision", supervisionKind, func(a *appKeys) *schema.Value[supervisionKeys] { return &a.Supervision },
		"What a failure of one process means for the others of the app.", schema.Example("{strategy: one_for_all}"), schema.Live()),
	schema.Field("enabled", schema.Bool(), func(a *appKeys) *schema.Value[bool] { return &a.Enabled },
		"Whether up starts it.", schema.Default("true"), schema.Example("false"), schema.Live()),
	schema.Field("oneshot", schema.Bool(), func(a *appKeys) *schema.Value[bool] { return &a.Oneshot },
		"It runs once and ends completed or failed.", schema.Default("false"), schema.Example("true")),
	schema.Field("onDaemonExit", schema.Enum("adopt or stop", "adopt", "stop"), func(a *appKeys) *schema.Value[string] { return &a.OnDaemonExit },
		"What happens to it when the daemon dies: it lives on and the next daemon takes it over, or it is stopped.", schema.Default("adopt"), schema.Example("stop")),
	schema.Field("critical", schema.Bool(), func(a *appKeys) *schema.Value[bool] { return &a.Critical },
		"When it is given up, as crashed or as a oneshot that failed, all other apps of its stack are stopped, those that depend on others first. They stay so until they are started again.", schema.Default("false"), schema.Example("true"), schema.Live()),
	schema.Field("schedule", scheduleKind, func(a *appKeys) *schema.Value[scheduleKeys] { return &a.Schedule },
		"When it runs; for a oneshot. Between runs it waits, and that is ready for up. start runs it now, stop ends the run and pauses the schedule; its restart policy acts within a run.", schema.Example("{cron: 0 3 * * *, timezone: Europe/Berlin}"), schema.Live()),
	schema.Later[appKeys]("needs", "Services of the infrastructure that it uses."),
	schema.Later[appKeys]("deploy", "How a new version is put in place."),
	schema.Later[appKeys]("mcp", "MCP tools that the app itself offers."),
)...)

var fileKind = schema.Object("the file", nil,
	schema.Field("project", schema.Name("a project"), func(f *fileKeys) *schema.Value[string] { return &f.Project },
		"The project's name.", schema.Default("the folder's name, made to fit"), schema.Example("shop")),
	schema.Field("supervision", supervisionKind, func(f *fileKeys) *schema.Value[supervisionKeys] { return &f.Supervision },
		"What one app's failure means for the others of the stack, and the restarts that apps inherit.", schema.Example("{strategy: one_for_one, maxRestarts: 5, window: 60s}"), schema.Live()),
	schema.Field("monitoring", monitoringKind, func(f *fileKeys) *schema.Value[monitoringKeys] { return &f.Monitoring },
		"Defaults of checks and measurements.", schema.Example("{healthCheck: {interval: 15s}}"), schema.Live()),
	schema.Field("logging", loggingKind, func(f *fileKeys) *schema.Value[loggingKeys] { return &f.Logging },
		"How much of the apps' output is kept.", schema.Example("{maxSize: 50MB, maxFiles: 10}")),
	schema.Field("apps", schema.List("a list of apps", appKind, 0), func(f *fileKeys) *schema.Value[[]schema.Value[appKeys]] { return &f.Apps },
		"The apps.", schema.Required(), schema.Example("[{name: web, command: [./web]}]")),
	schema.Field("stacks", stacksKind, func(f *fileKeys) *schema.Value[[]schema.Entry[stackKeys]] { return &f.Stacks },
		"The same apps several times side by side, such as dev, staging and prod, by name. Which one is meant says --stack, then OMNITRON_STACK; else it is dev, or the only one.", schema.Default("the one stack dev, with all apps"), schema.Example("{dev: {}, prod: {apps: [api], env: {LOG: warn}}}"), schema.Live()),
	schema.Later[fileKeys]("infrastructure", "Databases and other services that apps need."),
	schema.Later[fileKeys]("pipelines", "Steps that run on demand or on a trigger."),
	schema.Later[fileKeys]("backups", "What is backed up, when and where to."),
)
