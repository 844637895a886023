package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/dotenv"
	"github.com/omnitron-dev/omnitron/core/config/schema"
	naming "github.com/omnitron-dev/omnitron/core/vault/name"
)

// What the file says, value by value with its place, before anything is resolved. The tables beside these types are the
// one description of omnitron.yaml: the loader, the JSON Schema and `omnitron explain` are made from them.
type (
	fileKeys struct {
		Project     schema.Value[string]
		Supervision schema.Value[supervisionKeys]
		Monitoring  schema.Value[monitoringKeys]
		Logging     schema.Value[loggingKeys]
		Apps        schema.Value[[]schema.Value[appKeys]]
		Stacks      schema.Value[[]schema.Entry[stackKeys]]
	}
	appKeys struct {
		programKeys
		Processes    schema.Value[[]schema.Value[programKeys]]
		Supervision  schema.Value[supervisionKeys]
		Enabled      schema.Value[bool]
		Oneshot      schema.Value[bool]
		Schedule     schema.Value[scheduleKeys]
		OnDaemonExit schema.Value[string]
		Critical     schema.Value[bool]
	}
	programKeys struct {
		Name       schema.Value[string]
		Command    schema.Value[commandLine]
		Script     schema.Value[commandLine]
		CWD        schema.Value[string]
		User       schema.Value[string]
		Group      schema.Value[string]
		Umask      schema.Value[int]
		Env        schema.Value[[]schema.Entry[schema.Variable]]
		EnvFile    schema.Value[[]schema.Value[string]]
		InheritEnv schema.Value[inheritance]
		Ports      schema.Value[[]schema.Entry[Port]]
		Sockets    schema.Value[[]schema.Entry[socketKeys]]
		Ready      schema.Value[readyKeys]
		Health     schema.Value[healthKeys]
		Restart    schema.Value[restartKeys]
		Stop       schema.Value[stopKeys]
		Reload     schema.Value[reloadKeys]
		Hooks      schema.Value[hooksKeys]
		Instances  schema.Value[int]
		DependsOn  schema.Value[[]schema.Value[dependencyKeys]]
		Logging    schema.Value[loggingKeys]

		Limits       schema.Value[limitKeys]
		SuccessCodes schema.Value[[]schema.Value[int]]
		Nice         schema.Value[int]
		OOMScore     schema.Value[int]
		Watchdog     schema.Value[time.Duration]
		Stdin        schema.Value[string]
	}
	limitKeys struct {
		Memory schema.Value[int64]
		CPU    schema.Value[float64]
		NoFile schema.Value[int]
		Best   schema.Value[bool]
	}
	socketKeys struct {
		Address string // as it is written
		Path    schema.Value[string]
		Mode    schema.Value[int]
	}
	commandLine struct {
		Shell string   // for /bin/sh -c
		Argv  []string // else
	}
	inheritance struct {
		All   bool
		Names []schema.Value[string]
	}
	dependencyKeys struct {
		App, Process, Until schema.Value[string]
	}
	probeKeys struct {
		HTTP, TCP, Port schema.Value[string]
		Exec            schema.Value[[]schema.Value[string]]
	}
	readyKeys struct {
		probeKeys
		Notify         schema.Value[bool]
		Log            schema.Value[string]
		Delay, Timeout schema.Value[time.Duration]
	}
	healthKeys struct {
		probeKeys
		Interval, Timeout, StartPeriod schema.Value[time.Duration]
		Retries                        schema.Value[int]
	}
	restartKeys struct {
		Policy             schema.Value[string]
		MaxRestarts        schema.Value[int]
		Window, ResetAfter schema.Value[time.Duration]
		Backoff            schema.Value[backoffKeys]
		MaxMemory          schema.Value[int64]
	}
	backoffKeys struct {
		Type           schema.Value[string]
		Initial, Max   schema.Value[time.Duration]
		Factor, Jitter schema.Value[float64]
	}
	stopKeys struct {
		Signal  schema.Value[string]
		Timeout schema.Value[time.Duration]
	}
	hooksKeys struct {
		PreStart, PostStart, PreStop, PostStop schema.Value[hookKeys]
	}
	scheduleKeys struct {
		Cron, Timezone, Overlap schema.Value[string]
		CatchUp                 schema.Value[bool]
	}
	hookKeys struct {
		Command schema.Value[commandLine]
		Timeout schema.Value[time.Duration]
	}
	reloadKeys struct {
		Signal  schema.Value[string]
		Command schema.Value[[]schema.Value[string]]
		Timeout schema.Value[time.Duration]
	}
	supervisionKeys struct {
		Strategy    schema.Value[string]
		MaxRestarts schema.Value[int]
		Window      schema.Value[time.Duration]
		Backoff     schema.Value[backoffKeys]
	}
	monitoringKeys struct {
		HealthCheck schema.Value[healthCheckKeys]
		Metrics     schema.Value[metricsKeys]
	}
	healthCheckKeys struct {
		Interval, Timeout schema.Value[time.Duration]
		Retries           schema.Value[int]
	}
	metricsKeys struct {
		Interval, Retention schema.Value[time.Duration]
	}
	loggingKeys struct {
		Level    schema.Value[string]
		MaxSize  schema.Value[int64]
		MaxFiles schema.Value[int]
		Compress schema.Value[string]
		OnFull   schema.Value[string]
		Merge    schema.Value[bool]
	}
)

const (
	portPattern = `^[a-z][a-z0-9_-]{0,62}$`
	portHint    = "lower-case letters, digits, - and _, beginning with a letter"
	envHint     = "letters, digits, _ . and -, not beginning with a digit"
	ms          = time.Millisecond
)

var environment = schema.Dict("a map of environment variables", dotenv.NamePattern, envHint, schema.EnvValue(naming.Pattern, naming.Hint))

var argv = schema.List("an argv list", schema.Written("one word of the command"), 1)

var commandKind = schema.OneOf("a command: an argv list, or text for /bin/sh -c",
	schema.AsList(argv, func(words []schema.Value[string]) commandLine { return commandLine{Argv: plain(words)} }),
	schema.AsScalar(schema.Text("a command"), func(s string) commandLine { return commandLine{Shell: s} }))

var scriptKind = schema.OneOf("a script's path, or a list of the path and arguments",
	schema.AsList(argv, func(words []schema.Value[string]) commandLine { return commandLine{Argv: plain(words)} }),
	schema.AsScalar(schema.Text("a path"), func(s string) commandLine { return commandLine{Argv: []string{s}} }))

func plain[T any](vs []schema.Value[T]) []T {
	out := make([]T, len(vs))
	for i, v := range vs {
		out[i] = v.V
	}
	return out
}

var umaskRE = regexp.MustCompile(`^0?[0-7]{3}$`)

// octalKind is three octal digits: a what, such as example.
func octalKind(what, example string) schema.Kind[int] {
	label := "an octal " + what + " such as " + example
	octal := func(text string) (int, *schema.Mistake) {
		text = strings.Replace(text, "0o", "0", 1)
		if !umaskRE.MatchString(text) {
			return 0, &schema.Mistake{Message: "%s is no " + what, Hint: "three octal digits, such as " + example}
		}
		var mask int
		for _, digit := range text {
			mask = mask*8 + int(digit-'0')
		}
		return mask, nil
	}
	return schema.OneOf(label,
		schema.AsNumber(schema.AnyNumber(label, octal), func(n int) int { return n }),
		schema.AsScalar(schema.Parsed(label, octal), func(n int) int { return n }))
}

var umaskKind = octalKind("umask", "022")

var socketKind = schema.OneOf("an address such as 127.0.0.1:8000 or :8000, a path, or a map with path and mode",
	schema.AsScalar(schema.Text("an address such as 127.0.0.1:8000 or :8000, or a path"), func(s string) socketKeys { return socketKeys{Address: s} }),
	schema.AsMap(schema.Object("a socket", nil,
		schema.Field("path", schema.Text("a path"), func(s *socketKeys) *schema.Value[string] { return &s.Path },
			"Where the socket lies, relative to the file.", schema.Required(), schema.Example("run/api.sock")),
		schema.Field("mode", octalKind("mode", "660"), func(s *socketKeys) *schema.Value[int] { return &s.Mode },
			"Who may connect, in octal; it belongs to the user and group that the program runs as.", schema.Default("660"), schema.Example("666")),
	), func(s socketKeys) socketKeys { return s }))

func regex(text string) (string, *schema.Mistake) {
	if _, err := regexp.Compile(text); err != nil {
		return "", &schema.Mistake{Message: "%s is no regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: "), Hint: "RE2 syntax: no look-around, no back-references"}
	}
	return text, nil
}

// signals that a program may be asked to end with.
var signals = []string{"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM", "SIGKILL"}

func signalWords() (words []string) {
	words = slices.Clone(signals)
	for _, s := range signals {
		words = append(words, strings.TrimPrefix(s, "SIG"))
	}
	return words
}

var portKind = schema.OneOf("auto, or a port from 1 to 65535",
	schema.AsNumber(schema.Int(1, 65535), func(n int) Port { return Port{Base: n} }),
	schema.AsScalar(schema.WordOrInt("auto, or a port from 1 to 65535", "auto", 1, 65535), func(n int) Port { return Port{Base: n, Auto: n == 0} }))

// instancesKind gives 0 for max.
var instancesKind = schema.OneOf("a number from 1 to 1000, or max",
	schema.AsNumber(schema.Int(1, 1000), func(n int) int { return n }),
	schema.AsScalar(schema.WordOrInt("max, or a number from 1 to 1000", "max", 1, 1000), func(n int) int { return n }))

// portRefKind is how a probe says which port it means: one of the declared names, or a number.
var portRefKind = schema.OneOf("the name of a declared port, or a number",
	schema.AsNumber(schema.Int(1, 65535), func(n int) string { return fmt.Sprint(n) }),
	schema.AsScalar(schema.Pattern("the name of a port", "^([a-z][a-z0-9_-]{0,62}|[0-9]{1,5})$", portHint), func(s string) string { return s }))

var tcpKind = schema.OneOf("the name of a declared port, a number, or host:port",
	schema.AsNumber(schema.Int(1, 65535), func(n int) string { return fmt.Sprint(n) }),
	schema.AsScalar(schema.Text("the name of a declared port, or host:port"), func(s string) string { return s }))

func probeFields[S any](at func(*S) *probeKeys) []schema.FieldOf[S] {
	return []schema.FieldOf[S]{
		schema.Field("http", schema.Text("a path such as /healthz, or a loopback URL"), func(s *S) *schema.Value[string] { return &at(s).HTTP },
			"GET this; a status from 200 to 399 is good. Redirects are not followed.", schema.Example("/healthz"), schema.Live()),
		schema.Field("tcp", tcpKind, func(s *S) *schema.Value[string] { return &at(s).TCP },
			"Connect; an accepted connection is good.", schema.Example("admin"), schema.Live()),
		schema.Field("exec", argv, func(s *S) *schema.Value[[]schema.Value[string]] { return &at(s).Exec },
			"Run this as the program's user, in its folder and environment; exit code 0 is good. What it started is ended with it.", schema.Example("[pg_isready, -q]"), schema.Live()),
		schema.Field("port", portRefKind, func(s *S) *schema.Value[string] { return &at(s).Port },
			"The port of an http path; left out, it is the only one declared.", schema.Example("admin"), schema.Live()),
	}
}

var readyKind = schema.OneOf(`"notify", or a map with one of notify, http, tcp, log, exec, delay`,
	schema.AsScalar(schema.Enum("notify, or a map with one of http, tcp, log, exec, delay", "notify"), func(string) readyKeys {
		return readyKeys{Notify: schema.Value[bool]{V: true}}
	}),
	schema.AsMap(schema.Object("ready", []schema.Rule{schema.ExactlyOne("notify", "http", "tcp", "log", "exec", "delay")}, append(probeFields(func(r *readyKeys) *probeKeys { return &r.probeKeys }),
		schema.Field("notify", schema.True(), func(r *readyKeys) *schema.Value[bool] { return &r.Notify },
			"The program says READY=1 over NOTIFY_SOCKET (systemd's protocol).", schema.Example("true"), schema.Live()),
		schema.Field("log", schema.Parsed("a regular expression", regex), func(r *readyKeys) *schema.Value[string] { return &r.Log },
			"Ready when a line of its output matches.", schema.Example("listening on"), schema.Live()),
		schema.Field("delay", schema.Duration(ms), func(r *readyKeys) *schema.Value[time.Duration] { return &r.Delay },
			"Ready when it has stayed alive so long.", schema.Example("2s"), schema.Live()),
		schema.Field("timeout", schema.Duration(ms), func(r *readyKeys) *schema.Value[time.Duration] { return &r.Timeout },
			"A start that takes longer has failed.", schema.Default("30s"), schema.Example("60s"), schema.Live()),
	)...), func(r readyKeys) readyKeys { return r }))

var healthKind = schema.Object("health", []schema.Rule{schema.ExactlyOne("http", "tcp", "exec")}, append(probeFields(func(h *healthKeys) *probeKeys { return &h.probeKeys }),
	schema.Field("interval", schema.Duration(100*ms), func(h *healthKeys) *schema.Value[time.Duration] { return &h.Interval },
		"The time between two checks.", schema.Default("monitoring.healthCheck.interval, 15s"), schema.Example("15s"), schema.Live()),
	schema.Field("timeout", schema.Duration(ms), func(h *healthKeys) *schema.Value[time.Duration] { return &h.Timeout },
		"A check that takes longer has failed.", schema.Default("monitoring.healthCheck.timeout, 5s"), schema.Example("5s"), schema.Live()),
	schema.Field("retries", schema.Int(1, 1000), func(h *healthKeys) *schema.Value[int] { return &h.Retries },
		"So many failures in a row make it unhealthy: it has failed and falls under its restart policy.", schema.Default("monitoring.healthCheck.retries, 3"), schema.Example("3"), schema.Live()),
	schema.Field("startPeriod", schema.Duration(0), func(h *healthKeys) *schema.Value[time.Duration] { return &h.StartPeriod },
		"Failures so soon after the start do not count; the first good check ends the period.", schema.Default("0s"), schema.Example("10s"), schema.Live()),
)...)

var backoffKind = schema.Object("backoff", nil,
	schema.Field("type", schema.Enum("fixed, linear or exponential", "fixed", "linear", "exponential"), func(b *backoffKeys) *schema.Value[string] { return &b.Type },
		"How the wait before a restart grows.", schema.Default("exponential"), schema.Example("linear"), schema.Live()),
	schema.Field("initial", schema.Duration(0), func(b *backoffKeys) *schema.Value[time.Duration] { return &b.Initial },
		"The first wait.", schema.Default("1s"), schema.Example("1s"), schema.Live()),
	schema.Field("max", schema.Duration(0), func(b *backoffKeys) *schema.Value[time.Duration] { return &b.Max },
		"No wait is longer.", schema.Default("30s"), schema.Example("30s"), schema.Live()),
	schema.Field("factor", schema.Float(1, 100), func(b *backoffKeys) *schema.Value[float64] { return &b.Factor },
		"Each exponential wait is so many times the one before.", schema.Default("2"), schema.Example("2"), schema.Live()),
	schema.Field("jitter", schema.Float(0, 1), func(b *backoffKeys) *schema.Value[float64] { return &b.Jitter },
		"Each wait is up to this share longer or shorter, so that apps do not restart in step.", schema.Default("0.1"), schema.Example("0.1"), schema.Live()),
)

func maxRestartsField[S any](at func(*S) *schema.Value[int], from string) schema.FieldOf[S] {
	return schema.Field("maxRestarts", schema.Int(0, 1000), at,
		"More restarts within the window, and it is given up as crashed.", schema.Default(from+"5"), schema.Example("5"), schema.Live())
}

func windowField[S any](at func(*S) *schema.Value[time.Duration], from string) schema.FieldOf[S] {
	return schema.Field("window", schema.Duration(ms), at,
		"The time in which restarts are counted; waits of the back-off are not part of it.", schema.Default(from+"60s"), schema.Example("60s"), schema.Live())
}

func backoffField[S any](at func(*S) *schema.Value[backoffKeys]) schema.FieldOf[S] {
	return schema.Field("backoff", backoffKind, at, "How long to wait before each restart.", schema.Example("{initial: 1s, max: 30s}"), schema.Live())
}

var policyKind = schema.Enum("always, on-failure or never", "always", "on-failure", "never")

var restartKind = schema.OneOf("a restart policy (always, on-failure, never), or a map",
	schema.AsScalar(policyKind, func(s string) restartKeys { return restartKeys{Policy: schema.Value[string]{V: s}} }),
	schema.AsMap(schema.Object("restart", nil,
		schema.Field("policy", policyKind, func(r *restartKeys) *schema.Value[string] { return &r.Policy },
			"always: however it ends; on-failure: when it fails or gets unhealthy; never.", schema.Default("on-failure, for a oneshot never"), schema.Example("always"), schema.Live()),
		maxRestartsField(func(r *restartKeys) *schema.Value[int] { return &r.MaxRestarts }, "supervision.maxRestarts, "),
		windowField(func(r *restartKeys) *schema.Value[time.Duration] { return &r.Window }, "supervision.window, "),
		schema.Field("resetAfter", schema.Duration(ms), func(r *restartKeys) *schema.Value[time.Duration] { return &r.ResetAfter },
			"After running so long without a break, the back-off starts over.", schema.Default("60s"), schema.Example("60s"), schema.Live()),
		backoffField(func(r *restartKeys) *schema.Value[backoffKeys] { return &r.Backoff }),
		schema.Field("maxMemory", schema.Size(1<<20), func(r *restartKeys) *schema.Value[int64] { return &r.MaxMemory },
			"An instance that uses more memory, with everything that it started, is asked to end and started again; that counts as a failure. It is looked at with each sample, every 5 s.", schema.Default("never for memory"), schema.Example("400MB"), schema.Live()),
		schema.Later[restartKeys]("cron", "Restart at planned times."),
	), func(r restartKeys) restartKeys { return r }))

var stopKind = schema.Object("stop", nil,
	schema.Field("signal", schema.Enum("a signal such as SIGTERM", signalWords()...), func(s *stopKeys) *schema.Value[string] { return &s.Signal },
		"What asks the program to end.", schema.Default("SIGTERM"), schema.Example("SIGINT"), schema.Live()),
	schema.Field("timeout", schema.Duration(0), func(s *stopKeys) *schema.Value[time.Duration] { return &s.Timeout },
		"How long it may take; then everything that it ever started gets SIGKILL.", schema.Default("10s"), schema.Example("10s"), schema.Live()),
)

var reloadKind = schema.Object("reload", []schema.Rule{schema.ExactlyOne("signal", "command")},
	schema.Field("signal", schema.Enum("a signal such as SIGHUP", signalWords()...), func(r *reloadKeys) *schema.Value[string] { return &r.Signal },
		"The main process gets this signal. One that says RELOADING=1 over its notify socket has to say READY=1 within timeout.", schema.Example("HUP"), schema.Live()),
	schema.Field("command", argv, func(r *reloadKeys) *schema.Value[[]schema.Value[string]] { return &r.Command },
		"This is run beside each instance, as its user, in its folder and environment; exit code 0 is good.", schema.Example("[nginx, -s, reload]"), schema.Live()),
	schema.Field("timeout", schema.Duration(ms), func(r *reloadKeys) *schema.Value[time.Duration] { return &r.Timeout },
		"A reload that takes longer has failed.", schema.Default("30s"), schema.Example("10s"), schema.Live()),
)

var supervisionKind = schema.Object("supervision", nil,
	schema.Field("strategy", schema.Enum("one_for_one, one_for_all or rest_for_one", "one_for_one", "one_for_all", "rest_for_one"), func(s *supervisionKeys) *schema.Value[string] { return &s.Strategy },
		"What a failure means for the siblings: only itself, all, or those that started later are restarted.", schema.Default("one_for_one"), schema.Example("rest_for_one"), schema.Live()),
	maxRestartsField(func(s *supervisionKeys) *schema.Value[int] { return &s.MaxRestarts }, ""),
	windowField(func(s *supervisionKeys) *schema.Value[time.Duration] { return &s.Window }, ""),
	backoffField(func(s *supervisionKeys) *schema.Value[backoffKeys] { return &s.Backoff }),
)

var monitoringKind = schema.Object("monitoring", nil,
	schema.Field("healthCheck", schema.Object("healthCheck", nil,
		schema.Field("interval", schema.Duration(100*ms), func(h *healthCheckKeys) *schema.Value[time.Duration] { return &h.Interval }, "The time between two checks.", schema.Default("15s"), schema.Example("15s"), schema.Live()),
		schema.Field("timeout", schema.Duration(ms), func(h *healthCheckKeys) *schema.Value[time.Duration] { return &h.Timeout }, "A check that takes longer has failed.", schema.Default("5s"), schema.Example("5s"), schema.Live()),
		schema.Field("retries", schema.Int(1, 1000), func(h *healthCheckKeys) *schema.Value[int] { return &h.Retries }, "So many failures in a row make an app unhealthy.", schema.Default("3"), schema.Example("3"), schema.Live()),
	), func(m *monitoringKeys) *schema.Value[healthCheckKeys] { return &m.HealthCheck }, "What apps' health inherits.", schema.Example("{interval: 15s, timeout: 5s, retries: 3}"), schema.Live()),
	schema.Field("metrics", schema.Object("metrics", nil,
		schema.Field("interval", schema.Duration(time.Second), func(m *metricsKeys) *schema.Value[time.Duration] { return &m.Interval }, "The time between two samples of CPU and memory.", schema.Default("5s"), schema.Example("5s"), schema.Live()),
		schema.Field("retention", schema.Duration(time.Minute), func(m *metricsKeys) *schema.Value[time.Duration] { return &m.Retention }, "How long samples are kept.", schema.Default("7d"), schema.Example("7d"), schema.Live()),
	), func(m *monitoringKeys) *schema.Value[metricsKeys] { return &m.Metrics }, "How apps are measured.", schema.Example("{interval: 5s, retention: 7d}"), schema.Live()),
)

var loggingKind = schema.Object("logging", nil,
	schema.Field("level", schema.Enum("a log level", levels...), func(l *loggingKeys) *schema.Value[string] { return &l.Level },
		"The lowest level that is shown when nothing else is asked for; everything is kept.", schema.Default("info"), schema.Example("warn"), schema.Live()),
	schema.Field("maxSize", schema.Size(64<<10), func(l *loggingKeys) *schema.Value[int64] { return &l.MaxSize },
		"A log file that reaches this size is rotated at the next line.", schema.Default("50MB"), schema.Example("50MB")),
	schema.Field("maxFiles", schema.Int(1, 10000), func(l *loggingKeys) *schema.Value[int] { return &l.MaxFiles },
		"So many files are kept of each stream, the one that is being written included.", schema.Default("10"), schema.Example("10"), schema.Live()),
	schema.Field("compress", schema.Enum("zstd, gzip or none", "zstd", "gzip", "none"), func(l *loggingKeys) *schema.Value[string] { return &l.Compress },
		"How rotated files are compressed.", schema.Default("zstd"), schema.Example("gzip"), schema.Live()),
	schema.Field("onFull", schema.Enum("block-then-drop, block or drop", "block-then-drop", "block", "drop"), func(l *loggingKeys) *schema.Value[string] { return &l.OnFull },
		"What happens when the disk is full: hold the app for 10 s and then drop and count, hold it, or drop and count at once.", schema.Default("block-then-drop"), schema.Example("drop")),
	schema.Field("merge", schema.Bool(), func(l *loggingKeys) *schema.Value[bool] { return &l.Merge },
		"One pipe for both streams, so that their order is exact; all of it is then the stream out.", schema.Default("false"), schema.Example("true")),
)

var levels = []string{"trace", "debug", "info", "warn", "error", "fatal"}
