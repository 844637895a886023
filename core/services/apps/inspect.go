package apps

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
	"github.com/omnitron-dev/omnitron/core/supervisor/sockets"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// one is the single target of a call.
func (s *Service) one(ctx context.Context) (*view.App, op.Target, error) {
	ts := op.TargetsOf(ctx)
	if len(ts) != 1 {
		return nil, op.Target{}, fault.New(fault.Invalid, "name one app").WithReason("ambiguous")
	}
	v := s.sup.App(ts[0].Key)
	if v == nil {
		return nil, ts[0], fault.New(fault.NotFound, "there is no app %q any more", ts[0].Key).WithReason("app_unknown")
	}
	return v, ts[0], nil
}

// Get gives one application as it is now, with the instances of the part that was named. Faults: not_found, invalid
// (ambiguous).
func (s *Service) Get(ctx context.Context, _ op.One) (view.App, error) {
	v, t, err := s.one(ctx)
	if err != nil {
		return view.App{}, err
	}
	return part(*v, t), nil
}

// Inspection is everything that is known of an app besides its output.
type Inspection struct {
	App       view.App          `json:"app" jsonschema:"how it stands"`
	Processes []ProcessDetail   `json:"processes" jsonschema:"what each process is told to be"`
	Logs      []string          `json:"logs" jsonschema:"its log files"`
	Trees     []Tree            `json:"trees" jsonschema:"every process that it runs now, an entry an instance"`
	Depends   []string          `json:"depends_on" jsonschema:"what it needs, as app (until)"`
	Needed    []string          `json:"needed_by" jsonschema:"apps that need it"`
	Labels    map[string]string `json:"labels,omitempty" jsonschema:"strategy, onDaemonExit and the like"`
}

// ProcessDetail is the resolved definition of a process.
type ProcessDetail struct {
	Name      string      `json:"name" jsonschema:"process name"`
	Argv      []string    `json:"argv" jsonschema:"what is executed; passwords masked"`
	Dir       string      `json:"cwd" jsonschema:"working directory"`
	User      string      `json:"user,omitempty" jsonschema:"who it runs as"`
	Instances int         `json:"instances" jsonschema:"how many are declared"`
	Ready     string      `json:"ready" jsonschema:"when it counts as ready"`
	Health    string      `json:"health,omitempty" jsonschema:"how its health is asked for"`
	Restart   string      `json:"restart" jsonschema:"its restart policy"`
	Stop      string      `json:"stop" jsonschema:"how it is stopped"`
	Sockets   []Listening `json:"sockets,omitempty" jsonschema:"sockets that are kept open for it and passed on"`
	Hooks     []string    `json:"hooks,omitempty" jsonschema:"commands around its start and stop; passwords masked"`
	Secrets   []Bound     `json:"secrets,omitempty" jsonschema:"which of its variables are secrets"`
}

// Listening is a socket that all instances and generations of a process share.
type Listening struct {
	Name    string `json:"name" jsonschema:"its name, as LISTEN_FDNAMES has it"`
	Address string `json:"address" jsonschema:"ip:port, or a path"`
	State   string `json:"state" enum:"open,closed,shut" jsonschema:"closed: nothing runs, so it is not open; shut: a program has shut it down, and the next start opens it again"`
	Shut    int    `json:"shut,omitempty" jsonschema:"how often a program has shut it down for all of them by shutdown(2); what waited in it was lost each time"`
}

// Bound is a variable whose value is a secret.
type Bound struct {
	Variable string `json:"variable" jsonschema:"its name"`
	Secret   string `json:"secret" jsonschema:"name of the secret, as the file says it"`
	State    string `json:"state" enum:"ok,changed,missing,sealed" jsonschema:"changed: another value than that of the last start; the next start takes it up. missing, sealed: a start waits for it"`
}

// Tree is what one instance runs.
type Tree struct {
	Slot string `json:"slot" jsonschema:"app:process#n"`
	PIDs []int  `json:"pids" jsonschema:"living processes"`
}

// Inspect gives definition, files and process tree, of the part that was named. Faults: not_found, invalid (ambiguous).
func (s *Service) Inspect(ctx context.Context, _ op.One) (Inspection, error) {
	v, t, err := s.one(ctx)
	if err != nil {
		return Inspection{}, err
	}
	def := v.Definition
	in := Inspection{App: part(*v, t), Processes: []ProcessDetail{}, Logs: []string{}, Trees: []Tree{}, Depends: []string{}, Needed: s.sup.Dependents(v.Key),
		Labels: map[string]string{"onDaemonExit": def.OnDaemonExit, "strategy": def.Supervision.Strategy, "hash": def.Hash}}
	if p := def.Schedule; p != nil {
		in.Labels["schedule"] = strings.TrimSpace(p.Cron+" "+p.Timezone) + ", overlap " + p.Overlap
	}
	for _, d := range def.DependsOn {
		in.Depends = append(in.Depends, d.Name+" ("+d.Until+")")
	}
	for i := range def.Processes {
		if t.Process == "" || t.Process == def.Processes[i].Name {
			p := detail(&def.Processes[i])
			p.Secrets = s.bound(v, &def.Processes[i])
			p.Sockets = s.listening(v.Key, &def.Processes[i])
			in.Processes = append(in.Processes, p)
		}
	}
	trees := s.sup.Trees(ctx, v.Key)
	for _, i := range in.App.Instances {
		st := journal.Stream{Project: v.Project, Stack: v.Stack, App: v.Name, Process: i.Process, Instance: i.Number}
		for _, name := range []string{"out", "err"} {
			st.Name = name
			in.Logs = append(in.Logs, journal.Path(s.journal.Dir(), st))
		}
		if pids, ok := trees[i.Slot]; ok {
			in.Trees = append(in.Trees, Tree{Slot: i.Slot, PIDs: pids})
		}
	}
	return in, nil
}

// part gives an app as far as a target means it: its instances, and of the app what is true of them.
func part(v view.App, t op.Target) view.App {
	if t.Process == "" {
		return v
	}
	v.Instances = slices.DeleteFunc(slices.Clone(v.Instances), func(i view.Instance) bool { return !slices.Contains(t.Slots, i.Slot) })
	rank := func(s view.State) int { return slices.Index(view.States, s) }
	v.Desired, v.Health, v.Restarts = "stopped", "unknown", 0
	for n, i := range v.Instances {
		v.Restarts += i.Restarts
		if n == 0 || rank(i.State) < rank(v.State) {
			v.State, v.Reason, v.Since = i.State, i.Reason, i.Since
		}
		if i.Desired == "running" {
			v.Desired = i.Desired
		}
		if i.Health == "unhealthy" || i.Health == "healthy" && v.Health == "unknown" {
			v.Health = i.Health
		}
	}
	return v
}

// bound says how the secrets of a process stand.
func (s *Service) bound(v *view.App, p *config.Process) []Bound {
	var out []Bound
	for _, variable := range slices.Sorted(maps.Keys(p.Secrets)) {
		b := Bound{variable, p.Secrets[variable], "ok"}
		secret, err := s.vault.Lookup(v.Project, v.Stack, b.Secret)
		switch {
		case fault.Is(err, fault.NotFound):
			b.State = "missing"
		case err != nil:
			b.State = "sealed"
		case slices.ContainsFunc(v.Instances, func(i view.Instance) bool {
			return i.Process == p.Name && i.StartedAt != nil && i.StartedAt.Before(secret.Created)
		}):
			b.State = "changed"
		}
		out = append(out, b)
	}
	return out
}

// listening says how the sockets of a process stand.
func (s *Service) listening(key string, p *config.Process) []Listening {
	open := s.sup.Listens()[key]
	var out []Listening
	for _, declared := range p.Sockets {
		l := Listening{Name: declared.Name, Address: declared.Address, State: "closed"}
		id := sockets.ID(key, p.Name, declared)
		if i := slices.IndexFunc(open, func(o proc.Listener) bool { return o.ID == id }); i >= 0 {
			if l.State, l.Shut = "open", open[i].Shut; open[i].Broken {
				l.State = "shut"
			}
		}
		out = append(out, l)
	}
	return out
}

func detail(p *config.Process) ProcessDetail {
	d := ProcessDetail{Name: p.Name, Argv: config.MaskWords(p.Argv), Dir: p.Dir, User: p.User, Instances: p.Instances, Ready: p.Ready.Kind,
		Restart: p.Restart.Policy + ", " + strconv.Itoa(p.Restart.MaxRestarts) + " in " + p.Restart.Window.String(),
		Stop:    p.Stop.Signal + ", SIGKILL after " + p.Stop.Timeout.String()}
	if h := p.Health; h != nil {
		d.Health = h.Probe.Kind() + " every " + h.Interval.String()
	}
	hooks := p.Hooks.All()
	for _, name := range slices.Sorted(maps.Keys(hooks)) {
		d.Hooks = append(d.Hooks, name+": "+strings.Join(config.MaskWords(hooks[name].Argv), " ")+", at most "+hooks[name].Timeout.String())
	}
	return d
}

// Variables asks for an environment.
type Variables struct {
	op.One
	Reveal bool `json:"reveal,omitempty" jsonschema:"show the values; for a person who is an admin, never for an agent"`
}

// Environment is the environment of a process.
type Environment struct {
	Processes []ProcessEnv `json:"processes" table:"1" jsonschema:"an entry a process"`
	Masked    bool         `json:"masked" jsonschema:"whether values are masked"`
}

// ProcessEnv is the environment of one process.
type ProcessEnv struct {
	Process   string     `json:"process" table:"1" jsonschema:"process name"`
	Variables []Variable `json:"variables" table:"1" jsonschema:"what the file and the shell give it, sorted by name"`
	Ours      []Variable `json:"ours" table:"1" jsonschema:"what omnitron adds for its first instance, never masked; a port that is drawn at each start is auto while it does not run"`
}

// Variable is one variable.
type Variable struct {
	Name  string `json:"name" table:"1" jsonschema:"its name"`
	Value string `json:"value" table:"1" jsonschema:"its value, or a mask; {secret: name} for a secret, which only secrets.get shows"`
}

// Env gives the environment an app is started with; values are masked unless an admin person reveals them. Faults:
// not_found, denied (reveal without the right).
func (s *Service) Env(ctx context.Context, in Variables) (Environment, error) {
	v, t, err := s.one(ctx)
	if err != nil {
		return Environment{}, err
	}
	if c := op.CallerOf(ctx); in.Reveal && (!c.Role.Covers(op.Admin) || c.Channel == op.Agent) {
		return Environment{}, fault.New(fault.Denied, "only an admin may see the values of an environment").WithReason("reveal_denied").
			WithHint("call it without reveal, or ask a person to run: omnitron env %s --reveal", v.Name)
	}
	out := Environment{Masked: !in.Reveal, Processes: []ProcessEnv{}}
	def := v.Definition
	for i := range def.Processes {
		p := &def.Processes[i]
		if t.Process != "" && p.Name != t.Process {
			continue
		}
		e := ProcessEnv{Process: p.Name, Variables: []Variable{}}
		for _, name := range slices.Sorted(maps.Keys(p.Env)) {
			value := p.Env[name]
			if !in.Reveal {
				value = "•••"
			}
			e.Variables = append(e.Variables, Variable{name, value})
		}
		for name, secret := range p.Secrets {
			e.Variables = append(e.Variables, Variable{name, "{secret: " + secret + "}"})
		}
		slices.SortFunc(e.Variables, func(a, b Variable) int { return cmp.Compare(a.Name, b.Name) })
		e.Ours = ours(v, p)
		out.Processes = append(out.Processes, e)
	}
	return out, nil
}

// ours gives what the supervisor adds to the environment of a process's first instance.
func ours(v *view.App, p *config.Process) []Variable {
	env := map[string]string{"OMNITRON_PROJECT": v.Project, "OMNITRON_STACK": v.Stack, "OMNITRON_APP": v.Name, "OMNITRON_PROCESS": p.Name, "OMNITRON_INSTANCE": "1"}
	var running map[string]int
	for _, i := range v.Instances {
		if i.Process == p.Name && i.Number == 1 {
			running = i.Ports
		}
	}
	for _, port := range p.Ports {
		number := "auto"
		if n, ok := running[port.Name]; ok {
			number = strconv.Itoa(n)
		} else if !port.Auto {
			number = strconv.Itoa(port.Base)
		}
		env[ports.Variable(port.Name)] = number
		if len(p.Ports) == 1 {
			env["PORT"] = number
		}
	}
	out := make([]Variable, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, Variable{name, env[name]})
	}
	return out
}

// Scope says of which project.
type Scope struct {
	Project op.ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"project; default: the only one"`
	Stack   op.StackRef   `json:"stack,omitempty" jsonschema:"stack; default: dev, else the only one"`
}

// Dependencies is the graph of a project.
type Dependencies struct {
	Nodes []string   `json:"nodes" jsonschema:"apps, in an order in which they can be started"`
	Edges []Edge     `json:"edges" table:"1" jsonschema:"who needs whom"`
	Waves [][]string `json:"waves" jsonschema:"apps that can be started together, wave after wave"`
}

// Edge is one dependency.
type Edge struct {
	From  string `json:"from" table:"1" jsonschema:"who needs"`
	To    string `json:"to" table:"1" jsonschema:"whom"`
	Until string `json:"until" table:"1" enum:"ready,started,completed" jsonschema:"what the other has to be"`
}

// Graph gives the dependencies of a project. Faults: not_found.
func (s *Service) Graph(ctx context.Context, in Scope) (Dependencies, error) {
	ts, err := s.sup.Resolve(ctx, nil, in.Project, in.Stack)
	if err != nil {
		return Dependencies{}, err
	}
	keys := make([]string, len(ts))
	out := Dependencies{Nodes: []string{}, Edges: []Edge{}, Waves: [][]string{}}
	for i, t := range ts {
		keys[i] = t.Key
		v := s.sup.App(t.Key)
		for _, d := range v.Definition.DependsOn {
			out.Edges = append(out.Edges, Edge{From: v.Name, To: d.Name, Until: d.Until})
		}
	}
	for _, wave := range s.sup.Waves(keys) {
		out.Waves = append(out.Waves, wave)
		out.Nodes = append(out.Nodes, wave...)
	}
	return out, nil
}
