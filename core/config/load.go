// Package config turns omnitron.yaml, its env files and the environment of a shell into one checked definition; what the
// daemon itself is told is core/config/setting. It reads texts that are handed to it: no file, no clock, and of the
// process's environment only what Environ gives. Everything that is wrong is said at once, each with its place.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/config/dotenv"
	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/config/variable"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// File is a text that the command line has read.
type File struct {
	Path string `json:"path" jsonschema:"absolute path"`
	Text string `json:"text" jsonschema:"what is in it"`
}

// Source is everything that a definition is made of.
type Source struct {
	Files    []File            // the YAML files, the later laid over the earlier; the folder of the first is the project's
	EnvFiles map[string]string // text by absolute path: those that References named and that exist
	Env      map[string]string // of the shell that ran up
	Stack    string            // asked for, or ""; else it is dev, or the only one of the file
	Dir      string            // the folder that paths in messages are shown relative to, or ""
	Home     string            // what ~ stands for
	User     string            // the user that the daemon runs as, or "" where that is not known
	CPUs     int               // the processors that max instances are counted by; 0: those of this machine

	// Created gives the stacks of a project that were created beside its file: what each says, as the file would, by name.
	// nil: there are none.
	Created func(project string) map[string]string
}

func (s Source) cpus() int {
	if s.CPUs > 0 {
		return s.CPUs
	}
	return min(runtime.NumCPU(), 1000)
}

// ReadFile reads a file of a project for a Source: never more than a little beyond what Load accepts, so that a file
// without an end is refused and not read.
func ReadFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, tree.MaxBytes+1+int64(len("\ufeff"))))
	return string(text), err
}

// Warning is something that is probably not meant, but can be done.
type Warning struct {
	Where   string `json:"where" jsonschema:"file:line:column"`
	Message string `json:"message" jsonschema:"what is odd"`
}

// Problem is one thing wrong with a file, at its place.
type Problem = tree.Problem

// Errors is everything that is wrong with the files.
type Errors = tree.Errors

// DefaultStack is the stack of a file without stacks.
const DefaultStack = "dev"

// Load makes the definition. The error is *Errors: invalid, reason config_invalid.
func Load(src Source) (*Definition, []Warning, error) {
	l := newLoader(src)
	root := l.read()
	if root == nil {
		return nil, nil, l.problems.Err()
	}
	d := schema.Decoder{Problems: &l.problems}
	keys, _ := fileKind.Decode(&d, root)
	def := l.resolve(root, keys)
	if keys.Stacks.Set() {
		sum := sha256.New()
		for _, f := range src.Files {
			fmt.Fprintf(sum, "%d\n%s", len(f.Text), f.Text)
		}
		def.Text = hex.EncodeToString(sum.Sum(nil)[:8])
	}
	if err := l.problems.Err(); err != nil {
		return nil, l.warnings, err
	}
	for i := range def.Apps {
		def.Apps[i].Hash = hashApp(def.Apps[i])
	}
	return def, l.warnings, nil
}

// loader is the state of one Load.
type loader struct {
	src      Source
	file     *tree.File
	dir      string // of the file
	problems tree.Problems
	warnings []Warning
	envFiles map[string][]dotenv.Var // read so far, by path
	dotenv   map[string]string       // of .env beside the file
	picked   string                  // the stack that is meant; "" when that is not clear
	muted    map[*tree.Node]bool     // what only other stacks have: a ${} in it may be unknown
}

func newLoader(src Source) *loader {
	l := &loader{src: src, envFiles: map[string][]dotenv.Var{}}
	path, text := "omnitron.yaml", ""
	if len(src.Files) > 0 {
		path, text = src.Files[0].Path, src.Files[0].Text
	}
	l.file = tree.NewFile(path, l.shown(path), text)
	l.dir = filepath.Dir(path)
	return l
}

// shown is a path as messages have it.
func (l *loader) shown(path string) string {
	if l.src.Dir != "" {
		if rel, err := filepath.Rel(l.src.Dir, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}

func (l *loader) start() tree.Pos {
	return tree.Pos{File: l.file, Line: 1, Column: 1, Width: 1}
}

// read gives the tree of the file with every ${} replaced, or nil when there is none to speak of.
func (l *loader) read() *tree.Node {
	switch {
	case len(l.src.Files) == 0:
		l.problems.Add(l.start(), tree.Syntax, "no file was given")
		return nil
	case len(l.src.Files) > maxFiles:
		l.problems.Add(l.start(), tree.Syntax, "%d files are to be merged, and the most is %d", len(l.src.Files), maxFiles)
		return nil
	}
	root := tree.Parse(l.file, &l.problems)
	later := l.later()
	if root == nil {
		return nil
	}
	l.dotenv = map[string]string{}
	for _, v := range l.envFile(filepath.Join(l.dir, ".env")) {
		l.dotenv[v.Name] = v.Value
	}
	l.pick(append([]*tree.Node{root}, later...))
	root.Walk(l.expand)
	for _, over := range later { // names decide what is merged with what, and may hold variables
		over.Walk(l.expand)
		root = tree.Merge(root, over, "apps")
	}
	return root
}

// maxFiles is how many files may be merged.
const maxFiles = 16

// later gives the trees of the files behind the first; an empty one says nothing.
func (l *loader) later() []*tree.Node {
	var out []*tree.Node
	for _, f := range l.src.Files[1:] {
		if over := tree.ParseOptional(tree.NewFile(f.Path, l.shown(f.Path), f.Text), &l.problems); over != nil {
			over.TakeAway()
			out = append(out, over)
		}
	}
	return out
}

// envFile reads an env file once; nil where there is none.
func (l *loader) envFile(path string) []dotenv.Var {
	if vars, ok := l.envFiles[path]; ok {
		return vars
	}
	text, ok := l.src.EnvFiles[path]
	if !ok {
		return nil
	}
	f := tree.NewFile(path, l.shown(path), text)
	f.Private = true
	vars := dotenv.Parse(f, &l.problems)
	l.envFiles[path] = vars
	return vars
}

func (l *loader) warn(at tree.Pos, format string, args ...any) {
	l.warnings = append(l.warnings, Warning{Where: at.String(), Message: fmt.Sprintf(format, args...)})
}

// path makes a path of the file absolute: relative to its folder, ~ the home.
func (l *loader) path(base, p string) string {
	switch {
	case p == "~":
		return l.src.Home
	case strings.HasPrefix(p, "~/") && l.src.Home != "":
		return filepath.Join(l.src.Home, p[2:])
	case filepath.IsAbs(p):
		return filepath.Clean(p)
	}
	return filepath.Join(base, p)
}

// References names the env files that the command line has to read and send along: .env beside the file, which may be
// missing, and every envFile. When .env itself decides a name by a ${}, that name comes with a second call that has .env
// in EnvFiles. Of a broken file it gives what can still be seen, together with the error; Load says the same in full.
func References(src Source) ([]string, error) {
	l := newLoader(src)
	paths := []string{filepath.Join(l.dir, ".env")}
	root := l.read()
	if root == nil {
		return paths, l.problems.Err()
	}
	seen := map[string]bool{paths[0]: true}
	root.Walk(func(n *tree.Node) {
		files := n.Find("envFile")
		if files == nil || l.muted[n] {
			return
		}
		files.Walk(func(f *tree.Node) {
			if p := l.path(l.dir, f.Text); f.Kind == tree.Text && f.Text != "" && !f.Broken && !seen[p] {
				seen[p] = true
				paths = append(paths, p)
			}
		})
	})
	return paths, l.problems.Err()
}

// lookup finds a variable for ${}: the shell first, then .env beside the file.
func (l *loader) lookup(name string) (string, bool) {
	v, ok := l.src.Env[name]
	if !ok {
		v, ok = l.dotenv[name]
	}
	return v, ok && !strings.ContainsRune(v, 0)
}

// expand replaces ${} in a scalar.
func (l *loader) expand(n *tree.Node) {
	if n.Kind != tree.Text || !strings.Contains(n.Text, "$") {
		return
	}
	out, used, err := variable.Expand(n.Text, l.lookup)
	if err == nil {
		n.Text, n.Expanded = out, n.Expanded || used
		return
	}
	if l.muted[n] {
		n.Expanded, n.Broken = true, true
		return
	}
	at := n.Pos
	if l.problems.Len() < 1000 { // looking for the exact place takes time, and nobody reads so many
		at = l.find(n, err.Text)
	}
	p := l.problems.Add(at, tree.Meaning, "%s", err.Message)
	p.Hint = err.Hint
	if err.Unknown != "" && l.problems.Len() < 1000 {
		p.Near = fault.Near(err.Unknown, l.variables())
		if p.Near != "" {
			p.Hint = fmt.Sprintf("did you mean ${%s}?", p.Near)
		}
	}
	n.Expanded, n.Broken = true, true
}

// variables lists what ${} can see.
func (l *loader) variables() []string {
	var names []string
	for n := range l.src.Env {
		names = append(names, n)
	}
	for n := range l.dotenv {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// find is the place of a piece of a scalar's text, as exactly as the source shows it.
func (l *loader) find(n *tree.Node, text string) tree.Pos {
	for i := range 1000 {
		line, skip := n.File.Line(n.Line+i), 0
		if i == 0 {
			skip = byteOf(line, n.Column-1)
		}
		if j := strings.Index(line[skip:], text); j >= 0 {
			return tree.Pos{File: n.File, Line: n.Line + i, Column: utf8.RuneCountInString(line[:skip+j]) + 1, Width: utf8.RuneCountInString(text)}
		}
	}
	return n.Pos
}

// byteOf is where the nth character of a line begins.
func byteOf(line string, n int) int {
	for i := range line {
		if n == 0 {
			return i
		}
		n--
	}
	return len(line)
}

// Locate finds the places of everything that the files say, as they are merged; of files that cannot be read it knows nothing.
func Locate(src Source) tree.Places { return tree.Locate(newLoader(src).read()) }
