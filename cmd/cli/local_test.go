package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	yaml "github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func TestVersionAndKill(t *testing.T) {
	b := newBench(t)
	b.env.Dial = func(context.Context, string) (Client, error) {
		t.Error("a local command dialled")
		return nil, errors.New("no")
	}
	if r := b.run(t, "version"); r.code != 0 || r.out != "omnitron 1.2.3 go1.26 linux/amd64\n" {
		t.Errorf("version: exit %d, %q", r.code, r.out)
	}
	if r := b.run(t, "version", "--json"); r.out != `{"version":"1.2.3","go":"go1.26","os":"linux","arch":"amd64"}`+"\n" {
		t.Errorf("version --json: %q", r.out)
	}
	if r := b.run(t, "kill"); r.code != 0 || !strings.Contains(r.out, "pid 77") {
		t.Errorf("kill: exit %d, %q", r.code, r.out)
	}
	b.env.Kill = func(context.Context, string) (Killed, error) { return Killed{}, nil }
	if r := b.run(t, "kill"); r.code != 0 || !strings.Contains(r.out, "nothing to kill") {
		t.Errorf("kill without a daemon: exit %d, %q", r.code, r.out)
	}
}

// TestStaying: install and its like say what they did, and what they would do.
func TestStaying(t *testing.T) {
	b := newBench(t)
	for line, want := range map[string]string{
		"install --home /h": "written   /u\nran       systemctl start 'a b'\ninstalled: the daemon of /h is started at boot\n",
		"install --dry-run": "would: written   /u\nwould: ran       systemctl start 'a b'\nnothing was done\n",
		"install --print":   "[Unit]\n",
		"uninstall":         "nothing to do: it is so already\n",
		"upgrade":           "/o is 2, was 1; daemon: replaced\n",
		"upgrade --dry-run": "would replace /o: 1 by 2; nothing was done\n",
	} {
		if r := b.run(t, strings.Fields(line)...); r.code != 0 || r.out != want {
			t.Errorf("%s: exit %d, %q", line, r.code, r.out)
		}
	}
	if r := b.run(t, "install"); !strings.Contains(r.err, "note: mind") {
		t.Errorf("%q", r.err)
	}
	if r := b.run(t, "install", "--manager", "systemx"); r.code != 64 || !strings.Contains(r.err, "systemd") {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
	if r := b.run(t, "upgrade", "--json"); r.code != 0 || !strings.Contains(r.out, `"daemon":"replaced"`) {
		t.Errorf("exit %d, %q", r.code, r.out)
	}
}

func TestHomeReachesTheEnvironment(t *testing.T) {
	b := newBench(t)
	var homes []string
	b.env.Dial = func(_ context.Context, home string) (Client, error) { homes = append(homes, home); return b.fake, nil }
	b.env.Kill = func(_ context.Context, home string) (Killed, error) {
		homes = append(homes, home)
		return Killed{}, nil
	}
	b.on("daemon.ping", map[string]any{})
	b.run(t, "ping", "--home", "/a")
	b.run(t, "--home=/b", "kill")
	if strings.Join(homes, " ") != "/a /b" {
		t.Errorf("homes %q", homes)
	}
}

func TestConfig(t *testing.T) {
	b := newBench(t)
	if r := b.run(t, "config", "check"); r.code != 1 || !strings.Contains(r.err, "no omnitron.yaml") {
		t.Errorf("without a file: exit %d, %q", r.code, r.err)
	}
	path := b.project(t, "apps: []\n")
	b.env.Config.Resolve = func(src config.Source) (json.RawMessage, []config.Warning, error) {
		if src.Files[0].Path != path || src.Stack != "prod" {
			t.Errorf("resolved %+v", src)
		}
		return json.RawMessage(`{"project":"shop","apps":[]}`), []config.Warning{{Where: "omnitron.yaml:1:1", Message: "odd"}}, nil
	}
	if r := b.run(t, "config", "check", "--stack", "prod"); r.code != 0 || !strings.Contains(r.out, "omnitron.yaml is right: 0 apps\n") || !strings.Contains(r.out, "odd") {
		t.Errorf("check: exit %d, %q, %q", r.code, r.out, r.err)
	}
	if r := b.run(t, "config", "show", "--stack", "prod"); r.code != 0 || r.out != "project: shop\n" {
		t.Errorf("show: exit %d, %q", r.code, r.out)
	}
	if r := b.run(t, "config", "show", "--stack", "prod", "--jq", ".project"); r.out != "shop\n" {
		t.Errorf("show --jq: %q", r.out)
	}
	if r := b.run(t, "config", "schema", "--json"); r.code != 0 || len(documents(t, "json", r.out)) != 1 {
		t.Errorf("schema: exit %d, %q", r.code, r.out)
	}
	b.env.Config.Resolve = func(config.Source) (json.RawMessage, []config.Warning, error) {
		e := fault.New(fault.Invalid, "wrong")
		e.Problems = []fault.Problem{{Path: "omnitron.yaml:1:1", Message: "a"}, {Path: "omnitron.yaml:2:1", Message: "b"}}
		return nil, nil, e
	}
	if r := b.run(t, "config", "check", "--json"); r.code != 64 || len(failure(t, r.out).Problems) != 2 {
		t.Errorf("check of a wrong file: exit %d, %q", r.code, r.out)
	}
}

// A file without an end is read as far as anything is read, and standard input is no file.
func TestConfigIsRead(t *testing.T) {
	b := newBench(t)
	b.env.Config.Resolve = func(src config.Source) (json.RawMessage, []config.Warning, error) {
		if n := len(src.Files[0].Text); n < yaml.MaxBytes+1 || n > yaml.MaxBytes+9 {
			t.Errorf("%d bytes were read", n)
		}
		return nil, nil, fault.New(fault.Invalid, "too large")
	}
	if r := b.run(t, "config", "check", "-c", "/dev/zero"); r.code != 64 || !strings.Contains(r.err, "too large") {
		t.Errorf("/dev/zero: exit %d, %q", r.code, r.err)
	}
	if r := b.run(t, "config", "check", "-c", "-"); r.code != 64 || !strings.Contains(r.err, "standard input") {
		t.Errorf("-: exit %d, %q", r.code, r.err)
	}
	if r := b.run(t, "apps", "apply", "--files", "@/dev/zero"); r.code != 64 || !strings.Contains(r.err, "more than") {
		t.Errorf("@/dev/zero: exit %d, %q", r.code, r.err)
	}
}

func TestExplain(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ what, want string }{
		{"config.apps", "what runs"}, {"config.apps.health", "http"}, {"config.apps.health.http", "path"}, {"settings", "policy"}, {"settings.policy.rules", "then"}, {"conflict", "exit code 1"}, {"invalid", "exit code 64"},
		{"apps.scale", "omnitron apps scale <name> <instances>"}, {"apps_start", "(method, operator, sets)"},
		{"port_in_use", "(reason)"}, {"OMNITRON_ACCESSIBLE", "screen readers"},
	} {
		if r := b.run(t, "explain", c.what); r.code != 0 || !strings.Contains(r.out, c.want) {
			t.Errorf("%s: exit %d, %q is not in %q %q", c.what, r.code, c.want, r.out, r.err)
		}
		if r := b.run(t, "explain", c.what, "-o", "json"); r.code != 0 || len(documents(t, "json", r.out)) != 1 {
			t.Errorf("%s as JSON: exit %d, %q", c.what, r.code, r.out)
		}
	}
	for what, near := range map[string]string{"config.aps": "config.apps", "config.apps.helth": "config.apps.health", "settings.polcy": "settings.policy", "settings.policy.rles": "settings.policy.rules", "conflct": "conflict", "port_in_us": "port_in_use", "apps.strat": "apps.start"} {
		if r := b.run(t, "explain", what); r.code != 64 || !strings.Contains(r.err, `did you mean "`+near+`"?`) {
			t.Errorf("%s: exit %d, %q", what, r.code, r.err)
		}
	}
	for word, about := range fault.Reasons {
		r := b.run(t, "explain", word, "-o", "json")
		var e struct{ Text, Do string }
		if err := json.Unmarshal([]byte(r.out), &e); err != nil || r.code != 0 || e.Text == "" || e.Text != about.Means && !slices.Contains(fault.Codes, fault.Code(word)) {
			t.Errorf("%s: exit %d, %q", word, r.code, r.out)
		}
	}
	for _, code := range fault.Codes {
		if r := b.run(t, "explain", string(code)); r.code != 0 || len(r.out) < 40 {
			t.Errorf("%s is not explained: exit %d, %q", code, r.code, r.out)
		}
	}
}

func TestMCP(t *testing.T) {
	b := newBench(t)
	var got Launch
	b.env.MCP = func(_ context.Context, _ string, l Launch) error { got = l; return nil }
	if r := b.run(t, "mcp", "--role", "viewer", "--profile", "full", "--toolsets", "apps,logs", "--read-only"); r.code != 0 || r.out+r.err != "" {
		t.Errorf("mcp: exit %d, %q, %q", r.code, r.out, r.err)
	}
	if got.Role != "viewer" || got.Profile != "full" || !got.ReadOnly || strings.Join(got.Toolsets, " ") != "apps logs" {
		t.Errorf("launched with %+v", got)
	}
	for _, args := range [][]string{{"--role", "veiwer"}, {"--profile", "ful"}, {"--toolsets", "aps"}, {"config", "--client", "curser"}} {
		if r := b.run(t, append([]string{"mcp"}, args...)...); r.code != 64 || !strings.Contains(r.err, "did you mean") {
			t.Errorf("%v: exit %d, %q", args, r.code, r.err)
		}
	}
	for client, key := range map[string]string{"claude": "mcpServers", "cursor": "mcpServers", "vscode": "servers"} {
		r := b.run(t, "mcp", "config", "--client", client, "--role", "viewer", "--home", "/h")
		var doc map[string]map[string]struct {
			Command string
			Args    []string
		}
		if err := json.Unmarshal([]byte(r.out), &doc); err != nil || r.code != 0 {
			t.Fatalf("%s: exit %d, %v, %q", client, r.code, err, r.out)
		}
		if s := doc[key]["omnitron"]; s.Command != "/opt/omnitron" || strings.Join(s.Args, " ") != "--home /h mcp --role viewer" {
			t.Errorf("%s: %+v", client, doc)
		}
	}
	t.Setenv("OMNITRON_HOME", "/my home") // which a client that is started from elsewhere does not have
	r := b.run(t, "mcp", "config")
	if !strings.Contains(r.out, `"--home"`) || !strings.HasSuffix(r.err, "claude mcp add omnitron -- /opt/omnitron --home '/my home' mcp\n") {
		t.Errorf("%q %q", r.out, r.err)
	}
}

func TestDoctor(t *testing.T) {
	b := newBench(t)
	b.on("daemon.doctor", `{"ok":false,"checks":[{"name":"disk","status":"warning"}]}`)
	if r := b.run(t, "doctor"); r.code != 0 || !strings.Contains(r.out, "disk\twarning") {
		t.Errorf("exit %d, %q, %q", r.code, r.out, r.err)
	}
	b.env.Dial = func(context.Context, string) (Client, error) { return nil, os.ErrNotExist }
	b.env.Doctor = func(context.Context, string, error) (json.RawMessage, error) {
		return json.RawMessage(`{"ok":true,"checks":[{"name":"home","status":"ok"}]}`), nil
	}
	if r := b.run(t, "doctor", "--json"); r.code != 0 || !strings.Contains(r.out, `"home"`) || r.err != "" {
		t.Errorf("without a daemon: exit %d, %q, %q", r.code, r.out, r.err)
	}
}

// TestDoctorFails: what is wrong is a failure in every form, and on a narrow terminal too it comes with what mends it.
func TestDoctorFails(t *testing.T) {
	b := newBench(t)
	b.on("daemon.doctor", `{"ok":false,"checks":[{"name":"home","status":"ok","what":"/h is private"},
		{"name":"app mailer","status":"error","what":"shop/dev/mailer is crashed: exited 1 after 2ms","why":"nobody gets mail","fix":"omnitron why mailer"}]}`)
	for _, args := range [][]string{{}, {"-o", "wide"}, {"-o", "json"}, {"-o", "jsonl"}, {"-o", "yaml"}, {"-o", "name"}, {"--jq", ".ok"}, {"-q"}} {
		for _, name := range [][]string{{"doctor"}, {"daemon", "doctor"}} {
			if r := b.run(t, append(name, args...)...); r.code != 1 || r.err != "" {
				t.Errorf("%v %v: exit %d, %q", name, args, r.code, r.err)
			}
		}
	}
	b.env.Terminal = &Terminal{Out: true, Size: func() (int, int) { return 44, 20 }}
	want := `● home        /h is private
✗ app mailer  shop/dev/mailer is crashed:
              exited 1 after 2ms
              nobody gets mail
              try omnitron why mailer
`
	if r := b.run(t, "doctor", "--no-color"); r.out != want || r.code != 1 {
		t.Errorf("exit %d,\n%s", r.code, r.out)
	}
}

func TestDemo(t *testing.T) {
	b := newBench(t)
	b.project(t, "apps: []\n")
	b.env.Demo = func(context.Context, string) (Demo, error) { return Demo{Home: "/demo/home", Dir: b.env.Dir}, nil }
	var home string
	b.env.Dial = func(_ context.Context, h string) (Client, error) { home = h; return b.fake, nil }
	b.on("apps.apply", done(map[string]any{"project": "demo", "stack": "dev", "apps": []any{map[string]any{"key": "demo/dev/mailer", "change": "added", "enabled": true}}})).
		on("apps.list", shop).on("apps.explain", `{"name":"mailer","state":"crashed","reason":"SMTP_URL is not set"}`).
		on("apps.start", fault.New(fault.Failed, "1 app failed").WithItems([]any{map[string]any{"key": "demo/dev/mailer", "ok": false, "lines": []string{}}}))
	r := b.run(t, "demo", "--progress", "none")
	if r.code != 64 {
		t.Errorf("demo takes --progress: exit %d", r.code)
	}
	b.items["events.follow"] = func(ctx context.Context, _ map[string]any, _ func(any) bool) error { <-ctx.Done(); return ctx.Err() }
	r = b.run(t, "demo")
	if r.code != 0 || home != "/demo/home" || !strings.Contains(r.out, "SMTP_URL is not set") || !strings.Contains(r.out, "omnitron --home /demo/home down") || !strings.Contains(r.out, "api\trunning") {
		t.Errorf("exit %d, home %q, %q, %q", r.code, home, r.out, r.err)
	}
}

func TestCompletion(t *testing.T) {
	b := newBench(t)
	b.on("apps.list", `{"items":[{"name":"api","key":"shop/dev/api","state":"running"},{"name":"worker","key":"shop/dev/worker","state":"crashed"}],"truncated":false}`)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"start", ""}, "api\trunning\nworker\tcrashed\n:4\n"}, {[]string{"start", "api", ""}, "worker\tcrashed\n:4\n"}, {[]string{"why", "w"}, "worker\tcrashed\n:4\n"},
		{[]string{"apps", "get", "shop/dev/a"}, "shop/dev/api\trunning\n:4\n"}, {[]string{"logs", "--level", ""}, "info\nwarn\nerror\n:4\n"}, {[]string{"completion", ""}, "bash\nzsh\nfish\n:4\n"},
		{[]string{"ls", "--project", ""}, "shop\n:4\n"}, {[]string{"ls", "--stack", ""}, "dev\n:4\n"}, {[]string{"ls", "-o", "j"}, "table\nwide\njson\nyaml\njsonl\nname\n:4\n"},
	} {
		if r := b.run(t, append([]string{"__complete"}, c.args...)...); r.code != 0 || r.out != c.want {
			t.Errorf("%v: exit %d, %q, want %q", c.args, r.code, r.out, c.want)
		}
	}
	b.env.Dial = func(context.Context, string) (Client, error) { return nil, os.ErrNotExist }
	if r := b.run(t, "__complete", "start", ""); r.code != 0 || r.out != ":4\n" || strings.Contains(r.err, "not reachable") {
		t.Errorf("without a daemon: exit %d, %q, %q", r.code, r.out, r.err)
	}
	b.env.Dial = func(ctx context.Context, _ string) (Client, error) { <-ctx.Done(); return nil, ctx.Err() }
	begun := time.Now()
	if r := b.run(t, "__complete", "start", ""); r.code != 0 || time.Since(begun) > 2*time.Second {
		t.Errorf("a daemon that hangs: exit %d after %v", r.code, time.Since(begun))
	}
}

// TestCompletionScripts reads the scripts with the shells that are there.
func TestCompletionScripts(t *testing.T) {
	b := newBench(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := b.run(t, "completion", shell)
		if r.code != 0 || !strings.Contains(r.out, "__complete") {
			t.Errorf("%s: exit %d, %d bytes", shell, r.code, len(r.out))
		}
		if shell == "bash" {
			cmd := exec.CommandContext(t.Context(), "bash", "-n")
			cmd.Stdin = strings.NewReader(r.out)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("bash does not read its script: %v\n%s", err, out)
			}
		}
	}
	if r := b.run(t, "completion", "bsh"); r.code != 64 || !strings.Contains(r.err, `did you mean "bash"?`) {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
}
