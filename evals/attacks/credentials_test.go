package attacks

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

func pick[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}

// resealed is a token that was changed and has the checksum of what it is now.
func resealed(token string, change func([]byte)) string {
	b := []byte(token[:len(token)-9])
	change(b)
	return fmt.Sprintf("%s_%08x", b, crc32.ChecksumIEEE(b))
}

func jwks(t testing.TB, w *world) []byte {
	t.Helper()
	res, err := http.Get("http://" + w.web + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(err, res.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
	return raw
}

// jar is how a cookie of this daemon begins.
func jar(w *world) string {
	return "omnitron_" + w.web[strings.LastIndex(w.web, ":")+1:] + "="
}

// browser begins a session of a browser and gives its cookie and key, which together are good.
func browser(t testing.TB, w *world) (cookie, key string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.web+"/session", strings.NewReader(`{"name":"alice","password":"`+password+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "http://"+w.web)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	var out struct{ Key string }
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || len(res.Cookies()) != 1 || out.Key == "" {
		t.Fatal(err, res.Status)
	}
	cookie, key = res.Cookies()[0].Value, out.Key
	if got := w.raw(w.post(api, "", effect, "Cookie", jar(w)+cookie, "X-Omnitron-Key", key, "Origin", "http://"+w.web)); got != "200" {
		t.Fatalf("a browser's call: %s", got)
	}
	return cookie, key
}

// ended are credentials that were good once, or are good elsewhere.
func ended(w *world) (all []row) {
	const section = "Credentials that count no more, or not here"
	add := func(name, text, want string) { all = append(all, bearer(section, name, text, want)) }
	user := func(name string) credentials {
		w.must("users.create", map[string]any{"name": name, "role": "admin", "password": password}, nil)
		return w.signIn(name)
	}
	const over = "unauthenticated/revoked"
	f := newForge(w.T, w, w.signIn("alice").Access)
	now := time.Now().Unix()
	add("ended a little more than a minute ago", f.with("iat", now-400, "exp", now-62), "unauthenticated/expired")
	add("ended long ago", f.with("iat", 1_600_000_000, "exp", 1_600_000_600), "unauthenticated/expired")
	add("of a session that never was", f.with("sid", "snobody"), over)
	add("of somebody else's session", f.with("sub", "unobody"), over)
	named := w.token("ended", "app")
	w.must("tokens.revoke", map[string]any{"name": "ended"}, nil)
	add("a named token, revoked", named, over)
	c := user("ended-session")
	w.must("auth.revoke", map[string]any{"session": c.Session}, nil)
	add("a session, revoked", c.Access, over)
	c = user("ended-password")
	w.must("users.update", map[string]any{"name": "ended-password", "password": "staple of wet paper"}, nil)
	add("a session from before the password was changed", c.Access, over)
	c = user("ended-account")
	var out struct{ Result struct{ Token string } }
	w.must("tokens.create", map[string]any{"name": "its", "for": "ended-account", "role": "admin", "channel": "app"}, &out)
	w.must("users.update", map[string]any{"name": "ended-account", "disabled": true}, nil)
	add("a session of a disabled account", c.Access, over)
	add("a named token of a disabled account", out.Result.Token, over)
	c = user("gone")
	w.must("tokens.create", map[string]any{"name": "its", "for": "gone", "role": "admin", "channel": "app"}, &out)
	w.must("users.delete", map[string]any{"name": "gone"}, nil)
	add("a session of a deleted account", c.Access, over)
	add("a named token of a deleted account", out.Result.Token, bad)

	other := rig.New(w.T)
	other.OK("start")
	var there struct{ Result credentials }
	if err := other.Call("users.create", map[string]any{"name": "alice", "role": "admin", "password": password}, nil); err != nil {
		w.T.Fatal(err)
	}
	if err := other.Call("auth.signin", map[string]any{"name": "alice", "password": password}, &there); err != nil {
		w.T.Fatal(err)
	}
	if err := other.Call("tokens.create", map[string]any{"name": "its", "for": "alice", "role": "admin", "channel": "app"}, &out); err != nil {
		w.T.Fatal(err)
	}
	add("an access token of another home", there.Result.Access, bad)
	add("a named token of another home", out.Result.Token, bad)
	return all
}
