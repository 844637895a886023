package attacks

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// guesser is a connection to the HTTP plane from one address.
type guesser struct {
	net.Conn
	r *bufio.Reader
}

func (w *world) guesser(n int) (*guesser, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(n/250), byte(1+n%250))}, Timeout: 5 * time.Second}
	c, err := d.DialContext(w.T.Context(), "tcp", w.web)
	if err != nil {
		return nil, err
	}
	return &guesser{c, bufio.NewReader(c)}, nil
}

func (g *guesser) guess(w *world, name, secret string) string {
	_ = g.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(g, w.post("/api/v1/auth/signin", "", fmt.Sprintf(`{"name":%q,"password":%q}`, name, secret)))
	return heard(g.r)
}

// TestGuesses has many passwords guessed, of one account and of names that there are not, from one address and from two hundred.
// Ten of an account are looked at and no more, whatever they come from; the daemon goes on meanwhile, and its owner is not kept out.
func TestGuesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	guesses := rig.Count(2000, 100_000)
	look := func() time.Duration {
		began := time.Now()
		w.must("daemon.status", nil, nil)
		return time.Since(began)
	}
	var quiet []time.Duration
	beat := time.NewTicker(10 * time.Millisecond)
	for range 200 {
		<-beat.C
		quiet = append(quiet, look())
	}
	beat.Stop()
	slices.Sort(quiet)
	var mu sync.Mutex
	answers := map[string]int{}
	var left atomic.Int64
	left.Store(int64(guesses))
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			conns := map[int]*guesser{}
			defer func() {
				for _, g := range conns {
					_ = g.Close()
				}
			}()
			for {
				n := int(left.Add(-1))
				if n < 0 {
					return
				}
				from := 0 // half of them from one address
				if n%2 == 0 {
					from = 1 + (n/16*8+i)%200
				}
				name := "alice"
				if n%4 == 3 {
					name = fmt.Sprintf("nobody%d", n%1000)
				}
				g := conns[from]
				if g == nil {
					var err error
					if g, err = w.guesser(from); err != nil {
						t.Error(err)
						return
					}
					conns[from] = g
				}
				got := g.guess(w, name, fmt.Sprintf("a wrong password, number %d", n))
				if name != "alice" {
					got += " (nobody)"
				}
				mu.Lock()
				answers[got]++
				mu.Unlock()
				if got == "cut" {
					_ = g.Close()
					delete(conns, from)
				}
			}
		})
	}
	go func() { all.Wait(); close(done) }()
	var took []time.Duration
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for flood := true; flood; {
		select {
		case <-done:
			flood = false
		case <-tick.C:
		}
		took = append(took, look())
	}
	slices.Sort(took)
	const looked, turned = "401 unauthenticated/bad_credentials", "429 limited/too_many_guesses"
	if n := answers[looked]; n == 0 || n > 10 {
		t.Errorf("%d guesses of one account were looked at, at most 10 may be", n)
	}
	total := 0
	for got, n := range answers {
		if total += n; got != looked && got != turned && got != looked+" (nobody)" && got != turned+" (nobody)" && got != "429 limited/sign_in_busy" && got != "429 limited/sign_in_busy (nobody)" {
			t.Errorf("%d were answered %s", n, got)
		}
	}
	if total != guesses {
		t.Errorf("%d of %d guesses have an answer", total, guesses)
	}
	g, err := w.guesser(900)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got := g.guess(w, "alice", password); got != turned {
		t.Errorf("the right password among them: %s", got)
	}
	if got := g.guess(w, "bob", password); got != "200" {
		t.Errorf("somebody else's right password: %s", got)
	}
	if w.signIn("alice").Access == "" {
		t.Error("on the socket the owner is kept out")
	}
	if got := w.try(rest, w.good); got != "200" {
		t.Errorf("a token of the account: %s", got)
	}
	// The guessers are on this machine too and share its processors, so that what counts is how it was without them.
	before, p99 := quiet[len(quiet)*99/100], took[len(took)*99/100]
	if rig.Full() && p99 > max(100*time.Millisecond, 25*before) { // a short flood has too few samples
		t.Errorf("status takes %s at p99 while passwords are guessed, %s before", p99, before)
	}
	t.Logf("%d guesses: %v; status: median %s, p99 %s, most %s of %d; before: median %s, p99 %s", guesses, answers, took[len(took)/2], p99, took[len(took)-1], len(took), quiet[len(quiet)/2], before)
}
