package supervisor

import (
	"github.com/omnitron-dev/omnitron/core/store"
)

// remember marks what is kept on disk of the app; the state file takes it along with its next write.
func (r *runner) remember() {
	v := r.snapshot.Load()
	slots := make([]store.Slot, len(r.units))
	for i, u := range r.units {
		slots[i] = r.slotState(u, &v.Instances[i])
	}
	r.s.State.Touch(func(st *store.State) {
		if _, known := st.App(r.key); !known { // removed meanwhile
			return
		}
		st.Edit(r.key, func(a *store.AppState) {
			a.Status, a.Restarts, a.Generation, a.LastError = string(v.State), v.Restarts, v.Epoch, v.Reason
			a.Processes = slots
			a.PID, a.StartTime, a.BootID, a.LastExit = 0, 0, "", nil
			for _, s := range slots {
				if s.LastExit != nil && (a.LastExit == nil || s.LastExit.At.After(a.LastExit.At)) {
					a.LastExit = s.LastExit
				}
				if a.PID == 0 && s.PID != 0 {
					a.PID, a.StartTime, a.BootID, a.StartedAt = s.PID, s.StartTime, s.BootID, s.StartedAt
				}
			}
		})
	})
}

func (r *runner) slotState(u *unit, in *Instance) store.Slot {
	s := store.Slot{Name: u.process, Instance: u.number, Status: string(in.State), Health: in.Health, Generation: u.last, Restarts: u.starts,
		Active: u.hist.Active, RestartsAt: u.hist.Restarts, Attempt: u.hist.Streak, BackoffUntil: u.nextTry, LastError: u.reason}
	if x := u.exit; x != nil {
		s.LastExit = &store.Exit{Known: x.Known, Code: x.Code, Signal: x.Signal, At: x.At, Reason: x.Reason, Message: x.Message, RanMS: x.RanMS,
			Generation: x.Generation, PID: x.PID, StderrTail: x.Stderr}
	}
	if g := u.gen; g != nil {
		id := g.proc.Identity()
		s.Revision, s.PID, s.StartTime, s.BootID, s.PIDNS = g.rev, id.PID, id.Start, id.Boot, id.NS
		s.Group, s.KeeperID, s.StartedAt, s.ReadyAt = groupName(r.key, u.process, u.number, g.number), g.proc.ID(), g.at, g.readyAt
		for _, p := range g.def.Ports {
			if n, ok := g.ports[p.Name]; ok {
				s.Ports = append(s.Ports, store.PortState{Name: p.Name, Port: n})
			}
		}
	}
	return s
}
