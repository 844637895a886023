package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/config/tree"
)

// validator is an engine that knows nothing of our loader.
func validator(t *testing.T, text []byte) *jsonschema.Resolved {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// agree demands that schema and loader say the same of a file's structure. A file that is no strict YAML is not asked.
func agree(t *testing.T, schema *jsonschema.Resolved, text string, loadErr error) {
	t.Helper()
	structure := 0
	if e, ok := errors.AsType[*config.Errors](loadErr); ok {
		for _, p := range e.Problems {
			if p.Class == tree.Syntax && strings.HasSuffix(p.File.Path, ".yaml") {
				return
			}
			if p.Class == tree.Structure {
				structure++
			}
		}
	}
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("the other YAML reader: %v\n%s", err, text)
	}
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	invalid := schema.Validate(value)
	if (invalid != nil) != (structure > 0) {
		t.Errorf("loader and schema disagree\nfile:\n%s\nloader: %v\nschema: %v", text, loadErr, invalid)
	}
}

func TestSchemaAgreesOnFixtures(t *testing.T) {
	schema := validator(t, config.Schema())
	for _, pattern := range []string{"testdata/good/*.txtar", "testdata/bad/*.txtar"} {
		for _, f := range fixtures(t, pattern) {
			t.Run(filepath.Base(f.path), func(t *testing.T) {
				_, _, err := config.Load(f.src)
				if len(f.src.Files) > 1 { // each alone need not be a whole one
					return
				}
				for _, file := range f.src.Files {
					agree(t, schema, file.Text, err)
				}
			})
		}
	}
}

// values of every kind, put in the place of every key: for each the schema and the loader must agree.
var values = []string{
	"text", "''", "5", "-1", "0", "1001", "70000", "0.5", "022", "0x10", "1_000", "true", "false", "yes", "null", "~", "'5'", "'true'", "[]", "{}", "[a]", "[1, true, 0.5]", "[[a]]", "[null]", "[{a: b}]",
	"{a: b}", "{a: null}", "{A: {secret: x}}", "15s", "1m30s", "15", "1.5h", "-5s", "50MB", "50M", "1KiB", "auto", "notify", "ready", "always", "SIGTERM", "HUP", "max", "zstd", "one_for_all", "'${X:-7}'", "${X:-text}",
	"{http: /}", "{tcp: 80}", "{http: /, tcp: 80}", "{http: /, port: admin}", "{exec: [a]}", "{exec: []}", "{log: '('}", "{delay: 2s}", "{notify: true}", "{notify: false}", "{policy: never, backoff: {factor: 1}}", "{signal: INT}",
	"[{app: a}]", "[{process: a, until: completed}]", "[{until: ready}]", "{interval: 5s}", "{type: fixed}", "{level: info, maxSize: 1MB}", "{level: 5}", "[{name: x, command: [x]}]", "[{name: x}, 5]", "{healthCheck: {retries: 1}}", "{web: 8080, admin: auto}", "{Web: 1}", "{web: 70000}", "{web: '70000'}",
}

func TestSchemaAgreesOnEveryKey(t *testing.T) {
	schema := validator(t, config.Schema())
	var cases []string
	each := func(path, format string) {
		doc, err := config.Explain(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range doc.Keys {
			for _, v := range values {
				cases = append(cases, fmt.Sprintf(format, k.Name+": "+v))
			}
		}
	}
	each("", "{apps: [], %s}")
	each("supervision", "{apps: [], supervision: {%s}}")
	each("monitoring", "{apps: [], monitoring: {%s}}")
	each("monitoring.healthCheck", "{apps: [], monitoring: {healthCheck: {%s}}}")
	each("monitoring.metrics", "{apps: [], monitoring: {metrics: {%s}}}")
	each("logging", "{apps: [], logging: {%s}}")
	each("apps", "{apps: [{%s}]}")
	each("apps", "apps:\n  - name: n\n    %s\n")
	each("apps.ready", "{apps: [{name: n, command: [n], ready: {%s}}]}")
	each("apps.health", "{apps: [{name: n, command: [n], health: {%s}}]}")
	each("apps.restart", "{apps: [{name: n, command: [n], restart: {%s}}]}")
	each("apps.restart.backoff", "{apps: [{name: n, command: [n], restart: {backoff: {%s}}}]}")
	each("apps.limits", "{apps: [{name: n, command: [n], limits: {%s}}]}")
	each("apps.stop", "{apps: [{name: n, command: [n], stop: {%s}}]}")
	each("apps.reload", "{apps: [{name: n, command: [n], reload: {%s}}]}")
	each("apps.hooks", "{apps: [{name: n, command: [n], hooks: {%s}}]}")
	each("apps.hooks.preStart", "{apps: [{name: n, command: [n], hooks: {preStart: {%s}}}]}")
	each("apps.schedule", "{apps: [{name: n, command: [n], oneshot: true, schedule: {%s}}]}")
	each("apps.dependsOn", "{apps: [{name: n, command: [n], dependsOn: [{%s}]}]}")
	each("apps.processes", "{apps: [{name: n, processes: [{%s}]}]}")
	each("apps.processes.dependsOn", "{apps: [{name: n, processes: [{name: p, command: [p], dependsOn: [{%s}]}]}]}")
	if len(cases) < 5000 {
		t.Fatalf("only %d cases: are keys missing?", len(cases))
	}
	refused := 0
	for _, text := range cases {
		_, _, err := config.Load(config.Source{Files: []config.File{{Path: dir + "/omnitron.yaml", Text: text}}})
		if err != nil {
			refused++
		}
		agree(t, schema, text, err)
	}
	if refused < 1000 || refused == len(cases) {
		t.Errorf("%d of %d cases refused: the table proves nothing", refused, len(cases))
	}
}

func TestDaemonSchemaAgreesOnEveryKey(t *testing.T) {
	schema := validator(t, config.DaemonSchema())
	refused := 0
	for _, path := range []string{"daemon", "daemon.limits", "daemon.logging", "daemon.policy", "daemon.retention"} {
		doc, err := config.Explain(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range doc.Keys {
			for _, v := range append(values, "{agentCalls: 5}", "{level: warn}", "{events: 2d}", "debug", "console", "[{name: a, then: hold}]", "[{name: a, when: {method: x.*}}]", "{url: 'https://x', secretFile: k}") {
				text := k.Name + ": " + v
				if _, parent, found := strings.Cut(path, "."); found {
					text = parent + ": {" + text + "}"
				}
				if strings.Contains(text, "${") {
					continue // config.yaml has no variables: the schemas' way out for them is only for omnitron.yaml
				}
				_, err := setting.Load(text, dir+"/config.yaml", nil)
				if err != nil {
					refused++
				}
				agree(t, schema, text, err)
			}
		}
	}
	if refused < 300 {
		t.Errorf("only %d refused", refused)
	}
}

// keyUse says where a key of the tables stands in fixtures.
type keyUse struct{ good, bad bool }

// walk calls fn with the documented path of every key that a file uses.
func walk(n *tree.Node, path string, fn func(path string, p tree.Pair)) {
	for _, item := range n.Items {
		walk(item, path, fn)
	}
	for _, p := range n.Pairs {
		at := strings.TrimPrefix(path+"."+p.Key.Text, ".")
		fn(at, p)
		if at == "stacks" { // the name of a stack is no key
			for _, named := range p.Value.Pairs {
				walk(named.Value, at, fn)
			}
			continue
		}
		walk(p.Value, at, fn)
	}
}

// allKeys lists every path that Explain knows, and whether it is supported.
func allKeys(t *testing.T, root string, out map[string]bool) {
	t.Helper()
	doc, err := config.Explain(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range doc.Keys {
		path := strings.TrimPrefix(root+"."+k.Name, ".")
		out[path] = k.Later
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: the doc is no sentence: %q", path, k.Doc)
		}
		sub, err := config.Explain(path)
		if err != nil {
			t.Fatal(err)
		}
		if !k.Later && sub.Example == "" {
			t.Errorf("%s has no example", path)
		}
		allKeys(t, path, out)
	}
}

// A key inside a map that several keys share counts wherever the map stands.
func shared(path string) string {
	for _, s := range []string{"backoff.", "ready.", "health.", "restart.", "stop.", "logging.", "supervision.", "limits."} {
		if i := strings.LastIndex(path, s); i >= 0 {
			return path[i:]
		}
	}
	return path
}

func TestEveryKeyIsInFixtures(t *testing.T) {
	keys := map[string]bool{}
	allKeys(t, "", keys)
	if len(keys) < 150 {
		t.Fatalf("only %d keys", len(keys))
	}
	used := map[string]*keyUse{}
	use := func(path string) *keyUse {
		p := shared(path)
		if used[p] == nil {
			used[p] = &keyUse{}
		}
		return used[p]
	}
	for _, f := range fixtures(t, "testdata/good/*.txtar") {
		walk(parse(t, f), "", func(path string, _ tree.Pair) { use(path).good = true })
	}
	for _, f := range fixtures(t, "testdata/bad/*.txtar") {
		_, _, err := config.Load(f.src)
		e, ok := errors.AsType[*config.Errors](err)
		if !ok {
			t.Fatalf("%s: %v", f.path, err)
		}
		root := parse(t, f)
		if root == nil {
			continue
		}
		walk(root, "", func(path string, p tree.Pair) {
			p.Value.Walk(func(n *tree.Node) {
				for _, problem := range e.Problems {
					here := problem.Line == n.Line && problem.Column == n.Column && (n == p.Value || n.Scalar())
					if here || problem.Line == p.Key.Line && problem.Column == p.Key.Column {
						use(path).bad = true
					}
				}
			})
		})
	}
	for path, later := range keys {
		u := use(path)
		if !later && !u.good {
			t.Errorf("%s is in no good fixture", path)
		}
		if !u.bad {
			t.Errorf("%s is in no bad fixture with a problem at it", path)
		}
	}
}

func parse(t *testing.T, f fixture) *tree.Node {
	t.Helper()
	var ps tree.Problems
	return tree.Parse(tree.NewFile(f.src.Files[0].Path, "omnitron.yaml", f.src.Files[0].Text), &ps)
}

// Every example of the tables is a value that the loader takes in the key's place.
func TestExamplesLoad(t *testing.T) {
	keys := map[string]bool{}
	allKeys(t, "", keys)
	schema := validator(t, config.Schema())
	for path, later := range keys {
		if later {
			continue
		}
		doc, err := config.Explain(path)
		if err != nil {
			t.Fatal(err)
		}
		text := doc.Example
		parts := strings.Split(path, ".")
		for i := len(parts) - 1; i >= 0; i-- {
			text = fmt.Sprintf("{%s: %s}", parts[i], text)
			if i > 0 && (parts[i-1] == "apps" || parts[i-1] == "processes" || parts[i-1] == "dependsOn") {
				text = "[" + text + "]"
			}
			if i > 0 && parts[i-1] == "stacks" {
				text = "{dev: " + text + "}"
			}
		}
		if parts[0] != "apps" {
			text = "{apps: [], " + strings.TrimPrefix(text, "{")
		}
		_, _, err = config.Load(config.Source{Files: []config.File{{Path: dir + "/omnitron.yaml", Text: text}}})
		if e, ok := errors.AsType[*config.Errors](err); ok {
			for _, p := range e.Problems { // an example alone may lack its neighbours: a name, a command, a port
				lacks := strings.Contains(p.Message, "needs") || p.Class == tree.Meaning
				if !lacks {
					t.Errorf("%s: the example %q: %s", path, doc.Example, p)
				}
			}
		}
		agree(t, schema, text, err)
	}
}
