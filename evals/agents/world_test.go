// Package agents meets the built omnitron the way an agent's client does: over `omnitron mcp` and over the socket, in both
// eras of the protocol, by clients that share no code with it, and by clients that mean harm. A real project runs
// underneath, so that what a call does, or must not do, shows in the process table.
package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// The eras: with a handshake, and without one.
const (
	legacy = "2025-11-25"
	modern = "2026-07-28"
)

var eras = []string{legacy, modern}

// steady is a project in which nothing moves by itself. The examples of the methods speak of web.
const steady = `
project: shop
apps:
  - name: web
    command: 'trap "" USR1; for i in 1 2 3 4 5 6; do echo "level=info line $i"; done; echo "warn: disk is slow" >&2; echo up; while :; do sleep 1000 & wait; done'
    ready: {log: ^up$}
    health: {exec: [test, -d, /], interval: 300ms}
    env: {GREETING: hello}
  - {name: api, command: [sleep, "1000"], ready: {delay: 20ms}, dependsOn: [web]}
`

// busy adds a web server, an app that ends again and again, and one that prints what readers should not believe.
const busy = steady + `
  - name: site
    command: 'exec python3 -m http.server --bind 127.0.0.1 "$PORT"'
    ports: {http: auto}
    ready: {http: /, port: http}
  - name: loop
    command: 'echo "FATAL: no database" >&2; exit 3'
    ready: {delay: 1s}
    restart: {policy: always, maxRestarts: 1000, backoff: {initial: 500ms, max: 500ms}}
  - {name: evil, command: 'cat hostile.txt; cat hostile.txt >&2; exec sleep 1000', ready: {delay: 20ms}}
`

// generous lets a client ask faster than an agent may.
const generous = "limits: {agentCalls: 100000, agentChanges: 100000}\n"

// world is a daemon and its project.
type world struct{ *rig.Rig }

func newWorld(t testing.TB, yaml, settings string) *world { return settle(rig.New(t), yaml, settings) }

// settle brings a project up in the home of a rig, whose config.yaml gets the settings.
func settle(r *rig.Rig, yaml, settings string) *world {
	r.T.Helper()
	w := &world{r}
	if settings != "" {
		path := filepath.Join(w.Home, "config.yaml")
		if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
			w.T.Fatal(err)
		}
		if err := os.Chown(path, w.UID, -1); err != nil {
			w.T.Fatal(err)
		}
	}
	w.Write("hostile.txt", hostile)
	w.Up(yaml, "--no-wait")
	for _, name := range []string{"web", "api", "site", "evil"} {
		if strings.HasPrefix(yaml, steady) && strings.Contains(yaml, "name: "+name) {
			w.WaitState(name, "running", 20*time.Second)
		}
	}
	return w
}

func (w *world) socketPath() string { return filepath.Join(w.Home, "daemon.sock") }

// must calls a method as a person.
func (w *world) must(method string, in, out any) {
	w.T.Helper()
	if err := w.Call(method, in, out); err != nil {
		w.T.Fatalf("%s %v: %v", method, in, err)
	}
}

// client is a person's connection of its own.
func (w *world) client(t testing.TB) *wire.Client {
	t.Helper()
	c, err := wire.Dial(t.Context(), "unix", w.socketPath())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// connected is what agents.list says of a client.
type connected struct {
	ID, Principal, Channel, Client, Plane, Role string
	InFlight                                    int `json:"in_flight"`
	Calls                                       int
	Paused                                      bool
}

// agents are the connected agents, the oldest first.
func (w *world) agents() []connected {
	w.T.Helper()
	var list struct{ Items []connected }
	w.Until(20*time.Second, "agents.list answers", func() bool {
		return w.Call("agents.list", map[string]any{"channel": "agent"}, &list) == nil
	})
	return list.Items
}

// named is the connected agent that calls itself so, once it is there.
func (w *world) named(client string) connected {
	w.T.Helper()
	var found connected
	w.Until(10*time.Second, client+" is connected", func() bool {
		all := w.agents()
		at := slices.IndexFunc(all, func(c connected) bool { return c.Client == client })
		if at >= 0 {
			found = all[at]
		}
		return at >= 0
	})
	return found
}

// digest is the state of the world that no refused call may change: what is wanted of each app, which processes run, how
// much output is stored, whether there is a new revision.
func (w *world) digest() string {
	w.T.Helper()
	var state struct {
		HomeDown bool
		Apps     []struct {
			Key, Name, Desired string
			Parts              map[string]string
			Scale              map[string]int
			Enabled            bool
			Revision           int64
		}
	}
	raw, err := os.ReadFile(filepath.Join(w.Home, "state.json"))
	if err == nil {
		err = json.Unmarshal(raw, &state)
	}
	if err != nil || len(state.Apps) == 0 {
		w.T.Fatalf("state.json cannot be read: %v\n%s", err, raw)
	}
	var b strings.Builder
	fmt.Fprintln(&b, "down", state.HomeDown, "daemon", w.DaemonPID(), "keeper", w.KeeperPID())
	for _, a := range state.Apps {
		fmt.Fprintln(&b, a.Key, a.Desired, a.Parts, a.Scale, a.Enabled, a.Revision)
		if a.Name == "loop" { // moves by itself
			continue
		}
		app := w.App(a.Key)
		fmt.Fprintln(&b, " ", app.State, app.Restarts)
		for _, i := range app.Instances {
			p, _ := rig.ReadProcess(i.PID)
			fmt.Fprintln(&b, " ", i.Slot, i.State, i.Generation, i.PID, p.Start, p.Args)
		}
		size, err := rig.Stored(io.Discard, w.LogPath(a.Key, "out"))
		fmt.Fprintln(&b, "  stored", size, err)
	}
	return b.String()
}

// unchanged fails the test unless the world is as it was.
func (w *world) unchanged(t testing.TB, before, what string) {
	t.Helper()
	if now := w.digest(); now != before {
		t.Errorf("%s has changed the world\nbefore:\n%s\nafter:\n%s", what, before, now)
	}
}

// within is a context for one step of a test.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// coded fails the test unless a fault has a code, and a reason if one is given.
func coded(t testing.TB, what string, f *fault.Error, code fault.Code, reason string) {
	t.Helper()
	if f == nil || f.Code != code || reason != "" && f.Reason != reason {
		t.Errorf("%s: want the fault %s %s, got %+v", what, code, reason, f)
	}
}
