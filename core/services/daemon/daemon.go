// Package daemon answers for the daemon itself.
package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/life"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/projects"
	"github.com/omnitron-dev/omnitron/core/sched"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
	"github.com/omnitron-dev/omnitron/core/vault"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("daemon", "The daemon itself.",
	op.Unary("ping", op.Public, op.Reads, (*Service).Ping, "Answer, to show that the daemon is there.",
		op.Top("ping"), op.Global(), op.AnyScope(), op.Keywords("alive reachable health"), op.Shows("is it there", `{}`)),
	op.Unary("status", op.Viewer, op.Reads, (*Service).Status, "Show the daemon, its keeper, scheduler and stores, and what is wrong with them.",
		op.Top("status"), op.Core(), op.Global(), op.Resource("omnitron://daemon", "daemon"), op.Keywords("uptime memory scheduler keeper health overview"),
		op.Shows("how it stands", `{}`)),
	op.Unary("config", op.Viewer, op.Reads, (*Service).Config, "Show the daemon's settings as they are resolved.",
		op.Global(), op.Keywords("settings config.yaml limits"), op.Shows("the settings", `{}`)),
	op.Unary("reload", op.Admin, op.Interrupts, (*Service).Reload, "Read config.yaml and the files of every project again and make the daemon follow them.",
		op.Global(), op.Planned((*Service).PlanReload), op.Timeout(10*time.Minute), op.Keywords("sighup refresh reread"), op.Shows("read again", `{}`), op.Fails("a project that is not there", `{"project":"nope"}`, "not_found")),
	op.Unary("restart", op.Admin, op.Interrupts, (*Service).Restart, "Replace the daemon by a new one; applications live on.",
		op.Global(), op.Planned((*Service).PlanRestart), op.Keywords("renew"), op.Shows("replace it", `{"dry_run":true}`)),
	op.Unary("shutdown", op.Admin, op.Interrupts, (*Service).Shutdown, "Stop every application in order, then the daemon and its keeper; nothing starts until up or start.",
		op.Global(), op.Planned((*Service).PlanShutdown), op.Timeout(time.Hour), op.Keywords("down off end"), op.Shows("end everything", `{"dry_run":true}`)),
	op.Unary("version", op.Public, op.Reads, (*Service).Version, "Show the version of the daemon and of what it was built with.",
		op.Global(), op.AnyScope(), op.Keywords("build release"), op.Shows("the version", `{}`)),
	op.Unary("doctor", op.Viewer, op.Reads, (*Service).Doctor, "Check the home, the stores, the keeper and the machine, and name the command that mends each finding.",
		op.Top("doctor"), op.Global(), op.Timeout(time.Minute), op.Keywords("diagnose check problems fix"), op.Shows("check it all", `{}`)),
)

// Nothing is an empty input.
type Nothing struct{}

// Service implements Methods.
type Service struct {
	log      *slog.Logger
	home     string
	version  string
	started  time.Time
	sup      *supervisor.Supervisor
	keeper   keeper
	state    *store.StateFile
	stores   *store.Store
	ledger   *ledger.Ledger
	revs     *records.Revisions
	vault    *vault.Vault
	tasks    *sched.Scheduler
	parts    func() []life.Status
	planes   func() []host.Plane
	settings *setting.Current
	shutdown func(ctx context.Context, down bool) ([]view.Result, error)
	restart  func()
	load     func(context.Context, config.Source) (*config.Definition, []config.Warning, error)
	user     string // who the daemon runs as
}

// keeper is the part of *proc.Keeper that status tells about.
type keeper interface {
	Info() proc.Info
	Ping(ctx context.Context) error
}

// keeperTime is how long the keeper may take to answer; it never waits for anything but the disk.
const keeperTime = 3 * time.Second

// hung says that the keeper is there and does not answer; "" when it does, or when there is none.
func (s *Service) hung(ctx context.Context) string {
	within, cancel := context.WithTimeout(ctx, keeperTime)
	defer cancel()
	k := s.keeper.Info()
	if k.PID == 0 || s.keeper.Ping(within) == nil || ctx.Err() != nil {
		return ""
	}
	return fmt.Sprintf("the keeper (pid %d) does not answer", k.PID)
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) {
	return &Service{log: h.Log, home: h.Home, version: h.Version, started: h.Started, sup: h.Supervisor, keeper: h.Keeper, state: h.State, stores: h.Store,
		ledger: h.Ledger, revs: h.Revisions, vault: h.Vault, tasks: h.Sched, parts: h.Parts, planes: h.Planes, settings: h.Config, shutdown: h.Shutdown, restart: h.Restart, load: projects.New(h.Supervisor, h.Revisions, records.NewStacks(h.Store), h.User).Load, user: h.User}, nil
}

// Pong is the answer to ping.
type Pong struct {
	OK bool `json:"ok" table:"1" jsonschema:"always true"`
}

// Ping answers.
func (s *Service) Ping(context.Context, Nothing) (Pong, error) { return Pong{OK: true}, nil }

// Build is what runs here.
type Build struct {
	Version  string `json:"version" table:"1" jsonschema:"version of the daemon"`
	Go       string `json:"go" table:"1" jsonschema:"version of Go that it was built with"`
	Platform string `json:"platform" table:"1" jsonschema:"operating system and architecture"`
}

// Version gives the version of the daemon.
func (s *Service) Version(context.Context, Nothing) (Build, error) {
	return Build{Version: s.version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}, nil
}

// Status is how the daemon stands.
type Status struct {
	Version   string         `json:"version" jsonschema:"version of the daemon"`
	PID       int            `json:"pid" jsonschema:"process id of the daemon"`
	Home      string         `json:"home" jsonschema:"its home"`
	Uptime    int64          `json:"uptime_s" unit:"s" jsonschema:"seconds since it was started"`
	RSS       int64          `json:"rss_bytes" unit:"bytes" jsonschema:"resident memory of the daemon"`
	Routines  int            `json:"goroutines" jsonschema:"how many goroutines it runs"`
	FDs       int            `json:"fds" jsonschema:"how many descriptors it holds"`
	Down      bool           `json:"home_down" jsonschema:"whether down was said: nothing is started until up or start"`
	Apps      map[string]int `json:"apps" jsonschema:"how many apps are in which state"`
	Warnings  []string       `json:"warnings" jsonschema:"what is wrong"`
	Keeper    KeeperStatus   `json:"keeper" jsonschema:"the process that holds the programs"`
	Tasks     []sched.Task   `json:"tasks" jsonschema:"what the scheduler does"`
	Parts     []life.Status  `json:"parts" wide:"1" jsonschema:"the parts of the daemon in the order of their start"`
	Planes    []PlaneStatus  `json:"planes" jsonschema:"the network planes that are switched on"`
	StartedAt time.Time      `json:"started_at" unit:"time" jsonschema:"when it was started"`
}

// KeeperStatus is how the keeper stands.
type KeeperStatus struct {
	PID      int    `json:"pid" jsonschema:"its process id"`
	Version  string `json:"version" jsonschema:"its version"`
	RSS      int64  `json:"rss_bytes" unit:"bytes" jsonschema:"its resident memory"`
	Contains string `json:"contains" jsonschema:"how process trees are held together: by cgroup (v2, v1), or by a stub of the keeper as the parent of each app"`
}

// PlaneStatus is how a network plane stands.
type PlaneStatus struct {
	Name    string `json:"name" table:"1" jsonschema:"tcp or http"`
	Listen  string `json:"listen" table:"1" jsonschema:"where it listens; nothing while it does not"`
	Pin     string `json:"pin" table:"1" jsonschema:"hash of the key that it shows, as omnitron remote add shows it"`
	Trouble string `json:"trouble,omitempty" table:"1" jsonschema:"what keeps it from being as config.yaml says"`
}

// network tells how the network planes stand.
func (s *Service) network() []PlaneStatus {
	out := []PlaneStatus{}
	for _, p := range s.planes() {
		st := PlaneStatus{Name: p.Name, Listen: p.Listen, Pin: p.Pin}
		if p.Trouble != nil {
			st.Trouble = p.Trouble.Message
		}
		out = append(out, st)
	}
	return out
}

// Status tells how the daemon stands.
func (s *Service) Status(ctx context.Context, _ Nothing) (Status, error) {
	k := s.keeper.Info()
	st := Status{Version: s.version, PID: os.Getpid(), Home: s.home, Uptime: int64(time.Since(s.started).Seconds()), Routines: runtime.NumGoroutine(),
		Down: s.state.View().HomeDown, Apps: map[string]int{}, StartedAt: s.started, Tasks: s.tasks.Tasks(), Parts: s.parts(), Planes: s.network(), Warnings: []string{},
		Keeper: KeeperStatus{PID: k.PID, Version: k.Version, RSS: k.RSS, Contains: k.Contain}}
	for _, w := range s.warnings() {
		st.Warnings = append(st.Warnings, w.what)
	}
	if what := s.hung(ctx); what != "" {
		st.Warnings = append(st.Warnings, what)
	}
	if err := s.vault.Err(); err != nil {
		st.Warnings = append(st.Warnings, err.Error())
	}
	st.Warnings = append(st.Warnings, s.vault.Notices()...)
	for _, v := range s.sup.Apps() {
		st.Apps[string(v.State)]++
	}
	st.RSS, st.FDs = self()
	return st, nil
}

// warning is something that is wrong, why that matters, and the command that mends it.
type warning struct {
	what, why string
	fix       fault.Hint
	about     string // what it is about, other than the stores
}

// warnings says what is wrong with the stores, and with what was kept in them.
func (s *Service) warnings() (out []warning) {
	for _, w := range append(append([]string{}, s.state.Warnings()...), s.stores.Warnings()...) {
		out = append(out, warning{w, "compare what runs with what should", hint("apps.list", "all", true), ""})
	}
	for _, w := range s.sup.Warnings() {
		out = append(out, warning{w, "it is not started again when it ends", "omnitron up", ""})
	}
	for _, p := range s.parts() {
		if p.State == life.Failed || p.State == life.Stuck {
			out = append(out, warning{fmt.Sprintf("the part %q of the daemon is %s", p.Name, p.State), "what it does is not done", hint("daemon.restart"), ""})
		}
	}
	for _, p := range s.planes() {
		if p.Trouble != nil {
			fix := fault.Hint(p.Trouble.Hint)
			if fix == "" {
				fix = hint("daemon.config")
			}
			out = append(out, warning{fmt.Sprintf("the %s plane is not as config.yaml says: %s", p.Name, p.Trouble.Message), "others may not reach this daemon", fix, "plane " + p.Name})
		}
	}
	for _, h := range []struct {
		what string
		err  error
	}{{"state.json", s.state.Health()}, {"omnitron.db", s.stores.Health()}, {"the record of calls", s.ledger.Health()}} {
		if h.err != nil {
			out = append(out, warning{fmt.Sprintf("%s cannot be written: %v", h.what, h.err), "changes are refused until they can be kept", fault.Hint("df -h " + s.home), ""})
		}
	}
	if b := s.ledger.Trouble(); b != nil {
		out = append(out, warning{"the record of calls is not whole: " + broken(b), "somebody may have changed what it says", hint("audit.verify"), ""})
	}
	if err := s.ledger.Unsealed(); err != nil {
		out = append(out, warning{fmt.Sprintf("the record of calls is kept without a seal: %v", err), "what is recorded meanwhile could be changed unseen", hint("daemon.doctor"), ""})
	}
	return out
}

// broken names the first bad row.
func broken(b *ledger.Broken) string {
	if b.Seq == 0 {
		return b.Why
	}
	return fmt.Sprintf("row %d: %s", b.Seq, b.Why)
}

// self measures this process.
func self() (rss int64, fds int) {
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages int64
		if _, err := fmt.Sscan(string(data), &size, &pages); err == nil {
			rss = pages * int64(os.Getpagesize())
		}
	}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		fds = len(list) - 1
	}
	return rss, fds
}
