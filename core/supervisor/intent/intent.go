// Package intent keeps what was said of an app and holds until something else is said: whether it, or a part of it, should
// run, in how many instances, by which definition. Pure functions of the state's record of an app.
package intent

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// PutDown makes what a start lifts the mark of the home for all that comes back: the rest was stopped by whoever marked the
// home, and would be started with the next daemon, when nobody expects it. It gives the apps that are not wanted any more.
func PutDown(st *store.State, but []op.Target) (left []string) {
	for _, key := range st.Keys() {
		if !slices.ContainsFunc(but, func(t op.Target) bool { return t.Key == key && t.Process == "" }) {
			st.Edit(key, func(a *store.AppState) { a.Desired, a.Parts = store.WantStopped, nil })
			left = append(left, key)
		}
	}
	return left
}

// Wish notes what a command wants of a part of an app; the rest of the app is not its business. One that comes after a
// younger command on the same part, or on what the part belongs to, changes nothing any more, and is overtaken if that
// Wants something else. A command without a number is the youngest.
func Wish(a *store.AppState, part string, want store.Desired, seq int64) (overtaken bool) {
	process, _, _ := strings.Cut(part, "#")
	if seq != 0 && (seq < a.Command || part != "" && (seq < a.Numbers[process] || seq < a.Numbers[part])) {
		return Wants(a, part) != want
	}
	if part == "" {
		a.Desired, a.Command = want, max(a.Command, seq)
	}
	for p := range a.Parts { // what was said of its parts before is no more
		below := part == "" || strings.HasPrefix(p, part+"#")
		if below && (seq == 0 || a.Numbers[p] < seq) {
			delete(a.Parts, p)
			delete(a.Numbers, p)
		}
	}
	if part != "" {
		if a.Parts == nil {
			a.Parts = map[string]store.Desired{}
		}
		a.Parts[part] = want
		number(a, part, seq)
	}
	return false
}

func number(a *store.AppState, what string, seq int64) {
	if a.Numbers == nil {
		a.Numbers = map[string]int64{}
	}
	a.Numbers[what] = max(a.Numbers[what], seq)
}

// wants gives what was said of a part last: of itself, of its process, of the app.
func Wants(a *store.AppState, part string) store.Desired {
	process, _, _ := strings.Cut(part, "#")
	for _, p := range []string{part, process} {
		if want, ok := a.Parts[p]; ok && p != "" {
			return want
		}
	}
	return a.Desired
}

// PartOf names the part of an app that a target means: a process, process#n, or "" for the whole.
func PartOf(t op.Target) string {
	if t.Process == "" || t.Instance == 0 {
		return t.Process
	}
	return t.Process + "#" + strconv.Itoa(t.Instance)
}

// Scale notes how many instances of a process should run. One that comes after a younger one, which wants another number,
// changes nothing and is overtaken.
func Scale(a *store.AppState, p *config.Process, instances int, seq int64) (overtaken bool) {
	said := p.Name + "*"
	if seq != 0 && seq < a.Numbers[said] && a.Scale[p.Name] != instances {
		return true
	}
	if a.Scale == nil {
		a.Scale, a.ScaleBase = map[string]int{}, map[string]int{}
	}
	a.Scale[p.Name], a.ScaleBase[p.Name] = instances, p.Instances
	number(a, said, seq)
	return false
}

// Schedule notes what a command means for an app with a schedule: fresh, its times count from now on; run, it is to run now.
func Schedule(a *store.AppState, now time.Time, fresh, run bool) {
	switch {
	case a.Desired != store.WantRunning:
		a.Schedule.Owed, a.Schedule.Queued = false, false
	case fresh || a.Schedule.Until.IsZero():
		a.Schedule = store.Schedule{Until: now, Owed: run}
	case run:
		a.Schedule.Owed = true
	}
}

// Instances is how many of a process there should be: what scale said, else what the file says.
func Instances(scale map[string]int, p *config.Process) int {
	if n, ok := scale[p.Name]; ok {
		return n
	}
	return p.Instances
}

// Widen scales the processes of which more live than were known of.
func Widen(a *store.AppState, app *config.App, most map[string]int) {
	for i := range app.Processes {
		p := &app.Processes[i]
		if most[p.Name] <= Instances(a.Scale, p) {
			continue
		}
		if a.Scale == nil {
			a.Scale, a.ScaleBase = map[string]int{}, map[string]int{}
		}
		a.Scale[p.Name], a.ScaleBase[p.Name] = most[p.Name], p.Instances
	}
}

// Declare notes in the state what the definition says of an app.
func Declare(a *store.AppState, app *config.App, rev int64, enabled bool) {
	if a.Name == "" {
		a.Name, a.Desired, a.Status = app.Name, store.WantStopped, string(view.Stopped)
	}
	a.Revision, a.Hash, a.Enabled = rev, app.Hash, enabled
	declared := map[string]int{}
	for _, p := range app.Processes {
		declared[p.Name] = p.Instances
	}
	for name, base := range a.ScaleBase { // scale holds until the file's number changes
		if n, ok := declared[name]; !ok || n != base {
			delete(a.Scale, name)
			delete(a.ScaleBase, name)
			delete(a.Numbers, name+"*")
		}
	}
	for part := range a.Parts {
		process, _, _ := strings.Cut(part, "#")
		if _, ok := declared[process]; !ok {
			delete(a.Parts, part)
			delete(a.Numbers, part)
		}
	}
}
