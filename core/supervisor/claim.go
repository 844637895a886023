package supervisor

import (
	"os"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/sockets"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Claim says whether a definition may be applied: a folder has one project, and a stack of a project lives in one folder.
// Else a second folder of the same name would take the apps of the first away, and a project under a new name would leave
// those of the old name behind, which nobody in the folder could reach any more. What is down may be taken over.
//
// Faults: conflict (project_elsewhere: its apps run from another folder; project_renamed: the folder's apps run under
// another project).
func (s *Supervisor) Claim(def *config.Definition) error {
	stack := def.Project + "/" + def.Stack
	s.mu.RLock()
	home := s.projectDir[stack].dir
	s.mu.RUnlock()
	if home != "" && !sameFolder(home, def.Dir) && s.serves(stack) {
		if _, err := os.Stat(home); err == nil { // else it was moved
			return fault.New(fault.Conflict, "project %s runs from another folder, %s, and would be replaced by what is in %s", def.Project, home, def.Dir).
				WithReason("project_elsewhere").WithHint("set another `project:` in %s; or, to move it here: omnitron down --project %s", def.Dir, def.Project)
		}
	}
	for _, former := range s.former(def) {
		if s.serves(former) {
			return fault.New(fault.Conflict, "the project in %s was called %s before, and apps of it run under that name", def.Dir, naming.Project(former)).
				WithReason("project_renamed").WithHint("omnitron down --project %s, then again; or keep its name: `project: %s`", naming.Project(former), naming.Project(former))
		}
	}
	return nil
}

// former gives the stacks, project/stack, that a definition's folder had under other project names.
func (s *Supervisor) former(def *config.Definition) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []string
	for stack, p := range s.projectDir {
		if naming.Project(stack) != def.Project && p.dir != "" && sameFolder(p.dir, def.Dir) {
			out = append(out, stack)
		}
	}
	slices.Sort(out)
	return out
}

// serves reports whether apps of a stack run, or are about to.
func (s *Supervisor) serves(stack string) bool {
	return slices.ContainsFunc(s.Apps(), func(v *view.App) bool {
		return naming.InStack(v.Key) == stack && (v.Alive() || !v.State.Settled())
	})
}

// sameFolder reports whether two paths lead to one folder: by a link, or by another spelling.
func sameFolder(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// reclaim gives the sockets that are open to the apps that they were opened for. Those of apps that are no more are closed.
// The caller holds mu.
func (s *Supervisor) reclaim() {
	for _, open := range s.Keeper.Sockets() {
		key, _, _ := sockets.Parse(open.ID)
		if r := s.apps[key]; r != nil {
			r.Holds(open.ID)
		} else if _, left := s.unread[key]; !left {
			s.Keeper.Unlisten(open.ID)
		}
	}
}

// Listens gives the sockets that are open, by the key of the app.
func (s *Supervisor) Listens() map[string][]proc.Listener {
	out := map[string][]proc.Listener{}
	for _, open := range s.Keeper.Sockets() {
		key, _, _ := sockets.Parse(open.ID)
		out[key] = append(out[key], open)
	}
	return out
}
