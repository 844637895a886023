package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// toy is a service whose methods have every form that the command line has to deal with. Nothing is ever bound.
type toy struct{}

type app struct {
	Name     string    `json:"name" table:"1" jsonschema:"app name"`
	State    string    `json:"state" table:"1" jsonschema:"its state"`
	Health   string    `json:"health" table:"3" jsonschema:"its health"`
	Restarts int       `json:"restarts" table:"2" jsonschema:"restarts"`
	RSS      int64     `json:"rss_bytes" table:"2" jsonschema:"memory"`
	Since    time.Time `json:"since" table:"4" jsonschema:"since when"`
	Key      string    `json:"key" table:"5" jsonschema:"full name"`
	Reason   string    `json:"reason,omitempty" jsonschema:"why"`
}
type result struct {
	Key    string `json:"key" table:"1" jsonschema:"full name"`
	State  string `json:"state" table:"1" jsonschema:"its state"`
	OK     bool   `json:"ok" jsonschema:"whether it worked"`
	Reason string `json:"reason,omitempty" jsonschema:"why not"`
}
type listing struct {
	op.Page
	Project op.ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"project"`
	Stack   op.StackRef   `json:"stack,omitempty" jsonschema:"stack"`
	State   string        `json:"state,omitempty" enum:"running,stopped,crashed" jsonschema:"only those"`
	All     bool          `json:"all,omitempty" cli:"short=A" jsonschema:"of every project"`
}
type order struct {
	op.Selection
	NoWait  bool `json:"no_wait,omitempty" jsonschema:"answer at once"`
	Timeout int  `json:"timeout_s,omitempty" jsonschema:"seconds to wait"`
}
type application struct {
	Files    []config.File     `json:"files" jsonschema:"files"`
	EnvFiles []config.File     `json:"env_files,omitempty" jsonschema:"env files"`
	Env      map[string]string `json:"env,omitempty" secret:"true" jsonschema:"environment"`
	Stack    string            `json:"stack,omitempty" jsonschema:"stack"`
	NoWait   bool              `json:"no_wait,omitempty" jsonschema:"answer at once"`
}
type scaling struct {
	op.One
	Instances int `json:"instances" cli:"arg" jsonschema:"how many"`
}
type search struct {
	op.Selection
	Since  time.Time `json:"since,omitzero" jsonschema:"only later"`
	Level  string    `json:"level,omitempty" enum:"info,warn,error" jsonschema:"only worse"`
	Grep   string    `json:"grep,omitempty" jsonschema:"only matching"`
	Limit  int       `json:"limit,omitempty" jsonschema:"how many"`
	Cursor string    `json:"cursor,omitempty" jsonschema:"where to go on"`
}
type line struct {
	At   time.Time `json:"at" table:"1" jsonschema:"when"`
	App  string    `json:"app" table:"2" jsonschema:"app"`
	Text string    `json:"text" table:"3" jsonschema:"the line"`
}
type following struct {
	Topics []string `json:"topics,omitempty" jsonschema:"only these"`
	Since  string   `json:"since,omitempty" jsonschema:"go on after it"`
}
type past struct {
	op.Page
	Since time.Time `json:"since,omitzero" cli:"arg?" jsonschema:"only later"`
}
type event struct {
	At   time.Time `json:"at" table:"1" jsonschema:"when"`
	Type string    `json:"type" table:"2" jsonschema:"what"`
	Key  string    `json:"key,omitempty" table:"3" jsonschema:"app"`
	Text string    `json:"text,omitempty" table:"4" jsonschema:"words"`
}
type check struct {
	OK     bool `json:"ok" jsonschema:"whether nothing is wrong"`
	Checks []struct {
		Name   string `json:"name" table:"1" jsonschema:"what"`
		Status string `json:"status" table:"1" jsonschema:"how"`
	} `json:"checks" table:"1" jsonschema:"checks"`
}
type applied struct {
	Project string `json:"project" jsonschema:"project"`
}

func unary[In, Out any](toy, context.Context, In) (out Out, err error) { return out, err }
func stream[In, Item any](toy, context.Context, In) iter.Seq2[Item, error] {
	return func(func(Item, error) bool) {}
}
func plan[In any](toy, context.Context, In) (*op.Plan, error) { return &op.Plan{}, nil }
func reads[In, Out any](verb, doc string, o ...op.Option) op.MethodOf[toy] {
	return op.Unary(verb, op.Viewer, op.Reads, unary[In, Out], doc, o...)
}
func changes[In, Out any](verb string, e op.Effect, doc string, o ...op.Option) op.MethodOf[toy] {
	return op.Unary(verb, op.Operator, e, unary[In, Out], doc, append(o, op.Planned(plan[In]))...)
}

type nothing struct{}

func specs() []op.Spec {
	var all []op.Spec
	for _, t := range []op.Table[toy]{
		op.Of("apps", "Apps.",
			reads[listing, op.List[app]]("list", "List applications.", op.Top("ls"), op.Shows("every one", `{"all":true}`)),
			reads[op.One, app]("get", "Show one application.", op.Shows("one", `{"name":"api"}`)),
			reads[application, applied]("plan", "Say what applying would change."),
			changes[application, applied]("apply", op.Interrupts, "Apply files."),
			changes[order, op.List[result]]("start", op.Sets, "Start applications.", op.Top("start"), op.Alias("apps.launch"), op.Shows("one app, for a minute", `{"names":["api"],"timeout_s":60}`)),
			changes[order, op.List[result]]("stop", op.Interrupts, "Stop applications.", op.Top("stop")),
			changes[order, op.List[result]]("restart", op.Interrupts, "Restart applications."),
			changes[scaling, op.List[result]]("scale", op.Sets, "Set how many run.", op.Top("scale")),
			reads[op.One, app]("explain", "Answer why.", op.Top("why"))),
		op.Of("logs", "Output.",
			reads[search, op.List[line]]("query", "Search stored output.", op.Top("logs")),
			op.Stream("follow", op.Viewer, op.Reads, stream[search, line], "Follow output."),
			changes[op.Selection, applied]("purge", op.Destroys, "Delete stored output for good.")),
		op.Of("events", "Events.",
			op.Stream("follow", op.Viewer, op.Reads, stream[following, event], "Follow events.", op.Top("events")),
			reads[past, op.List[event]]("list", "List past events.", op.Top("since"))),
		op.Of("daemon", "The daemon.",
			reads[nothing, applied]("ping", "Answer.", op.Top("ping")),
			reads[nothing, applied]("status", "Show the daemon.", op.Top("status")),
			changes[nothing, applied]("shutdown", op.Interrupts, "Stop everything."),
			reads[nothing, check]("doctor", "Check everything.")),
	} {
		all = append(all, t.Specs()...)
	}
	return all
}

// auditSpec is the method that reads the record of calls.
func auditSpec() op.Spec {
	type search struct {
		App     string    `json:"app,omitempty" jsonschema:"app"`
		Changes bool      `json:"changes,omitempty" jsonschema:"changes"`
		Since   time.Time `json:"since,omitzero" jsonschema:"since"`
	}
	return op.Of("audit", "Calls.", reads[search, applied]("list", "List calls.")).Specs()[0]
}

// call is one call that the fake daemon got.
type call struct {
	Method string
	In     map[string]any
}

// fake is a daemon that answers as it is told.
type fake struct {
	mu      sync.Mutex
	answers map[string]func(ctx context.Context, in map[string]any) (any, error)
	items   map[string]func(ctx context.Context, in map[string]any, yield func(any) bool) error
	calls   []call
}

func newFake() *fake {
	return &fake{answers: map[string]func(context.Context, map[string]any) (any, error){}, items: map[string]func(context.Context, map[string]any, func(any) bool) error{}}
}

// on makes a method answer with a value.
func (f *fake) on(method string, v any) *fake {
	f.answers[method] = func(context.Context, map[string]any) (any, error) {
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v, nil
	}
	return f
}

func (f *fake) note(method string, params any) map[string]any {
	raw, err := json.Marshal(params)
	if err != nil {
		panic(err)
	}
	in := map[string]any{}
	if err := json.Unmarshal(raw, &in); err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call{method, in})
	return in
}

func (f *fake) Call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	in := f.note(method, params)
	answer := f.answers[method]
	if answer == nil {
		return nil, fault.New(fault.NotFound, "no method %s", method)
	}
	v, err := answer(ctx, in)
	if err != nil {
		return nil, err
	}
	if raw, ok := v.(string); ok {
		return json.RawMessage(raw), nil
	}
	return json.Marshal(v)
}

func (f *fake) Stream(ctx context.Context, method string, params any) iter.Seq2[json.RawMessage, error] {
	in := f.note(method, params)
	return func(yield func(json.RawMessage, error) bool) {
		items := f.items[method]
		if items == nil {
			yield(nil, fault.New(fault.NotFound, "no method %s", method))
			return
		}
		err := items(ctx, in, func(v any) bool {
			raw, err := json.Marshal(v)
			return yield(raw, err)
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

func (f *fake) Close() error { return nil }

// named gives the calls of a method, without the keys that the command line made for them.
func (f *fake) named(method string) []map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ins []map[string]any
	for _, c := range f.calls {
		if c.Method == method {
			in := maps.Clone(c.In)
			if key, _ := in["idempotency_key"].(string); len(key) == len(rand.Text()) {
				delete(in, "idempotency_key")
			}
			ins = append(ins, in)
		}
	}
	return ins
}

// ran is what a run of the command line left behind.
type ran struct {
	code     int
	out, err string
}

// bench runs command lines against a fake daemon.
type bench struct {
	*fake
	specs []op.Spec
	env   Env
	vars  map[string]string

	remotes fakeRemotes
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{fake: newFake(), specs: specs(), vars: map[string]string{}}
	b.env = Env{
		Getenv: func(k string) string { return b.vars[k] }, Environ: func() []string { return []string{"PATH=/bin", "HOME=/root"} },
		Dir: t.TempDir(), Executable: "/opt/omnitron", Version: Version{Version: "1.2.3", Go: "go1.26", OS: "linux", Arch: "amd64"},
		Now: func() time.Time { return noon }, Terminal: &Terminal{Size: func() (int, int) { return 100, 30 }},
		Dial:         func(context.Context, string) (Client, error) { return b.fake, nil },
		Exec:         func([]string, []string) error { return nil },
		EnsureDaemon: func(context.Context, string) (bool, error) { return false, nil },
		Gone:         func(context.Context, string) error { return nil },
		Kill:         func(context.Context, string) (Killed, error) { return Killed{Was: true, PID: 77}, nil },
		MCP:          func(context.Context, string, Launch) error { return nil },
		Demo:         func(context.Context, string) (Demo, error) { return Demo{}, fault.New(fault.Conflict, "no demo here") },
		Staying: session.Staying{
			Install: func(_ context.Context, home string, o session.InstallOptions) (session.Installed, error) {
				return session.Installed{Manager: "systemd", Scope: "user", Name: "omnitron.service", Home: home, Changed: true, DryRun: o.DryRun,
					Files: []session.Touched{{Path: "/u", Done: "written", Text: "[Unit]\n"}}, Ran: [][]string{{"systemctl", "start", "a b"}}, Notes: []string{"mind"}}, nil
			},
			Uninstall: func(_ context.Context, home string, _ session.InstallOptions) (session.Installed, error) {
				return session.Installed{Home: home}, nil
			},
			Upgrade: func(_ context.Context, _ string, o session.UpgradeOptions) (session.Upgraded, error) {
				return session.Upgraded{Path: "/o", From: "1", To: "2", Changed: true, Daemon: "replaced", DryRun: o.DryRun}, nil
			},
		},
		Doctor: func(context.Context, string, error) (json.RawMessage, error) {
			return json.RawMessage(`{"ok":true,"checks":[]}`), nil
		},
		Config: Config{
			References: func(config.Source) ([]string, error) { return nil, nil },
			Resolve: func(config.Source) (json.RawMessage, []config.Warning, error) {
				return json.RawMessage(`{"project":"shop"}`), nil, nil
			},
			Show:     func(config.Source) ([]byte, error) { return []byte("project: shop\n"), nil },
			Schema:   func() (json.RawMessage, error) { return json.RawMessage(toySchema), nil },
			Settings: func() (json.RawMessage, error) { return json.RawMessage(toySettings), nil },
		},
		Remotes: b.remotes.env(),
		Local:   []Local{{Path: []string{"daemon", "run"}, Short: "Run the daemon in the foreground"}},
	}
	return b
}

const toySettings = `{"type":"object","properties":{"policy":{"type":"object","description":"who may","properties":{"rules":{"type":"array","description":"the rules","items":{"type":"object","properties":{"then":{"type":"string","description":"what then"}}}}}}}}`

const toySchema = `{"type":"object","properties":{"project":{"type":"string","description":"name of the project"},
"apps":{"type":"array","description":"what runs","items":{"$ref":"#/$defs/app"}}},
"$defs":{"app":{"type":"object","properties":{"name":{"type":"string","description":"its name"},"health":{"description":"how its health is asked for","anyOf":[{"type":"boolean"},{"type":"object","properties":{"http":{"type":"string","description":"path"}}}]}}}}}`

func (b *bench) run(t *testing.T, args ...string) ran { return b.runIn(t.Context(), "", args...) }

func (b *bench) runIn(ctx context.Context, stdin string, args ...string) ran {
	var out, err bytes.Buffer
	env := b.env
	env.Stdin, env.Stdout, env.Stderr = strings.NewReader(stdin), &out, &err
	code := Main(ctx, b.specs, env, args)
	return ran{code, out.String(), err.String()}
}

// project puts an omnitron.yaml into the working directory.
func (b *bench) project(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(b.env.Dir, "omnitron.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func done(result any) any { return map[string]any{"status": "done", "result": result} }
