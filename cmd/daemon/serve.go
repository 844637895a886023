// Package daemon wires the kernel, the services and the planes into the process that the keeper starts, and runs it.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/omnitron-dev/omnitron/cmd/boot"
	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/keeper"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/life"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/sched"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/core/vault"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/limit"
	web "github.com/omnitron-dev/omnitron/transports/http"
	"github.com/omnitron-dev/omnitron/transports/unix"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// ExitKeep is the daemon's exit status that tells the keeper not to start it again.
const ExitKeep = 3

// Serve is the daemon: the keeper starts it, and starts it again when it dies. It returns the exit status.
func Serve(home, version string) int {
	level := &slog.LevelVar{}
	var shown atomic.Pointer[redact.Live]
	log, closer, err := daemonLog(home, level, &shown)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return ExitKeep
	}
	defer closer()
	d := &daemon{home: home, version: version, log: log, level: level, shown: &shown, tooMany: newRotations(), plain: newRotations()}
	if err := d.run(); err != nil {
		log.Error("the daemon ends", "err", err)
		fmt.Fprintln(os.Stderr, err)
		if fault.Is(err, fault.Conflict) || fault.Is(err, fault.Denied) || fault.Is(err, fault.Invalid) {
			return ExitKeep
		}
		return 1
	}
	return 0
}

// daemon is what serve builds.
type daemon struct {
	home    string
	version string
	log     *slog.Logger
	level   *slog.LevelVar // of log

	shown *atomic.Pointer[redact.Live] // what the log hides, once it is known

	host   host.Host
	group  *life.Group
	cancel context.CancelFunc

	tooMany, plain *rotations // logs for retention and for compression

	web     *web.Plane                       // the HTTP plane, once it is there
	network []func() (p host.Plane, on bool) // the network planes
}

func (d *daemon) run() error {
	lock, err := boot.Take(d.home)
	if err != nil {
		return err
	}
	defer lock.Release()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.cancel = cancel
	registry, err := d.build(ctx)
	if err != nil {
		return err
	}
	defer d.host.Store.Close()
	if err := d.planes(registry); err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	reloads := make(chan os.Signal, 1) // one that waits serves all that come meanwhile
	d.group.Add(life.Component{Name: "reloads", Run: func(ctx context.Context) error { return d.reload(ctx, registry, reloads) }})
	d.group.Add(life.Component{Name: "signals", Run: func(ctx context.Context) error { return d.heed(ctx, signals, reloads) }})
	d.group.Add(life.Component{Name: "keeper renewal", Run: d.renewKeeper})
	return d.group.Run(ctx, func() {
		d.log.Info("the daemon is up", "pid", os.Getpid(), "home", d.home)
		boot.TellSystemd(d.log, systemd.SdNotifyReady)
		debug.FreeOSMemory() // starting takes several times the memory that running does, and would set the pace of collection
		shed()
	})
}

// build makes the kernel and its services, lowest first.
func (d *daemon) build(ctx context.Context) (*tools.Registry, error) {
	h := &d.host
	h.Log, h.Home, h.Version, h.Started = d.log, d.home, d.version, time.Now()
	h.User = boot.Owner()
	var err error
	if h.Config, err = setting.New(func() (*setting.Daemon, error) { return readSettings(d.home) }); err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	h.Revisions, h.Events = records.NewRevisions(h.Store, filepath.Join(d.home, "revisions")).SealWith(vault.NewBox(filepath.Join(d.home, "revisions.key"), store.OS)), records.NewEvents(h.Store, d.log)
	if _, err := h.Revisions.Finish(ctx); err != nil {
		d.log.Error("the key of the kept revisions is not renewed to the end; all of them can be read, and secrets.rotate or the next start tries again", "err", err)
	}
	first, err := h.Events.First(ctx)
	if err != nil {
		return nil, err
	}
	h.Bus, h.Sessions, h.Sched, h.Samples = bus.New(first, 4096), session.New(time.Now), sched.New(d.log), sample.New()
	if h.Keeper, err = d.keeper(ctx); err != nil {
		return nil, err
	}
	logs := filepath.Join(d.home, "logs")
	d.keeping()
	h.Ledger = ledger.New(h.Store, ledger.Options{Home: d.home, Keys: h.Vault, Log: d.log})
	h.Vault.OnNotice(d.noticed)
	if h.Tokens, err = token.Open(ctx, token.Options{DB: h.Store, Vault: h.Vault, Home: keeper.HomeID(d.home), Log: d.log, Now: time.Now, Users: []string{h.User, "root"}}); err != nil {
		return nil, err
	}
	h.Journal = journal.New(logs, d.log)
	h.Journal.Hide(h.Redact)
	h.Journal.SetRotate(rotator(h.Keeper))
	h.Supervisor = supervisor.New(supervisor.Deps{Log: d.log, Keeper: h.Keeper, State: h.State, Bus: h.Bus, LogDir: logs, RunDir: filepath.Join(d.home, "tmp"),
		Lines: output{h.Journal, h.Keeper}, Loader: definitions{h.Revisions}, Check: d.check, Now: time.Now, Secret: h.Vault.Value, Hide: h.Redact.String, Lost: h.State.Lost() || h.State.Behind()})
	h.Shutdown, h.Restart = d.shutdown, d.cancel
	d.group = life.New(d.log)
	h.Parts, h.Planes, h.Endpoint = d.group.Status, d.listening, d.endpoint
	d.components()
	return d.registry()
}

// registry makes the methods and the one way to call them, with the policy that config.yaml says.
func (d *daemon) registry() (*tools.Registry, error) {
	h := &d.host
	tokens, err := policy.OpenTokens(h.Store, policy.StoredKeys(h.Store))
	if err != nil {
		return nil, err
	}
	h.Approvals = approval.New(h.Store, h.Vault, h.Bus, time.Now)
	h.Policy = policy.NewEngine(h.Store, time.Now)
	h.Sched.Add("approvals", 5*time.Second, 0, h.Approvals.Sweep)
	webhook := approval.NewWebhook(h.Approvals, d.log, func() setting.Webhook { return h.Config.Get().Policy.Webhook })
	d.group.Add(life.Component{Name: "approvals webhook", Run: webhook.Run})
	h.Specs = catalog.Specs()
	methods, err := catalog.Build(h)
	if err != nil {
		return nil, err
	}
	r, err := tools.New(methods, tools.Deps{Log: d.log, Ledger: h.Ledger, Policy: h.Policy, Tokens: tokens, Approvals: h.Approvals,
		Resolver: h.Supervisor, Keys: records.NewKeys(h.Store), Gate: h.Sessions, Sessions: h.Sessions, Secrets: h.Redact, Limits: limit.Default(), Now: time.Now})
	if err != nil {
		return nil, err
	}
	h.Config.Take(func(c *setting.Daemon) {
		h.Policy.Use(c.Policy)
		h.Approvals.Take(c.Policy)
		r.Ration(float64(c.Limits.AgentCalls), float64(c.Limits.AgentChanges))
		_ = d.level.UnmarshalText([]byte(c.Logging.Level)) // the loader knows which levels there are
	})
	return r, nil
}

// open opens state.json and omnitron.db. A database without a state is a home whose state was lost: hence a new home has
// its state on disk before it has a database.
func (d *daemon) open(ctx context.Context) (err error) {
	h := &d.host
	path := filepath.Join(d.home, "omnitron.db")
	_, missing := os.Stat(path)
	if h.State, err = store.OpenState(filepath.Join(d.home, "state.json"), store.OS, d.log); err != nil {
		return err
	}
	switch {
	case h.State.Fresh() && missing == nil:
		h.State.NotNew()
	case h.State.Fresh():
		if err := h.State.Flush(ctx); err != nil {
			return err
		}
	}
	h.Store, err = store.Open(path, d.log)
	return err
}

// components adds what runs in the daemon, in the order of its start.
func (d *daemon) components() {
	h := &d.host
	add := func(name string, run func(context.Context) error) { d.group.Add(life.Component{Name: name, Run: run}) }
	add("keeper", h.Keeper.Run)
	add("state", h.State.Run)
	add("ledger", h.Ledger.Run)
	add("events", h.Events.Record(h.Bus))
	add("journal", h.Journal.Run)
	up := make(chan struct{})
	d.group.Add(life.Component{Name: "supervisor", Ready: up, StartTimeout: time.Minute, Run: func(ctx context.Context) error {
		return h.Supervisor.Run(ctx, func() { close(up) })
	}})
	// These tend to logs: not before the supervisor has said what is kept of each app.
	add("keeper events", d.keeperEvents)
	add("log retention", d.retire)
	add("log compression", d.compress)
	d.schedule()
	add("scheduler", h.Sched.Run)
}

// schedule adds the periodic tasks.
func (d *daemon) schedule() {
	h := &d.host
	if os.Getenv("GOGC") == "" { // else somebody has chosen
		h.Sched.Add("collector", time.Second, 0, newPace().look)
	}
	h.Sched.Add("log rotation check", time.Minute, time.Second, h.Journal.Maintain)
	h.Sched.Add("metrics", 5*time.Second, 0, func(context.Context) error { h.Supervisor.Sample(h.Samples); return nil })
	h.Sched.Add("state flush", 30*time.Second, 0, h.State.Flush)
	h.Sched.Add("vault", 5*time.Second, 0, func(context.Context) error { _ = h.Vault.Err(); return nil }) // it says itself why it is sealed
	h.Sched.Add("audit", time.Hour, time.Minute, func(ctx context.Context) error {
		_, err := h.Ledger.Verify(ctx, "") // what it finds is told by status and doctor
		return errors.Join(err, h.Ledger.Anchor(ctx))
	})
	h.Sched.Add("tokens", time.Minute, time.Second, h.Tokens.Sweep)
	h.Sched.Add("retention", time.Hour, time.Minute, func(ctx context.Context) error {
		_, err := h.Events.Retire(ctx, time.Now().Add(-h.Config.Get().Retention.Events), 1_000_000)
		_, lerr := h.Ledger.Retire(ctx, time.Now().Add(-h.Config.Get().Retention.Audit))
		return errors.Join(err, lerr, d.forget(ctx))
	})
}

// planes adds the surfaces, last: when they answer, everything else does.
func (d *daemon) planes(registry *tools.Registry) error {
	h := &d.host
	m, err := mcp.New(registry, mcp.Options{Version: d.version, Log: d.log, Sessions: h.Sessions, Bus: h.Bus, Complete: d.complete})
	if err != nil {
		return err
	}
	handle := func(ctx context.Context, method string, params json.RawMessage, emit op.Emit) (any, error) {
		return registry.Do(ctx, tools.Call{Method: method, In: params, Emit: emit})
	}
	opts := wire.Options{Log: d.log, Priority: func(method string) bool { return method == "daemon.ping" || method == "daemon.status" }}
	listening := make(chan struct{})
	srv := &unix.Server{Path: filepath.Join(d.home, "daemon.sock"), Owner: os.Geteuid(), Log: d.log,
		OnListen: func() { close(listening) },
		Refused: func(uid int, why *fault.Error) {
			h.Ledger.Refuse(ledger.Stranger{Plane: "unix", Address: fmt.Sprintf("uid %d", uid), UID: uid, Code: string(why.Code), Reason: why.Reason})
		},
		Native: func(ctx context.Context, conn net.Conn, first []byte) error {
			s := h.Sessions.Open(op.CallerOf(ctx), func() { conn.Close() })
			defer s.Close()
			return wire.Serve(op.WithCaller(ctx, s.Caller()), conn, first, handle, opts)
		},
		MCP: func(ctx context.Context, conn net.Conn, first []byte) error {
			return m.ServeConn(ctx, conn, first, op.CallerOf(ctx))
		}}
	d.group.Add(life.Component{Name: "socket", Run: srv.Run, Ready: listening})
	certs := d.certificates()
	d.tcp(registry, certs, handle, opts)
	d.http(registry, certs, m)
	return nil
}

// heed does what signals ask for: TERM and INT stop every app in order and end the daemon with its keeper, HUP reads the
// files again, behind its back: apps may take their time to be ready, and the word to end must get through.
func (d *daemon) heed(ctx context.Context, signals <-chan os.Signal, reloads chan<- os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				select {
				case reloads <- sig:
				default:
				}
				continue
			}
			d.log.Info("the daemon was asked to end", "signal", sig.String())
			if _, err := d.shutdown(ctx, false); err != nil && ctx.Err() == nil {
				d.log.Error("not everything stopped", "err", err)
			}
		}
	}
}

// reload reads the files of every project again when it is asked to, and tells the world what came of it.
func (d *daemon) reload(ctx context.Context, registry *tools.Registry, reloads <-chan os.Signal) error {
	self := op.Caller{User: d.host.User, UID: os.Geteuid(), Channel: op.Person, Plane: "signal", Ceiling: op.Admin, Role: op.Admin}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reloads:
		}
		ev := bus.Event{Topic: "daemon", Type: "reloaded", Text: "config.yaml and the files of every project were read again, as SIGHUP asks"}
		if _, err := registry.Do(op.WithCaller(ctx, self), tools.Call{Method: "daemon.reload"}); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			d.log.Error("cannot reload", "err", err)
			f := fault.From(err)
			ev.Type, ev.Text = "reload_failed", "cannot reload: "+f.Message
			ev.Data = map[string]any{"code": string(f.Code), "reason": f.Reason, "call": f.Call}
		}
		d.host.Bus.Publish(ev)
	}
}

// shutdown stops every app in order and ends daemon and keeper, whether or not the caller waits for that. down marks the
// home: nothing starts until up or start.
func (d *daemon) shutdown(ctx context.Context, down bool) ([]view.Result, error) {
	boot.TellSystemd(d.log, systemd.SdNotifyStopping)
	return d.host.Supervisor.Halt(ctx, down, func(results []view.Result, err error) {
		if err != nil {
			d.log.Error("not everything stopped", "err", err)
		}
		within, cancel := context.WithTimeout(context.Background(), quitTimeout)
		defer cancel()
		if err := d.host.Keeper.Quit(within); err != nil { // it would start another one
			d.log.Error("cannot tell the keeper that this is the end", "err", err)
		}
		d.cancel()
	})
}

// quitTimeout is how long the keeper may take to hear that the daemon ends for good.
const quitTimeout = 10 * time.Second

// complete gives those live names that the caller may know, for prompts and resources.
func (d *daemon) complete(ctx context.Context, kind, typed string) []string {
	var out []string
	for _, v := range d.host.Supervisor.AppsOf(ctx) {
		name := v.Key
		if kind == "app" || kind == "apps" || kind == "name" {
			name = v.Name
		}
		if strings.Contains(name, typed) {
			out = append(out, name)
		}
	}
	return out
}

// readSettings reads config.yaml; a home without one has the defaults.
func readSettings(home string) (*setting.Daemon, error) {
	path := filepath.Join(home, "config.yaml")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(err, fault.Invalid, "cannot read %s: %v", path, err).WithReason("config_unreadable")
	}
	var methods []string
	for _, s := range catalog.Specs() {
		methods = append(methods, s.ID())
	}
	return setting.Load(string(text), path, methods)
}
