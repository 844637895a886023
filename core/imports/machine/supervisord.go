package machine

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// Supervisord is supervisord.conf and the files that it includes.
var Supervisord = format.Format{
	Name: "supervisord", About: "supervisord.conf, with what it includes",
	Match: func(base, text string) bool {
		return base == "supervisord.conf" || strings.HasSuffix(base, ".conf") && programSection.MatchString(text) || strings.HasSuffix(base, ".ini") && programSection.MatchString(text)
	},
	Read:  readSupervisord,
	Known: map[string]map[string]format.Rule{"program": programKeys, "supervisord": daemonKeys},
}

var programSection = regexp.MustCompile(`(?m)^\[(program:[^\]]*|supervisord)\]`)

// supervisor is what the programs of a configuration have in common.
type supervisor struct {
	*format.Reading
	here   string // folder of the file that a section is in
	shared []source.Pair
	umask  *source.Node
	dir    *source.Node
}

func readSupervisord(r *format.Reading) error {
	s := supervisor{Reading: r, here: r.Folder()}
	root, err := source.INI(r.Shown(r.Path), r.Text)
	if err != nil {
		return err
	}
	type part struct {
		source.Pair
		here string
	}
	var parts []part
	for _, p := range root.Pairs {
		parts = append(parts, part{p, r.Folder()})
		if p.Key != "include" {
			continue
		}
		files, err := s.included(p.Value)
		if err != nil {
			return err
		}
		for _, path := range files {
			if r.Seen[path] {
				continue
			}
			r.Seen[path] = true
			text, there, err := r.Open(path)
			if err != nil || !there {
				return err
			}
			r.Sources = append(r.Sources, r.Shown(path))
			more, err := source.INI(r.Shown(path), text)
			if err != nil {
				return err
			}
			for _, m := range more.Pairs {
				parts = append(parts, part{m, filepath.Dir(path)})
			}
		}
	}
	if d := root.Find("supervisord"); d != nil {
		s.dir, s.umask = d.Find("directory"), d.Find("umask")
		if here, _ := d.Find("nodaemon").Bool(); here && s.umask != nil { // supervisord sets it on its way to the background
			s.Drop(s.umask.Place, "umask", "supervisord does not set it in the foreground; umask of a program is carried over")
			s.umask = nil
		}
		if e := d.Find("environment"); e != nil {
			if s.shared, err = pairs(e); err != nil {
				return err
			}
		}
	}
	for _, p := range parts {
		s.here = p.here
		if err := s.section(p.Pair); err != nil {
			return err
		}
	}
	return nil
}

// included gives the files of an [include].
func (s *supervisor) included(section *source.Node) ([]string, error) {
	var out []string
	for _, p := range section.Pairs {
		if p.Key != "files" {
			s.Drop(p.Place, p.Key, "this key is not known here")
			continue
		}
		for _, pattern := range strings.Fields(p.Value.Text) {
			pattern = strings.ReplaceAll(pattern, "%(here)s", s.Folder())
			if strings.Contains(pattern, "%(") {
				s.Drop(p.Place, pattern, "it is not known here what it stands for: name the files to omnitron import too")
				continue
			}
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(s.Folder(), pattern)
			}
			found, err := s.Glob(pattern)
			if err != nil {
				return nil, p.Place.Wrong("%.100q is no pattern of files", pattern)
			}
			if len(found) == 0 {
				s.Drop(p.Place, s.Shown(pattern), "there is no such file")
			}
			slices.Sort(found)
			out = append(out, found...)
		}
	}
	return out, nil
}

func (s *supervisor) section(p source.Pair) error {
	kind, name, _ := strings.Cut(p.Key, ":")
	switch kind {
	case "program":
		return s.program(p, strings.TrimSpace(name))
	case "supervisord":
		s.Drops(p.Value, daemonKeys)
	case "include":
	case "group":
		s.Drop(p.Place, p.Key, "there are no groups; names take patterns, such as omnitron restart 'web*'")
	case "unix_http_server", "inet_http_server", "supervisorctl", "rpcinterface":
		s.Drop(p.Place, p.Key, "it is how supervisorctl finds supervisord; omnitron finds its daemon by itself")
	case "eventlistener":
		s.Drop(p.Place, p.Key, "event listeners speak supervisord's protocol; omnitron events follows what happens")
	case "fcgi-program":
		s.Drop(p.Place, p.Key, "it hands over a socket as standard input; sockets are passed on as LISTEN_FDS here")
	default:
		s.Drop(p.Place, p.Key, "this section is not known here")
	}
	return nil
}

// program makes the apps of a [program:x]: one, with instances, unless the number of a process is in what it runs.
func (s *supervisor) program(p source.Pair, name string) error {
	command := p.Value.Find("command")
	if command == nil {
		return p.Place.Wrong("[%s] has no command", p.Key)
	}
	number, first := 1, 0
	for key, to := range map[string]*int{"numprocs": &number, "numprocs_start": &first} {
		if n := p.Value.Find(key); n != nil {
			v, err := strconv.Atoi(n.Text)
			if err != nil || v < 0 || v > 1000 {
				return n.Wrong("%.40q is no number from 0 to 1000", n.Text)
			}
			*to = v
		}
	}
	numbered := false
	for _, key := range []string{"command", "directory", "environment"} {
		numbered = numbered || strings.Contains(p.Value.Get(key), "%(process_num)")
	}
	if !numbered {
		a, err := s.app(p, name, name, number, first)
		if err == nil && number > 1 {
			a.Set(p.Value.Find("numprocs").Place, "numprocs", "instances", draft.Word(strconv.Itoa(number)))
		}
		if err == nil && number == 0 {
			a.Set(p.Value.Find("numprocs").Place, "numprocs", "enabled", draft.Word("false"))
		}
		return err
	}
	for i := range number {
		own := name
		if number > 1 {
			own = fmt.Sprintf("%s-%d", name, first+i)
		}
		if _, err := s.app(p, name, own, number, first+i); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) app(p source.Pair, program, name string, number, index int) (*draft.App, error) {
	a := s.App(p.Place, name)
	fill := func(n *source.Node) (draft.Template, error) { return s.expand(n, program, number, index, a) }
	node := p.Value.Find("command")
	words, ok := format.Split(node.Text)
	if !ok || len(words) == 0 {
		return nil, node.Wrong("the command is empty, or a quote in it is not closed")
	}
	args := make(draft.Argv, len(words))
	for i, w := range words {
		t, err := fill(&source.Node{Place: node.Place, Kind: source.Scalar, Text: w})
		if err != nil {
			return nil, err
		}
		args[i] = t
	}
	a.Set(node.Place, "command", "command", args)
	switch dir := p.Value.Find("directory"); {
	case dir != nil:
		t, err := fill(dir)
		if err != nil {
			return nil, err
		}
		if plain := strings.TrimPrefix(string(t), "./"); !strings.Contains(plain, "$") && !strings.HasPrefix(plain, "~") {
			s.Cwd(a, dir.Place, "directory", s.Folder(), plain)
		} else {
			a.Set(dir.Place, "directory", "cwd", t)
		}
	case s.dir != nil:
		s.Cwd(a, s.dir.Place, "directory", s.Folder(), strings.ReplaceAll(s.dir.Text, "%(here)s", s.Folder()))
	default:
		s.Cwd(a, p.Place, "folder", s.Folder(), "")
		a.Changed(p.Place, "directory", "it is not said: supervisord takes the folder that it was started in; here it is that of the configuration")
	}
	if s.umask != nil {
		a.Set(s.umask.Place, "umask", "umask", draft.Text(s.umask.Text))
	}
	env := slices.Clone(s.shared)
	if e := p.Value.Find("environment"); e != nil {
		own, err := pairs(e)
		if err != nil {
			return nil, err
		}
		env = append(env, own...)
	}
	for _, v := range env {
		t, err := fill(v.Value)
		if err != nil {
			return nil, err
		}
		if v.Key == "PORT" && number < 2 && format.Port(a, v.Place, "PORT", string(t)) {
			continue
		}
		a.Env(v.Place, v.Key, v.Key, t)
	}
	rest := &source.Node{Place: p.Value.Place, Kind: source.Map}
	for _, k := range p.Value.Pairs {
		if strings.Contains(k.Value.Text, "%") && k.Key != "process_name" && !strings.Contains("command directory environment", k.Key) && !strings.HasSuffix(k.Key, "logfile") {
			t, err := fill(k.Value)
			if err != nil {
				return nil, err
			}
			if strings.Contains(string(t), "$") {
				a.Left(k.Place, k.Key, "it is taken from the environment of supervisord")
				continue
			}
			k.Value = &source.Node{Place: k.Value.Place, Kind: source.Scalar, Text: string(t)}
		}
		rest.Pairs = append(rest.Pairs, k)
	}
	s.Apply(a, rest, programKeys)
	return a, nil
}

var percent = regexp.MustCompile(`%(?:%|\(([A-Za-z0-9_]+)\)(0?[0-9]*)([sd])|.?)`)

// expand replaces %(name)s as supervisord does. %(ENV_X)s becomes ${X:-}: it is the shell's that runs up.
func (s *supervisor) expand(n *source.Node, program string, number, index int, a *draft.App) (out draft.Template, err error) {
	text := n.Text
	for {
		m := percent.FindStringSubmatchIndex(text)
		if m == nil {
			return out + draft.Escape(text), nil
		}
		out += draft.Escape(text[:m[0]])
		whole := text[m[0]:m[1]]
		text = text[m[1]:]
		if whole == "%%" {
			out += "%"
			continue
		}
		if m[2] < 0 {
			return "", n.Wrong("%q in a value is not understood: %%%% stands for %%", whole)
		}
		name, width, verb := percentParts(whole)
		known := map[string]string{"program_name": program, "group_name": program, "here": s.here, "numprocs": strconv.Itoa(number), "process_num": strconv.Itoa(index)}
		value, ok := known[name]
		switch {
		case ok && verb == "d":
			i, err := strconv.Atoi(value)
			if err != nil {
				return "", n.Wrong("%s is no number", whole)
			}
			w, _ := strconv.Atoi(strings.TrimPrefix(width, "0")) // digits, or nothing
			if w > 20 {
				return "", n.Wrong("%s is wider than any number", whole)
			}
			if strings.HasPrefix(width, "0") {
				value = fmt.Sprintf("%0*d", w, i)
			} else {
				value = fmt.Sprintf("%*d", w, i)
			}
			out += draft.Template(value)
		case ok:
			out += draft.Escape(value)
		case strings.HasPrefix(name, "ENV_") && len(name) > 4 && name[4] > '9':
			a.Changed(n.Place, whole, "it is the variable of the shell that runs omnitron up, and empty where that has none")
			out += draft.Template("${" + name[4:] + ":-}")
		default:
			return "", n.Wrong("it is not known here what %s stands for", whole)
		}
	}
}

func percentParts(whole string) (name, width, verb string) {
	name, rest, _ := strings.Cut(whole[2:], ")")
	return name, rest[:len(rest)-1], rest[len(rest)-1:]
}

// pairs reads KEY="value",KEY2=value.
func pairs(n *source.Node) ([]source.Pair, error) {
	var out []source.Pair
	rest := n.Text
	for {
		rest = strings.TrimLeft(rest, " \t\n,")
		if rest == "" {
			return out, nil
		}
		name, after, ok := strings.Cut(rest, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(name, "\"' ,") {
			return nil, n.Wrong("%.60q is no KEY=value", rest)
		}
		after = strings.TrimLeft(after, " \t")
		value := ""
		if after != "" && (after[0] == '"' || after[0] == '\'') {
			end := strings.IndexByte(after[1:], after[0]) // a \ escapes nothing here
			if end < 0 {
				return nil, n.Wrong("the quote of %s is not closed", name)
			}
			value, rest = strings.Trim(after[1:1+end], `'"`), after[end+2:]
		} else {
			i := strings.IndexAny(after, ",\n")
			if i < 0 {
				i = len(after)
			}
			value, rest = strings.TrimSpace(after[:i]), after[i:]
		}
		out = append(out, source.Pair{Place: n.Place, Key: name, Value: &source.Node{Place: n.Place, Kind: source.Scalar, Text: value}})
	}
}
