package tree

import (
	"fmt"
	"strings"
)

// Places says where the keys of a definition stand, by the app's name ("" for what holds for all apps) and the key's path as Diff has it.
type Places map[string]map[string]Place

// Place is where a key stands.
type Place struct {
	File string // as it is shown
	Line int
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Locate takes down the places of everything in a tree.
func Locate(root *Node) Places {
	out := Places{}
	if root != nil {
		out.note("", "", root)
	}
	return out
}

// note takes down the keys of a map; values below a list stand where the list does.
func (ps Places) note(app, prefix string, n *Node) {
	if ps[app] == nil {
		ps[app] = map[string]Place{}
	}
	for _, p := range n.Pairs {
		path := prefix + p.Key.Text
		switch v := p.Value; {
		case v.Gone:
			continue
		case v.Kind == Map:
			ps.note(app, path+".", v)
		case v.Kind == List && (path == "apps" && app == "" || path == "processes" && app != ""):
			for _, item := range v.Items {
				name := item.Find("name")
				switch {
				case name == nil || !name.Scalar():
				case app == "":
					ps.note(name.Text, "", item)
				default:
					ps.note(app, "processes["+name.Text+"].", item)
				}
			}
		}
		ps[app][path] = Place{p.Key.File.Name, p.Key.Line}
	}
}

// Of gives the place of what decides a key's value: its own, that of the short form which says it, else what the app or the file says
// for all; false where nothing says it, as of a default, or an env file does.
func (ps Places) Of(app, path string) (Place, bool) {
	below, inProcess := "", false
	if i := strings.Index(path, "]."); i >= 0 && strings.HasPrefix(path, "processes[") {
		below, inProcess = path[i+2:], true
	}
	tries := []struct{ app, path string }{{app, path}}
	if inProcess {
		tries = append(tries, struct{ app, path string }{app, below})
	} else {
		below = path
	}
	for _, shared := range []string{"logging.", "supervision.", "monitoring."} {
		if strings.HasPrefix(below, shared) {
			tries = append(tries, struct{ app, path string }{"", below})
		}
	}
	for _, t := range tries {
		for path := t.path; path != ""; {
			if p, ok := ps[t.app][path]; ok {
				return p, true
			}
			i := strings.LastIndexByte(path, '.')
			if i < 0 || strings.HasPrefix(below, "env.") { // a variable beside others says nothing of this one
				break
			}
			path = path[:i]
		}
	}
	return Place{}, false
}
