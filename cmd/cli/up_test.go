package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// coming makes the fake daemon bring two apps up within twelve seconds; the worker fails if it is told to.
func coming(b *bench, workerFails bool) {
	b.on("apps.apply", done(map[string]any{"project": "shop", "stack": "dev", "revision": 7, "warnings": []string{"odd\x1b"}, "apps": []any{
		map[string]any{"key": "shop/dev/api", "change": "added", "enabled": true}, map[string]any{"key": "shop/dev/worker", "change": "added", "enabled": true},
		map[string]any{"key": "shop/dev/off", "change": "added", "enabled": false}, map[string]any{"key": "shop/dev/old", "change": "removed", "enabled": true},
	}}))
	b.on("apps.list", `{"items":[{"key":"shop/dev/api","name":"api","state":"stopped"},{"key":"shop/dev/worker","name":"worker","state":"stopped"}],"truncated":false}`)
	b.on("logs.query", `{"items":[{"text":"SMTP_URL is not set\u001b"}],"truncated":false}`)
	b.items["events.follow"] = func(ctx context.Context, _ map[string]any, yield func(any) bool) error {
		begun := time.Now()
		for _, e := range []struct {
			after    time.Duration
			key      string
			from, to string
			text     string
		}{
			{0, "shop/dev/api", "stopped", "starting", "starting"}, {time.Second, "shop/dev/api", "starting", "running", "running"},
			{2 * time.Second, "other/dev/x", "stopped", "running", "running"}, {2 * time.Second, "shop/dev/worker", "stopped", "waiting", "waiting: http /healthz"},
		} {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(e.after - time.Since(begun)):
			}
			yield(map[string]any{"at": noon, "topic": "apps", "type": e.to, "key": e.key, "text": e.text, "data": map[string]any{"from": e.from}})
		}
		<-ctx.Done()
		return ctx.Err()
	}
	b.answers["apps.start"] = func(ctx context.Context, in map[string]any) (any, error) {
		if in["no_wait"] == true {
			return done(map[string]any{"items": []any{}}), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(13 * time.Second):
		}
		if workerFails {
			return nil, fault.New(fault.Failed, "1 of 2 apps failed").WithItems([]any{
				map[string]any{"key": "shop/dev/api", "state": "running", "ok": true},
				map[string]any{"key": "shop/dev/worker", "state": "crashed", "ok": false, "reason": "exited 1", "lines": []string{"FATAL no queue\x1b"}},
			}).WithHint("omnitron why worker")
		}
		return done(map[string]any{"items": []any{map[string]any{"key": "shop/dev/api", "state": "running", "ok": true}}}), nil
	}
	b.env.Now = func() time.Time { return time.Now().UTC() }
}

func TestUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		coming(b, false)
		path := b.project(t, "apps: []\n")
		if err := os.WriteFile(filepath.Join(b.env.Dir, ".env"), []byte("A=1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.env.Config.References = func(config.Source) ([]string, error) {
			return []string{filepath.Join(b.env.Dir, ".env"), filepath.Join(b.env.Dir, "missing.env")}, nil
		}
		ensured := 0
		b.env.EnsureDaemon = func(context.Context, string) (bool, error) { ensured++; return true, nil }
		r := b.run(t, "up")
		if r.code != 0 || r.out != "2 apps ready\n" || ensured != 1 {
			t.Errorf("exit %d, %q, daemon ensured %d times; stderr\n%s", r.code, r.out, ensured, r.err)
		}
		for _, want := range []string{
			"the daemon was started\n", "shop/dev · 3 apps · revision 7: 3 added, 1 removed\n", "warning: odd\\x1b\n", "12:00:00 api stopped → starting\n",
			"12:00:00 api starting → running\n", "12:00:00 worker stopped → waiting (http /healthz)\n", "still waiting: worker waiting 12s\n",
		} {
			if !strings.Contains(r.err, want) {
				t.Errorf("stderr lacks %q:\n%s", want, r.err)
			}
		}
		if strings.Contains(r.err, "\x1b") || strings.Contains(r.err, "other") {
			t.Errorf("stderr has an ESC or a stranger: %q", r.err)
		}
		in := b.named("apps.apply")[0]
		raw, err := json.Marshal(in)
		want := `{"env":{"HOME":"/root","PATH":"/bin"},"env_files":[{"path":"` + filepath.Join(b.env.Dir, ".env") + `","text":"A=1\n"}],"files":[{"path":"` + path + `","text":"apps: []\n"}],"no_wait":true}`
		if err != nil || string(raw) != want {
			t.Errorf("applied %s\nwant    %s", raw, want)
		}
		raw, err = json.Marshal(b.named("apps.start")[0])
		if err != nil || string(raw) != `{"names":["shop/dev/api","shop/dev/worker"],"no_wait":false,"project":"shop","stack":"dev"}` {
			t.Errorf("started %s", raw)
		}
	})
}

func TestUpFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		coming(b, true)
		b.project(t, "apps: []\n")
		r := b.run(t, "up", "--timeout", "90s")
		lines, summary := strings.Index(r.err, "─ last lines of shop/dev/worker\n  FATAL no queue\\x1b\n"), strings.Index(r.err, "error: 1 of 2 apps failed\n")
		if r.code != 1 || r.out != "" || lines < 0 || summary < lines || !strings.Contains(r.err, "✗ shop/dev/worker  crashed  exited 1\n") || !strings.Contains(r.err, "try   omnitron why worker") {
			t.Errorf("exit %d, %q, stderr\n%s", r.code, r.out, r.err)
		}
		if b.named("apps.start")[0]["timeout_s"] != 90.0 {
			t.Errorf("--timeout was sent as %v", b.named("apps.start")[0])
		}
		if r := b.run(t, "up", "--json"); r.code != 1 || failure(t, r.out).Code != fault.Failed || r.err != "" {
			t.Errorf("for a program: exit %d, %q, %q", r.code, r.out, r.err)
		}
		if r := b.run(t, "up", "--progress", "json"); r.code != 1 || !strings.Contains(r.err, `{"at":"2026-11-24T12:00:00Z","key":"shop/dev/api","from":"stopped","to":"starting"}`+"\n") {
			t.Errorf("--progress json: exit %d, %q", r.code, r.err)
		}
	})
}

func TestUpOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		coming(b, false)
		b.project(t, "apps: []\n")
		b.env.Terminal.Err, b.env.Terminal.Out = true, true
		r := b.run(t, "up")
		if r.code != 0 || !strings.Contains(r.err, "\x1b[2A") || !strings.Contains(r.err, "api     running      1s") || !strings.Contains(r.err, "worker  waiting") {
			t.Errorf("exit %d, %q", r.code, r.err)
		}
		b.vars["TERM"] = "dumb"
		if r := b.run(t, "up"); strings.Contains(r.err, "\x1b") {
			t.Errorf("TERM=dumb is drawn over: %q", r.err)
		}
		if r := b.run(t, "up", "--progress", "none"); strings.Contains(r.err, "→") {
			t.Errorf("--progress none shows %q", r.err)
		}
	})
}

func TestUpInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		coming(b, false)
		b.project(t, "apps: []\n")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		begun := time.Now()
		r := b.runIn(ctx, "", "up")
		if r.code != 130 || !strings.Contains(r.err, "what was begun goes on") || time.Since(begun) != 3*time.Second {
			t.Errorf("exit %d after %v, %q", r.code, time.Since(begun), r.err)
		}
		if len(b.named("apps.stop"))+len(b.named("daemon.shutdown")) > 0 {
			t.Error("an interrupted up stopped something")
		}
	})
}

func TestUpWithoutWaitingOrFile(t *testing.T) {
	b := newBench(t)
	coming(b, false)
	if r := b.run(t, "up"); r.code != 1 || !strings.Contains(r.err, "there is no omnitron.yaml") || len(b.calls) > 0 {
		t.Errorf("without a file: exit %d, %q", r.code, r.err)
	}
	if r := b.run(t, "up", "-c", "nope.yaml"); r.code != 64 || len(b.calls) > 0 {
		t.Errorf("a file that is not there: exit %d, %q", r.code, r.err)
	}
	b.project(t, "apps: []\n")
	if r := b.run(t, "up", "--no-wait"); r.code != 0 || r.out != "2 apps starting\n" || len(b.named("events.follow")) > 0 {
		t.Errorf("--no-wait: exit %d, %q, %q", r.code, r.out, r.err)
	}
	b.calls = nil
	ensured := false
	b.env.EnsureDaemon = func(context.Context, string) (bool, error) { ensured = true; return true, nil }
	e := fault.New(fault.Invalid, "omnitron.yaml cannot be used: 1 problem, nothing was changed")
	e.Problems = []fault.Problem{{Path: "omnitron.yaml:1:1", Message: "unknown key\n   1 | aps: []\n     | ^"}}
	b.env.Config.References = func(config.Source) ([]string, error) { return nil, e }
	if r := b.run(t, "up"); r.code != 64 || ensured || len(b.calls) > 0 || !strings.Contains(r.err, "\n     1 | aps: []\n       | ^\n") {
		t.Errorf("a wrong file: exit %d, daemon started %v, %q", r.code, ensured, r.err)
	}
}

func TestDown(t *testing.T) {
	mine := `{"items":[{"key":"shop/dev/api","state":"running"}],"truncated":false}`
	both := `{"items":[{"key":"shop/dev/api","state":"running"},{"key":"blog/dev/web","state":"%"}],"truncated":false}`
	for _, c := range []struct {
		name    string
		folder  bool
		other   string
		args    []string
		methods []string
	}{
		{"others run", true, "running", nil, []string{"apps.list", "apps.list", "apps.stop"}},
		{"others stopped", true, "stopped", nil, []string{"apps.list", "apps.list", "daemon.shutdown"}},
		{"no project here", false, "running", nil, []string{"daemon.shutdown"}},
		{"--all", true, "running", []string{"--all"}, []string{"daemon.shutdown"}},
	} {
		b := newBench(t)
		if c.folder {
			b.project(t, "apps: []\n")
		}
		b.on("apps.stop", done(map[string]any{})).on("daemon.shutdown", done(map[string]any{}))
		b.answers["apps.list"] = func(_ context.Context, in map[string]any) (any, error) {
			if in["all"] == true {
				return strings.Replace(both, "%", c.other, 1), nil
			}
			return mine, nil
		}
		gone := 0
		b.env.Gone = func(context.Context, string) error { gone++; return nil }
		r := b.run(t, append([]string{"down"}, c.args...)...)
		var methods []string
		for _, call := range b.calls {
			methods = append(methods, call.Method)
		}
		down := slices.Contains(methods, "daemon.shutdown")
		if r.code != 0 || !slices.Equal(methods, c.methods) || (gone == 1) != down {
			t.Errorf("%s: exit %d, called %v, waited %d times for the end; %q", c.name, r.code, methods, gone, r.err)
		}
	}
	dry := newBench(t)
	dry.project(t, "apps: []\n")
	plan := map[string]any{"status": "done", "plan": map[string]any{"items": []any{map[string]any{"target": "shop/dev/api", "from": "running", "to": "stopped"}}}}
	dry.on("apps.stop", plan).on("daemon.shutdown", plan)
	dry.answers["apps.list"] = func(_ context.Context, in map[string]any) (any, error) {
		if in["all"] == true {
			return strings.Replace(both, "%", "running", 1), nil
		}
		return mine, nil
	}
	dry.env.Gone = func(context.Context, string) error { t.Error("a dry run waits for the end"); return nil }
	for i, args := range [][]string{{"down", "--dry-run"}, {"down", "--all", "--dry-run"}} {
		id := []string{"apps.stop", "daemon.shutdown"}[i]
		if r := dry.run(t, args...); r.code != 0 || !strings.Contains(r.out, "shop/dev/api") || len(dry.named(id)) != 1 || dry.named(id)[0]["dry_run"] != true {
			t.Errorf("%q: exit %d, %q, %q, %v", args, r.code, r.out, r.err, dry.calls)
		}
	}
	b := newBench(t)
	b.env.Dial = func(context.Context, string) (Client, error) { return nil, fault.New(fault.Unavailable, "no daemon") }
	b.env.Revive = func(context.Context, string) (bool, error) { t.Error("a dry run starts a daemon"); return false, nil }
	if r := b.run(t, "down", "--dry-run"); r.code != 2 {
		t.Errorf("down --dry-run without a daemon: exit %d, %q, %q", r.code, r.out, r.err)
	}
	b.env.Revive = nil
	if r := b.run(t, "down"); r.code != 0 || !strings.Contains(r.out, "nothing to stop") {
		t.Errorf("down without a daemon: exit %d, %q, %q", r.code, r.out, r.err)
	}
	if r := b.run(t, "down", "--json"); r.code != 0 || r.out != `{"result":{"was_running":false},"status":"done"}`+"\n" {
		t.Errorf("down --json without a daemon: exit %d, %q", r.code, r.out)
	}
	revived := false // a daemon that was killed, whose apps live on
	k := newBench(t)
	k.on("daemon.shutdown", done(map[string]any{}))
	inner := k.env.Dial
	k.env.Dial = func(ctx context.Context, home string) (Client, error) {
		if !revived {
			return nil, fault.New(fault.Unavailable, "no daemon")
		}
		return inner(ctx, home)
	}
	k.env.Revive = func(context.Context, string) (bool, error) { revived = true; return true, nil }
	if r := k.run(t, "down"); r.code != 0 || !strings.Contains(r.out, "everything is stopped") || len(k.named("daemon.shutdown")) != 1 {
		t.Errorf("down after kill: exit %d, %q, %q", r.code, r.out, r.err)
	}
	k.env.Dial = b.env.Dial
	k.env.Revive = func(context.Context, string) (bool, error) {
		return false, fault.New(fault.Unavailable, "the daemon does not come up")
	}
	if r := k.run(t, "down"); r.code != 2 || !strings.Contains(r.err, "does not come up") {
		t.Errorf("down where the daemon does not come up: exit %d, %q, %q", r.code, r.out, r.err)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		start := time.Now()
		b.answers["apps.get"] = func(_ context.Context, in map[string]any) (any, error) {
			if in["name"] == "crash" {
				return map[string]any{"name": "crash", "state": "crashed", "reason": "exited 1"}, nil
			}
			s := "starting"
			if time.Since(start) >= 5*time.Second {
				s = "running"
			}
			return map[string]any{"name": in["name"], "state": s, "health": "unknown", "restarts": 0, "limits": map[string]any{"memory": 5}, "since": "x"}, nil
		}
		if r := b.run(t, "wait", "api", "--for", "ready", "--for", "restarts==0", "--for", "limits.memory>=5", "--for", "state!=stopped"); r.code != 0 || time.Since(start) > 6*time.Second {
			t.Errorf("exit %d after %v, %q", r.code, time.Since(start), r.err)
		}
		before := time.Now()
		if r := b.run(t, "wait", "api", "--for", "stopped", "--timeout", "3s"); r.code != 5 || !strings.Contains(r.err, "api stopped (it is running)") || time.Since(before) != 3*time.Second {
			t.Errorf("in vain: exit %d after %v, %q", r.code, time.Since(before), r.err)
		}
		if r := b.run(t, "wait", "api", "crash", "--for", "ready"); r.code != 1 || !strings.Contains(r.err, "crash is crashed") {
			t.Errorf("one that gave up: exit %d, %q", r.code, r.err)
		}
		for _, cond := range []string{"redy", "restart==0", "since>3", "nope==1"} {
			if r := b.run(t, "wait", "api", "--for", cond); r.code != 64 {
				t.Errorf("--for %s: exit %d, %q", cond, r.code, r.err)
			}
		}
		if r := b.run(t, "wait", "api", "--for", "redy"); !strings.Contains(r.err, `did you mean "ready"?`) {
			t.Errorf("no suggestion: %q", r.err)
		}
		if r := b.run(t, "wait"); r.code != 64 {
			t.Errorf("without a name: exit %d", r.code)
		}
	})
}
