// Package apps starts, stops and explains supervised applications.
package apps

import (
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/projects"
	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/vault"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("apps", "Supervised applications.",
	op.Unary("list", op.Viewer, op.Reads, (*Service).List, "List applications with state, health, CPU, memory and ports.",
		op.Top("ls"), op.Core(), op.Global(), op.AnyScope(), op.Resource("omnitron://apps", "apps"), op.Keywords("ls ps processes services show running status overview"),
		op.Shows("every app of the daemon", `{"all":true}`), op.Fails("a project that is not there", `{"project":"nope"}`, "not_found")),
	op.Unary("get", op.Viewer, op.Reads, (*Service).Get, "Show one application as it is now: its state, its instances, and how each of them ended last.",
		op.Core(), op.Resource("omnitron://apps/{project}/{stack}/{app}", "apps"), op.Keywords("show describe details status one"),
		op.Shows("one app", `{"name":"web"}`), op.Fails("a name that is not there", `{"name":"nope"}`, "not_found")),
	op.Unary("plan", op.Viewer, op.Reads, (*Service).Plan, "Show what applying files would change, key by key, and what restarts.",
		op.Global(), op.Timeout(time.Minute), op.Keywords("diff dry run preview pending changes drift what would happen"),
		op.Shows("a project that is not there yet", `{"files":[{"path":"/tmp/omnitron-planned/omnitron.yaml","text":"project: planned\napps:\n  - {name: once, command: [\"true\"], oneshot: true}\n"}]}`),
		op.Fails("a project that is not there", `{"project":"nope"}`, "not_found"),
		op.Fails("a key that is not known", `{"files":[{"path":"/tmp/omnitron-planned/omnitron.yaml","text":"apps:\n  - {name: a, comand: x}\n"}]}`, "invalid")),
	op.Unary("apply", op.Admin, op.Interrupts, (*Service).Apply, "Read definitions from files, keep them as a revision and make the daemon follow them.",
		op.Global(), op.Planned((*Service).PlanApply), op.Timeout(10*time.Minute), op.Keywords("load config yaml deploy definition update"),
		op.Shows("a project of one app", `{"files":[{"path":"/tmp/omnitron-example/omnitron.yaml","text":"project: example\napps:\n  - {name: once, command: [\"true\"], oneshot: true, enabled: false}\n"}],"env":{"PATH":"/usr/bin:/bin"}}`),
		op.Fails("a key that is not known", `{"files":[{"path":"/tmp/omnitron-example/omnitron.yaml","text":"apps:\n  - {name: a, comand: x}\n"}]}`, "invalid")),
	op.Unary("start", op.Operator, op.Sets, (*Service).Start, "Start applications and what they depend on; answers when they are ready or have failed.",
		op.Top("start"), op.Core(), op.Planned((*Service).PlanStart), op.Timeout(time.Hour), op.Undo("apps.stop"), op.Keywords("run launch boot up resume"),
		op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("add", op.Admin, op.Adds, (*Service).Add, "Supervise a program without a file.",
		op.Global(), op.Planned((*Service).PlanAdd), op.Timeout(time.Hour), op.Undo("apps.remove"), op.Keywords("run new program adhoc create pm2"),
		op.Shows("a program", `{"command":["/bin/sleep","1000"],"cwd":"/tmp","name":"nap"}`), op.Fails("nothing to run", `{"cwd":"/tmp"}`, "invalid")),
	op.Unary("remove", op.Admin, op.Destroys, (*Service).Remove, "Stop and forget what was added.",
		op.Planned((*Service).PlanRemove), op.Timeout(time.Hour), op.Keywords("delete adhoc forget"),
		op.Shows("one that was added", `{"names":["added"]}`), op.Fails("one that a file declares", `{"names":["web"]}`, "conflict")),
	op.Unary("stop", op.Operator, op.Interrupts, (*Service).Stop, "Stop applications: everything that they ever started ends, dependents first.",
		op.Top("stop"), op.Core(), op.Planned((*Service).PlanStop), op.Timeout(time.Hour), op.Undo("apps.start"), op.Keywords("halt end terminate kill shut down quit"),
		op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("restart", op.Operator, op.Interrupts, (*Service).Restart, "Restart applications; answers when they are ready again or have failed.",
		op.Top("restart"), op.Core(), op.Planned((*Service).PlanRestart), op.Timeout(time.Hour), op.Keywords("bounce reboot cycle reload again"),
		op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("reload", op.Operator, op.Interrupts, (*Service).Reload, "Reload applications without a gap: new instances are ready before old ones end, or by a signal or command of their own.",
		op.Top("reload"), op.Planned((*Service).PlanReload), op.Timeout(time.Hour), op.Keywords("rolling replace graceful hup zero downtime deploy"),
		op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("scale", op.Operator, op.Sets, (*Service).Scale, "Set how many instances of a process run; holds until the number in the file changes.",
		op.Top("scale"), op.Core(), op.Planned((*Service).PlanScale), op.Keywords("instances workers replicas more fewer resize"),
		op.Shows("two of them", `{"name":"web","instances":2}`), op.Fails("none at all", `{"name":"web","instances":0}`, "invalid")),
	op.Unary("signal", op.Operator, op.Interrupts, (*Service).Signal, "Send a signal to the main processes of applications.",
		op.Planned((*Service).PlanSignal), op.Keywords("kill sighup usr1 hup"),
		op.Shows("a reload by hand", `{"names":["web"],"signal":"USR1"}`), op.Fails("a signal that does not exist", `{"names":["web"],"signal":"SIGNOPE"}`, "invalid")),
	op.Unary("inspect", op.Viewer, op.Reads, (*Service).Inspect, "Show the resolved definition of an application, its log files, its living processes, and who needs whom.",
		op.Top("inspect"), op.Keywords("definition command argv cwd process tree pids config"),
		op.Shows("one app", `{"name":"web"}`), op.Fails("a name that is not there", `{"name":"nope"}`, "not_found")),
	op.Unary("env", op.Viewer, op.Reads, (*Service).Env, "Show the environment of an application; values are masked unless an admin asks to reveal them.",
		op.Top("env"), op.Keywords("environment variables secrets values"),
		op.Shows("names and masked values", `{"name":"web"}`), op.Fails("a name that is not there", `{"name":"nope"}`, "not_found")),
	op.Unary("graph", op.Viewer, op.Reads, (*Service).Graph, "Show which application depends on which, in order of start.",
		op.AnyScope(), op.Keywords("dependencies tree order"), op.Shows("the project", `{}`), op.Fails("a project that is not there", `{"project":"nope"}`, "not_found")),
	op.Unary("reset", op.Operator, op.Sets, (*Service).Reset, "Forget restart counters; a crashed application becomes a stopped one.",
		op.Planned((*Service).PlanReset), op.Keywords("clear crashed counters failed"),
		op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("enable", op.Operator, op.Sets, (*Service).Enable, "Let up and boot start applications again.",
		op.Planned((*Service).PlanEnable), op.Undo("apps.disable"), op.Keywords("activate autostart"),
		op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("disable", op.Operator, op.Interrupts, (*Service).Disable, "Stop applications and keep up and boot from starting them.",
		op.Planned((*Service).PlanDisable), op.Timeout(time.Hour), op.Undo("apps.enable"), op.Keywords("deactivate autostart off any more"),
		op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("history", op.Viewer, op.Reads, (*Service).History, "List what happened to applications: starts, exits, changes of state.",
		op.Keywords("exits past crashes log of changes when"), op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("explain", op.Viewer, op.Reads, (*Service).Explain, "Answer why an application is in its state: exits, last lines of stderr, health, restarts, what changed before.",
		op.Top("why"), op.Core(), op.Keywords("why down crash reason debug diagnose broken failing explain"),
		op.Shows("one app", `{"name":"web"}`), op.Fails("a name that is not there", `{"name":"nope"}`, "not_found")),
)

// Service implements Methods.
type Service struct {
	sup      *supervisor.Supervisor
	journal  *journal.Journal
	bus      *bus.Bus
	events   *records.Events
	calls    *ledger.Ledger
	projects *projects.Projects
	samples  *sample.Sampler
	vault    *vault.Vault
	user     string // who the daemon runs as
	home     string
	editing  sync.Mutex // held while the apps that no file declares are changed
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) {
	return &Service{sup: h.Supervisor, journal: h.Journal, bus: h.Bus, events: h.Events, calls: h.Ledger, projects: projects.New(h.Supervisor, h.Revisions, records.NewStacks(h.Store), h.User), samples: h.Samples, vault: h.Vault, user: h.User, home: h.Home}, nil
}
