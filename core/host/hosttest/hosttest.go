// Package hosttest makes a host for the tests of services: everything that a daemon has but its keeper, in a folder of the
// test. Apps are declared and commanded as usual; a start of one fails, because there is nobody to start it.
package hosttest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/life"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/sched"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/core/vault"
)

// Host is a host and what a test does with it.
type Host struct {
	host.Host
	t    testing.TB
	Disk *Disk // what state.json is written to
}

// New makes a host that lives as long as the test.
func New(t testing.TB) *Host {
	t.Helper()
	return At(t, t.TempDir())
}

// At makes a host in a home that another one may have left.
func At(t testing.TB, home string) *Host {
	t.Helper()
	h := &Host{t: t, Disk: &Disk{Disk: store.OS}}
	h.Log, h.Home, h.User, h.Version, h.Started = slog.New(slog.DiscardHandler), home, "tester", "test", time.Now()
	var err error
	if h.Store, err = store.Open(filepath.Join(home, "omnitron.db"), h.Log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Store.Close() })
	if h.State, err = store.OpenState(filepath.Join(home, "state.json"), h.Disk, h.Log); err != nil {
		t.Fatal(err)
	}
	h.Revisions, h.Events, h.Ledger = records.NewRevisions(h.Store, filepath.Join(home, "revisions")).SealWith(vault.NewBox(filepath.Join(home, "revisions.key"), store.OS)), records.NewEvents(h.Store, h.Log), ledger.New(h.Store, ledger.Options{Home: home, Keys: recordKey{}, Log: h.Log})
	h.Bus, h.Sessions, h.Sched, h.Samples = bus.New(1, 4096), session.New(time.Now), sched.New(h.Log), sample.New()
	h.Vault = vault.New(vault.Options{Home: home, Disk: store.OS, Log: h.Log, Now: time.Now, Count: vault.CountIn(h.Store)})
	h.Redact = redact.NewLive(h.Vault.Values)
	h.Vault.OnChange(func() {
		h.Redact.Stale()
		h.Supervisor.SecretsChanged()
	})
	h.Bus.Redact = h.Redact.String
	h.Journal = journal.New(filepath.Join(home, "logs"), h.Log)
	h.Journal.Hide(h.Redact)
	h.Config, err = setting.New(func() (*setting.Daemon, error) {
		text, err := os.ReadFile(filepath.Join(home, "config.yaml"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		return setting.Load(string(text), filepath.Join(home, "config.yaml"), nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Policy = policy.NewEngine(h.Store, time.Now)
	h.Approvals = approval.New(h.Store, recordKey{}, h.Bus, time.Now)
	h.Config.Take(func(c *setting.Daemon) {
		h.Policy.Use(c.Policy)
		h.Approvals.Take(c.Policy)
	})
	if h.Tokens, err = token.Open(t.Context(), token.Options{DB: h.Store, Vault: h.Vault, Home: "test", Log: h.Log, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	h.Parts = func() []life.Status { return nil }
	h.Planes = func() []host.Plane { return nil }
	h.Supervisor = supervisor.New(supervisor.Deps{Log: h.Log, Keeper: nobody{}, State: h.State, Bus: h.Bus, LogDir: h.Journal.Dir(), RunDir: home, Lines: output{h.Journal},
		Loader: definitions{h.Revisions}, Check: probe.Check, Now: time.Now, Secret: h.Vault.Value, Hide: h.Redact.String})
	ready := make(chan struct{})
	h.run(h.State.Run)
	h.run(h.Ledger.Run)
	h.run(h.Events.Record(h.Bus))
	h.run(func(ctx context.Context) error { return h.Supervisor.Run(ctx, func() { close(ready) }) })
	<-ready
	return h
}

// run runs a part of the host until the test ends.
func (h *Host) run(part func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := part(ctx); err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(func() {
		cancel()
		done.Wait()
	})
}

// Declare applies the text of an omnitron.yaml in the folder Home.
func (h *Host) Declare(yaml string) {
	h.t.Helper()
	h.DeclareIn(h.Home, yaml)
}

// DeclareIn applies the text of an omnitron.yaml in a folder: each project has one of its own.
func (h *Host) DeclareIn(dir, yaml string) {
	h.t.Helper()
	def, _, err := config.Load(config.Source{Files: []config.File{{Path: filepath.Join(dir, "omnitron.yaml"), Text: yaml}}, Env: map[string]string{"PATH": "/usr/bin:/bin", "TOKEN": "hunter2"}, Home: h.Home})
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := json.Marshal(def)
	if err != nil {
		h.t.Fatal(err)
	}
	rev, err := h.Revisions.Add(h.t.Context(), records.Revision{Project: def.Project, Stack: def.Stack, Created: time.Now(), Definition: text})
	if err == nil {
		_, err = h.Supervisor.Apply(h.t.Context(), def, rev, supervisor.Command{Wait: true})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// On gives the context of a call by a caller on named targets.
func (h *Host) On(caller op.Caller, names ...string) context.Context {
	h.t.Helper()
	sel := make([]op.Selector, len(names))
	for i, n := range names {
		sel[i] = op.Selector(n)
	}
	ts, err := h.Supervisor.Resolve(h.t.Context(), sel, "", "")
	if err != nil {
		h.t.Fatal(err)
	}
	return op.WithTargets(op.WithCaller(h.t.Context(), caller), ts)
}

// Printed stores output of an app's first instance, as if it had printed that just now.
func (h *Host) Printed(key, stream, text string) {
	h.t.Helper()
	f := journal.Stream{Project: filepath.Dir(filepath.Dir(key)), Stack: filepath.Base(filepath.Dir(key)), App: filepath.Base(key), Process: filepath.Base(key), Instance: 1, Name: stream}
	path := journal.Path(h.Journal.Dir(), f)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	var idx []byte
	for _, kind := range []uint32{1, 2} { // the file begins, something arrives
		var rec [32]byte
		binary.LittleEndian.PutUint64(rec[:], uint64(time.Now().UnixNano()))
		binary.LittleEndian.PutUint32(rec[24:], kind)
		binary.LittleEndian.PutUint32(rec[28:], 4711)
		idx = append(idx, rec[:]...)
	}
	for name, data := range map[string][]byte{path: []byte(text), path + ".idx": idx} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

// recordKey seals the record of calls and those that are held, so that the vault stays as empty as a test wants it.
type recordKey struct{}

func (recordKey) Key(string) ([]byte, error) { return []byte("a key"), nil }

// nobody is in the keeper's place.
type nobody struct{}

func (nobody) Spawn(_ context.Context, s proc.Spec) (*proc.Process, error) {
	return nil, fault.New(fault.Invalid, "there is no program %q", s.Argv[0]).WithReason("exec_not_found")
}

func (nobody) Processes() []*proc.Process { return nil }

func (nobody) Listen(context.Context, proc.Listener) error {
	return fault.New(fault.Invalid, "there is nobody to listen").WithReason("not_supported")
}

func (nobody) Unlisten(string) {}

func (nobody) Sockets() []proc.Listener { return nil }

// Disk is a disk that can be full.
type Disk struct {
	store.Disk
	mu   sync.Mutex
	full bool
}

// Fill makes it full, or empties it.
func (d *Disk) Fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// Write fails on a full disk.
func (d *Disk) Write(name string, data []byte) error {
	d.mu.Lock()
	full := d.full
	d.mu.Unlock()
	if full {
		return os.ErrPermission
	}
	return d.Disk.Write(name, data)
}

// output is what the supervisor needs of the journal; nothing prints here.
type output struct{ *journal.Journal }

func (output) Tail(context.Context, string, time.Time, time.Time, int) []string { return nil }
func (output) Keep(*config.App)                                                 {}
func (output) Ends(journal.Stream) map[journal.Stream]int64                     { return nil }
func (output) Await(context.Context, map[journal.Stream]int64, string) error    { return nil }
func (output) AwaitSince(context.Context, string, string, time.Time) error      { return nil }

type definitions struct{ r *records.Revisions }

func (d definitions) Definition(ctx context.Context, project, stack string, rev int64) (*config.Definition, error) {
	r, err := d.r.Get(ctx, project, stack, rev)
	if err != nil {
		return nil, err
	}
	def := &config.Definition{}
	return def, json.Unmarshal(r.Definition, def)
}
