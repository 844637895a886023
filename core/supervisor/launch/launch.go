// Package launch makes of a definition what the keeper needs to start a program: whose it is, its environment with what is
// secret in it, where its output goes.
package launch

import (
	"errors"
	"slices"
	"strconv"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
	"github.com/omnitron-dev/omnitron/core/supervisor/sockets"
	"golang.org/x/sys/unix"
)

// Program is one run of a process of an app.
type Program struct {
	App     *config.App
	Def     *config.Process
	Process string
	Number  int // of the instance, from 1
	Ports   map[string]int
	Secrets map[string]string // variable → value
}

// Stream names its output; both streams of it where the name is left empty.
func (p Program) Stream() journal.Stream {
	return journal.Stream{Project: naming.Project(p.App.Key), Stack: naming.Stack(p.App.Key), App: p.App.Name, Process: p.Process, Instance: p.Number}
}

// Spec is what the keeper is asked for: the run of this number, by revision rev of the definition, with its logs below logDir.
func (p Program) Spec(who account.Account, number uint64, rev int64, logDir string) proc.Spec {
	out, errs := p.Stream(), p.Stream()
	out.Name, errs.Name = "out", "err"
	spec := proc.Spec{
		ID:    naming.Generation(p.App.Key, p.Process, p.Number, number, rev, p.Ports),
		Group: naming.Group(p.App.Key, p.Process, p.Number, number), Kind: "app",
		Argv: p.Def.Argv, Dir: p.Def.Dir, Env: p.Environment(who),
		UID: who.UID, GID: who.GID, Groups: who.Groups, Umask: -1,
		Out: journal.Path(logDir, out), Err: journal.Path(logDir, errs),
		MaxSize: p.Def.Logging.MaxSize, MaxFiles: p.Def.Logging.MaxFiles, OnFull: p.Def.Logging.OnFull,
		Notify: p.Def.Ready.Kind == "notify", NotifyUID: who.UID,
		DieWithDaemon: p.App.OnDaemonExit == "stop",
	}
	if p.Def.Umask != nil {
		spec.Umask = *p.Def.Umask
	}
	if p.Def.Logging.Merge {
		spec.Err = spec.Out
	}
	spec.Stdin, spec.Limits = p.Def.Stdin, Limits(p.Def)
	if d := p.Def.Watchdog; d > 0 {
		spec.Env = append(spec.Env, "WATCHDOG_USEC="+strconv.FormatInt(d.Microseconds(), 10))
	}
	spec.Passed, spec.Sockets = sockets.IDs(p.App.Key, p.Process, p.Def)
	return spec
}

// Limits gives the limits of a process by the keeper's names of them.
func Limits(def *config.Process) map[string]string {
	out := map[string]string{}
	if l := def.Limits; l != nil {
		if l.Memory > 0 {
			out[protocol.LimitMemory] = strconv.FormatInt(l.Memory, 10)
		}
		if l.CPU > 0 {
			out[protocol.LimitCPU] = strconv.FormatFloat(l.CPU, 'g', -1, 64)
		}
		if l.NoFile > 0 {
			out[protocol.LimitNoFile] = strconv.Itoa(l.NoFile)
		}
		if l.Best {
			out[protocol.LimitBest] = "true"
		}
	}
	if def.Nice != nil {
		out[protocol.LimitNice] = strconv.Itoa(*def.Nice)
	}
	if def.OOMScore != nil {
		out[protocol.LimitOOMScore] = strconv.Itoa(*def.OOMScore)
	}
	return out
}

// Environment is the whole environment of an instance: what its definition resolved to, its secrets, then what is ours.
func (p Program) Environment(who account.Account) []string {
	env := map[string]string{}
	for k, v := range p.Def.Env {
		env[k] = v
	}
	for k, v := range p.Secrets {
		env[k] = v
	}
	if who.Name != "" { // unless the definition says otherwise, even that there is none
		for name, value := range map[string]string{"USER": who.Name, "LOGNAME": who.Name, "HOME": who.Home, "SHELL": who.Shell} {
			if _, set := env[name]; !set && value != "" && !slices.Contains(p.Def.Unset, name) {
				env[name] = value
			}
		}
	}
	env["OMNITRON_PROJECT"], env["OMNITRON_STACK"], env["OMNITRON_APP"] = naming.Project(p.App.Key), naming.Stack(p.App.Key), p.App.Name
	env["OMNITRON_PROCESS"], env["OMNITRON_INSTANCE"] = p.Process, strconv.Itoa(p.Number)
	for name, port := range p.Ports {
		env[ports.Variable(name)] = strconv.Itoa(port)
	}
	if len(p.Def.Ports) == 1 {
		env["PORT"] = strconv.Itoa(p.Ports[p.Def.Ports[0].Name])
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// Permanent reports whether another try of the same start cannot help.
func Permanent(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return false
	}
	switch e.Reason {
	case "exec_not_found", "not_executable", "bad_interpreter", "cwd_missing", "no_such_user", "no_such_group", "not_permitted",
		"too_large", "path_too_long", "not_supported", "bad_spec", "no_such_port", "limit_unavailable", "no_such_address":
		return true
	}
	return false
}

// Signal is the signal of a name, with or without SIG; SIGTERM where there is none of that name.
func Signal(name string) unix.Signal {
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig
	}
	return unix.SIGTERM
}
