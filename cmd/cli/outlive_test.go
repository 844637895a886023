package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

var lostDaemon = fault.New(fault.Unavailable, "the connection to the daemon was lost").WithReason("connection_lost")

// mortal is a fake daemon that dies during the first call of a method, and whose keeper brings it back.
func mortal(t *testing.T, method string, begun bool, answer any) (*bench, *[]map[string]any) {
	t.Helper()
	b := newBench(t)
	b.env.Gone = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	var ins []map[string]any
	keys := map[any]bool{}
	b.answers[method] = func(_ context.Context, in map[string]any) (any, error) {
		ins = append(ins, in)
		key := in["idempotency_key"]
		switch {
		case len(ins) == 1:
			keys[key] = begun
			return nil, lostDaemon
		case keys[key]:
			return nil, fault.New(fault.Conflict, "the daemon ended while the call ran").WithReason("outcome_unknown")
		}
		return answer, nil
	}
	return b, &ins
}

func row(key, state string, since time.Time) map[string]any {
	return map[string]any{"key": key, "state": state, "since": since, "reason": "exited 7"}
}

// TestChangeOutlivesTheDaemon: a call that never reached its effect is made again with the same key; of one that did only
// the rest is asked for.
func TestChangeOutlivesTheDaemon(t *testing.T) {
	ready := done(map[string]any{"items": []any{map[string]any{"key": "shop/dev/api", "state": "running", "ok": true}}})
	t.Run("not begun", func(t *testing.T) {
		b, ins := mortal(t, "apps.stop", false, ready)
		if r := b.run(t, "stop", "api"); r.code != 0 || len(*ins) != 2 || (*ins)[0]["idempotency_key"] != (*ins)[1]["idempotency_key"] || (*ins)[0]["idempotency_key"] == nil {
			t.Errorf("exit %d, %v, %s", r.code, *ins, r.err)
		}
	})
	for _, c := range []struct {
		name, method string
		args         []string
		apps         []any
		calls        []any // of the record, newest first
		want         []any // names of the second call; nil: there is none
		code         int
		says         string
	}{
		{"started already", "apps.start", []string{"start", "api"}, []any{row("shop/dev/api", "starting", noon)}, nil, []any{"shop/dev/api"}, 0, "running"},
		{"failed meanwhile", "apps.start", []string{"start", "api"}, []any{row("shop/dev/api", "crashed", noon.Add(time.Second))}, nil, nil, 1, "exited 7"},
		{"ran to its end", "apps.start", []string{"start", "api"}, []any{row("shop/dev/api", "completed", noon.Add(time.Second))}, nil, nil, 0, "completed"},
		{"crashed before", "apps.start", []string{"start", "api"}, []any{row("shop/dev/api", "crashed", noon.Add(-time.Hour))}, nil, []any{"shop/dev/api"}, 0, "running"},
		{"a part", "apps.start", []string{"start", "api:web#2", "w*"}, []any{row("shop/dev/api", "starting", noon), row("shop/dev/worker", "starting", noon), row("shop/dev/db", "starting", noon)}, nil, []any{"shop/dev/api:web#2", "shop/dev/worker"}, 0, "running"},
		{"our own record", "apps.start", []string{"start", "api"}, []any{row("shop/dev/api", "starting", noon)}, []any{map[string]any{"method": "apps.start", "decision": "allow", "args": map[string]any{"names": []any{"api"}}}}, []any{"shop/dev/api"}, 0, "running"},
		{"a dry run of somebody", "apps.start", []string{"start", "api"}, []any{row("shop/dev/api", "starting", noon)}, []any{map[string]any{"method": "apps.stop", "decision": "allow", "args": map[string]any{"dry_run": true}}}, []any{"shop/dev/api"}, 0, "running"},
		{"somebody stopped it", "apps.start", []string{"start", "api"}, []any{row("shop/dev/api", "stopped", noon)}, []any{map[string]any{"method": "apps.stop", "decision": "allow", "args": map[string]any{"names": []any{"api"}}}}, nil, 1, "a later apps.stop of shop/dev/api"},
		{"stopped again", "apps.stop", []string{"stop", "api"}, []any{row("shop/dev/api", "stopping", noon)}, nil, []any{"api"}, 0, "running"},
		{"another method", "logs.purge", []string{"logs", "purge", "api", "--yes"}, nil, nil, nil, 1, "the daemon ended while the call ran"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, ins := mortal(t, c.method, true, ready)
			b.specs = append(b.specs, auditSpec())
			b.on("apps.list", map[string]any{"items": c.apps}).on("audit.list", map[string]any{"items": append([]any{}, c.calls...)})
			r := b.run(t, c.args...)
			if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
				t.Errorf("exit %d, %q, %q", r.code, r.out, r.err)
			}
			later := (*ins)[2:] // after the death, and after being told that the outcome is not known
			if len(later) != min(1, len(c.want)) || len(later) > 0 && (fmt.Sprint(later[0]["names"]) != fmt.Sprint(c.want) || later[0]["idempotency_key"] == (*ins)[0]["idempotency_key"]) {
				t.Errorf("then it asked for %v, want %v", later, c.want)
			}
		})
	}
}

// TestRestartOnce: only what still runs as before is restarted by the daemon that came back; the rest is waited for.
func TestRestartOnce(t *testing.T) {
	b, ins := mortal(t, "apps.restart", true, done(map[string]any{"items": []any{}}))
	b.on("apps.list", map[string]any{"items": []any{row("shop/dev/api", "running", noon)}})
	b.on("apps.get", map[string]any{"instances": []any{
		map[string]any{"process": "web", "number": 1, "started_at": noon.Add(time.Second)},
		map[string]any{"process": "web", "number": 2, "started_at": noon.Add(-time.Hour)},
		map[string]any{"process": "job", "number": 1},
	}})
	b.on("apps.start", done(map[string]any{"items": []any{map[string]any{"key": "shop/dev/api", "state": "running", "ok": true}}}))
	if r := b.run(t, "restart", "api"); r.code != 0 || len(*ins) != 3 || fmt.Sprint((*ins)[2]["names"]) != "[shop/dev/api:web#2]" || (*ins)[2]["no_wait"] != true {
		t.Errorf("exit %d, %v, %s", r.code, *ins, r.err)
	}
	if in := b.named("apps.start"); len(in) != 1 || fmt.Sprint(in[0]["names"]) != "[shop/dev/api]" {
		t.Errorf("waited for %v", in)
	}
}

// TestDaemonThatDoesNotComeBack: the exit code is 2, and what was seen last is told.
func TestDaemonThatDoesNotComeBack(t *testing.T) {
	b, _ := mortal(t, "apps.start", true, nil)
	b.env.Gone = func(context.Context, string) error { return nil }
	dials := 0
	b.env.Dial = func(context.Context, string) (Client, error) {
		if dials++; dials > 1 {
			return nil, fault.New(fault.Unavailable, "no daemon is running").WithReason("not_running")
		}
		return b.fake, nil
	}
	b.on("apps.list", map[string]any{"items": []any{row("shop/dev/api", "running", noon)}})
	b.items["events.follow"] = func(ctx context.Context, _ map[string]any, yield func(any) bool) error {
		yield(map[string]any{"seq": 1, "at": noon, "type": "starting", "key": "shop/dev/api"})
		<-ctx.Done()
		return ctx.Err()
	}
	r := b.run(t, "start", "api")
	if r.code != 2 || !strings.Contains(r.err, "did not come back") || !strings.Contains(r.err, "omnitron up") {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
	r = b.run(t, "start", "api", "--json")
	var doc struct{ Error fault.Error }
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || doc.Error.Code != fault.Unavailable || r.code != 2 {
		t.Errorf("exit %d, %v, %q", r.code, err, r.out)
	}
}
