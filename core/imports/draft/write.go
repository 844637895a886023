package draft

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// order is how keys follow each other; others come behind.
var order = []string{"name", "command", "script", "cwd", "user", "group", "umask", "env", "envFile", "inheritEnv", "ports", "sockets", "ready", "health", "oneshot", "schedule",
	"enabled", "restart", "reload", "stop", "instances", "dependsOn"}

// the lines of a file while it is written; of each it is known whom to blame.
type page struct {
	lines  []string
	blame  []any // *Setting, *App or nil, as many as lines
	header int
}

func (p *page) add(who any, format string, args ...any) {
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
	p.blame = append(p.blame, who)
}

// render writes the draft as it stands.
func (d *Draft) render(title string) *page {
	p := &page{}
	p.add(nil, "# omnitron.yaml, made of %s", printable(title))
	p.add(nil, "# See it whole: omnitron config show. What a key means: omnitron explain config.apps")
	p.add(nil, "# What did not come over stands here as a comment, with the reason.")
	for _, s := range d.top.list {
		p.setting(s, "", "")
	}
	if !slices.ContainsFunc(d.apps, func(a *App) bool { return a.why == "" }) {
		p.add(nil, "apps: []")
	} else {
		p.add(nil, "apps:")
	}
	for _, a := range d.apps {
		p.app(a)
	}
	return p
}

func (p *page) app(a *App) {
	p.add(nil, "")
	p.add(nil, "  # %s", printable(a.From.String()))
	for _, c := range a.comments {
		p.add(nil, "  # %s", printable(c))
	}
	off := ""
	if a.why != "" {
		off = "# "
		p.add(nil, "  # %s", printable(a.why))
	}
	p.add(a, "%s  - name: %s", off, flow(Text(a.Name)))
	slices.SortStableFunc(a.settings.list, func(x, y *Setting) int { return rank(x.Key) - rank(y.Key) })
	for _, s := range a.settings.list {
		p.setting(s, "    ", off)
	}
}

func rank(key string) int {
	if i := slices.Index(order, key); i >= 0 {
		return i
	}
	return len(order)
}

// stands reports whether a setting is written as one.
func (s *Setting) stands() bool {
	if s.why != "" || s.If != nil && !s.If.stands() || s.Else != nil && s.Else.stands() {
		return false
	}
	switch v := s.Value.(type) {
	case *Fields:
		return slices.ContainsFunc(v.list, (*Setting).stands)
	case *Items:
		return slices.ContainsFunc(v.list, (*Setting).stands)
	}
	return true
}

func (p *page) setting(s *Setting, indent, off string) {
	if s.Else != nil && s.Else.stands() {
		return
	}
	if off == "" && !s.stands() {
		off = "# "
	}
	head := flow(Text(s.Key)) + ":"
	if s.Key == "" {
		head = "-"
	}
	var below []*Setting
	switch v := s.Value.(type) {
	case *Fields:
		below = v.list
	case *Items:
		below = v.list
	default:
		why := ""
		if s.why != "" {
			why = "   # " + printable(s.why)
		}
		if off != "" && broken(s.Value) != "" {
			p.add(s, "# %s%s%s", indent, head, why)
			return
		}
		p.add(s, "%s%s%s %s%s", off, indent, head, flow(s.Value), why)
		return
	}
	if len(below) == 0 {
		return
	}
	why := ""
	if s.why != "" {
		why = "   # " + printable(s.why)
	}
	p.add(s, "%s%s%s%s", off, indent, head, why)
	for _, b := range below {
		p.setting(b, indent+"  ", off)
	}
}

// Written is a finished omnitron.yaml.
type Written struct {
	YAML    string
	Apps    int
	Carried int // settings that came over
	Changed []Note
	Left    []Note
}

// Reader gives a file's text; a file that is not there is fs.ErrNotExist.
type Reader func(path string) (string, error)

// Write gives the file that path is to be: what core/config does not take is a comment, and listed. Faults: invalid
// (import_invalid) where no right file comes of it.
func (d *Draft) Write(path, title, home string, read Reader) (Written, error) {
	for _, fn := range d.last {
		fn()
	}
	d.last = nil
	d.each(func(s *Setting) {
		if why := broken(s.Value); why != "" {
			d.refuse(s, why)
		}
	})
	for range 200 { // each round refuses a setting at least, and hardly any file has so many wrong ones
		p := d.render(title)
		text := strings.Join(p.lines, "\n") + "\n"
		errs, err := d.check(path, text, home, read)
		if err != nil {
			return Written{}, err
		}
		if len(errs) == 0 {
			return d.written(text), nil
		}
		if err := d.blame(p, path, errs); err != nil {
			return Written{}, err
		}
	}
	return Written{}, fault.New(fault.Invalid, "no omnitron.yaml could be made of %s: too much of it is not understood", title).WithReason("import_invalid")
}

// check has core/config read the file.
func (d *Draft) check(path, text, home string, read Reader) ([]config.Problem, error) {
	src := config.Source{Files: []config.File{{Path: path, Text: text}}, EnvFiles: map[string]string{}, Dir: filepath.Dir(path), Home: home}
	refs, _ := config.References(src) // what is wrong is said by Load
	for _, ref := range refs {
		if text, err := read(ref); err == nil {
			src.EnvFiles[ref] = text
		}
	}
	_, _, err := config.Load(src)
	if err == nil {
		return nil, nil
	}
	if e, ok := err.(*config.Errors); ok {
		return e.Problems, nil
	}
	return nil, err
}

// blame refuses the settings that problems are about.
func (d *Draft) blame(p *page, path string, problems []config.Problem) error {
	found := false
	for _, pr := range problems {
		if pr.File.Path != path {
			continue
		}
		var who any
		if pr.Line >= 1 && pr.Line <= len(p.blame) {
			who = p.blame[pr.Line-1]
		}
		switch who := who.(type) {
		case *App:
			found = found || d.refuseApp(who, pr.Message)
		case *Setting:
			if !who.stands() {
				continue
			}
			found = true
			if who.owner != nil && (who.Key == "command" || who.Key == "script") && who == who.owner.Get(who.Key) {
				d.refuseApp(who.owner, who.Key+": "+pr.Message)
				continue
			}
			d.refuse(who, pr.Message)
		}
	}
	if found {
		return nil
	}
	pr := problems[0]
	at := source.Place{File: pr.File.Name, Line: pr.Line}
	if pr.File.Path == path {
		at = source.Place{File: "omnitron.yaml", Line: pr.Line}
	}
	return at.Wrong("%s", pr.Message)
}

func (d *Draft) refuseApp(a *App, why string) bool {
	if a.why != "" {
		return false
	}
	a.why = "not carried over: " + why
	d.Left = append(d.Left, Note{a.From.String(), a.Name, a.Name, why})
	return true
}

// refuse makes a setting a comment, and lists it.
func (d *Draft) refuse(s *Setting, why string) {
	if s.why != "" {
		return
	}
	s.why = why
	n := Note{Where: s.From.String(), What: printable(s.Key), Why: why}
	if s.What != "" && s.What != s.Key {
		n.What = printable(s.What)
	}
	if s.owner != nil {
		n.App = s.owner.Name
		if s.owner.Get("command") == s || s.owner.Get("script") == s {
			d.refuseApp(s.owner, s.Key+": "+why)
			return
		}
	}
	if s.From.File == "" { // below something that came with it
		n.Where = "omnitron.yaml"
	}
	d.Left = append(d.Left, n)
}

// each visits every setting.
func (d *Draft) each(fn func(*Setting)) {
	var visit func(list []*Setting)
	visit = func(list []*Setting) {
		for _, s := range list {
			switch v := s.Value.(type) {
			case *Fields:
				visit(v.list)
			case *Items:
				visit(v.list)
			default:
				fn(s)
			}
		}
	}
	visit(d.top.list)
	for _, a := range d.apps {
		visit(a.settings.list)
	}
}

func (d *Draft) written(text string) Written {
	w := Written{YAML: text, Changed: d.Changed, Left: d.Left}
	for _, a := range d.apps {
		if a.why == "" {
			w.Apps++
		}
	}
	d.each(func(s *Setting) {
		switch {
		case s.owner != nil && s.owner.why != "":
		case s.stands() && s.From.File != "":
			w.Carried++
		case s.why == "" && s.Else == nil && s.If != nil && !s.If.stands():
			n := Note{Where: s.From.String(), What: printable(s.Key), Why: "it needs " + s.If.Key + ", which did not come over"}
			if s.owner != nil {
				n.App = s.owner.Name
			}
			if s.What != "" {
				n.What = printable(s.What)
			}
			w.Left = append(w.Left, n)
		}
	})
	return w
}
