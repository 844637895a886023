package config

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func load(t *testing.T, text string, env map[string]string) *Definition {
	t.Helper()
	d, _, err := Load(Source{Files: []File{{Path: "/srv/shop/omnitron.yaml", Text: text}}, Env: env, Home: "/home/ann"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const everything = `
project: shop
apps:
  - name: api
    command: [./api, --token, hunter2, --db=postgres://u:pw@h/x, "$HOME ${X}"]
    user: www
    umask: 027
    env: {A: "1", API_KEY: secret, DB: "postgres://u:pw@h/db", GONE: null, PASS: {secret: db/pass}, WEIRD: "a: b # c\n'\"", NUM: "5", B: "yes", N: "null"}
    ports: {http: 8000, admin: auto}
    sockets: {front: ":81", six: "[::1]:82", local: {path: "a$$b/x.sock", mode: 600}}
    ready: {http: /ready, port: http}
    health: {http: "http://127.0.0.1:9000/x", startPeriod: 1s500ms}
    dependsOn: [migrate, {app: pool, until: started}]
    critical: true
    restart: {policy: always, maxMemory: 300MB, backoff: {factor: 1.5}}
  - {name: migrate, command: "echo $$HOME; true", oneshot: true}
  - name: pool
    processes:
      - {name: web, command: [web], instances: 3, dependsOn: [worker], limits: {memory: 100MB, cpu: 0.5, nofile: 2000, best: true}, successCodes: [0, 3], nice: -3, oomScore: 400, ready: {delay: 90s}, health: {exec: [./check]}, logging: {maxSize: 3MiB}}
      - {name: worker, command: [worker], ready: notify, watchdog: 1m30s, stdin: open, logging: {merge: true}}
      - {name: tail, command: [x], ready: {log: "^a$"}, health: {tcp: 80}}
`

func TestShowLoadsAgain(t *testing.T) {
	d := load(t, everything, map[string]string{"X": "$x", "PATH": "/bin"})
	text := show(d)
	again := load(t, string(text), nil)
	if len(again.Apps) != len(d.Apps) {
		t.Fatalf("%d apps became %d", len(d.Apps), len(again.Apps))
	}
	for i := range d.Apps {
		a, b := flatten(d.Apps[i]), flatten(again.Apps[i])
		for path, l := range a {
			l.captured = false
			a[path] = l
		}
		if diff := cmp.Diff(a, b, cmp.AllowUnexported(leaf{})); diff != "" {
			t.Errorf("%s (-was +is):\n%s", d.Apps[i].Key, diff)
		}
	}
	if d.Supervision != again.Supervision || d.Monitoring != again.Monitoring {
		t.Error("supervision or monitoring is different")
	}
}

func TestShowMasksSecrets(t *testing.T) {
	text := string(Show(load(t, everything, map[string]string{"X": "x"})))
	for _, secret := range []string{"hunter2", ": secret", "u:pw"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is shown:\n%s", secret, text)
		}
	}
	if !strings.Contains(text, Masked) || !strings.Contains(text, "postgres://u:"+Masked+"@h/db") {
		t.Errorf("nothing is masked:\n%s", text)
	}
}

func TestMaskValue(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"DB_PASSWORD", "x", Masked}, {"SECRET", "x", Masked}, {"apiKey", "x", Masked}, {"API_KEY", "x", Masked}, {"AWS_SECRET_ACCESS_KEY", "x", Masked}, {"GITHUB_TOKEN", "x", Masked},
		{"TOKEN", "", ""}, {"KEYBOARD", "de", "de"}, {"PATH", "/bin", "/bin"}, {"MONKEY", "x", "x"}, {"COMPASS", "n", "n"}, {"AUTHOR", "ann", "ann"},
		{"URL", "redis://:pw@h:1/0", "redis://:" + Masked + "@h:1/0"}, {"URL", "http://h/x", "http://h/x"}, {"URLS", "a://u:p@h,b://v:q@i", "a://u:" + Masked + "@h,b://v:" + Masked + "@i"},
		{"URL", "https://ghp_0123456789abcdef0123@github.com/x", "https://" + Masked + "@github.com/x"},
	} {
		if got := MaskValue(c.name, c.value); got != c.want {
			t.Errorf("%s=%s is shown as %q, want %q", c.name, c.value, got, c.want)
		}
	}
}

func TestMaskLeavesTheOriginal(t *testing.T) {
	d := load(t, everything, map[string]string{"X": "x"})
	m := Mask(d)
	p, q := d.Apps[0].Processes[0], m.Apps[0].Processes[0]
	if p.Env["API_KEY"] != "secret" || p.Argv[2] != "hunter2" {
		t.Error("the original was changed")
	}
	if q.Env["API_KEY"] != Masked || q.Argv[2] != Masked || q.Argv[3] != "--db=postgres://u:"+Masked+"@h/x" {
		t.Errorf("not masked: %v %v", q.Env, q.Argv)
	}
}

// TestMaskByValue: what is hidden under one name is hidden wherever else it stands, and what is too short to tell is not.
func TestMaskByValue(t *testing.T) {
	d := load(t, `
apps:
  - name: a
    command: [run, --with=sesame-open, "say tomorrow-never x"]
    env: {API_TOKEN: sesame-open, TOKEN_TWO: sesame-open-wide, PLAIN: "it is sesame-open-wide", DB: "postgres://u:tomorrow-never@h/db", PIN_CODE: abc, MY_PASS: abc, OTHER: sesame}
    ready: {log: "ready with sesame-open"}
  - name: b
    command: [run]
    env: {COPY: sesame-open}
    health: {exec: [check, sesame-open]}
`, nil)
	text := string(Show(d))
	for _, secret := range []string{"sesame-open", "wide", "tomorrow"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is shown:\n%s", secret, text)
		}
	}
	for _, plain := range []string{"it is " + Masked, "PIN_CODE: abc", "OTHER: sesame\n", "COPY: " + Masked, "ready with " + Masked, "--with=" + Masked} {
		if !strings.Contains(text, plain) {
			t.Errorf("%q is not shown:\n%s", plain, text)
		}
	}
}

// TestHowLimitsAreTakenUp: what a program has from its start needs another one, what only the daemon acts upon does not.
func TestHowLimitsAreTakenUp(t *testing.T) {
	was := load(t, "apps: [{name: a, command: [a], ready: notify}]", nil)
	is := load(t, "apps: [{name: a, command: [a], ready: notify, limits: {memory: 5MB, cpu: 1, nofile: 99, best: true}, nice: 1, oomScore: 2, watchdog: 10s, stdin: open, logging: {merge: true}, restart: {maxMemory: 7MB}, critical: true, successCodes: [0, 3]}]", nil)
	got := map[string]string{}
	for _, c := range Diff(was, is) {
		got[c.Path] = c.New + " " + c.Takes
	}
	want := map[string]string{"limits.memory": "5MB restart", "limits.cpu": "1 restart", "limits.nofile": "99 restart", "limits.best": "true restart", "nice": "1 restart", "oomScore": "2 restart", "watchdog": "10s restart",
		"stdin": "open restart", "logging.merge": "true restart", "restart.maxMemory": "7MB live", "critical": "true live", "successCodes": "[0,3] live"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestMaxInstances: max is one for each processor of the machine that the definition is made for.
func TestMaxInstances(t *testing.T) {
	src := Source{Files: []File{{Path: "/srv/omnitron.yaml", Text: "apps: [{name: a, command: [a], instances: max, ports: {http: 8000}}]"}}, CPUs: 6}
	d, _, err := Load(src)
	if err != nil || d.Apps[0].Processes[0].Instances != 6 {
		t.Fatalf("%+v %v", d, err)
	}
	src.CPUs = 0
	if d, _, err = Load(src); err != nil || d.Apps[0].Processes[0].Instances != runtime.NumCPU() {
		t.Errorf("%+v %v", d, err)
	}
	src.Files[0].Text, src.CPUs = strings.Replace(src.Files[0].Text, "8000", "65533", 1), 6
	if _, _, err = Load(src); err == nil {
		t.Error("six instances from port 65533 on are taken")
	}
}

func TestHash(t *testing.T) {
	base := "apps: [{name: a, command: [a], inheritEnv: [NAMED], env: {X: '1'}}]"
	hash := func(text string, env map[string]string) string { return load(t, text, env).Apps[0].Hash }
	want := hash(base, map[string]string{"PATH": "/bin", "NAMED": "1"})
	for _, c := range []struct {
		what, text string
		env        map[string]string
		same       bool
	}{
		{"nothing", base, map[string]string{"PATH": "/bin", "NAMED": "1"}, true},
		{"a base variable", base, map[string]string{"PATH": "/usr/bin", "NAMED": "1", "LC_ALL": "C"}, true},
		{"a foreign variable", base, map[string]string{"PATH": "/bin", "NAMED": "1", "EDITOR": "vi"}, true},
		{"a named variable", base, map[string]string{"PATH": "/bin", "NAMED": "2"}, false},
		{"the named variable gone", base, map[string]string{"PATH": "/bin"}, false},
		{"formatting", "# hi\napps:\n  - {command: [a], name: a, env: {X: 1}, inheritEnv: [NAMED]}", map[string]string{"PATH": "/bin", "NAMED": "1"}, true},
		{"env", strings.Replace(base, "'1'", "'2'", 1), map[string]string{"PATH": "/bin", "NAMED": "1"}, false},
		{"the command", strings.Replace(base, "[a]", "[b]", 1), map[string]string{"PATH": "/bin", "NAMED": "1"}, false},
	} {
		if got := hash(c.text, c.env); (got == want) != c.same {
			t.Errorf("%s changed: hash equal is %v", c.what, got == want)
		}
	}
	if a, b := hash(strings.Replace(base, "NAMED", "PATH", 1), map[string]string{"PATH": "1"}), hash(strings.Replace(base, "NAMED", "PATH", 1), map[string]string{"PATH": "2"}); a == b {
		t.Error("a base variable that is named does not count as a change")
	}
	if a, b := hash(strings.Replace(base, "[NAMED]", "true", 1), map[string]string{"Z": "1"}), hash(strings.Replace(base, "[NAMED]", "true", 1), map[string]string{"Z": "2"}); a != b {
		t.Error("a value inherited by true counts as a change")
	}
}

// TestRenews: another program of a process is a reason to start it anew; what is taken up live, its siblings and its number
// are not.
func TestRenews(t *testing.T) {
	load := func(apps string) *App {
		t.Helper()
		def, _, err := Load(Source{Files: []File{{Path: "/srv/omnitron.yaml", Text: "apps: [" + apps + "]"}}, Env: map[string]string{"LANG": "C"}, Home: "/home/ann"})
		if err != nil {
			t.Fatal(err)
		}
		return &def.Apps[0]
	}
	for _, c := range []struct {
		process, old, new string
		want              bool
	}{
		{"a", "{name: a, command: [x]}", "{name: a, command: [x]}", false},
		{"a", "{name: a, command: [x]}", "{name: a, command: [x], instances: 9, stop: {timeout: 1s}, restart: always, ready: {delay: 5s}, health: {tcp: 'h:1'}, enabled: false, supervision: {maxRestarts: 9}, logging: {maxFiles: 3}}", false},
		{"a", "{name: a, command: [x]}", "{name: a, command: [y]}", true},
		{"a", "{name: a, command: [x]}", "{name: a, command: [x], env: {K: v}}", true},
		{"a", "{name: a, command: [x]}", "{name: a, command: [x], logging: {maxSize: 1MB}}", true},
		{"a", "{name: a, command: [x]}", "{name: a, command: [x], onDaemonExit: stop}", true},
		{"a", "{name: a, command: [x]}", "{name: a, processes: [{name: a, command: [x]}, {name: b, command: [y]}]}", false},
		{"b", "{name: a, processes: [{name: b, command: [x]}, {name: c, command: [y]}]}", "{name: a, processes: [{name: c, command: [z]}, {name: b, command: [x], dependsOn: [c]}]}", false},
		{"c", "{name: a, processes: [{name: b, command: [x]}, {name: c, command: [y]}]}", "{name: a, processes: [{name: c, command: [z]}, {name: b, command: [x]}]}", true},
		{"b", "{name: a, processes: [{name: b, command: [x]}]}", "{name: a, processes: [{name: b, command: [x]}], cwd: /tmp}", true},
		{"c", "{name: a, processes: [{name: b, command: [x]}]}", "{name: a, processes: [{name: c, command: [x]}]}", true},
	} {
		if got := Renews(load(c.old), load(c.new), c.process); got != c.want {
			t.Errorf("%s of %s, now %s: %v", c.process, c.old, c.new, got)
		}
	}
	old, shell := load("{name: a, command: [x]}"), load("{name: a, command: [x]}")
	shell.Processes[0].Env["LANG"] = "fr"
	if Renews(old, shell, "a") {
		t.Error("a captured value of the shell is a reason")
	}
}

func TestDiff(t *testing.T) {
	old := load(t, everything, map[string]string{"X": "x", "PATH": "/bin"})
	text := strings.NewReplacer("A: \"1\"", "A: \"2\"", "API_KEY: secret", "API_KEY: other", "factor: 1.5", "factor: 3", "instances: 3", "instances: 4", "  - {name: migrate, command: \"echo $$HOME; true\", oneshot: true}\n", "  - {name: migrate, command: [echo], oneshot: true}\n  - {name: new, command: [new]}\n",
		"startPeriod: 1s500ms", "startPeriod: 2s", "maxSize: 3MiB", "maxSize: 4MiB", "umask: 027", "umask: 022", "      - {name: tail, command: [x], ready: {log: \"^a$\"}, health: {tcp: 80}}\n", "").Replace(everything)
	new := load(t, text, map[string]string{"X": "x", "PATH": "/usr/bin", "TZ": "UTC"})
	new.Apps[0].OnDaemonExit = "stop"
	want := []Change{
		{"shop/dev/api", "changed", "env.A", "1", "2", ByRestart},
		{"shop/dev/api", "changed", "env.API_KEY", Masked, Masked, ByRestart},
		{"shop/dev/api", "changed", "env.PATH", "/bin", "/usr/bin", NextRestart},
		{"shop/dev/api", "changed", "env.TZ", "", "UTC", NextRestart},
		{"shop/dev/api", "changed", "health.startPeriod", "1s500ms", "2s", Live},
		{"shop/dev/api", "changed", "onDaemonExit", "adopt", "stop", ByRestart},
		{"shop/dev/api", "changed", "restart.backoff.factor", "1.5", "3", Live},
		{"shop/dev/api", "changed", "umask", "027", "022", ByRestart},
		{"shop/dev/migrate", "changed", "command", `["/bin/sh","-c","echo $HOME; true"]`, `["echo"]`, ByRestart},
		{"shop/dev/new", "added", "", "", "", ""},
		{"shop/dev/pool", "changed", "processes", "web, worker, tail", "web, worker", Live},
		{"shop/dev/pool", "changed", "processes[web].instances", "3", "4", Live},
		{"shop/dev/pool", "changed", "processes[web].logging.maxSize", "3MiB", "4MiB", ByRestart},
	}
	got := slices.DeleteFunc(Diff(old, new), func(c Change) bool {
		return c.App != "shop/dev/api" && (strings.HasSuffix(c.Path, "env.PATH") || strings.HasSuffix(c.Path, "env.TZ"))
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	shared := load(t, "project: shop\nsupervision: {strategy: one_for_all}\nmonitoring: {metrics: {interval: 9s}}"+everything[len("\nproject: shop"):], map[string]string{"X": "x", "PATH": "/bin"})
	wantShared := []Change{{"", "changed", "monitoring.metrics.interval", "5s", "9s", Live}, {"", "changed", "supervision.strategy", "one_for_one", "one_for_all", Live}}
	if diff := cmp.Diff(wantShared, Diff(old, shared)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What was said to be secret once is masked in the other one too, and whoever says what the shell said is no reason to restart.
	leak := load(t, strings.NewReplacer("API_KEY: secret", "API_KEY: a-long-secret").Replace(everything), map[string]string{"X": "x"})
	spill := load(t, strings.NewReplacer("API_KEY: secret", "ELSE: a-long-secret").Replace(everything), map[string]string{"X": "x"})
	for _, c := range Diff(leak, spill) {
		if strings.Contains(c.Old+c.New, "a-long-secret") {
			t.Errorf("shown: %+v", c)
		}
	}
	shell, named := load(t, "apps: [{name: a, command: [x]}]", map[string]string{"TZ": "UTC"}), load(t, "apps: [{name: a, command: [x], env: {TZ: UTC}}]", nil)
	if got, want := Diff(shell, named), []Change{{named.Apps[0].Key, "changed", "env.TZ", "UTC", "UTC", Live}}; !slices.Equal(got, want) || Renews(&shell.Apps[0], &named.Apps[0], "a") {
		t.Errorf("%+v, want %+v", got, want)
	}
	if d := Diff(old, old); d != nil {
		t.Errorf("nothing changed, yet: %v", d)
	}
	if d := Diff(nil, old); len(d) != 3 || d[0].Kind != "added" {
		t.Errorf("from nothing: %v", d)
	}
	if d := Diff(old, nil); len(d) != 3 || d[0].Kind != "removed" {
		t.Errorf("to nothing: %v", d)
	}
}

// Whatever a definition holds is a key of the file, so that a change can be named and its effect be known.
func TestEveryResolvedValueIsAKey(t *testing.T) {
	d := load(t, everything, map[string]string{"X": "x"})
	all := load(t, `
apps:
  - {name: a, command: [a], group: g, ports: {p: auto}, ready: {tcp: p}, health: {http: /, port: p}}
  - {name: b, command: [b], ready: {exec: [x]}, health: {exec: [x]}, user: "0"}
  - {name: c, command: [b], ready: {log: x}}`, nil)
	for _, a := range append(d.Apps, all.Apps...) {
		for path := range flatten(a) {
			at := path
			if i := strings.Index(at, "]."); i >= 0 {
				at = "processes." + at[i+2:]
			}
			if at == "unset" || at == "processes.unset" { // what env says with null
				continue
			}
			if i := strings.Index(at, "env."); i >= 0 { // names of variables are free
				at = at[:i+3]
			}
			if i := strings.Index(at, "ports."); i >= 0 { // and of ports
				at = at[:i+5]
			}
			if i := strings.Index(at, "sockets."); i >= 0 { // and of sockets
				at = at[:i+7]
			}
			if _, err := Explain("apps." + at); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

func TestDefaultsAreThoseOfTheTables(t *testing.T) {
	d := load(t, "apps: [{name: a, command: [a], health: {tcp: 80}}]", nil)
	values := flatten(d.Apps[0])
	checked := 0
	for path, l := range values {
		doc, err := Explain("apps." + path)
		if err != nil || doc.Default == "" {
			continue
		}
		text := doc.Default[strings.LastIndex(doc.Default, ", ")+1:]
		switch path {
		case "restart.policy":
			text, _, _ = strings.Cut(doc.Default, ",")
		case "cwd", "ready", "logging", "health":
			continue
		}
		text = strings.TrimSpace(text)
		if v, err := unit.Duration(text); err == nil {
			text = unit.FormatDuration(v)
		}
		if l.shown != text {
			t.Errorf("%s is %s, documented as %s", path, l.shown, doc.Default)
		}
		checked++
	}
	if checked < 22 {
		t.Errorf("only %d defaults were compared", checked)
	}
	for path, want := range map[string]string{"monitoring.healthCheck.interval": "15s", "monitoring.metrics.interval": showDuration(d.Monitoring.MetricsInterval), "monitoring.metrics.retention": showDuration(d.Monitoring.Retention), "supervision.strategy": d.Supervision.Strategy, "logging.maxSize": "50MB"} {
		if doc, err := Explain(path); err != nil || doc.Default != want {
			t.Errorf("%s: documented as %q, is %q (%v)", path, doc.Default, want, err)
		}
	}
	if r := d.Apps[0].Processes[0].Ready; r.Kind != "alive" || r.Delay != aliveDelay || r.Timeout != defaultReadyTimeout {
		t.Errorf("without ready: %+v", r)
	}
}

func TestExplain(t *testing.T) {
	d, err := Explain("config.apps[].health")
	if err != nil {
		t.Fatal(err)
	}
	if d.Path != "apps.health" || d.Change != Live || len(d.Keys) != 8 || d.Keys[0].Name != "http" || d.Doc == "" {
		t.Errorf("%+v", d)
	}
	if d, err = Explain("apps.processes.restart.policy"); err != nil || !slices.Equal(d.Allowed, []string{"always", "on-failure", "never"}) {
		t.Errorf("%+v %v", d, err)
	}
	if d, err = Explain("apps.watch"); err != nil || !d.Later {
		t.Errorf("%+v %v", d, err)
	}
	if d, err = Explain("daemon.limits.agentCalls"); err != nil || d.Default != "200" || d.Path != "daemon.limits.agentCalls" {
		t.Errorf("%+v %v", d, err)
	}
	if d, err = Explain(""); err != nil || len(d.Keys) < 5 {
		t.Errorf("%+v %v", d, err)
	}
	_, err = Explain("apps.helth")
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.NotFound || !slices.Equal(f.Candidates, []string{"health"}) {
		t.Errorf("%v", err)
	}
	_, err = Explain("zzz")
	if f := fault.From(err); f.Code != fault.NotFound || len(f.Candidates) < 5 {
		t.Errorf("%+v", f)
	}
}

func TestEveryKeySaysHowAChangeIsTakenUp(t *testing.T) {
	var visit func(path string, keys []*schema.Key)
	seen := map[string]bool{}
	visit = func(path string, keys []*schema.Key) {
		for _, k := range keys {
			if !k.Later {
				seen[docOf(path+k.Name, k).Change] = true
			} else if docOf(path+k.Name, k).Change != "" {
				t.Errorf("%s%s is not supported, yet says how it is taken up", path, k.Name)
			}
			visit(path+k.Name+".", k.Keys)
		}
	}
	visit("", fileKind.Keys())
	if len(seen) != 2 || !seen[Live] || !seen[ByRestart] {
		t.Errorf("ways: %v", seen)
	}
}

func TestErrorsAreAFault(t *testing.T) {
	_, _, err := Load(Source{Files: []File{{Path: "/x/omnitron.yaml", Text: "apps: [{name: a, comand: [a]}]"}}, Dir: "/x"})
	f := fault.From(err)
	if f.Code != fault.Invalid || f.Reason != "config_invalid" || len(f.Problems) != 2 {
		t.Fatalf("%+v", f)
	}
	p := f.Problems[1]
	if p.Path != "omnitron.yaml:1:18" || p.Near != "command" || !strings.Contains(p.Message, "^^^^^^") {
		t.Errorf("%+v", p)
	}
}

func TestReferences(t *testing.T) {
	for _, c := range []struct {
		what, text string
		want       []string
		ok         bool
	}{
		{"none", "apps: [{name: a, command: [a]}]", nil, true},
		{"several, one twice", "apps:\n  - {name: a, envFile: [a.env, ~/b.env]}\n  - {name: b, envFile: [a.env], processes: [{name: p, envFile: [/c.env, '${F}.env', .env]}]}", []string{"/srv/a.env", "/home/ann/b.env", "/c.env", "/srv/f.env"}, true},
		{"a single one, wrongly written", "apps: [{name: a, envFile: a.env}]", []string{"/srv/a.env"}, true},
		{"broken otherwise", "what: is this\napps: {x: {envFile: [a.env]}}", []string{"/srv/a.env"}, true},
		{"a variable missing", "apps: [{name: '${NO}', envFile: [a.env]}]", []string{"/srv/a.env"}, false},
		{"a name that only .env knows", "apps: [{name: a, envFile: ['${LATER}.env', a.env]}]", []string{"/srv/a.env"}, false},
		{"no YAML", "apps: [{", nil, false},
	} {
		got, err := References(Source{Files: []File{{Path: "/srv/omnitron.yaml", Text: c.text}}, Home: "/home/ann", Env: map[string]string{"F": "f"}})
		if want := append([]string{"/srv/.env"}, c.want...); !slices.Equal(got, want) || (err == nil) != c.ok {
			t.Errorf("%s: %v, %v; want %v", c.what, got, err, want)
		}
	}
}

func TestReferencesThatDotenvDecides(t *testing.T) {
	src := Source{Files: []File{{Path: "/srv/omnitron.yaml", Text: "apps: [{name: a, envFile: ['${LATER}.env']}]"}}, EnvFiles: map[string]string{"/srv/.env": "LATER=prod\n"}}
	got, err := References(src)
	if want := []string{"/srv/.env", "/srv/prod.env"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestFit(t *testing.T) {
	for in, want := range map[string]string{"Shop": "shop", "My Shop (2)": "my-shop-2", "..": "", "/": "", "-_x": "x", "Ünïcode": "n-code", strings.Repeat("a", 70): strings.Repeat("a", 63), "a.b": "a-b"} {
		if got := Fit(in); got != want {
			t.Errorf("%q fits as %q, want %q", in, got, want)
		}
	}
}
