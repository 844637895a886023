package session

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// resume goes on with a call that a daemon had begun when it died: by how things stand it is found out what the call has
// done, and only the rest is asked for. What a repetition would do a second time is not repeated. cause is what the new
// daemon said of the call.
func (c *changing) resume(ctx context.Context, id string, in map[string]any, cause error) (json.RawMessage, error) {
	switch id {
	case "apps.apply": // the same definition once more changes nothing
		return c.call(ctx, id, in)
	case "apps.start", "apps.restart", "apps.stop", "apps.scale":
	default:
		return nil, cause
	}
	for {
		targets, err := c.targets(ctx, in)
		if err != nil {
			return nil, err
		}
		if err := c.overtaken(ctx, targets); err != nil {
			return nil, err
		}
		switch id {
		case "apps.stop", "apps.scale": // a state that is asked for, not an event
			return c.call(ctx, id, in)
		case "apps.restart":
			if err := c.renew(ctx, in, targets); err != nil {
				return nil, err
			}
		}
		over, open, busy := c.judge(targets)
		if !busy {
			return c.finish(ctx, in, over, open)
		}
		select { // a start would hurry what waits for its next try
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(again):
		}
		id = "apps.start" // what had to be renewed has been
	}
}

// target is an app that a call is about, or a part of it.
type target struct {
	App
	part string // process or process#n; "" for the whole
}

func (t target) name() string {
	if t.part == "" {
		return t.Key
	}
	return t.Key + ":" + t.part
}

// targets gives what a call is about, as it stands now.
func (c *changing) targets(ctx context.Context, in map[string]any) ([]target, error) {
	scope := in
	if in["project"] == nil { // whole names, or there is only one
		scope = map[string]any{"all": true}
	}
	apps, err := c.Apps(ctx, scope)
	if err != nil {
		return nil, err
	}
	names := Names(in)
	var out []target
	for _, a := range apps {
		if len(names) == 0 {
			out = append(out, target{App: a})
		}
		for _, name := range names {
			app, part, _ := strings.Cut(name, ":")
			if Means(app, a.Key) {
				out = append(out, target{a, part})
			}
		}
	}
	return out, nil
}

// overtaken is the fault of a call on whose targets somebody else's came later: to make it again would undo that one.
// The record of calls tells; who may not read it goes on.
func (c *changing) overtaken(ctx context.Context, targets []target) error {
	for _, t := range targets {
		raw, err := c.Read(ctx, "audit.list", c.Fit("audit.list", map[string]any{"app": t.Key, "changes": true, "limit": 20, "since": c.began.Format(time.RFC3339Nano)}))
		if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		var list struct {
			Items []struct {
				Method   string         `json:"method"`
				Decision string         `json:"decision"`
				Args     map[string]any `json:"args"`
			} `json:"items"` // newest first
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			return fmt.Errorf("cannot read the record of calls: %w", err)
		}
		for _, e := range list.Items {
			if e.Args["dry_run"] == true || e.Decision != "allow" && e.Decision != "confirmed" || !orders[e.Method] {
				continue
			}
			if !c.sent[call(e.Method, e.Args)] {
				return fault.New(fault.Conflict, "the daemon died while the call ran, and a later %s of %s came before it could go on", e.Method, t.Key).
					WithReason("superseded").WithHint("omnitron ls")
			}
			break
		}
	}
	return nil
}

// orders are the methods that say what is to run.
var orders = map[string]bool{"apps.apply": true, "apps.start": true, "apps.stop": true, "apps.restart": true, "apps.reload": true,
	"apps.scale": true, "apps.enable": true, "apps.disable": true}

// call is a call as the record has it: without the key.
func call(id string, in map[string]any) string {
	in = maps.Clone(in)
	delete(in, "idempotency_key")
	var plain any
	raw, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(raw, &plain)
	}
	if err == nil {
		raw, err = json.Marshal(plain) // numbers and lists of any type come out alike
	}
	if err != nil {
		return id
	}
	return id + string(raw)
}

// renew restarts the instances that still run as they did before a restart was asked for.
func (c *changing) renew(ctx context.Context, in map[string]any, targets []target) error {
	var old []any
	for _, t := range targets {
		raw, err := c.Read(ctx, "apps.get", map[string]any{"name": t.Key})
		if err != nil {
			return err
		}
		var app struct {
			Instances []struct {
				Process   string    `json:"process"`
				Number    int       `json:"number"`
				StartedAt time.Time `json:"started_at"`
			} `json:"instances"`
		}
		if err := json.Unmarshal(raw, &app); err != nil {
			return fmt.Errorf("cannot read how %s stands: %w", t.Key, err)
		}
		for _, i := range app.Instances {
			slot := fmt.Sprintf("%s#%d", i.Process, i.Number)
			if (t.part == "" || t.part == i.Process || t.part == slot) && !i.StartedAt.IsZero() && i.StartedAt.Before(c.began) {
				old = append(old, t.Key+":"+slot)
			}
		}
	}
	if len(old) == 0 {
		return nil
	}
	in = maps.Clone(in)
	in["names"], in["no_wait"] = old, true
	_, err := c.call(ctx, "apps.restart", c.Fit("apps.restart", in))
	return err
}

// judge tells the targets that have come to their end since the call began from those that it is still to be asked for.
// busy: one of them waits for its next try, so that it is too early to say.
func (c *changing) judge(targets []target) (over []map[string]any, open []any, busy bool) {
	for _, t := range targets {
		switch t.State {
		case "backoff":
			busy = true
		case "crashed", "failed", "completed":
			if t.Since.Before(c.began) {
				break
			}
			r := map[string]any{"key": t.name(), "state": t.State, "ok": t.State == "completed", "changed": true, "took_ms": t.Since.Sub(c.began).Milliseconds()}
			if t.Reason != "" {
				r["reason"] = t.Reason
			}
			over = append(over, r)
			continue
		}
		open = append(open, t.name())
	}
	return over, open, busy
}

// finish waits for what is still on its way and gives the answer of the whole call. What runs or starts already is only
// waited for by a start.
func (c *changing) finish(ctx context.Context, in map[string]any, over []map[string]any, open []any) (json.RawMessage, error) {
	items, failed := []any{}, error(nil)
	if len(open) > 0 {
		in = maps.Clone(in)
		in["names"] = open
		raw, err := c.call(ctx, "apps.start", c.Fit("apps.start", in))
		if len(over) == 0 {
			return raw, err
		}
		var out struct {
			Result struct {
				Items []any `json:"items"`
			} `json:"result"`
		}
		switch {
		case fault.Is(err, fault.Failed):
			failed = err
			items, _ = Fault(err).Items.([]any)
		case err != nil:
			return nil, err
		default:
			if err := json.Unmarshal(raw, &out); err != nil {
				return nil, fmt.Errorf("cannot read the answer of apps.start: %w", err)
			}
			items = out.Result.Items
		}
	}
	for _, r := range over {
		items = append(items, r)
		if r["ok"] == false && failed == nil {
			failed = fault.New(fault.Failed, "cannot start %s: it is %s: %v", r["key"], r["state"], r["reason"]).WithReason("start_failed").
				WithHint("omnitron why %s", r["key"])
		}
	}
	if failed != nil {
		return nil, Fault(failed).WithItems(items)
	}
	return json.Marshal(map[string]any{"status": op.Done, "result": map[string]any{"items": items}})
}
