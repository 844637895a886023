package script

import (
	"io/fs"
	"strings"
	"testing"
)

func eval(text string, files map[string]string) (Result, error) {
	return Eval("ecosystem.config.js", "/p/ecosystem.config.js", text, func(path string) (string, error) {
		if t, ok := files[path]; ok {
			return t, nil
		}
		return "", fs.ErrNotExist
	})
}

func TestEval(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"module.exports = {a: [1, 'x', true, null], b: undefined, f() {}}", `{"a":[1,"x",true,null]}`},
		{"exports.a = require('./b').c + require('node:path').join('x', '..', 'y')", `{"a":"by"}`},
		{"import d from './d.json'\nexport default { d, ...d }", `{"d":{"z":1},"z":1}`},
		{"import { c as e } from './b.js'\nexport default { e, f: import.meta.dirname }", `{"e":"b","f":"/p"}`},
		{"process.env.X = 'y'; module.exports = [process.env.X, process.env.NOT || 'none', process.cwd()]", `["y","none","/p"]`},
		{"console.log('x'); module.exports = require('fs').existsSync('b.js') + ' ' + require('fs').existsSync('/etc/passwd')", `"true false"`},
	} {
		r, err := eval(c.text, map[string]string{"/p/b.js": "exports.c = 'b'", "/p/d.json": `{"z": 1}`, "/etc/passwd": "x"})
		if err != nil || r.JSON != c.want {
			t.Errorf("%s: %s %v, want %s", c.text, r.JSON, err, c.want)
		}
	}
	if r, err := eval("module.exports = [process.env.B, process.env.A, process.env.B]", nil); err != nil || strings.Join(r.Variables, " ") != "A B" {
		t.Errorf("variables: %v %v", r.Variables, err)
	}
}

// TestRefused has what a script may not do, or cannot, refused with its line.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\nfor (;;) {}", "does not end"},
		{"\nmodule.exports = {\n  a: ,\n}", "ecosystem.config.js:3: "},
		{"\n\nrequire('child_process')", `ecosystem.config.js:3: `},
		{"require('child_process')", `there is no module "child_process"`},
		{"require('fs').readFileSync('/etc/passwd')", "outside of the project"},
		{"require('../../etc/passwd')", "there is no file"},
		{"module.exports = undefined", "exports nothing"},
		{"module.exports = () => 1", "exports a function"},
		{"const a = {}; a.a = a; module.exports = a", "circular"},
		{"const f = () => f(); f()", ""},
		{"process.exit(1)", "it ends the process"},
		{"\nmodule.exports = nothing", "ecosystem.config.js:2: ReferenceError"},
	} {
		if _, err := eval(c.text, map[string]string{"/etc/passwd": "x"}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.text, err, c.want)
		}
	}
}
