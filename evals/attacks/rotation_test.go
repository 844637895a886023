package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// TestKilledWhileKeysAreRenewed kills the daemon at moments that are spread over a rotation of the vault's keys and of the
// signing key, at once and not. Afterwards every secret and every version of it opens, every token is good or, where the key
// was to count no more at once, cleanly not; a session goes on; the planes show the key that was pinned, though the certificate is made
// anew by every daemon; the record is whole; and the next rotation works.
func TestKilledWhileKeysAreRenewed(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a daemon again and again")
	}
	w := newWorld(t)
	secrets := map[string]string{}
	for i := range 20 {
		name, value := fmt.Sprintf("shop/s%d", i), fmt.Sprintf("the value of secret number %d", i)
		w.must("secrets.set", map[string]any{"name": name, "value": "before " + value}, nil)
		w.must("secrets.set", map[string]any{"name": name, "value": value}, nil)
		secrets[name] = value
	}
	pins := func() string {
		var st struct{ Planes []struct{ Name, Pin string } }
		w.must("daemon.status", nil, &st)
		return fmt.Sprint(st.Planes)
	}
	pinned := pins()
	session := w.signIn("alice")
	again := func() {
		t.Helper()
		var out struct{ Result credentials }
		w.must("auth.refresh", map[string]any{"refresh_token": session.Refresh}, &out)
		session = out.Result
	}
	holds := func(what string, atOnce bool) {
		t.Helper()
		for name, value := range secrets {
			for version, want := range map[int]string{0: value, 1: "before " + value, 2: value} {
				var got struct{ Value string }
				if w.must("secrets.get", map[string]any{"name": name, "version": version}, &got); got.Value != want {
					t.Fatalf("%s: version %d of %s is %q", what, version, name, got.Value)
				}
			}
		}
		for who, bearer := range map[string]string{"alice": w.good, "bob": w.bob} {
			if got := w.try(rest, bearer); got != "200" {
				t.Errorf("%s: the token of %s: %s", what, who, got)
			}
		}
		if got := w.try(rest, session.Access); got != "200" && !(atOnce && strings.HasPrefix(got, "401 unauthenticated/")) {
			t.Errorf("%s: what was signed before: %s", what, got)
		}
		again()
		for _, bearer := range []string{session.Access, w.signIn("bob").Access} {
			if got := w.try(rest, bearer); got != "200" {
				t.Errorf("%s: what was signed afterwards: %s", what, got)
			}
		}
		if now := pins(); now != pinned {
			t.Errorf("%s: the planes show %s, not %s", what, now, pinned)
		}
	}
	for _, c := range []struct {
		method string
		in     map[string]any
		atOnce bool
	}{{"secrets.rotate", map[string]any{}, false}, {"auth.rotate", map[string]any{}, false}, {"auth.rotate", map[string]any{"at_once": true}, true}} {
		began := time.Now()
		w.must(c.method, c.in, nil)
		whole := time.Since(began)
		holds(c.method, c.atOnce)
		n, done := rig.Count(5, 40), 0
		for i := range n {
			after := whole * time.Duration(i+1) / time.Duration(n)
			conn, err := wire.Dial(t.Context(), "unix", filepath.Join(w.Home, "daemon.sock"))
			if err != nil {
				t.Fatal(err)
			}
			pid, answered, killed := w.DaemonPID(), make(chan error, 1), make(chan struct{})
			go func() { answered <- conn.Call(t.Context(), c.method, c.in, nil) }()
			time.AfterFunc(after, func() { defer close(killed); _ = syscall.Kill(pid, syscall.SIGKILL) })
			if err := <-answered; err == nil {
				done++
			}
			<-killed
			_ = conn.Close()
			w.Disconnect()
			w.Until(20*time.Second, "another daemon owns the home", func() bool { now := w.DaemonPID(); return now != 0 && now != pid })
			w.listens()
			holds(fmt.Sprintf("%s, killed after %s", c.method, after), c.atOnce)
		}
		t.Logf("%s takes %s; %d of %d were answered before the kill", c.method, whole, done, n)
		w.must(c.method, c.in, nil)
		holds(c.method+" in the end", c.atOnce)
	}
	if text, err := os.ReadFile(filepath.Join(w.Home, "vault.key")); err != nil || len(strings.Fields(string(text))) != 1 {
		t.Errorf("vault.key has %d keys, %v", len(strings.Fields(string(text))), err)
	}
	if r := w.Run("audit", "verify"); r.Code != 0 {
		t.Errorf("the record: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
}
