package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// fakeRemotes keeps remotes in memory; all of them are one fake daemon.
type fakeRemotes struct {
	daemon *fake
	key    string // that every address shows
	kept   []session.Remote
	added  []session.NewRemote
	dialed []string
	mcp    []string
	refuse error // of Dial and Add
}

func (r *fakeRemotes) env() Remotes {
	return Remotes{
		Dial: func(_ context.Context, _, alias string) (Client, error) {
			r.dialed = append(r.dialed, alias)
			if r.refuse != nil {
				return nil, r.refuse
			}
			return r.daemon, nil
		},
		Key: func(_ context.Context, address string) (session.RemoteKey, error) {
			return session.RemoteKey{Address: address, Pin: r.key}, nil
		},
		Add: func(_ context.Context, _ string, n session.NewRemote) (session.RemoteUser, error) {
			if r.refuse != nil {
				return session.RemoteUser{}, r.refuse
			}
			r.added = append(r.added, n)
			r.kept = append(r.kept, session.Remote{Alias: n.Alias, Address: n.Address, Pin: n.Pin, User: "ann"})
			return session.RemoteUser{Alias: n.Alias, Address: n.Address, Pin: n.Pin, User: "ann", Channel: "person", Role: "admin"}, nil
		},
		List: func(string) ([]session.Remote, error) { return r.kept, nil },
		Remove: func(_ context.Context, _, alias string) (session.Remote, error) {
			i := slices.IndexFunc(r.kept, func(k session.Remote) bool { return k.Alias == alias })
			if i < 0 {
				return session.Remote{}, fault.New(fault.NotFound, "there is no remote %q", alias).WithReason("remote_unknown")
			}
			k := r.kept[i]
			r.kept = slices.Delete(r.kept, i, i+1)
			return k, nil
		},
		Test: func(context.Context, string, string) (session.RemoteTest, error) {
			return session.RemoteTest{RemoteUser: session.RemoteUser{Alias: "prod", Address: "h:1", User: "ann", Channel: "person", Role: "admin"}, Version: "1.2.3", TookMS: 7}, nil
		},
		MCP: func(_ context.Context, _, alias string, l Launch) error {
			r.mcp = append(r.mcp, alias+" "+l.Role)
			return nil
		},
	}
}

// newRemoteBench is a bench whose own daemon must not be asked.
func newRemoteBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.remotes.daemon, b.remotes.key = b.fake, "sha256/key"
	b.env.Dial = func(context.Context, string) (Client, error) {
		t.Error("the daemon of this machine was asked")
		return b.fake, nil
	}
	b.env.EnsureDaemon = func(context.Context, string) (bool, error) { t.Error("a daemon was started here"); return false, nil }
	return b
}

func TestRemoteAdd(t *testing.T) {
	b := newRemoteBench(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("omt_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.vars["USER"] = "ann"
	for name, c := range map[string]struct {
		args   []string
		stdin  string
		code   int
		reason string
	}{
		"nobody to ask":         {[]string{"prod", "h:1", "--token-file", file}, "", 64, "confirmation_needed"},
		"another key":           {[]string{"prod", "h:1", "--token-file", file, "--pin", "sha256/other"}, "", 3, "key_changed"},
		"token and name":        {[]string{"prod", "h:1", "--token-file", file, "--user", "bob"}, "", 64, "bad_flag"},
		"no file":               {[]string{"prod", "h:1", "--token-file", file + "x", "--pin", "sha256/key"}, "", 64, "config_unreadable"},
		"no token":              {[]string{"prod", "h:1", "--token-file", "-", "--pin", "sha256/key"}, "two words", 64, "bad_value"},
		"no address":            {[]string{"prod"}, "", 64, "missing_argument"},
		"one argument too many": {[]string{"prod", "h:1", "x"}, "", 64, "unknown_argument"},
		"with --remote":         {[]string{"prod", "h:1", "--remote", "x"}, "", 64, "not_remote"},
	} {
		r := b.runIn(t.Context(), c.stdin, append([]string{"remote", "add", "-o", "json"}, c.args...)...)
		if f := failure(t, r.out); r.code != c.code || f.Reason != c.reason || len(b.remotes.added) != 0 {
			t.Errorf("%s: exit %d, %+v", name, r.code, f)
		}
	}
	r := b.run(t, "remote", "add", "prod", "h:1", "--token-file", file, "--pin", "sha256/key")
	if r.code != 0 || r.out != "prod is added: you are ann (person, admin) there\n" || b.remotes.added[0].Token != "omt_x" || b.remotes.added[0].Pin != "sha256/key" {
		t.Errorf("%+v %+v", r, b.remotes.added)
	}
	r = b.runIn(t.Context(), "correct horse\n", "remote", "add", "prod", "h:1") // the key was agreed to before
	if got := b.remotes.added; r.code != 0 || len(got) != 2 || got[1].User != "ann" || got[1].Password != "correct horse" || got[1].Token != "" {
		t.Errorf("%+v %+v", r, got)
	}
	b.remotes.key = "sha256/changed"
	r = b.run(t, "remote", "add", "prod", "h:1", "--token-file", file, "-o", "json")
	if f := failure(t, r.out); r.code != 3 || f.Reason != "key_changed" || !strings.Contains(f.Hint, "omnitron remote remove prod") {
		t.Errorf("%+v", f)
	}
}

func TestRemoteAddAsks(t *testing.T) {
	b := newRemoteBench(t)
	b.env.Terminal = &Terminal{In: true, Err: true, Size: func() (int, int) { return 100, 30 }}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("omt_x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := b.runIn(t.Context(), "n\n", "remote", "add", "prod", "h:1", "--token-file", file)
	if r.code != 130 || len(b.remotes.added) != 0 || !strings.Contains(r.err, "sha256/key") || !strings.Contains(r.err, "is it the same? [y/N]") {
		t.Errorf("%+v", r)
	}
	r = b.runIn(t.Context(), "y\n", "remote", "add", "prod", "h:1", "--token-file", file)
	if r.code != 0 || len(b.remotes.added) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestRemoteListTestRemove(t *testing.T) {
	b := newRemoteBench(t)
	b.remotes.kept = []session.Remote{{Alias: "prod", Address: "h:1", User: "ann", Pin: "sha256/key"}}
	var list struct{ Items []session.Remote }
	if r := b.run(t, "remote", "list", "-o", "json"); r.code != 0 || json.Unmarshal([]byte(r.out), &list) != nil || len(list.Items) != 1 {
		t.Errorf("%+v", r)
	}
	if r := b.run(t, "remote", "list"); !strings.Contains(r.out, "prod") || !strings.Contains(r.out, "sha256/key") {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{{"remote", "test", ""}, {"remote", "remove", ""}, {"ls", "--remote", ""}} {
		if r := b.run(t, append([]string{"__complete"}, args...)...); !strings.HasPrefix(r.out, "prod\n") {
			t.Errorf("%v completes as %q", args, r.out)
		}
	}
	if r := b.run(t, "remote", "test", "prod"); r.code != 0 || r.out != "prod: h:1, 1.2.3 in 7 ms, as ann (person, admin)\n" {
		t.Errorf("%+v", r)
	}
	if r := b.run(t, "remote", "remove", "prod"); r.code != 0 || r.out != "prod is forgotten\n" || len(b.remotes.kept) != 0 {
		t.Errorf("%+v", r)
	}
	if r := b.run(t, "remote", "remove", "prod", "-o", "json"); r.code != 1 || failure(t, r.out).Reason != "remote_unknown" {
		t.Errorf("%+v", r)
	}
}

// TestCommandsGoRemote: with --remote nothing of this machine is asked, started or read, and what is about this machine is
// refused with what to do instead.
func TestCommandsGoRemote(t *testing.T) {
	b := newRemoteBench(t)
	b.project(t, "project: here\n")
	list := map[string]any{"items": []any{}}
	for _, id := range []string{"apps.list", "logs.query"} {
		b.on(id, list)
	}
	b.on("apps.start", done(list)).on("apps.stop", done(list)).on("daemon.ping", map[string]any{"ok": true})
	for _, args := range [][]string{{"ls"}, {"start", "api"}, {"stop", "api"}, {"logs", "api"}, {"apps", "list"}, {"ping"}} {
		if r := b.run(t, append(args, "--remote", "prod")...); r.code != 0 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	for _, c := range b.calls {
		if c.In["project"] != nil {
			t.Errorf("%s was told of this folder: %v", c.Method, c.In)
		}
	}
	if len(b.remotes.dialed) != 6 {
		t.Errorf("dialed: %v", b.remotes.dialed)
	}
	for _, args := range [][]string{{"up"}, {"down"}, {"kill"}, {"demo"}, {"config", "check"}, {"completion", "bash"}, {"version"}, {"explain", "config"}, {"daemon", "run"}, {"remote", "list"}} {
		r := b.run(t, append(args, "--remote", "prod", "-o", "json")...)
		if f := failure(t, r.out); r.code != 64 || f.Reason != "not_remote" || f.Hint == "" || strings.Contains(f.Hint, "ALIAS") {
			t.Errorf("%v: exit %d, %+v", args, r.code, f)
		}
	}
	if r := b.run(t, "mcp", "--remote", "prod", "--role", "viewer"); r.code != 0 || !slices.Equal(b.remotes.mcp, []string{"prod viewer"}) {
		t.Errorf("%+v %v", r, b.remotes.mcp)
	}
	if r := b.run(t, "mcp", "config", "--remote", "prod"); r.code != 0 || !strings.Contains(r.out, `"--remote"`) || !strings.Contains(r.err, "omnitron mcp --remote prod") {
		t.Errorf("%+v", r)
	}
	b.remotes.refuse = fault.New(fault.Denied, "another key").WithReason("key_changed")
	if r := b.run(t, "ls", "--remote", "prod", "-o", "json"); r.code != 3 || failure(t, r.out).Reason != "key_changed" {
		t.Errorf("%+v", r)
	}
	b.remotes.refuse = fault.New(fault.Unavailable, "nobody there").WithReason("remote_unreachable").WithHint("see there: %s", fault.Do("apps.list"))
	if r := b.run(t, "ls", "--remote", "prod", "-o", "json"); failure(t, r.out).Hint != "see there: omnitron ls" {
		t.Errorf("what is to be looked at on the other machine is asked of the remote that is not reached: %+v", r)
	}
	if r := b.run(t, "ls", "--remote", "prod", "-o", "json"); r.code != 2 || failure(t, r.out).Reason != "remote_unreachable" {
		t.Errorf("%+v", r)
	}
}

// TestRemoteHung: of a change whose daemon hangs it is said that nobody knows whether it was begun, with the call that tells; of one
// that did not get so far that it was not. A stream goes on where it was once the daemon answers.
func TestRemoteHung(t *testing.T) {
	hung := fault.New(fault.Unavailable, "remote prod: the daemon does not answer").WithReason("remote_hung").WithHint("on its machine, omnitron kill ends it")
	b := newRemoteBench(t)
	var key any
	b.answers["apps.stop"] = func(_ context.Context, in map[string]any) (any, error) {
		key = in["idempotency_key"]
		return nil, hung
	}
	r := b.run(t, "stop", "api", "--remote", "prod", "-o", "json")
	f := failure(t, r.out)
	if again := fmt.Sprintf("--idempotency-key %v --remote prod", key); r.code != 2 || f.Reason != "remote_hung" || key == nil || !strings.Contains(f.Message, "whether apps.stop was begun is not known") ||
		!strings.Contains(f.Hint, "omnitron kill") || !strings.Contains(f.Hint, "omnitron stop api") || !strings.Contains(f.Hint, again) {
		t.Errorf("exit %d, %+v, %q, key %v", r.code, f, f.Hint, key)
	}
	b.remotes.refuse = hung
	r = b.run(t, "stop", "api", "--remote", "prod", "-o", "json")
	if f := failure(t, r.out); r.code != 2 || !strings.Contains(f.Message, "apps.stop was not begun") || strings.Contains(f.Hint, "idempotency") {
		t.Errorf("exit %d, %+v", r.code, f)
	}
	b.remotes.refuse = nil

	var since []any
	b.items["logs.follow"] = func(_ context.Context, in map[string]any, yield func(any) bool) error {
		since = append(since, in["cursor"])
		if len(since) == 1 {
			yield(map[string]any{"cursor": "c7", "text": "before"})
			return hung
		}
		yield(map[string]any{"cursor": "c8", "text": "after"})
		return nil
	}
	r = b.run(t, "logs", "-f", "api", "--remote", "prod")
	if len(since) != 2 || since[1] != "c7" || !strings.Contains(r.out, "before") || !strings.Contains(r.out, "after") || !strings.Contains(r.err, "this goes on when it does") || r.code != 0 {
		t.Errorf("since %v, exit %d, %q, %q", since, r.code, r.out, r.err)
	}
}
