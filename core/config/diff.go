package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/unit"
)

// Change is one difference between two definitions.
type Change struct {
	App   string `json:"app,omitempty" jsonschema:"key of the app, project/stack/app; absent: it holds for all of them"`
	Kind  string `json:"kind" jsonschema:"added, changed or removed" enum:"added,changed,removed"`
	Path  string `json:"path,omitempty" jsonschema:"the key that changed, as omnitron.yaml has it"`
	Old   string `json:"old,omitempty" jsonschema:"value before, secrets masked"`
	New   string `json:"new,omitempty" jsonschema:"value after, secrets masked"`
	Takes string `json:"takes,omitempty" jsonschema:"how it is taken up: live, restart, or next (captured from the shell: no change by itself, in force after the next restart)" enum:"live,restart,next"`
}

// The ways in which a change is taken up.
const (
	Live        = "live"    // at once, nothing is restarted
	ByRestart   = "restart" // by a restart of the process
	NextRestart = "next"    // a captured shell value: no reason for a restart
)

// Diff says what comes, goes and changes from old to new: what holds for all apps first, then the apps in the order of
// new, then the removed ones. A nil definition has no apps.
func Diff(old, new *Definition) []Change {
	var out []Change
	if old != nil && new != nil {
		out = compare("", flattenShared(old), flattenShared(new), fileKind.Keys())
	}
	hide := hidden(old, new)
	before := map[string]App{}
	if old != nil {
		for _, a := range old.Apps {
			before[a.Key] = a
		}
	}
	after := map[string]bool{}
	if new != nil {
		for _, a := range new.Apps {
			after[a.Key] = true
			if was, ok := before[a.Key]; ok {
				out = append(out, between(was, a, hide)...)
			} else {
				out = append(out, Change{App: a.Key, Kind: "added"})
			}
		}
	}
	if old != nil {
		for _, a := range old.Apps {
			if !after[a.Key] {
				out = append(out, Change{App: a.Key, Kind: "removed"})
			}
		}
	}
	return out
}

// Renews reports whether what runs of a process has to be started anew to be what a newer definition of its app says:
// whether a key has changed that is not taken up live. Other processes, and how many instances there are, are no matter.
func Renews(old, new *App, process string) bool {
	return slices.ContainsFunc(diffApp(old.only(process), new.only(process)), func(c Change) bool { return c.Takes == ByRestart })
}

// only gives an app as if one process were all of it.
func (a App) only(process string) App {
	a.Classic = true
	a.Processes = slices.DeleteFunc(slices.Clone(a.Processes), func(p Process) bool { return p.Name != process })
	return a
}

func diffApp(old, new App) []Change {
	return compare(new.Key, flatten(old), flatten(new), appKind.Keys())
}

// between is diffApp for people: nothing in it that is masked anywhere, and of a process that comes or goes only its name.
func between(old, new App, hide *strings.Replacer) []Change {
	was, is := flatten(maskApp(old, hide)), flatten(maskApp(new, hide))
	stay := map[string]bool{}
	for _, p := range old.Processes {
		stay[p.Name] = slices.ContainsFunc(new.Processes, func(q Process) bool { return q.Name == p.Name })
	}
	var out []Change
	for _, c := range diffApp(old, new) {
		if rest, ok := strings.CutPrefix(c.Path, "processes["); ok {
			if name, _, _ := strings.Cut(rest, "]"); !stay[name] {
				continue
			}
		}
		c.Old, c.New = was[c.Path].shown, is[c.Path].shown
		out = append(out, c)
	}
	return out
}

func compare(app string, was, is map[string]leaf, keys []*schema.Key) []Change {
	paths := maps.Clone(was)
	maps.Copy(paths, is)
	var out []Change
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		a, inOld := was[path]
		b, inNew := is[path]
		if a == b && inOld == inNew {
			continue
		}
		c := Change{App: app, Kind: "changed", Path: path, Old: a.shown, New: b.shown, Takes: takes(keys, path)}
		switch {
		case (a.captured || !inOld) && (b.captured || !inNew) && (a.captured || b.captured):
			c.Takes = NextRestart
		case inOld && inNew && a.raw == b.raw: // only who says it is another
			c.Takes = Live
		case path == "processes": // those that stay do not notice
			c.Takes = Live
		}
		out = append(out, c)
	}
	return out
}

// leaf is one resolved value. raw decides, shown is for people.
type leaf struct {
	raw, shown string
	captured   bool
}

// flattenShared gives what holds for all apps together. What they inherit stands with each of them.
func flattenShared(d *Definition) map[string]leaf {
	out := map[string]leaf{}
	out["supervision.strategy"] = leaf{raw: d.Supervision.Strategy, shown: d.Supervision.Strategy}
	for path, v := range map[string]time.Duration{"monitoring.metrics.interval": d.Monitoring.MetricsInterval, "monitoring.metrics.retention": d.Monitoring.Retention} {
		out[path] = leaf{raw: v.String(), shown: unit.FormatDuration(v)}
	}
	return out
}

// flatten gives every value of an app by the path of its key in omnitron.yaml.
func flatten(a App) map[string]leaf {
	out := map[string]leaf{}
	a.Hash, a.Key, a.Name = "", "", ""
	processes := a.Processes
	a.Processes = nil
	tree := plainMap(a)
	for _, k := range []string{"hash", "key", "name", "classic", "processes"} {
		delete(tree, k)
	}
	if !a.Classic {
		out["processes"] = leaf{raw: strings.Join(processNames(processes), ", "), shown: strings.Join(processNames(processes), ", ")}
	}
	flattenInto(out, "", tree)
	for _, p := range processes {
		prefix := ""
		if !a.Classic {
			prefix = "processes[" + p.Name + "]."
		}
		captured, env, secrets, ports, sockets := p.Captured, p.Env, p.Secrets, p.Ports, p.Sockets
		p.Captured, p.Env, p.Secrets, p.Ports, p.Sockets = nil, nil, nil, nil, nil
		m := plainMap(p)
		for _, k := range []string{"name", "env", "captured"} {
			delete(m, k)
		}
		flattenInto(out, prefix, m)
		for name, value := range env {
			out[prefix+"env."+name] = leaf{value, MaskValue(name, value), slices.Contains(captured, name)}
		}
		for _, port := range ports {
			number := fmt.Sprint(port.Base)
			if port.Auto {
				number = "auto"
			}
			out[prefix+"ports."+port.Name] = leaf{raw: number, shown: number}
		}
		for _, so := range sockets {
			at := so.Address
			if so.Network == "unix" {
				at = fmt.Sprintf("%s, mode %03o", so.Address, so.Mode)
			}
			out[prefix+"sockets."+so.Name] = leaf{raw: so.Network + " " + at, shown: at}
		}
		for name, secret := range secrets { // another value of the same secret is no change: it is taken up by the next start
			out[prefix+"env."+name] = leaf{raw: "\x00" + secret, shown: "{secret: " + secret + "}"} // no variable has a zero byte
		}
	}
	return out
}

func processNames(ps []Process) []string {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.Name
	}
	return names
}

// plainMap is a value as JSON has it.
func plainMap(v any) map[string]any {
	text, err := json.Marshal(v)
	var m map[string]any
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil { // resolved definitions hold plain data only
		panic("config: a definition that is no JSON: " + err.Error())
	}
	return m
}

// renamed maps resolved names to the keys of the file that they come from.
var renamed = strings.NewReplacer("argv", "command", "dir", "cwd", "ready.kind", "ready", "ready.probe.", "ready.", "health.probe.", "health.", "supervision.restart.", "supervision.")

func flattenInto(out map[string]leaf, prefix string, m map[string]any) {
	for k, v := range m {
		path := prefix + k
		if sub, ok := v.(map[string]any); ok {
			flattenInto(out, path+".", sub)
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			panic("config: a value that is no JSON: " + err.Error())
		}
		head, rest := "", path // a process's name is no key
		if i := strings.Index(path, "]."); i >= 0 {
			head, rest = path[:i+2], path[i+2:]
		}
		if rest == "supervision.restart.policy" || rest == "supervision.restart.resetAfter" {
			continue // no keys of supervision
		}
		out[head+renamed.Replace(rest)] = leaf{raw: string(text), shown: human(k, v, string(text))}
	}
}

// durationKeys are the resolved values that JSON has as nanoseconds.
var durationKeys = []string{"window", "resetAfter", "initial", "max", "timeout", "interval", "startPeriod", "delay", "watchdog"}

func human(key string, v any, text string) string {
	n, isNumber := v.(float64)
	switch {
	case isNumber && slices.Contains(durationKeys, key):
		return unit.FormatDuration(time.Duration(n))
	case isNumber && (key == "maxSize" || key == "memory" || key == "maxMemory"):
		return unit.FormatSize(int64(n))
	case isNumber && key == "umask":
		return fmt.Sprintf("%03o", int(n))
	}
	if s, ok := v.(string); ok {
		return s
	}
	return text
}

// takes finds how a changed key is taken up, in the one table of keys.
func takes(keys []*schema.Key, path string) string {
	if i := strings.Index(path, "]."); i >= 0 {
		keys, path = processKind.Keys(), path[i+2:]
	}
	how := ByRestart
	for _, part := range strings.Split(path, ".") {
		i := slices.IndexFunc(keys, func(k *schema.Key) bool { return k.Name == part })
		if i < 0 {
			break
		}
		how = ByRestart
		if keys[i].Live {
			how = Live
		}
		keys = keys[i].Keys
	}
	return how
}
