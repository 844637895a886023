// Package project reads what lies in a project's folder and says how it is run: Procfile, compose, process-compose, go.mod.
package project

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/dotenv"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

var procfileLine = regexp.MustCompile(`^([A-Za-z0-9_-]+):\s*(.+)$`)

// Procfile is a Procfile, with the .env and .foreman beside it.
var Procfile = format.Format{
	Name: "procfile", About: "Procfile of foreman, honcho, overmind or Heroku, with its .env and .foreman",
	Match: func(base, _ string) bool { return base == "Procfile" || strings.HasPrefix(base, "Procfile.") },
	Read:  readProcfile,
}

// readProcfile follows foreman: PORT counts up by 100 from process to process, and what ends
// not within 5 s is killed.
func readProcfile(r *format.Reading) error {
	base, patience, formation, err := foreman(r)
	if err != nil {
		return err
	}
	envFile, port, err := procfileEnv(r)
	if err != nil {
		return err
	}
	if port > 0 && base == 0 {
		base = port
	}
	if base == 0 {
		base = 5000
	}
	for _, beside := range besideProcfile {
		path := filepath.Join(r.Folder(), beside.name)
		if _, err := r.Read(path); !errors.Is(err, fs.ErrNotExist) { // whatever is in it
			r.Drop(source.Place{File: r.Shown(path)}, beside.name, beside.why)
		}
	}
	n := 0
	for i, line := range source.Lines(r.Text) {
		bare := strings.TrimSpace(line)
		if bare == "" || bare[0] == '#' {
			continue
		}
		m := procfileLine.FindStringSubmatch(strings.TrimRight(line, " \t"))
		if m == nil {
			return r.At(i+1).Wrong("%.60q is no line of a Procfile, which is name: command", bare)
		}
		at := r.At(i + 1)
		a := r.App(at, m[1])
		r.Cwd(a, at, "folder", r.Folder(), "")
		a.Set(at, m[1], "command", procfileCommand(m[2]))
		if envFile != "" {
			a.SetAt(source.Place{File: r.Shown(envFile)}, "", format.Argv([]string{string(r.Within(envFile))}), "envFile")
		}
		a.Set(at, "PORT", "ports.http", draft.Word(strconv.Itoa(base+100*n)))
		a.Set(at, "", "stop.timeout", draft.Word(fmt.Sprintf("%ds", patience)))
		count, counted := formation[m[1]]
		if !counted {
			count, counted = formation["all"]
		}
		switch {
		case counted && count.number == 0:
			a.Set(count.Place, "formation", "enabled", draft.Word("false"))
		case counted && count.number > 1:
			a.Set(count.Place, "formation", "instances", draft.Word(strconv.Itoa(count.number)))
		}
		if m[1] == "release" {
			a.Set(at, "release", "oneshot", draft.Word("true"))
			a.Changed(at, "release", "Heroku runs it once before the others, foreman beside them; here it is a oneshot of every up")
		}
		n++
	}
	if n > 0 {
		r.Differs(r.At(0), "environment", "foreman hands on the whole environment of the shell; here a program gets PATH, HOME and the like, and what inheritEnv names (true: all)")
		r.Differs(r.At(0), "one ends, all end", "foreman ends all programs when one ends; here one that fails is started again, and the others go on")
	}
	return nil
}

// besideProcfile are files that some runners of a Procfile read too.
var besideProcfile = []struct{ name, why string }{
	{".overmind.env", "it is overmind's own .env, and is not read: envFile can name it"},
	{".env.local", "not every runner reads it, and it is not read here: envFile can name it"},
	{"app.json", "it tells Heroku what to set up, and is not read"},
	{".profile", "Heroku runs it before each program, and it is not read"},
}

var (
	bareWords  = regexp.MustCompile(`^[A-Za-z0-9_./:@,+^-]+([ \t]+[A-Za-z0-9_./:@,+^-]+)*$`)
	withNames  = regexp.MustCompile(`^[A-Za-z0-9_./:@,+^-]+([ \t]+([A-Za-z0-9_./:@,+^-]|\$[A-Za-z_])+)*$`)
	shellWords = strings.Fields("! . : break case continue do done elif else esac eval exec exit export fi for if in readonly return set shift then times trap unset until while cd ulimit umask")
)

// procfileCommand gives words that no shell is needed for as an argv list, as foreman does; where only variables stand in
// them, the shell makes way for the program. The signals are for the program then, and not for a shell before it.
func procfileCommand(line string) draft.Value {
	words := strings.Fields(line)
	switch {
	case slices.Contains(shellWords, words[0]):
	case bareWords.MatchString(line):
		return format.Argv(words)
	case withNames.MatchString(line):
		return draft.Text("exec " + line)
	}
	return draft.Text(line)
}

// procfileEnv looks at the .env that the runner would read: where it is, and the PORT that it sets.
func procfileEnv(r *format.Reading) (path string, port int, err error) {
	path = filepath.Join(r.Folder(), ".env")
	text, ok, err := r.Open(path)
	if err != nil || !ok {
		return "", 0, err
	}
	var ps tree.Problems
	vars := dotenv.Parse(tree.NewFile(path, r.Shown(path), text), &ps)
	for _, p := range ps.Sorted() {
		return "", 0, source.Place{File: p.File.Name, Line: p.Line}.Wrong("%s", p.Message)
	}
	r.Sources = append(r.Sources, r.Shown(path))
	for _, v := range vars {
		if n, err := strconv.Atoi(v.Value); v.Name == "PORT" && err == nil && n > 0 && n < 65536 {
			port = n
			r.Differs(source.Place{File: r.Shown(path), Line: v.Line}, "PORT", "it is the first port, from which each process counts on by 100; here each has its ports")
		}
	}
	return path, port, nil
}

type count struct {
	source.Place
	number int
}

// foreman reads the options that may stand in .foreman.
func foreman(r *format.Reading) (base, patience int, formation map[string]count, err error) {
	patience = 5
	path := filepath.Join(r.Folder(), ".foreman")
	text, ok, err := r.Open(path)
	if err != nil || !ok {
		return 0, patience, nil, err
	}
	root, err := source.YAML(r.Shown(path), text)
	if err != nil {
		return 0, patience, nil, err
	}
	r.Sources = append(r.Sources, r.Shown(path))
	formation = map[string]count{}
	for _, p := range root.Pairs {
		switch p.Key {
		case "port":
			n, err := strconv.Atoi(p.Value.Text)
			if err != nil || n < 1 || n > 65535 {
				return 0, 0, nil, p.Place.Wrong("%.60q is no port", p.Value.Text)
			}
			base = n
		case "formation", "concurrency":
			for _, part := range strings.Split(p.Value.Text, ",") {
				name, n, _ := strings.Cut(strings.TrimSpace(part), "=")
				number, err := strconv.Atoi(n)
				if err != nil || number < 0 {
					return 0, 0, nil, p.Place.Wrong("%.60q is no formation, which is name=number", part)
				}
				formation[name] = count{p.Place, number}
			}
		case "timeout":
			if patience, err = strconv.Atoi(p.Value.Text); err != nil || patience < 0 || patience > 1_000_000 {
				return 0, 0, nil, p.Place.Wrong("%.60q is no number of seconds", p.Value.Text)
			}
		case "procfile", "root", "env":
			r.Drop(p.Place, p.Key, "name the file itself to omnitron import; .env beside it is read")
		default:
			r.Drop(p.Place, p.Key, "this key is not known here")
		}
	}
	return base, patience, formation, nil
}
