// Package attacks sends the daemon what it must not take, on every plane: messages that are none, forged credentials, requests
// that are meant to be read in two ways. All of it is one table. Each row has to be refused with its own code and to change
// nothing, in the world as in the record; the daemon has to answer others after each, and to be no larger after all of them.
package attacks

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

const password = "correct horse battery staple"

// effect is the call that every attack carries: an agent may make it without being asked, and it shows at once.
const effect = `{"names":["web"]}`

// world is a daemon whose planes are all on, and an app that nobody restarts.
type world struct {
	*rig.Rig
	native string // address of the TCP plane
	web    string // address of the HTTP plane
	good   string // a named token that may do everything that a program may
	bob    string // one of somebody else's
	views  string // an agent's that only looks
	dials  atomic.Int64
	proofs []func(plane) string // attacks without what is wrong with them
}

func newWorld(t *testing.T) *world { return worldOf(t, false) }

// worldOf makes a world whose HTTP plane has TLS, and with it HTTP/2, or has not.
func worldOf(t *testing.T, secure bool) *world {
	t.Helper()
	w := &world{Rig: rig.New(t), native: free(t), web: free(t)}
	shown := ""
	if secure {
		cert, key, err := certificate(w.Dir)
		if err != nil {
			t.Fatal(err)
		}
		shown = fmt.Sprintf(", cert: %q, key: %q", cert, key)
	}
	settings := fmt.Sprintf("limits: {agentCalls: 100000, agentChanges: 100000}\ntcp: {enabled: true, listen: %q}\nhttp: {enabled: true, listen: %q%s}\n", w.native, w.web, shown)
	if err := os.WriteFile(filepath.Join(w.Home, "config.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Up("project: shop\napps:\n  - {name: web, command: [sleep, \"1000\"], ready: {delay: 10ms}}\n")
	w.must("users.create", map[string]any{"name": "alice", "role": "admin", "password": password}, nil)
	w.must("users.create", map[string]any{"name": "bob", "role": "admin", "password": password}, nil)
	w.good, w.bob = w.token("good", "app"), w.token("bobs", "app", "for", "bob")
	w.views = w.token("views", "agent", "role", "viewer")
	w.listens()
	return w
}

func (w *world) listens() {
	w.T.Helper()
	w.Until(20*time.Second, "both network planes listen", func() bool {
		var st struct{ Planes []struct{ Listen string } }
		return w.Call("daemon.status", nil, &st) == nil && len(st.Planes) == 2 && st.Planes[0].Listen != "" && st.Planes[1].Listen != ""
	})
}

// restart replaces the daemon in good order; what runs under it runs on.
func (w *world) restart() {
	w.T.Helper()
	before := w.DaemonPID()
	w.must("daemon.restart", nil, nil)
	w.Until(20*time.Second, "another daemon owns the home", func() bool { now := w.DaemonPID(); return now != 0 && now != before })
	w.listens()
}

func (w *world) must(method string, in, out any) {
	w.T.Helper()
	if err := w.Call(method, in, out); err != nil {
		w.T.Fatalf("%s %v: %v", method, in, err)
	}
}

// token makes a named token, of alice's unless it is said otherwise.
func (w *world) token(name, channel string, more ...string) string {
	w.T.Helper()
	in := map[string]any{"name": name, "for": "alice", "role": "admin", "channel": channel}
	for i := 0; i+1 < len(more); i += 2 {
		in[more[i]] = more[i+1]
	}
	var out struct{ Result struct{ Token string } }
	w.must("tokens.create", in, &out)
	return out.Result.Token
}

// credentials are what a sign-in gives.
type credentials struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Session string
}

// signIn signs somebody in on the socket, where nothing is limited.
func (w *world) signIn(name string) credentials {
	w.T.Helper()
	var out struct{ Result credentials }
	w.must("auth.signin", map[string]any{"name": name, "password": password}, &out)
	return out.Result
}

// free is a loopback address on which nobody listens.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// dial connects from an address of this machine that has not guessed much: who guesses wrong a hundred times is told nothing
// but to wait, and every row is to have its own answer.
func (w *world) dial(addr string) net.Conn {
	w.T.Helper()
	n := w.dials.Add(1) / 40
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+n/250), byte(1+n%250))}, Timeout: 5 * time.Second}
	c, err := d.DialContext(w.T.Context(), "tcp", addr)
	if err != nil {
		w.T.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	return c
}

// secure is dial with TLS. The key is not looked at: that is tested elsewhere.
func (w *world) secure() net.Conn {
	w.T.Helper()
	raw := w.dial(w.native)
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := c.HandshakeContext(w.T.Context()); err != nil {
		_ = raw.Close()
		w.T.Fatal(err)
	}
	return c
}

// pid is the process of web, which every attack wants to replace.
func (w *world) pid() int { return w.PID("web") }

// memory is what the daemon has of the machine's, in bytes.
func (w *world) memory() int64 {
	w.T.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.DaemonPID()))
	if err != nil {
		w.T.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	w.T.Fatal("the daemon has no memory")
	return 0
}

// settled is what the daemon has once it gives nothing back any more: its collector takes its time.
func (w *world) settled() int64 {
	w.T.Helper()
	least, at := w.memory(), time.Now()
	w.Until(time.Minute, "the daemon's memory settles", func() bool {
		if now := w.memory(); now < least-128<<10 {
			least, at = now, time.Now()
		}
		return time.Since(at) > 4*time.Second
	})
	return least
}

// restarts counts the restarts that are on record and went through.
func (w *world) restarts() int {
	w.T.Helper()
	var page struct{ Items []json.RawMessage }
	w.must("audit.list", map[string]any{"method": "apps.restart", "result": "ok", "limit": 1000}, &page)
	return len(page.Items)
}

// code is how a fault stands in the table.
func code(f *fault.Error) string {
	if f.Reason == "" {
		return string(f.Code)
	}
	return string(f.Code) + "/" + f.Reason
}
