// Package draft holds what an import has understood, and writes it as omnitron.yaml. Which of it the file can take is not
// decided here: the draft is given to core/config, and what that refuses becomes a comment, with the reason it gave. A key
// that the configuration learns later is written from then on.
package draft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// Value is what a setting can be: Text (taken as it is), Template (its ${} are meant), Word (a number, true, a duration),
// Argv, *Fields (a map) or *Items (a list).
type Value any

// The forms of a value.
type (
	Text     string
	Template string
	Word     string
	Argv     []Value // of Text and Template
	Fields   struct{ list []*Setting }
	Items    struct{ list []*Setting }
)

// Setting is a line of omnitron.yaml to be.
type Setting struct {
	Key   string
	Value Value
	From  source.Place // where the source says it
	What  string       // the source's own word for it; "" where it goes without saying
	If    *Setting     // it stands only if that one can
	Else  *Setting     // it stands only if that one cannot
	why   string       // why it cannot stand
	owner *App
}

// App is a program to be.
type App struct {
	Name     string
	From     source.Place
	settings Fields
	comments []string
	draft    *Draft
	why      string // why it cannot stand
}

// Note is something that did not come over as it was.
type Note struct {
	Where string `json:"where" jsonschema:"file:line of the source"`
	App   string `json:"app,omitempty" jsonschema:"app that it is about"`
	What  string `json:"what" jsonschema:"key or program of the source"`
	Why   string `json:"why" jsonschema:"why it did not come over, or what has become of it"`
}

// Draft gathers what is to be written.
type Draft struct {
	Sources []string // files that were read
	Changed []Note   // carried over, and not quite the same
	Left    []Note   // not carried over
	apps    []*App
	top     Fields
	last    []func()
	names   map[string]bool
	first   map[string]string // name of the source → name of the first app made of it
}

// New makes an empty draft.
func New() *Draft { return &Draft{names: map[string]bool{}, first: map[string]string{}} }

// Top adds a setting beside apps.
func (d *Draft) Top(from source.Place, what, key string, v Value) *Setting {
	s := &Setting{Key: key, Value: v, From: from, What: what}
	d.top.list = append(d.top.list, s)
	return s
}

// Apps are those that were added.
func (d *Draft) Apps() []*App { return d.apps }

// App adds a program. Its name is made to fit, and made another one where it is taken.
func (d *Draft) App(from source.Place, name string) *App {
	base := config.Fit(name)
	if base == "" {
		base = "app"
	}
	fit := base
	for n := 2; d.names[fit]; n++ {
		end := fmt.Sprintf("-%d", n)
		fit = base[:min(len(base), 63-len(end))] + end
	}
	d.names[fit] = true
	if _, taken := d.first[name]; !taken {
		d.first[name] = fit
	}
	a := &App{Name: fit, From: from, draft: d}
	d.apps = append(d.apps, a)
	if fit != name {
		a.Changed(from, "name", fmt.Sprintf("%s is called %s here", printable(name), fit))
	}
	return a
}

// Named gives what an app of the source is called here.
func (d *Draft) Named(name string) (string, bool) {
	n, ok := d.first[name]
	return n, ok
}

// Drop lists something that is of no app.
func (d *Draft) Drop(from source.Place, what, why string) {
	d.Left = append(d.Left, Note{Where: from.String(), What: printable(what), Why: why})
}

// Differs lists something that is of no app and has become something else.
func (d *Draft) Differs(from source.Place, what, why string) {
	d.Changed = append(d.Changed, Note{Where: from.String(), What: printable(what), Why: why})
}

// Left lists a key of the source that does not come over.
func (a *App) Left(from source.Place, what, why string) {
	a.draft.Left = append(a.draft.Left, Note{from.String(), a.Name, printable(what), why})
	a.comments = append(a.comments, fmt.Sprintf("not carried over: %s (%s): %s", what, from, why))
}

// Changed lists a key of the source that has become something else.
func (a *App) Changed(from source.Place, what, why string) {
	a.draft.Changed = append(a.draft.Changed, Note{from.String(), a.Name, printable(what), why})
}

// Set gives the app a setting: restart.policy is policy below restart. What is there already is replaced. what is the
// source's word for it.
func (a *App) Set(from source.Place, what, key string, v Value) *Setting {
	return a.SetAt(from, what, v, strings.Split(key, ".")...)
}

// Env gives the app a variable.
func (a *App) Env(from source.Place, what, name string, v Value) *Setting {
	return a.SetAt(from, what, v, "env", name)
}

// SetAt is Set for keys that may have dots in them.
func (a *App) SetAt(from source.Place, what string, v Value, path ...string) *Setting {
	in := &a.settings
	for _, key := range path[:len(path)-1] {
		parent := in.find(key)
		if parent == nil {
			parent = &Setting{Key: key, owner: a}
			in.list = append(in.list, parent)
		}
		below, isMap := parent.Value.(*Fields)
		if !isMap {
			below = &Fields{}
			parent.Value, parent.From = below, from
		}
		in = below
	}
	s := in.find(path[len(path)-1])
	if s == nil {
		s = &Setting{}
		in.list = append(in.list, s)
	}
	*s = Setting{Key: path[len(path)-1], Value: v, From: from, What: what, owner: a}
	return s
}

// Depend has the app wait for another.
func (a *App) Depend(from source.Place, what string, on Value) {
	s := a.Get("dependsOn")
	if s == nil {
		s = a.SetAt(from, "", &Items{}, "dependsOn")
	}
	items := s.Value.(*Items)
	items.list = append(items.list, &Setting{Value: on, From: from, What: what, owner: a})
}

// Get gives a setting, or nil.
func (a *App) Get(path ...string) *Setting {
	in, s := &a.settings, (*Setting)(nil)
	for _, key := range path {
		if s = in.find(key); s == nil {
			return nil
		}
		if in, _ = s.Value.(*Fields); in == nil {
			in = &Fields{}
		}
	}
	return s
}

func (f *Fields) find(key string) *Setting {
	i := slices.IndexFunc(f.list, func(s *Setting) bool { return s.Key == key })
	if i < 0 {
		return nil
	}
	return f.list[i]
}

// Add puts a setting at the end of a map.
func (f *Fields) Add(key string, v Value) *Fields {
	f.list = append(f.list, &Setting{Key: key, Value: v})
	return f
}

// Finally runs fn when every source was read.
func (d *Draft) Finally(fn func()) { d.last = append(d.last, fn) }

// Depends reports whether the app waits for another already, or is it.
func (a *App) Depends(on string) bool {
	if a.Name == on {
		return true
	}
	s := a.Get("dependsOn")
	if s == nil {
		return false
	}
	return slices.ContainsFunc(s.Value.(*Items).list, func(i *Setting) bool {
		if f, ok := i.Value.(*Fields); ok {
			app := f.find("app")
			return app != nil && app.Value == Text(on)
		}
		return i.Value == Text(on)
	})
}
