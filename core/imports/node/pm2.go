// Package node reads what runs programs of node: the ecosystem file and the live list of pm2, and the scripts of a package.json.
// Nothing of the project is run; a file that is JavaScript is evaluated by the room script.
package node

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/script"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// PM2 is the ecosystem file of pm2, in each form that it may have, and the list of what runs.
var PM2 = format.Format{
	Name: "pm2", About: "pm2's ecosystem file (.config.js, .cjs, .mjs, .json, .yaml), or pm2 jlist",
	Match: func(base, text string) bool {
		return pm2Name.MatchString(base) || strings.HasPrefix(strings.TrimSpace(text), "[") && strings.Contains(text, `"pm2_env"`)
	},
	Read: readPM2, Known: map[string]map[string]format.Rule{"app": pm2Keys},
}

var pm2Name = regexp.MustCompile(`^(ecosystem|pm2|process)(\.[a-z]+)*\.(js|cjs|mjs|json|ya?ml)$`)

func readPM2(r *format.Reading) error {
	root, err := ecosystem(r)
	if err != nil {
		return err
	}
	apps := []*source.Node{root}
	switch {
	case root.Kind == source.List:
		apps = root.Items
	case root.Find("apps") != nil && root.Find("apps").Kind == source.List:
		apps = root.Find("apps").Items
	case root.Find("apps") != nil:
		apps = []*source.Node{root.Find("apps")}
	}
	if root.Find("apps") != nil {
		for _, p := range root.Pairs {
			switch p.Key {
			case "apps":
			case "deploy":
				r.Drop(p.Place, p.Key, "pm2 deploy is not imported")
			default:
				r.Drop(p.Place, p.Key, "this key is not known here")
			}
		}
	}
	stacks := map[string]*stack{}
	for _, a := range apps {
		if a.Kind != source.Map {
			return a.Wrong("an app is a map, and this is %s", a.Kind)
		}
		live := a.Find("pm2_env")
		if live != nil {
			if a, err = fromList(r, a, live); err != nil {
				return err
			}
		}
		if err := addApp(r, a, stacks, live != nil); err != nil {
			return err
		}
	}
	addStacks(r, stacks)
	return nil
}

// ecosystem reads the file, whatever it is written in.
func ecosystem(r *format.Reading) (*source.Node, error) {
	shown, text := r.Shown(r.Path), r.Text
	switch ext := strings.ToLower(filepath.Ext(r.Path)); {
	case ext == ".js" || ext == ".cjs" || ext == ".mjs":
		out, err := script.Eval(shown, r.Path, text, r.Read)
		if err != nil {
			return nil, err
		}
		for _, v := range out.Variables {
			r.Differs(r.At(0), v, "the script looks at it; it was evaluated without your environment, as on a machine that has none of it")
		}
		root, err := source.JSON(shown, out.JSON)
		if err == nil { // lines of what was evaluated are none of the file
			root.Unplace()
		}
		return root, err
	case ext == ".yaml" || ext == ".yml":
		return source.YAML(shown, text)
	}
	return source.JSON(shown, text)
}

type stack struct {
	from source.Place
	env  map[string]*source.Node
	list []string
}

// addApp makes an app.
func addApp(r *format.Reading, n *source.Node, stacks map[string]*stack, live bool) error {
	first := func(keys ...string) *source.Node {
		for _, k := range keys {
			if v := n.Find(k); v != nil && v.Kind != source.Null {
				return v
			}
		}
		return nil
	}
	word := first("script", "exec", "cmd", "command")
	if word == nil || word.Kind != source.Scalar || word.Text == "" {
		return n.Wrong("an app without script")
	}
	name := n.Get("name")
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(word.Text), filepath.Ext(word.Text))
	}
	a := r.App(n.Place, name)
	dir := r.Folder()
	if c := n.Find("cwd"); c != nil && c.Text != "" {
		if dir = c.Text; !filepath.IsAbs(dir) {
			dir = filepath.Join(r.Folder(), dir)
		}
		r.Cwd(a, c.Place, "cwd", r.Folder(), dir)
	} else {
		r.Cwd(a, n.Place, "folder", r.Folder(), "")
	}
	node := addCommand(r, a, n, first, dir, word)
	mode, count := n.Get("exec_mode"), first("instances")
	fork, _ := n.Find("execute_command").Bool()
	cluster := node && !fork && (strings.HasPrefix(mode, "cluster") || mode == "" && count != nil && count.Text != "")
	at := n.Place
	if count != nil {
		at = count.Place
	}
	addInstances(r, a, n, cluster, count, at)

	env := n.Find("env")
	ports := 0
	if env != nil {
		for _, p := range env.Pairs {
			if p.Value.Kind == source.List || p.Value.Kind == source.Map {
				a.Left(p.Place, "env."+p.Key, "it is "+p.Value.Kind.String()+", and a variable is a text")
				continue
			}
			if p.Key == "PORT" && !cluster && (count == nil || count.Text == "1") && format.Port(a, p.Place, "PORT", p.Value.Text) {
				ports++
				continue
			}
			if p.Key == "PORT" && cluster && addClusterPort(r, a, p.Place, p.Value.Text) {
				ports++
			}
			a.Env(p.Place, "env."+p.Key, p.Key, draft.Text(p.Value.Text))
		}
	}
	if p := n.Find("port"); p != nil && ports == 0 && !format.Port(a, p.Place, "port", p.Text) {
		a.Left(p.Place, "port", "it is no port")
	}
	table := map[string]format.Rule{}
	for k, v := range pm2Keys {
		table[k] = v
	}
	for _, p := range n.Pairs {
		if name, ok := strings.CutPrefix(p.Key, "env_"); ok && p.Value.Kind == source.Map {
			table[p.Key] = format.Done
			s := stacks[name]
			if s == nil {
				s = &stack{from: p.Place, env: map[string]*source.Node{}}
				stacks[name] = s
			}
			for _, v := range p.Value.Pairs {
				if was := s.env[v.Key]; was != nil && was.Text != v.Value.Text {
					a.Left(v.Place, p.Key+"."+v.Key, "another app has another value of it, and a stack has one for all")
					continue
				}
				if s.env[v.Key] == nil {
					s.list = append(s.list, v.Key)
				}
				s.env[v.Key] = v.Value
			}
		}
	}
	r.Apply(a, n, table)
	addEndings(r, a, n, node && cluster)
	return nil
}

// addCommand says what is run; it reports whether that is node.
func addCommand(r *format.Reading, a *draft.App, n *source.Node, first func(...string) *source.Node, dir string, script *source.Node) bool {
	var args []string
	if v := first("args"); v != nil {
		words, ok := v.Words()
		if v.Kind == source.Scalar {
			words, ok = format.Split(v.Text)
		}
		if !ok {
			a.Left(v.Place, "args", "the words cannot be told apart")
		}
		args = words
	}
	var before []string
	if v := first("node_args", "interpreter_args", "interpreterArgs"); v != nil {
		words, ok := v.Words()
		if v.Kind == source.Scalar {
			words, ok = format.Split(v.Text)
		}
		if !ok {
			a.Left(v.Place, "node_args", "the words cannot be told apart")
		}
		before = words
	}
	path := script.Text
	if strings.Contains(path, " ") {
		a.Set(script.Place, "script", "command", format.Argv([]string{"bash", "-c", path}))
		return false
	}
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(dir, full)
	}
	content, err := r.Read(full)
	there := err == nil
	with := ""
	if v := first("interpreter", "exec_interpreter"); v != nil {
		with = v.Text
	}
	if with == "" {
		with = map[string]string{".sh": "bash", ".py": "python3", ".rb": "ruby", ".php": "php", ".pl": "perl", ".js": "node", ".cjs": "node", ".mjs": "node", ".ts": "bun", ".tsx": "bun"}[filepath.Ext(path)]
		if with == "python3" {
			a.Changed(script.Place, "script", "pm2 takes python where there is a program of that name, and python3 else; here it is python3")
		}
		if with == "" && there && !strings.ContainsRune(content, 0) && !strings.HasPrefix(content, "\x7fELF") {
			with = "node"
		}
	}
	if version, ok := strings.CutPrefix(with, "node@"); ok {
		a.Left(script.Place, "interpreter", "nvm is not asked for node "+version+": name the path of that node")
		with = "node"
	}
	byItself := map[string]string{".js": "node", ".mjs": "node", ".cjs": "node", ".py": "python3", ".rb": "ruby", ".pl": "perl", ".php": "php"}[filepath.Ext(path)]
	switch {
	case with == "none" || with == "":
		if there && !strings.Contains(path, "/") {
			path = "./" + path
		}
		a.Set(script.Place, "script", "command", format.Argv(append(append([]string{path}, before...), args...)))
	case with == byItself && len(before) == 0:
		a.Set(script.Place, "script", "script", format.Argv(append([]string{path}, args...)))
	default:
		a.Set(script.Place, "script", "command", format.Argv(append(append([]string{with}, append(before, full)...), args...)))
	}
	if strings.HasPrefix(filepath.Base(with), "python") {
		a.Env(script.Place, "PYTHONUNBUFFERED", "PYTHONUNBUFFERED", draft.Text("1"))
	}
	return with == "node" || strings.HasSuffix(with, "/node")
}

// addInstances carries the number over; several of a cluster need node: cluster, which shares their port.
func addInstances(r *format.Reading, a *draft.App, n *source.Node, cluster bool, count *source.Node, at source.Place) {
	var number draft.Value
	many := false
	if count != nil {
		switch i, err := strconv.Atoi(count.Text); {
		case err == nil && i > 0:
			number, many = draft.Word(count.Text), i > 1
		default:
			number, many = draft.Word("max"), true
			if err == nil && i < 0 {
				a.Changed(at, "instances", "all cores but some; here max is all of them")
			}
		}
	}
	if cluster {
		c := a.SetAt(at, "exec_mode: cluster", draft.Word("cluster"), "node")
		if many {
			a.Set(at, "instances", "instances", number).If = c
		}
		return
	}
	if many {
		a.Set(at, "instances", "instances", number)
	}
}

// addClusterPort has a cluster listen on one socket.
func addClusterPort(r *format.Reading, a *draft.App, at source.Place, value string) bool {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 65535 {
		return false
	}
	a.SetAt(at, "PORT", draft.Text("0.0.0.0:"+strconv.Itoa(n)), "sockets", "http").If = a.Get("node")
	return true
}
