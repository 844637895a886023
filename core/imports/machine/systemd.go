// Package machine reads what runs the programs of a whole machine: units of systemd, the configuration of supervisord, crontabs.
// Their programs have users, limits and times, and folders that lie anywhere.
package machine

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// Systemd is units of systemd; a timer or a socket joins the app of its service.
var Systemd = format.Format{
	Name: "systemd", About: "units of systemd: .service, .timer and .socket",
	Match: func(base, _ string) bool {
		return strings.HasSuffix(base, ".service") || strings.HasSuffix(base, ".timer") || strings.HasSuffix(base, ".socket")
	},
	Read: readSystemd, Known: map[string]map[string]format.Rule{"Service": serviceKeys, "Unit": unitKeys, "Install": installKeys},
}

func readSystemd(r *format.Reading) error {
	root, err := source.Unit(r.Shown(r.Path), r.Text)
	if err != nil {
		return err
	}
	switch filepath.Ext(r.Path) {
	case ".timer", ".socket":
		if err := dropIns(r); err != nil {
			return err
		}
		return activation(r, root)
	}
	_, err = service(r, root)
	return err
}

// service makes an app of a .service; nil for one that cannot be run here.
func service(r *format.Reading, root *source.Node) (*draft.App, error) {
	s := root.Find("Service")
	if s == nil {
		return nil, r.At(0).Wrong("it has no [Service]")
	}
	if err := dropIns(r); err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(r.Path), ".service")
	if kind := s.Find("Type"); kind != nil && (kind.Text == "forking" || kind.Text == "dbus") {
		why := "a forking daemon leaves, and what has left cannot be supervised: tell it to stay in the foreground, which most can"
		if kind.Text == "dbus" {
			why = "it is ready when it has a name on D-Bus, which is not looked at"
		}
		r.Drop(kind.Place, name, why)
		return nil, nil
	}
	start := s.Find("ExecStart")
	if start == nil || start.Text == "" {
		return nil, s.Wrong("[Service] has no ExecStart")
	}
	a := r.App(r.At(0), name)
	f := format.Field{Reading: r, App: a, Key: "ExecStart", From: start.Place, Node: start, All: s}
	v, ok := execValue(f, start)
	if !ok {
		r.Drop(start.Place, name+": ExecStart", "without it there is nothing to run")
		v = draft.Argv{draft.Text("")}
	}
	a.Set(start.Place, "ExecStart", "command", v)
	for _, p := range s.Pairs {
		if p.Key == "ExecStart" && p.Value != start && p.Value.Text != "" {
			a.Left(p.Place, "ExecStart", "an app has one command; the last one was taken")
		}
	}
	switch dir := s.Find("WorkingDirectory"); {
	case dir == nil:
		a.Set(start.Place, "", "cwd", draft.Text("/"))
	default:
		path, known := specifiers(f, strings.TrimPrefix(dir.Text, "-"))
		if !known {
			a.Left(dir.Place, "WorkingDirectory", "it is not understood here")
		}
		a.Set(dir.Place, "WorkingDirectory", "cwd", draft.Text(path))
	}
	policy, at, what := draft.Word("never"), start.Place, ""
	if p := s.Find("Restart"); p != nil {
		at, what = p.Place, "Restart"
		switch p.Text {
		case "always", "on-failure":
			policy = draft.Word(p.Text)
		case "on-success", "on-abnormal", "on-abort", "on-watchdog":
			policy = "on-failure"
			a.Changed(p.Place, "Restart="+p.Text, "it is started again whenever it fails")
		}
	}
	a.Set(at, what, "restart.policy", policy)
	a.Set(start.Place, "", "stop.timeout", draft.Word("90s"))
	a.Changed(start.Place, "environment", "systemd gives a program a PATH of its own and little else; here PATH and LANG are those of the shell that ran up, unless env sets them")
	for _, p := range root.Pairs {
		switch p.Key {
		case "Service":
			r.Apply(a, p.Value, serviceKeys)
		case "Unit":
			r.Apply(a, p.Value, unitKeys)
		case "Install":
			r.Apply(a, p.Value, installKeys)
		default:
			if !strings.HasPrefix(p.Key, "X-") {
				a.Left(p.Place, "["+p.Key+"]", "this section is not known here")
			}
		}
	}
	return a, nil
}

// activation adds a timer or a socket to the app of its service.
func activation(r *format.Reading, root *source.Node) error {
	timer := filepath.Ext(r.Path) == ".timer"
	kind := map[bool]string{true: "Timer", false: "Socket"}[timer]
	s := root.Find(kind)
	if s == nil {
		return r.At(0).Wrong("it has no [%s]", kind)
	}
	unitName := strings.TrimSuffix(filepath.Base(r.Path), filepath.Ext(r.Path)) + ".service"
	if n := s.Get(map[bool]string{true: "Unit", false: "Service"}[timer]); n != "" {
		unitName = n
	}
	path := filepath.Join(r.Folder(), unitName)
	name := strings.TrimSuffix(unitName, ".service")
	if !r.Seen[path] {
		text, there, err := r.Open(path)
		if err != nil {
			return err
		}
		if !there || filepath.Base(path) != unitName {
			return s.Wrong("its service, %s, is not beside it", unitName)
		}
		r.Seen[path] = true
		r.Sources = append(r.Sources, r.Shown(path))
		tree, err := source.Unit(r.Shown(path), text)
		if err != nil {
			return err
		}
		if _, err := service(r.Of(path, text), tree); err != nil {
			return err
		}
	}
	fit, ok := r.Named(name)
	i := slices.IndexFunc(r.Apps(), func(a *draft.App) bool { return a.Name == fit })
	if !ok || i < 0 {
		r.Drop(s.Place, unitName, "its service did not come over")
		return nil
	}
	a := r.Apps()[i]
	if u := root.Find("Unit"); u != nil {
		r.Apply(a, u, unitKeys)
	}
	if u := root.Find("Install"); u != nil {
		r.Apply(a, u, installKeys)
	}
	if timer {
		addTimer(r, a, s)
	} else {
		addSocket(r, a, s)
	}
	return nil
}

func addTimer(r *format.Reading, a *draft.App, s *source.Node) {
	var times []string
	for _, p := range s.Pairs {
		switch p.Key {
		case "OnCalendar":
			cron, ok := calendar(p.Value.Text)
			switch {
			case !ok:
				a.Left(p.Place, p.Key+"="+p.Value.Text, "it cannot be said by the five fields of cron, or is not understood here")
			case len(times) > 0:
				a.Left(p.Place, p.Key+"="+p.Value.Text, "a schedule has one time")
			default:
				times = append(times, cron)
				a.Set(p.Place, "", "oneshot", draft.Word("true"))
				a.Set(p.Place, "", "restart.policy", draft.Word("never"))
				schedule(a, p.Place, p.Key+"="+p.Value.Text, cron, "")
			}
		case "Persistent", "Unit":
		case "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec", "OnActiveSec":
			a.Left(p.Place, p.Key, "a schedule counts by the clock, and not from a start")
		case "AccuracySec", "RandomizedDelaySec", "WakeSystem":
			a.Left(p.Place, p.Key, "a schedule starts at its time")
		default:
			a.Left(p.Place, p.Key, "this key is not known here")
		}
	}
	if len(times) == 0 {
		a.Set(s.Place, "", "enabled", draft.Word("false"))
	}
	if p := s.Find("Persistent"); p != nil {
		if on, _ := p.Bool(); on && len(times) > 0 {
			a.Set(p.Place, "Persistent", "schedule.catchUp", draft.Word("true"))
		} else {
			a.Left(p.Place, "Persistent", "there is nothing to catch up with")
		}
	}
}

func addSocket(r *format.Reading, a *draft.App, s *source.Node) {
	n := 0
	base := s.Get("FileDescriptorName")
	for _, p := range s.Pairs {
		switch p.Key {
		case "ListenStream":
			name := base
			if name == "" {
				name = "socket"
			}
			if n++; n > 1 {
				name += strconv.Itoa(n)
			}
			address := p.Value.Text
			if _, err := strconv.Atoi(address); err == nil {
				address = "0.0.0.0:" + address
			}
			a.SetAt(p.Place, p.Key, draft.Text(address), "sockets", name)
		case "FileDescriptorName", "Service":
		case "ListenDatagram", "ListenFIFO", "ListenSequentialPacket", "ListenNetlink":
			a.Left(p.Place, p.Key, "sockets are streams")
		case "Accept":
			if on, _ := p.Value.Bool(); on {
				a.Left(p.Place, p.Key, "a program gets the listening socket, and not each connection")
			}
		default:
			a.Left(p.Place, p.Key, "a socket has an address, and nothing else")
		}
	}
}

// hook takes a command around start and stop.
func hook(f format.Field, key string) {
	n := 0
	for _, p := range f.All.Pairs {
		if p.Key != f.Key || p.Value.Text == "" {
			continue
		}
		if n++; n > 1 {
			f.App.Left(p.Place, f.Key, "a hook is one command")
			continue
		}
		if v, ok := execValue(f, p.Value); ok {
			f.App.Set(p.Place, f.Key, "hooks."+key, v)
		}
	}
}

func bytes(f format.Field, key string) {
	m := regexp.MustCompile(`^([0-9]+)([KMGT]?)$`).FindStringSubmatch(f.Node.Text)
	if m == nil {
		f.Left("it is no size that is understood here")
		return
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		f.Left("it is no size that is understood here")
		return
	}
	f.Set(key, draft.Word(unit.FormatSize(n*map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[m[2]])))
}

var spanPart = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*(ms|seconds|second|sec|s|minutes|minute|min|m|hours|hour|hr|h|days|day|d|)\s*`)

// span takes a duration as systemd writes it: 90, 5s, 1min 30s.
func span(f format.Field, n *source.Node, what, key string) {
	rest, sum := strings.TrimSpace(n.Text), 0.0
	if rest == "" || rest == "infinity" {
		f.App.Left(n.Place, what, "it is no time that is understood here")
		return
	}
	for rest != "" {
		m := spanPart.FindStringSubmatch(rest)
		if m == nil {
			f.App.Left(n.Place, what, "it is no time that is understood here")
			return
		}
		x, _ := strconv.ParseFloat(m[1], 64) // digits
		switch m[2] {
		case "ms":
			x /= 1000
		case "m", "min", "minute", "minutes":
			x *= 60
		case "h", "hr", "hour", "hours":
			x *= 3600
		case "d", "day", "days":
			x *= 86400
		}
		sum += x
		rest = rest[len(m[0]):]
	}
	if sum > 1e9 {
		f.App.Left(n.Place, what, "it is no time that is understood here")
		return
	}
	f.App.Set(n.Place, what, key, format.Seconds(sum))
}

// depend has the app wait for others that are imported too, which is known when all are read.
func depend(f format.Field) {
	for _, p := range f.All.Pairs {
		if p.Key != f.Key {
			continue
		}
		for _, u := range strings.Fields(p.Value.Text) {
			f.Finally(func() {
				on, ok := f.Named(strings.TrimSuffix(u, ".service"))
				switch {
				case !ok || !strings.HasSuffix(u, ".service"):
					f.App.Left(p.Place, f.Key+"="+u, notOthers)
				case !f.App.Depends(on):
					f.App.Depend(p.Place, f.Key, draft.Text(on))
				}
			})
		}
	}
}
