package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// The values that hold where no file says anything. The tables name them too; a test compares both.
var (
	defaultBackoff     = Backoff{Type: "exponential", Initial: time.Second, Max: 30 * time.Second, Factor: 2, Jitter: 0.1}
	defaultRestart     = Restart{Policy: "on-failure", MaxRestarts: 5, Window: time.Minute, ResetAfter: time.Minute, Backoff: defaultBackoff}
	defaultSupervision = Supervision{Strategy: "one_for_one", Restart: defaultRestart}
	defaultMonitoring  = Monitoring{HealthInterval: 15 * time.Second, HealthTimeout: 5 * time.Second, HealthRetries: 3, MetricsInterval: 5 * time.Second, Retention: 7 * 24 * time.Hour}
	defaultLogging     = Logging{Level: "info", MaxSize: 50_000_000, MaxFiles: 10, Compress: "zstd", OnFull: "block-then-drop"}
	defaultStop        = Stop{Signal: "SIGTERM", Timeout: 10 * time.Second}
)

const (
	defaultReadyTimeout = 30 * time.Second
	defaultHookTimeout  = 30 * time.Second
	aliveDelay          = time.Second
)

// mean reports a problem that only the whole file shows.
func (l *loader) mean(n *tree.Node, format string, args ...any) *tree.Problem {
	return l.problems.Add(n.Pos, tree.Meaning, format, args...)
}

// resolve makes the definition out of what the file says.
func (l *loader) resolve(root *tree.Node, keys fileKeys) *Definition {
	def := &Definition{Project: l.project(keys), Dir: l.dir, Apps: []App{}}
	for _, f := range l.src.Files {
		def.Files = append(def.Files, f.Path)
	}
	stack, apps := l.choose(def.Project, keys)
	def.Stack = stack.name
	def.Supervision = l.supervision(defaultSupervision, keys.Supervision.V)
	def.Monitoring = l.monitoring(keys.Monitoring.V)
	logging := l.logging(defaultLogging, keys.Logging.V)
	for _, a := range apps {
		def.Apps = append(def.Apps, l.app(def, a, logging))
	}
	if keys.Apps.Set() && len(keys.Apps.Node.Items) == 0 {
		l.warn(keys.Apps.Node.Pos, "the list of apps is empty: there is nothing to run")
	}
	l.checkApps(def, apps)
	return def
}

// project is the project's name: the file's, else what can be made of its folder.
func (l *loader) project(keys fileKeys) string {
	if keys.Project.Set() {
		return keys.Project.V
	}
	name := Fit(filepath.Base(l.dir))
	if name == "" {
		l.problems.Add(l.start(), tree.Meaning, "no project name can be made of the folder %q", l.dir).Hint = "give one: project: shop"
	}
	return name
}

var unfit = regexp.MustCompile(`[^a-z0-9_-]+`)

// Fit makes a name out of any text: lower case, what may not be in a name becomes a dash, at most 63 characters. ""
// when nothing is left.
func Fit(text string) string {
	s := strings.TrimLeft(unfit.ReplaceAllString(strings.ToLower(text), "-"), "-_")
	if len(s) > 63 {
		s = s[:63]
	}
	return strings.TrimRight(s, "-")
}

func (l *loader) app(def *Definition, v schema.Value[appKeys], logging Logging) App {
	k := v.V
	a := App{Name: k.Name.V, Key: def.Project + "/" + def.Stack + "/" + k.Name.V, Classic: !k.Processes.Set(), Enabled: k.Enabled.Or(true), Oneshot: k.Oneshot.V,
		OnDaemonExit: k.OnDaemonExit.Or("adopt"), Critical: k.Critical.V, Supervision: l.supervision(def.Supervision, k.Supervision.V)}
	if !k.Supervision.V.Strategy.Set() {
		a.Supervision.Strategy = defaultSupervision.Strategy // the file's acts among apps
	}
	if a.Oneshot {
		a.Supervision.Restart.Policy = "never" // it runs once, unless its own restart says otherwise
	}
	a.Schedule = l.schedule(a, k.Schedule)
	c := programContext{app: &a, monitoring: def.Monitoring, logging: logging}
	if a.Classic {
		a.Processes = []Process{l.program(c, v.Node, k.programKeys, nil)}
		return a
	}
	for _, misplaced := range []struct {
		key string
		at  *tree.Node
	}{{"command", k.Command.Node}, {"script", k.Script.Node}, {"ports", k.Ports.Node}, {"ready", k.Ready.Node}, {"health", k.Health.Node}, {"hooks", k.Hooks.Node}, {"instances", k.Instances.Node}, {"watchdog", k.Watchdog.Node}} {
		if misplaced.at != nil {
			l.mean(misplaced.at, "%q belongs to a process of this app, not to the app: it has processes", misplaced.key).Hint = "move it into one of the processes"
		}
	}
	seen := map[string]*tree.Node{}
	for _, p := range k.Processes.V {
		if first := seen[p.V.Name.V]; first != nil {
			l.mean(p.V.Name.Node, "the process %q is there twice", p.V.Name.V).Hint = first.Beside(p.V.Name.Node)
		} else if p.V.Name.Set() {
			seen[p.V.Name.V] = p.V.Name.Node
		}
		a.Processes = append(a.Processes, l.program(c, p.Node, p.V, &k.programKeys))
	}
	return a
}

func (l *loader) supervision(s Supervision, k supervisionKeys) Supervision {
	schema.Put(&s.Strategy, k.Strategy)
	schema.Put(&s.Restart.MaxRestarts, k.MaxRestarts)
	schema.Put(&s.Restart.Window, k.Window)
	s.Restart.Backoff = l.backoff(s.Restart.Backoff, k.Backoff)
	return s
}

func (l *loader) backoff(b Backoff, v schema.Value[backoffKeys]) Backoff {
	schema.Put(&b.Type, v.V.Type)
	schema.Put(&b.Initial, v.V.Initial)
	schema.Put(&b.Max, v.V.Max)
	schema.Put(&b.Factor, v.V.Factor)
	schema.Put(&b.Jitter, v.V.Jitter)
	if v.Set() && b.Max < b.Initial {
		at := v.Node
		for _, n := range []*tree.Node{v.V.Initial.Node, v.V.Max.Node} {
			if n != nil {
				at = n
			}
		}
		l.mean(at, "the longest wait (max: %s) is shorter than the first (initial: %s)", showDuration(b.Max), showDuration(b.Initial))
	}
	return b
}

func (l *loader) restart(r Restart, v schema.Value[restartKeys]) Restart {
	if v.V.Policy.V != "" {
		r.Policy = v.V.Policy.V
	}
	schema.Put(&r.MaxRestarts, v.V.MaxRestarts)
	schema.Put(&r.Window, v.V.Window)
	schema.Put(&r.ResetAfter, v.V.ResetAfter)
	r.Backoff = l.backoff(r.Backoff, v.V.Backoff)
	schema.Put(&r.MaxMemory, v.V.MaxMemory)
	return r
}

func (l *loader) stop(s Stop, k stopKeys) Stop {
	if k.Signal.Set() {
		s.Signal = "SIG" + strings.TrimPrefix(k.Signal.V, "SIG")
	}
	schema.Put(&s.Timeout, k.Timeout)
	return s
}

func (l *loader) schedule(a App, v schema.Value[scheduleKeys]) *Schedule {
	if !v.Set() {
		return nil
	}
	if !a.Oneshot {
		l.mean(v.Node, "only a oneshot has a schedule: this is a program that goes on").Hint = "add oneshot: true, or restart it at planned times: restart: {cron: " + v.V.Cron.V + "}"
	}
	return &Schedule{Cron: v.V.Cron.V, Timezone: v.V.Timezone.V, Overlap: v.V.Overlap.Or("skip"), CatchUp: v.V.CatchUp.V}
}

func (l *loader) hooks(dir string, k hooksKeys) Hooks {
	return Hooks{PreStart: l.hook(dir, k.PreStart), PostStart: l.hook(dir, k.PostStart), PreStop: l.hook(dir, k.PreStop), PostStop: l.hook(dir, k.PostStop)}
}

func (l *loader) hook(dir string, v schema.Value[hookKeys]) *Hook {
	if !v.Set() {
		return nil
	}
	at := v.Node
	if v.V.Command.Node != nil {
		at = v.V.Command.Node
	}
	return &Hook{Argv: l.words(at, v.V.Command.V, dir), Timeout: v.V.Timeout.Or(defaultHookTimeout)}
}

// words is what a command executes.
func (l *loader) words(n *tree.Node, c commandLine, dir string) []string {
	if c.Shell != "" {
		return []string{"/bin/sh", "-c", c.Shell}
	}
	argv := slices.Clone(c.Argv)
	switch {
	case len(argv) == 0: // what is wrong with it has been said
	case argv[0] == "":
		l.mean(n, "the first word of the command is empty")
	case strings.Contains(argv[0], "/"):
		argv[0] = l.path(dir, argv[0])
	}
	return argv
}

func (l *loader) monitoring(k monitoringKeys) Monitoring {
	m := defaultMonitoring
	schema.Put(&m.HealthInterval, k.HealthCheck.V.Interval)
	schema.Put(&m.HealthTimeout, k.HealthCheck.V.Timeout)
	schema.Put(&m.HealthRetries, k.HealthCheck.V.Retries)
	schema.Put(&m.MetricsInterval, k.Metrics.V.Interval)
	schema.Put(&m.Retention, k.Metrics.V.Retention)
	return m
}

func (l *loader) logging(g Logging, k loggingKeys) Logging {
	schema.Put(&g.Level, k.Level)
	schema.Put(&g.MaxSize, k.MaxSize)
	schema.Put(&g.MaxFiles, k.MaxFiles)
	schema.Put(&g.Compress, k.Compress)
	schema.Put(&g.OnFull, k.OnFull)
	schema.Put(&g.Merge, k.Merge)
	return g
}

// limits adds up limits, the later ones winning. No limits are nil.
func limits(all ...schema.Value[limitKeys]) *Limits {
	var out Limits
	for _, k := range all {
		schema.Put(&out.Memory, k.V.Memory)
		schema.Put(&out.CPU, k.V.CPU)
		schema.Put(&out.NoFile, k.V.NoFile)
		schema.Put(&out.Best, k.V.Best)
	}
	if out == (Limits{}) {
		return nil
	}
	return &out
}

// instances is how many instances a program is to have.
func (l *loader) instances(k programKeys) int {
	if k.Instances.Set() && k.Instances.V == 0 { // max
		return l.src.cpus()
	}
	return k.Instances.Or(1)
}

// checkMemory refuses a restart for memory where nothing is restarted.
func (l *loader) checkMemory(c programContext, r Restart, at schema.Value[restartKeys]) {
	if r.MaxMemory == 0 || !at.Set() {
		return
	}
	if at.V.MaxMemory.Set() {
		at.Node = at.V.MaxMemory.Node
	}
	switch {
	case c.app.Oneshot:
		l.mean(at.Node, "a oneshot runs once, so it cannot be restarted for its memory").Hint = "limits: {memory: …} bounds it"
	case r.Policy == "never":
		l.mean(at.Node, "what is never restarted cannot be restarted for its memory").Hint = "policy: on-failure, or limits: {memory: …}"
	}
}

func (l *loader) watchdog(ready Ready, v schema.Value[time.Duration]) time.Duration {
	if v.Set() && ready.Kind != "notify" {
		l.mean(v.Node, "a watchdog needs ready: notify: without it the program has no socket to report over").Hint = "add ready: notify, or remove it"
	}
	return v.V
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// declared demands that a port is one of the program's.
func (l *loader) declared(p *Process, v schema.Value[string]) {
	names := portNames(p.Ports)
	switch {
	case slices.Contains(names, v.V):
		return
	case slices.ContainsFunc(p.Sockets, func(s Socket) bool { return s.Name == v.V }):
		l.mean(v.Node, "%q is a socket: any instance may answer there", v.V).Hint = "ready: notify, or a port of its own: ports: {admin: auto}"
		return
	}
	m := l.mean(v.Node, "%s declares no port %q", p.Name, v.V)
	if m.Near = fault.Near(v.V, names); m.Near == "" {
		m.Hint = fmt.Sprintf("add it: ports: {%s: auto}", v.V)
	}
}
