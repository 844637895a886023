package daemon

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// held is a keeper as status sees it.
type held proc.Info

func (k held) Info() proc.Info { return proc.Info(k) }

// Ping is not answered by the version "stopped" to those who have a deadline.
func (k held) Ping(ctx context.Context) error {
	if _, bounded := ctx.Deadline(); bounded && k.Version == "stopped" {
		return context.DeadlineExceeded
	}
	return nil
}

var admin = op.Caller{User: "tester", Channel: op.Person, Role: op.Admin, Ceiling: op.Admin}

func service(t *testing.T) (*hosttest.Host, *Service) {
	t.Helper()
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	s.keeper = held{PID: 7, Version: "k1", Contain: "v2", RSS: 1 << 20}
	return h, s
}

// project writes a file and makes the daemon follow it as up does.
func project(t *testing.T, h *hosttest.Host, name, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "omnitron.yaml")
	write(t, path, text)
	src := config.Source{Files: []config.File{{Path: path, Text: text}}, Env: map[string]string{"PATH": "/bin", "HOME": dir}, Home: dir}
	def, _, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	var rev records.Revision
	rev.Project, rev.Stack, rev.Created = def.Project, def.Stack, time.Now()
	rev.Definition, _ = json.Marshal(def)
	rev.Files, _ = json.Marshal(src.Files)
	rev.Env, _ = json.Marshal(src.Env)
	n, err := h.Revisions.Add(t.Context(), rev)
	if err == nil {
		_, err = h.Supervisor.Apply(t.Context(), def, n, supervisor.Command{Wait: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return string(fault.From(err).Code) + "/" + fault.From(err).Reason
}

// argv gives the command of an app.
func argv(h *hosttest.Host, key string) string {
	if v := h.Supervisor.App(key); v != nil {
		return filepath.Base(v.Definition.Processes[0].Argv[0])
	}
	return ""
}

// TestReload: all files are read and checked before the first is applied, and then every one is.
func TestReload(t *testing.T) {
	h, s := service(t)
	ctx := op.WithCaller(t.Context(), admin)
	blog := project(t, h, "blog", "apps:\n  - {name: cms, command: [./old]}\n")
	shop := project(t, h, "shop", "apps:\n  - {name: api, command: [./old]}\n  - {name: gone, command: [./old]}\n")
	write(t, blog, "apps:\n  - {name: cms, command: [./new]}\n")
	write(t, shop, "apps:\n  - {name: api, comand: [./new]}\n")
	if _, err := s.Reload(ctx, Rereading{}); reason(err) != "invalid/config_invalid" || argv(h, "blog/dev/cms") != "old" {
		t.Errorf("one bad file of two: %v, cms runs %s", err, argv(h, "blog/dev/cms"))
	}
	if err := os.Rename(shop, shop+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(ctx, Rereading{Project: "shop"}); reason(err) != "conflict/file_unreadable" || !strings.Contains(err.Error(), shop) {
		t.Errorf("the one whose file is missing: %v", err)
	}
	if plan, err := s.PlanReload(ctx, Rereading{}); err != nil || len(plan.Items) != 2 || plan.Items[0].Target != "blog/dev/cms" || plan.Items[1].Target != "shop/dev" || !strings.Contains(plan.Items[1].To, shop) {
		t.Errorf("the plan: %+v %v", plan, err)
	}
	if out, err := s.Reload(ctx, Rereading{}); reason(err) != "failed/file_unreadable" || !strings.Contains(err.Error(), shop) || !strings.Contains(err.Error(), "reloaded: blog/dev") ||
		len(out.Projects) != 1 || argv(h, "blog/dev/cms") != "new" || argv(h, "shop/dev/api") != "old" {
		t.Errorf("one missing file of two: %+v %v, cms runs %s", out, err, argv(h, "blog/dev/cms"))
	}
	write(t, blog, "apps:\n  - {name: cms, command: [./newest]}\n")
	if err := os.Rename(blog, blog+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(ctx, Rereading{}); reason(err) != "conflict/file_unreadable" || argv(h, "blog/dev/cms") != "new" {
		t.Errorf("both are missing: %v", err)
	}
	write(t, blog, "apps:\n  - {name: cms, command: [./newest]}\n")
	write(t, shop, "apps:\n  - {name: api, command: [./new]}\n  - {name: more, command: [./new]}\n")
	plan, err := s.PlanReload(ctx, Rereading{})
	if err != nil || len(plan.Items) != 4 || argv(h, "shop/dev/api") != "old" {
		t.Errorf("%+v %v", plan, err)
	}
	h.Disk.Fill(true)
	if _, err := s.Reload(ctx, Rereading{}); reason(err) != "internal/state_not_durable" || argv(h, "blog/dev/cms") != "new" {
		t.Errorf("a full disk: %v", err)
	}
	h.Disk.Fill(false)
	out, err := s.Reload(ctx, Rereading{})
	if err != nil || len(out.Projects) != 2 || out.Projects[0].Project != "blog" || out.Projects[0].Changed != 1 || out.Projects[1].Changed != 3 {
		t.Fatalf("%+v %v", out, err)
	}
	if argv(h, "blog/dev/cms") != "newest" || argv(h, "shop/dev/api") != "new" || argv(h, "shop/dev/more") != "new" || h.Supervisor.App("shop/dev/gone") != nil {
		t.Errorf("cms %s, api %s, more %s", argv(h, "blog/dev/cms"), argv(h, "shop/dev/api"), argv(h, "shop/dev/more"))
	}
	rev, err := h.Revisions.Latest(ctx, "shop", "dev")
	if err != nil || rev.Rev != out.Projects[1].Revision || !strings.Contains(string(rev.Files), "./new") || rev.By != "tester/person" {
		t.Errorf("%d %s %s %v", rev.Rev, rev.Files, rev.By, err)
	}
	if out, err = s.Reload(ctx, Rereading{}); err != nil || out.Projects[1].Changed != 0 || out.Projects[1].Revision != rev.Rev {
		t.Errorf("nothing new: %+v %v", out, err)
	}
	write(t, blog, "apps:\n  - {name: cms, command: [./newer]}\n")
	if out, err = s.Reload(ctx, Rereading{Project: op.ProjectRef(filepath.Dir(shop))}); err != nil || len(out.Projects) != 1 || argv(h, "blog/dev/cms") != "newest" {
		t.Errorf("by a folder: %+v %v", out, err)
	}
	if _, err = s.Reload(ctx, Rereading{Project: "nope"}); reason(err) != "not_found/project_unknown" {
		t.Errorf("%v", err)
	}
}

// TestReloadAppliesAll: an app of one project that does not come up keeps nobody from following the other's file.
func TestReloadTakesSettingsUp(t *testing.T) {
	h, s := service(t)
	ctx := op.WithCaller(t.Context(), admin)
	blog := project(t, h, "blog", "apps:\n  - {name: cms, command: [./old]}\n")
	file := filepath.Join(h.Home, "config.yaml")
	stop := policy.Request{Caller: op.Caller{User: "x", Channel: op.Agent, Ceiling: op.Admin, Role: op.Admin}, Spec: op.Spec{Service: "apps", Verb: "stop", Role: op.Operator, Effect: op.Interrupts}}
	rule := func() string { return h.Policy.Decide(stop).Rule }
	write(t, file, "policy: {rules: [{name: one, when: {channel: agent}, then: hold}]}\n")
	write(t, blog, "apps:\n  - {name: cms, comand: [./new]}\n")
	if _, err := s.Reload(ctx, Rereading{}); reason(err) != "invalid/config_invalid" || rule() != "agents-interrupt" {
		t.Errorf("with a project that is not right: %v, %s", err, rule())
	}
	write(t, blog, "apps:\n  - {name: cms, command: [./new]}\n")
	plan, err := s.PlanReload(ctx, Rereading{})
	if err != nil || len(plan.Items) != 2 || plan.Items[0] != (op.Item{Target: "policy.rules.one", To: "channel agent, hold"}) || rule() != "agents-interrupt" {
		t.Errorf("%+v %v", plan, err)
	}
	if _, err := s.Reload(ctx, Rereading{}); err != nil || rule() != "one" || argv(h, "blog/dev/cms") != "new" {
		t.Errorf("%v, %s", err, rule())
	}
	write(t, file, "policy: {rules: [{name: two, when: {chanel: agent}, then: hold}]}\n")
	write(t, blog, "apps:\n  - {name: cms, command: [./newest]}\n")
	if _, err := s.Reload(ctx, Rereading{}); reason(err) != "invalid/config_invalid" || rule() != "one" || argv(h, "blog/dev/cms") != "new" {
		t.Errorf("with settings that are not right: %v, %s", err, rule())
	}
	write(t, file, "policy: {rules: [{name: three, when: {channel: agent}, then: hold}]}\n")
	if err := os.Rename(blog, blog+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(ctx, Rereading{}); reason(err) != "conflict/file_unreadable" || rule() != "three" {
		t.Errorf("without the project's files: %v, %s", err, rule())
	}
	// What a person agreed to is what is read: another content makes another plan.
	digest := map[string]bool{}
	for _, text := range []string{"one: 1", "one: 2"} {
		write(t, file, "")
		write(t, blog, "apps:\n  - {name: cms, command: [./newest], env: {"+text+"}}\n")
		plan, err := s.PlanReload(ctx, Rereading{})
		if err != nil {
			t.Fatal(err)
		}
		digest[plan.Digest] = true
	}
	if len(digest) != 2 {
		t.Errorf("two contents, and one plan: %v", digest)
	}
}

func TestReloadAppliesAll(t *testing.T) {
	h, s := service(t)
	ctx := op.WithCaller(t.Context(), admin)
	blog := project(t, h, "blog", "apps:\n  - {name: cms, command: [./old]}\n")
	shop := project(t, h, "shop", "apps:\n  - {name: api, command: [./old]}\n")
	if _, err := h.Supervisor.Start(ctx, supervisor.Command{Targets: op.TargetsOf(h.On(admin, "cms")), Wait: true}); err == nil {
		t.Fatal("it starts")
	}
	write(t, blog, "apps:\n  - {name: cms, command: [./new]}\n")
	write(t, shop, "apps:\n  - {name: api, command: [./new]}\n")
	out, err := s.Reload(ctx, Rereading{})
	if !fault.Is(err, fault.Failed) || argv(h, "shop/dev/api") != "new" || len(out.Projects) != 2 {
		t.Errorf("%+v %v", out, err)
	}
	if items, ok := fault.From(err).Items.([]view.Result); !ok || len(items) != 1 || items[0].Key != "blog/dev/cms" {
		t.Errorf("%+v", fault.From(err).Items)
	}
}

// TestDoctor finds what is wrong and names what mends it.
func TestDoctor(t *testing.T) {
	h, s := service(t)
	check := func(name string) (found Check) {
		t.Helper()
		c, err := s.Doctor(t.Context(), Nothing{})
		if err != nil {
			t.Fatal(err)
		}
		bad := slices.ContainsFunc(c.Checks, func(c Check) bool { return c.Status != "ok" })
		if c.OK == bad {
			t.Errorf("ok is %v with %+v", c.OK, c.Checks)
		}
		for _, ch := range c.Checks {
			if ch.Name == name && (found.Name == "" || ch.Status != "ok") {
				found = ch
			}
			if ch.Status != "ok" && (ch.Why == "" || ch.Fix == "") {
				t.Errorf("what is to be done about %+v?", ch)
			}
		}
		return found
	}
	if err := os.Chmod(h.Home, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home", "stores", "keeper", "descriptors"} {
		if c := check(name); c.Status != "ok" {
			t.Errorf("%+v", c)
		}
	}
	if err := os.Chmod(h.Home, 0o755); err != nil {
		t.Fatal(err)
	}
	if c := check("home"); c.Status != "warning" || string(c.Fix) != "chmod 700 "+h.Home {
		t.Errorf("%+v", c)
	}
	s.keeper = held{PID: 7, Version: "stopped", Contain: "v2"}
	if c := check("keeper"); c.Status != "error" || !strings.Contains(c.What, "pid 7) does not answer") || !strings.HasPrefix(string(c.Fix), "kill -9 7") {
		t.Errorf("%+v", c)
	}
	if st, err := s.Status(t.Context(), Nothing{}); err != nil || !slices.Contains(st.Warnings, "the keeper (pid 7) does not answer") {
		t.Errorf("%+v %v", st.Warnings, err)
	}
	s.keeper = held{}
	if c := check("keeper"); c.Status != "error" || c.Fix != "daemon.restart {}" {
		t.Errorf("%+v", c)
	}
	h.Declare("project: shop\napps:\n  - {name: api, command: [./none]}\n")
	if _, err := h.Supervisor.Start(t.Context(), supervisor.Command{Targets: op.TargetsOf(h.On(admin, "api")), Wait: true}); err == nil {
		t.Fatal("it starts")
	}
	if c := check("app api"); c.Status != "error" || !strings.Contains(c.What, "crashed") || c.Fix != `apps.explain {"name":"api"}` {
		t.Errorf("%+v", c)
	}
	s.planes = func() []host.Plane {
		return []host.Plane{{Name: "tcp"}, {Name: "http", Trouble: fault.New(fault.Conflict, "the port is taken").WithHint("take another")}}
	}
	if c := check("plane http"); c.Status != "error" || c.Fix != "take another" || check("plane tcp").Name != "" || check("stores").Status != "ok" {
		t.Errorf("%+v", c)
	}
	if _, _, err := h.Vault.Set("shop/x", []byte("a secret of some length")); err != nil {
		t.Fatal(err)
	}
	if c := check("vault"); c.Status != "ok" {
		t.Errorf("%+v", c)
	}
	key := filepath.Join(h.Home, "vault.key")
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	if c := check("vault"); c.Status != "error" || !strings.Contains(c.What, "vault.key is missing") || c.Fix != "secrets.rotate {}" {
		t.Errorf("the key has gone while the vault is open: %+v", c)
	}
	if _, err := h.Vault.Rotate(); err != nil {
		t.Fatal(err)
	}
	if c := check("vault"); c.Status != "ok" {
		t.Errorf("%+v", c)
	}
	h.Disk.Fill(true)
	_ = h.State.Flush(t.Context())
	if c := check("stores"); c.Status != "error" || !strings.Contains(c.What, "state.json cannot be written") || string(c.Fix) != "df -h "+h.Home {
		t.Errorf("%+v", c)
	}
	st, err := s.Status(t.Context(), Nothing{})
	if err != nil || len(st.Warnings) == 0 || st.Apps["crashed"] != 1 || st.PID != os.Getpid() || st.RSS == 0 || st.FDs == 0 {
		t.Errorf("%+v %v", st, err)
	}
	h.Disk.Fill(false)
	file, full := filepath.Join(t.TempDir(), "file"), t.TempDir()
	write(t, file, "")
	write(t, filepath.Join(full, "mine"), "")
	for _, bad := range []string{file, filepath.Join(file, "below"), full} {
		for _, c := range WithoutDaemon(bad, false, false).Checks {
			switch {
			case c.Status != "ok" && (c.Why == "" || c.Fix == ""):
				t.Errorf("%s: nothing to do about %+v", bad, c)
			case c.Name == "home" && (c.Status != "error" || !strings.Contains(c.What, bad)), c.Fix == "omnitron up":
				t.Errorf("%s: %+v", bad, c)
			}
		}
	}
	without := WithoutDaemon(filepath.Join(h.Home, "none"), false, false)
	if without.OK || !slices.ContainsFunc(without.Checks, func(c Check) bool { return c.Name == "daemon" && c.Fix == "omnitron up" }) {
		t.Errorf("%+v", without)
	}
}

// TestConfig: every setting is shown with its place in the file, none twice.
func TestConfig(t *testing.T) {
	_, s := service(t)
	settings, err := setting.New(func() (*setting.Daemon, error) {
		return setting.Load("limits: {agentCalls: 17}\nlogging: {level: debug}\npolicy: {rules: [{name: quiet, when: {channel: agent}, then: hold}]}\n", "config.yaml", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.settings = settings
	out, err := s.Config(t.Context(), Nothing{})
	got := map[string]string{}
	for _, i := range out.Items {
		if _, twice := got[i.Key]; twice || i.Key == "" || strings.HasSuffix(i.Key, ".") {
			t.Errorf("the key %q", i.Key)
		}
		got[i.Key] = i.Value
	}
	if err != nil || got["limits.agentCalls"] != "17" || got["logging.level"] != "debug" || got["policy.approvers"] != "any" || got["policy.rules.quiet"] != "channel agent, hold" || got["limits.agentChanges"] != "5" || out.File != filepath.Join(s.home, "config.yaml") {
		t.Errorf("%v %v", got, err)
	}
}

// TestShutdown: what was stopped is told, and the plan says what would be.
func TestShutdown(t *testing.T) {
	h, s := service(t)
	h.Declare("project: shop\napps:\n  - {name: api, command: [./none]}\n")
	var down bool
	s.shutdown = func(_ context.Context, d bool) ([]view.Result, error) { down = d; return nil, nil }
	e, err := s.Shutdown(t.Context(), Nothing{})
	if err != nil || !down || e.PID != os.Getpid() || e.Results == nil {
		t.Errorf("%+v %v, down %v", e, err, down)
	}
	restarted := false
	s.restart = func() { restarted = true }
	if e, err := s.Restart(t.Context(), Nothing{}); err != nil || !restarted || e.Results == nil {
		t.Errorf("%+v %v", e, err)
	}
	p, err := s.PlanShutdown(t.Context(), Nothing{})
	if err != nil || len(p.Items) != 1 || p.Items[0].Target != "daemon" {
		t.Errorf("%+v %v", p, err)
	}
	if pong, err := s.Ping(t.Context(), Nothing{}); err != nil || !pong.OK {
		t.Errorf("%+v %v", pong, err)
	}
	if v, err := s.Version(t.Context(), Nothing{}); err != nil || v.Version != "test" || !strings.HasPrefix(v.Go, "go") {
		t.Errorf("%+v %v", v, err)
	}
}
