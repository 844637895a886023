package config

import (
	"maps"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/sched/cron"
)

// Definition is a project's file read, checked and resolved: what the supervisor runs. It is kept as a numbered
// revision; nothing in it depends on the moment or on the shell any more.
type Definition struct {
	Project     string      `json:"project"`
	Stack       string      `json:"stack"`
	Dir         string      `json:"dir"`             // folder of the first file, absolute
	Files       []string    `json:"files,omitempty"` // absolute paths, in merge order
	Text        string      `json:"text,omitempty"`  // digest of a file that has stacks: what it says of the others is kept with this one
	Supervision Supervision `json:"supervision"`
	Monitoring  Monitoring  `json:"monitoring"`
	Apps        []App       `json:"apps"`
}

// App is one application.
type App struct {
	Name         string       `json:"name"`
	Key          string       `json:"key"` // project/stack/name
	Classic      bool         `json:"classic"`
	Enabled      bool         `json:"enabled"`
	Oneshot      bool         `json:"oneshot,omitempty"`
	Schedule     *Schedule    `json:"schedule,omitempty"`
	OnDaemonExit string       `json:"onDaemonExit"` // adopt | stop
	DependsOn    []Dependency `json:"dependsOn,omitempty"`
	Supervision  Supervision  `json:"supervision"`        // strategy among the processes
	Processes    []Process    `json:"processes"`          // one, named as the app, for a classic app
	Critical     bool         `json:"critical,omitempty"` // giving up on it stops its whole stack
	Hash         string       `json:"hash"`               // of everything above and below: equal hash, nothing changed
}

// Process is one program of an app; it runs Instances times.
type Process struct {
	Name      string            `json:"name"`
	Argv      []string          `json:"argv"` // what is executed: a string command has become /bin/sh -c
	Dir       string            `json:"dir"`
	User      string            `json:"user,omitempty"`
	Group     string            `json:"group,omitempty"`
	Umask     *int              `json:"umask,omitempty"`
	Env       map[string]string `json:"env"`                // complete but for what the supervisor adds: OMNITRON_*, PORT*, and HOME USER LOGNAME SHELL of a User
	Secrets   map[string]string `json:"secrets,omitempty"`  // variables whose values are secrets, by the names of those: they are looked up at each start
	Unset     []string          `json:"unset,omitempty"`    // variables that the file removes: the supervisor does not add HOME and the like again
	Captured  []string          `json:"captured,omitempty"` // names in Env that came from the shell unasked: no part of the hash
	Ports     []Port            `json:"ports,omitempty"`
	Sockets   []Socket          `json:"sockets,omitempty"`
	Ready     Ready             `json:"ready"`
	Health    *Health           `json:"health,omitempty"`
	Restart   Restart           `json:"restart"`
	Stop      Stop              `json:"stop"`
	Reload    *Reload           `json:"reload,omitempty"` // nil: instances are replaced
	Hooks     Hooks             `json:"hooks,omitzero"`
	Instances int               `json:"instances"`
	DependsOn []Dependency      `json:"dependsOn,omitempty"` // on other processes of the same app
	Logging   Logging           `json:"logging"`

	Limits       *Limits `json:"limits,omitempty"`
	SuccessCodes []int   `json:"successCodes,omitempty"` // empty: 0
	Nice         *int    `json:"nice,omitempty"`
	OOMScore     *int    `json:"oomScore,omitempty"`

	Stdin    string        `json:"stdin,omitempty"`    // open; empty: null
	Watchdog time.Duration `json:"watchdog,omitempty"` // how long it may be silent; 0: it need not say anything
}

// Succeeds reports whether an end with an exit code, or 128 + the number of a signal, is a success.
func (p *Process) Succeeds(code int) bool {
	if len(p.SuccessCodes) == 0 {
		return code == 0
	}
	return slices.Contains(p.SuccessCodes, code)
}

// Limits is what each instance may use; 0 is no limit.
type Limits struct {
	Memory int64   `json:"memory,omitempty"` // bytes
	CPU    float64 `json:"cpu,omitempty"`    // so many processors' time
	NoFile int     `json:"nofile,omitempty"`
	Best   bool    `json:"best,omitempty"` // what cannot be enforced is left out, and told
}

// Dependency is what has to be so of another before a start.
type Dependency struct {
	Name  string `json:"name"`  // app of the same stack, or process of the same app
	Until string `json:"until"` // ready | started | completed
}

// Port is a named port of a process.
type Port struct {
	Name string `json:"name"`
	Base int    `json:"base,omitempty"` // instance n gets Base + n - 1; 0 with Auto
	Auto bool   `json:"auto,omitempty"`
}

// Socket is a named listening socket that all instances of a process share.
type Socket struct {
	Name    string `json:"name"`
	Network string `json:"network"`        // tcp | unix
	Address string `json:"address"`        // ip:port, or an absolute path
	Mode    int    `json:"mode,omitempty"` // permissions of the path
}

// Probe asks a program how it is; one of HTTP, TCP, Exec.
type Probe struct {
	HTTP string   `json:"http,omitempty"` // path (then Port is set), or a whole loopback URL
	TCP  string   `json:"tcp,omitempty"`  // name of a declared port, or host:port
	Exec []string `json:"exec,omitempty"`
	Port string   `json:"port,omitempty"` // name of the declared port of an HTTP path; "" beside a whole URL
}

// Ready says when a start has succeeded.
type Ready struct {
	Kind    string        `json:"kind"` // alive | notify | http | tcp | log | exec | delay; none: a oneshot
	Probe   Probe         `json:"probe,omitzero"`
	Log     string        `json:"log,omitempty"` // regular expression (RE2)
	Delay   time.Duration `json:"delay,omitempty"`
	Timeout time.Duration `json:"timeout"`
}

// Health is the probing of a running program.
type Health struct {
	Probe       Probe         `json:"probe"`
	Interval    time.Duration `json:"interval"`
	Timeout     time.Duration `json:"timeout"`
	Retries     int           `json:"retries"`
	StartPeriod time.Duration `json:"startPeriod"`
}

// Restart is when a program is started again.
type Restart struct {
	Policy      string        `json:"policy"` // always | on-failure | never
	MaxRestarts int           `json:"maxRestarts"`
	Window      time.Duration `json:"window"`
	ResetAfter  time.Duration `json:"resetAfter"`
	Backoff     Backoff       `json:"backoff"`
	MaxMemory   int64         `json:"maxMemory,omitempty"` // bytes; 0: it is not restarted for its memory
}

// Backoff is how long to wait before the nth restart.
type Backoff struct {
	Type    string        `json:"type"` // fixed | linear | exponential
	Initial time.Duration `json:"initial"`
	Max     time.Duration `json:"max"`
	Factor  float64       `json:"factor"`
	Jitter  float64       `json:"jitter"` // ± share of the delay
}

// Stop is how a program is asked to end.
type Stop struct {
	Signal  string        `json:"signal"` // SIGTERM
	Timeout time.Duration `json:"timeout"`
}

// Reload is how a program is told to take up what has changed; one of Signal, Command.
type Reload struct {
	Signal  string        `json:"signal,omitempty"`
	Command []string      `json:"command,omitempty"`
	Timeout time.Duration `json:"timeout"`
}

// Overlaps reports whether two generations of an instance can run side by side: whether no port is the same for both.
func (p *Process) Overlaps() bool {
	for _, port := range p.Ports {
		if !port.Auto {
			return false
		}
	}
	return true
}

// Schedule is when a oneshot runs.
type Schedule struct {
	Cron     string `json:"cron"`
	Timezone string `json:"timezone,omitempty"` // "": the machine's
	Overlap  string `json:"overlap"`            // skip | queue | replace
	CatchUp  bool   `json:"catchUp"`
}

// Times is when it is due; ok is false where that cannot be told here, because the time zone is not known any more.
func (s *Schedule) Times() (t cron.Times, ok bool) {
	t, err := cron.Parse(s.Cron)
	zone, zerr := cron.Zone(s.Timezone)
	if err != nil || zerr != nil {
		return cron.Times{}, false
	}
	return t.In(zone), true
}

// Hooks are commands beside the life of an instance: preStart → ready → postStart; preStop → signal → gone → postStop.
type Hooks struct {
	PreStart  *Hook `json:"preStart,omitempty"`
	PostStart *Hook `json:"postStart,omitempty"`
	PreStop   *Hook `json:"preStop,omitempty"`
	PostStop  *Hook `json:"postStop,omitempty"`
}

// Hook is one command, and how long it may take.
type Hook struct {
	Argv    []string      `json:"argv"`
	Timeout time.Duration `json:"timeout"`
}

// All gives the hooks that there are, by the names of their keys.
func (h Hooks) All() map[string]*Hook {
	all := map[string]*Hook{"preStart": h.PreStart, "postStart": h.PostStart, "preStop": h.PreStop, "postStop": h.PostStop}
	maps.DeleteFunc(all, func(_ string, h *Hook) bool { return h == nil })
	return all
}

// Supervision is what one failure means for the siblings.
type Supervision struct {
	Strategy string  `json:"strategy"` // one_for_one | one_for_all | rest_for_one
	Restart  Restart `json:"restart"`  // what apps inherit
}

// Monitoring holds the defaults of probes and samples.
type Monitoring struct {
	HealthInterval  time.Duration `json:"healthInterval"`
	HealthTimeout   time.Duration `json:"healthTimeout"`
	HealthRetries   int           `json:"healthRetries"`
	MetricsInterval time.Duration `json:"metricsInterval"`
	Retention       time.Duration `json:"retention"`
}

// Logging is how much of the output is kept, and what happens when the disk is full.
type Logging struct {
	Level    string `json:"level"` // lowest level shown by default
	MaxSize  int64  `json:"maxSize"`
	MaxFiles int    `json:"maxFiles"`
	Compress string `json:"compress"`        // zstd | gzip | none
	OnFull   string `json:"onFull"`          // block-then-drop | block | drop
	Merge    bool   `json:"merge,omitempty"` // both streams are one, out
}

// Kind is how a probe asks: http, tcp or exec; "" for none.
func (p Probe) Kind() string {
	switch {
	case p.HTTP != "":
		return "http"
	case p.TCP != "":
		return "tcp"
	case len(p.Exec) > 0:
		return "exec"
	}
	return ""
}
