// Package script evaluates the JavaScript that some projects are configured with, in an interpreter of its own: no process
// is started, no network is there, files are read below the project's folder and nowhere else.
package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dop251/goja"

	"github.com/omnitron-dev/omnitron/core/imports/source"
)

const limit = 2 * time.Second

// Result is what a script exported, as JSON, and the variables of the environment that it looked for.
type Result struct {
	JSON      string
	Variables []string
}

// Eval gives the module.exports, or the default export, of a script. read is for what it requires and reads, below the
// script's folder. The environment that it sees is empty. Faults: invalid (import_invalid), with file and line.
func Eval(shown, file, text string, read func(string) (string, error)) (Result, error) {
	r := &runner{vm: goja.New(), shown: shown, root: filepath.Dir(file), read: read, modules: map[string]*goja.Object{}}
	r.vm.SetMaxCallStackSize(500)
	timer := time.AfterFunc(limit, func() { r.vm.Interrupt("it does not end within " + limit.String()) })
	defer timer.Stop()
	exports, err := r.run(file, text)
	if err == nil {
		var out []byte
		if d, ok := exports.(*goja.Object); ok && d.Get("default") != nil && !goja.IsUndefined(d.Get("default")) {
			exports = d.Get("default")
		}
		if _, ok := goja.AssertFunction(exports); ok {
			return Result{}, source.Place{File: shown}.Wrong("it exports a function, and not the apps")
		}
		var value goja.Value
		stringify, _ := goja.AssertFunction(r.vm.GlobalObject().Get("JSON").(*goja.Object).Get("stringify"))
		value, err = stringify(goja.Undefined(), exports)
		if err == nil {
			if goja.IsUndefined(value) {
				return Result{}, source.Place{File: shown}.Wrong("it exports nothing")
			}
			if out = []byte(value.String()); !json.Valid(out) {
				return Result{}, source.Place{File: shown}.Wrong("what it exports is no JSON")
			}
			slices.Sort(r.variables)
			return Result{string(out), slices.Compact(r.variables)}, nil
		}
	}
	return Result{}, r.wrong(err)
}

type runner struct {
	vm        *goja.Runtime
	shown     string
	root      string
	read      func(string) (string, error)
	modules   map[string]*goja.Object
	variables []string
	env       *goja.Object
	process   *goja.Object
}

var place = regexp.MustCompile(`([^\s()]+):(\d+):\d+`)

// wrong makes an error of the interpreter ours.
func (r *runner) wrong(err error) error {
	at, msg := source.Place{File: r.shown}, err.Error()
	if i, ok := errors.AsType[*goja.InterruptedError](err); ok {
		msg = fmt.Sprint(i.Value())
	} else if x, ok := errors.AsType[*goja.Exception](err); ok {
		for _, f := range x.Stack() {
			if p := f.Position(); p.Line > 0 && f.SrcName() != "<native>" {
				at.Line = p.Line
				if rel, err := filepath.Rel(r.root, f.SrcName()); err == nil && filepath.IsLocal(rel) {
					at.File = path.Join(path.Dir(r.shown), rel)
				}
				break
			}
		}
		msg = x.Value().String()
	} else if m := place.FindStringSubmatch(msg); m != nil {
		at.Line, _ = strconv.Atoi(m[2]) // digits
	} else if m := regexp.MustCompile(`Line (\d+):`).FindStringSubmatch(msg); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
	}
	msg, _, _ = strings.Cut(msg, "\n")
	return at.Wrong("%s\nwhat is beyond this interpreter node can write down: node -e 'import(\"./%s\").then(m => console.log(JSON.stringify(m.default)))' > ecosystem.json", msg, path.Base(filepath.ToSlash(r.shown)))
}

var (
	exportDefault = regexp.MustCompile(`(?m)^([ \t]*)export[ \t]+default\b`)
	importNames   = regexp.MustCompile(`(?m)^[ \t]*import[ \t]+(?:\*[ \t]+as[ \t]+)?([A-Za-z_$][\w$]*|\{[^}\n]*\})[ \t]+from[ \t]+(['"][^'"\n]+['"])`)
	importMeta    = regexp.MustCompile(`\bimport\.meta\.(url|dirname|filename)\b`)
)

// common makes of a module of ECMAScript one of CommonJS, without moving a line.
func common(text string) string {
	text = exportDefault.ReplaceAllString(text, "${1}module.exports =")
	text = importNames.ReplaceAllStringFunc(text, func(s string) string {
		m := importNames.FindStringSubmatch(s)
		return "const " + strings.ReplaceAll(m[1], " as ", ": ") + " = require(" + m[2] + ")"
	})
	return importMeta.ReplaceAllStringFunc(text, func(s string) string {
		return map[string]string{"url": "('file://' + __filename)", "dirname": "__dirname", "filename": "__filename"}[s[len("import.meta."):]]
	})
}

func (r *runner) run(file, text string) (goja.Value, error) {
	if strings.HasPrefix(text, "#!") {
		text = "//" + text
	}
	// One line before it, none more, so that lines stay what they are.
	p, err := goja.Compile(file, "(function (exports, require, module, __filename, __dirname, process, console) {"+common(text)+"\n})", false)
	if err != nil {
		return nil, err
	}
	fn, err := r.vm.RunProgram(p)
	if err != nil {
		return nil, err
	}
	call, _ := goja.AssertFunction(fn)
	module := r.vm.NewObject()
	exports := r.vm.NewObject()
	if err := module.Set("exports", exports); err != nil {
		return nil, err
	}
	r.modules[file] = module
	dir := filepath.Dir(file)
	_, err = call(goja.Undefined(), exports, r.vm.ToValue(func(name string) goja.Value { return r.require(dir, name) }), module, r.vm.ToValue(file), r.vm.ToValue(dir), r.proc(), r.console())
	return module.Get("exports"), err
}

func (r *runner) fail(format string, args ...any) {
	panic(r.vm.NewGoError(fmt.Errorf(format, args...)))
}

// object makes an object of Go functions.
func (r *runner) object(members map[string]any) *goja.Object {
	o := r.vm.NewObject()
	for name, m := range members {
		if err := o.Set(name, m); err != nil {
			panic(r.vm.NewGoError(err))
		}
	}
	return o
}

func (r *runner) console() goja.Value {
	silent := func(goja.FunctionCall) goja.Value { return goja.Undefined() }
	return r.object(map[string]any{"log": silent, "error": silent, "warn": silent, "info": silent, "debug": silent})
}

// variables is process.env: empty, but for what the script puts there itself, and noting what is looked for.
type variables struct {
	r   *runner
	own map[string]goja.Value
}

func (v *variables) Get(key string) goja.Value {
	if own, ok := v.own[key]; ok {
		return own
	}
	if len(key) < 200 && key != "toJSON" {
		v.r.variables = append(v.r.variables, key)
	}
	return goja.Undefined()
}
func (v *variables) Set(key string, val goja.Value) bool { v.own[key] = val; return true }
func (v *variables) Has(key string) bool                 { _, ok := v.own[key]; return ok }
func (v *variables) Delete(key string) bool              { delete(v.own, key); return true }
func (v *variables) Keys() (keys []string) {
	for k := range v.own {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (r *runner) proc() goja.Value {
	if r.process == nil {
		r.env = r.vm.NewDynamicObject(&variables{r, map[string]goja.Value{}})
		r.process = r.object(map[string]any{
			"env": r.env, "argv": []string{"node", "pm2"}, "platform": "linux", "arch": "x64", "pid": 1, "version": "v20.0.0", "versions": map[string]string{"node": "20.0.0"},
			"cwd": func() string { return r.root }, "exit": func() { r.fail("it ends the process") },
		})
	}
	return r.process
}

func (r *runner) require(dir, name string) goja.Value {
	switch strings.TrimPrefix(name, "node:") {
	case "path":
		return r.path()
	case "os":
		n := 0
		return r.object(map[string]any{"cpus": func() []any {
			r.variables = append(r.variables, "os.cpus()")
			return make([]any, 1+n)
		}, "homedir": func() string { return "~" }, "tmpdir": os.TempDir, "platform": func() string { return "linux" }, "type": func() string { return "Linux" },
			"hostname": func() string { r.variables = append(r.variables, "os.hostname()"); return "localhost" }, "EOL": "\n"})
	case "fs":
		return r.object(map[string]any{
			"existsSync": func(p string) bool { _, err := r.file(p); return err == nil },
			"readFileSync": func(p string) string {
				text, err := r.file(p)
				if err != nil {
					r.fail("%v", err)
				}
				return text
			}})
	case "url":
		return r.object(map[string]any{"fileURLToPath": func(u string) string { return strings.TrimPrefix(u, "file://") }})
	case "dotenv":
		r.fail("dotenv is not read here: envFile in omnitron.yaml reads .env")
	}
	if !strings.HasPrefix(name, ".") && !filepath.IsAbs(name) {
		r.fail("there is no module %q here", name)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	for _, end := range []string{"", ".js", ".cjs", ".json", ".mjs"} {
		full := name + end
		if m := r.modules[full]; m != nil {
			return m.Get("exports")
		}
		text, err := r.file(full)
		if err != nil {
			continue
		}
		if filepath.Ext(full) == ".json" {
			parse, _ := goja.AssertFunction(r.vm.GlobalObject().Get("JSON").(*goja.Object).Get("parse"))
			v, err := parse(goja.Undefined(), r.vm.ToValue(text))
			if err != nil {
				r.fail("%s: %v", filepath.Base(full), err)
			}
			return v
		}
		if len(r.modules) > 100 {
			r.fail("it requires more than 100 files")
		}
		v, err := r.run(full, text)
		if err != nil {
			if x, ok := errors.AsType[*goja.Exception](err); ok {
				panic(x.Value())
			}
			r.fail("%v", err)
		}
		return v
	}
	r.fail("there is no file %q in the project", filepath.Base(name))
	return nil
}

// file reads a file below the project's folder.
func (r *runner) file(p string) (string, error) {
	if !filepath.IsAbs(p) {
		p = filepath.Join(r.root, p)
	}
	rel, err := filepath.Rel(r.root, p)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s is outside of the project: %w", filepath.Base(p), fs.ErrPermission)
	}
	return r.read(p)
}

func (r *runner) path() goja.Value {
	resolve := func(parts ...string) string {
		out := r.root
		for _, p := range parts {
			if filepath.IsAbs(p) {
				out = p
			} else {
				out = filepath.Join(out, p)
			}
		}
		return filepath.Clean(out)
	}
	return r.object(map[string]any{
		"join": func(parts ...string) string { return path.Join(parts...) }, "resolve": resolve, "dirname": path.Dir, "extname": path.Ext, "sep": "/", "delimiter": ":",
		"normalize": path.Clean, "isAbsolute": path.IsAbs,
		"basename": func(p, end string) string { return strings.TrimSuffix(path.Base(p), end) },
		"relative": func(from, to string) string {
			rel, err := filepath.Rel(resolve(from), resolve(to))
			if err != nil {
				return to
			}
			return rel
		},
	})
}
