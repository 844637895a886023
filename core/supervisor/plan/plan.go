// Package plan tells beforehand what applying a definition means for the apps that there are.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/intent"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Change is what applying a definition means for one app.
type Change struct {
	Key     string
	What    string // added | changed | removed | unchanged
	Anew    int    // instances that run and have to be started anew
	Starts  int    // instances that are wanted to run, do not, and are started
	Stops   int    // instances that run and are too many
	Stays   int    // instances that run and go on; what is taken up live is in force for them at once
	Enabled bool   // whether up starts it then
}

// Item says a change in words, for a plan.
func (c Change) Item() op.Item {
	switch c.What {
	case "added":
		return op.Item{Target: c.Key, To: "added"}
	case "removed":
		return op.Item{Target: c.Key, From: "declared", To: "stopped and removed"}
	}
	to := c.What
	some := func(n int, what string) {
		switch {
		case n == 1:
			to += ", 1 instance " + what
		case n > 1:
			to += fmt.Sprintf(", %d instances %s", n, what)
		}
	}
	if c.Stays+c.Starts+c.Stops > 0 || c.Anew == 0 {
		some(c.Anew, "restarted")
	} else {
		to += ", restarted"
	}
	some(c.Starts, "started")
	some(c.Stops, "stopped")
	some(c.Stays, "left running")
	return op.Item{Target: c.Key, From: "declared", To: to}
}

// Now is how things stand.
type Now struct {
	App    func(key string) (declared *config.App, v *view.App) // nil when there is no such app
	Apps   func() []*view.App
	Former []string // the stacks, project/stack, that the folder had under other project names
	State  store.State
}

// Compare says what applying def would change, in the order of the keys.
func Compare(def *config.Definition, now Now) []Change {
	var out []Change
	seen := map[string]bool{}
	for i := range def.Apps {
		app := &def.Apps[i]
		seen[app.Key] = true
		c := Change{Key: app.Key, What: "added", Enabled: app.Enabled}
		if was, v := now.App(app.Key); was != nil {
			if c.What = "unchanged"; was.Hash != app.Hash {
				c.What = "changed"
				c.count(v, was, app, now.State)
			}
			if was.Enabled == app.Enabled { // what was said by enable or disable holds until the file says something else
				c.Enabled = v.Enabled
			}
		}
		out = append(out, c)
	}
	for _, v := range now.Apps() {
		if naming.InStack(v.Key) == def.Project+"/"+def.Stack && !seen[v.Key] || slices.Contains(now.Former, naming.InStack(v.Key)) {
			out = append(out, Change{Key: v.Key, What: "removed"})
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// count says what becomes of the instances of an app when its definition changes.
func (c *Change) count(v *view.App, was, app *config.App, st store.State) {
	a, _ := st.App(app.Key)
	intent.Declare(&a, app, a.Revision, c.Enabled)
	left := map[string]*view.Instance{}
	for i := range v.Instances {
		left[v.Instances[i].Part()] = &v.Instances[i]
	}
	for i := range app.Processes {
		p := &app.Processes[i]
		other := config.Renews(was, app, p.Name)
		for k := 1; k <= intent.Instances(a.Scale, p); k++ {
			in := &view.Instance{Process: p.Name, Number: k, State: view.Stopped}
			if there := left[in.Part()]; there != nil {
				in = there
				delete(left, in.Part())
			}
			if intent.Wants(&a, in.Part()) != store.WantRunning {
				continue
			}
			switch Renewal(in.State, other || in.Former, in.Rests) {
			case Anew:
				c.Anew++
			case Start:
				c.Starts++
			default:
				if in.PID != 0 {
					c.Stays++
				}
			}
		}
	}
	for _, in := range left {
		if in.PID != 0 {
			c.Stops++
		}
	}
}

// Fate is what a changed definition means for a slot that is wanted to run.
type Fate int

// The fates.
const (
	Leave Fate = iota // as it is
	Start
	Anew
)

// Renewal says what a changed definition means for a slot that is wanted to run; other: its program is another one; rests:
// it ended by itself, as it may.
func Renewal(s view.State, other, rests bool) Fate {
	switch s {
	case view.Completed, view.Waiting: // it has run, or will be started as the new one
		return Leave
	case view.Backoff, view.Crashed, view.Failed, view.Stopping, view.Stuck: // a new definition is a new try
		return Start
	case view.Stopped:
		if rests && !other {
			return Leave
		}
		return Start
	}
	if other {
		return Anew
	}
	return Leave
}
