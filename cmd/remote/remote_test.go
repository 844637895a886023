package remote

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/transports/tcp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// daemon is a TCP plane with an authority that signs in ann by her password.
type daemon struct {
	*tcp.Server
	address   string
	pin       string
	life      time.Duration // of an access token
	refreshes atomic.Int64
	hellos    atomic.Int64
	sessions  *session.Sessions

	mu      sync.Mutex
	access  map[string]time.Time
	refresh string // good once
	closed  bool   // nobody is let in any more
	calls   []op.Caller
	next    int
}

func (d *daemon) Admit(_ context.Context, bearer string, _ netip.Addr, lower op.Channel) (*token.Identity, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hellos.Add(1)
	c := op.Caller{User: "ann", Channel: op.Person, Token: "session:1", Ceiling: op.Admin, Role: op.Admin}
	end, known := d.access[bearer]
	switch {
	case d.closed || !known && bearer != "omt_ci":
		return nil, fault.New(fault.Unauthenticated, "the token is none").WithReason("bad_token")
	case bearer == "omt_ci":
		c.User, c.Channel, c.Token, c.Role = "ci", op.Agent, "token:ci", op.Operator
	}
	if lower != "" {
		c.Channel, c.Role = lower, op.Operator
	}
	return &token.Identity{Caller: c, Expires: end, Revoked: make(chan struct{})}, nil
}

// give makes new credentials; mu is held.
func (d *daemon) give() any {
	d.next++
	access := fmt.Sprintf("access-%d", d.next)
	d.refresh = fmt.Sprintf("omr_%d", d.next)
	d.access[access] = time.Now().Add(d.life)
	return map[string]any{"status": "done", "result": map[string]any{"access_token": access, "expires_at": d.access[access], "refresh_token": d.refresh}}
}

func (d *daemon) handle(ctx context.Context, method string, params json.RawMessage, emit op.Emit) (any, error) {
	d.mu.Lock()
	d.calls = append(d.calls, op.CallerOf(ctx))
	var in struct {
		Name, Password string
		RefreshToken   string `json:"refresh_token"`
	}
	_ = json.Unmarshal(params, &in) // of other methods nothing is read
	switch method {
	case "auth.signin":
		defer d.mu.Unlock()
		if in.Name != "ann" || in.Password != "correct horse" {
			return nil, fault.New(fault.Unauthenticated, "name and password do not fit").WithReason("bad_credentials")
		}
		return d.give(), nil
	case "auth.refresh":
		defer d.mu.Unlock()
		d.refreshes.Add(1)
		if in.RefreshToken != d.refresh || d.closed {
			return nil, fault.New(fault.Unauthenticated, "the refresh token is none").WithReason("bad_token")
		}
		return d.give(), nil
	}
	d.mu.Unlock()
	switch method {
	case "events.follow":
		if err := emit(bus.Event{Seq: 7, Topic: "apps", Type: "started", Key: "a/b/c"}); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, ctx.Err()
	case "apps.stop":
		return map[string]any{"status": "done", "result": map[string]any{"items": []any{map[string]any{"key": "a/b/c", "ok": true}}}}, nil
	}
	return map[string]any{"version": "1.2.3", "go": "go", "platform": "linux"}, nil
}

func run(t *testing.T, seed, address string) *daemon {
	t.Helper()
	d := &daemon{life: time.Hour, access: map[string]time.Time{}, sessions: session.New(time.Now)}
	if address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		address = l.Addr().String()
		_ = l.Close()
	}
	log := slog.New(slog.DiscardHandler)
	d.Server = &tcp.Server{Authority: d, Sessions: d.sessions, Handle: d.handle, Log: log, Public: func(m string) bool { return m == "auth.signin" || m == "auth.refresh" },
		Certificates: cert.New(cert.Options{Home: t.TempDir(), Disk: store.OS, Log: log, Now: time.Now, Keys: func(name string) ([]byte, error) {
			sum := sha256.Sum256([]byte(seed + name))
			return sum[:], nil
		}})}
	d.Use(setting.Listener{Enabled: true, Listen: address})
	ctx, stop := context.WithCancel(context.Background())
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- d.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() { stop(); must(t, <-done) })
	<-up
	st := d.Status()
	must(t, st.Trouble)
	d.address, d.pin = st.Listen, st.Pin
	return d
}

func wantReason(t *testing.T, err error, code fault.Code, reason string) {
	t.Helper()
	if f := fault.From(err); err == nil || f.Code != code || f.Reason != reason {
		t.Fatalf("got %v, want %s %s", err, code, reason)
	}
}

func TestAddListRemove(t *testing.T) {
	d, home := run(t, "a", ""), t.TempDir()
	b := Open(home)
	if list, err := b.List(); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
	_, err := b.Add(t.Context(), "prod", d.address, d.pin, SignIn{Token: "omt_no"})
	wantReason(t, err, fault.Unauthenticated, "bad_token")
	_, err = b.Add(t.Context(), "prod", d.address, "sha256/other", SignIn{Token: "omt_ci"})
	wantReason(t, err, fault.Denied, "key_changed")
	_, err = b.Add(t.Context(), "prod", d.address, d.pin, SignIn{User: "ann", Password: "wrong"})
	wantReason(t, err, fault.Unauthenticated, "bad_credentials")
	if list, _ := b.List(); len(list) != 0 {
		t.Fatalf("kept although nobody was let in: %v", list)
	}
	w, err := b.Add(t.Context(), "prod", d.address, d.pin, SignIn{Token: "omt_ci"})
	must(t, err)
	if w.User != "ci" || w.Channel != "agent" {
		t.Errorf("%+v", w)
	}
	_, err = b.Add(t.Context(), "prod", "127.0.0.1:1", d.pin, SignIn{Token: "omt_ci"})
	wantReason(t, err, fault.Conflict, "alias_taken")
	must(t, filepath.WalkDir(home, func(path string, e os.DirEntry, err error) error {
		if info, serr := e.Info(); err == nil && path != home && (serr != nil || info.Mode().Perm()&0o077 != 0) {
			t.Errorf("%s can be read by others: %v %v", path, info.Mode(), serr)
		}
		return err
	}))
	list, err := b.List()
	if err != nil || len(list) != 1 || list[0].Pin != d.pin || list[0].User != "ci" || list[0].Address != d.address {
		t.Fatal(list, err)
	}
	_, err = b.Dial(t.Context(), "prdo", Launch{})
	wantReason(t, err, fault.NotFound, "remote_unknown")
	if c := fault.From(err).Candidates; len(c) != 1 || c[0] != "prod" {
		t.Errorf("candidates %v", c)
	}
	_, err = b.Remove(t.Context(), "prod")
	must(t, err)
	_, err = b.Dial(t.Context(), "prod", Launch{})
	wantReason(t, err, fault.NotFound, "remote_unknown")
	for _, alias := range []string{"", "../x", "A", "a/b", ".x", strings.Repeat("a", 64)} {
		wantReason(t, CheckAlias(alias), fault.Invalid, "bad_value")
	}
}

func TestKeyChange(t *testing.T) {
	b := Open(t.TempDir())
	var address, first string
	t.Run("first", func(t *testing.T) {
		d := run(t, "a", "")
		address, first = d.address, d.pin
		_, err := b.Add(t.Context(), "prod", address, first, SignIn{Token: "omt_ci"})
		must(t, err)
	})
	d := run(t, "b", address)
	_, err := b.Dial(t.Context(), "prod", Launch{})
	wantReason(t, err, fault.Denied, "key_changed")
	if f := fault.From(err); !strings.Contains(f.Message, "remote prod") || !strings.Contains(f.Message, d.pin) || f.Hint == "" {
		t.Errorf("%+v", f)
	}
	if d.hellos.Load() != 0 {
		t.Error("a credential was shown to somebody else")
	}
}

// TestRefreshOnce: many processes at once find a token that has ended, and one of them refreshes it.
func TestRefreshOnce(t *testing.T) {
	d, b := run(t, "a", ""), Open(t.TempDir())
	d.life = 5 * time.Second // what ends so soon is renewed before it is shown
	_, err := b.Add(t.Context(), "prod", d.address, d.pin, SignIn{User: "ann", Password: "correct horse"})
	must(t, err)
	d.life = time.Hour
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c, err := b.Dial(t.Context(), "prod", Launch{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.Call(t.Context(), "daemon.version", nil); err != nil || c.Welcome.User != "ann" {
				t.Error(err, c.Welcome)
			}
		})
	}
	all.Wait()
	if n := d.refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	d.mu.Lock()
	clear(d.access) // ended early, as when what the account may do has changed
	d.mu.Unlock()
	c, err := b.Dial(t.Context(), "prod", Launch{})
	must(t, err)
	must(t, c.Close())
	if n := d.refreshes.Load(); n != 2 {
		t.Errorf("%d refreshes", n)
	}
	d.mu.Lock()
	clear(d.access)
	d.closed = true
	d.mu.Unlock()
	_, err = b.Dial(t.Context(), "prod", Launch{})
	wantReason(t, err, fault.Unauthenticated, "signed_out")
	if f := fault.From(err); !strings.Contains(f.Hint, "omnitron remote add prod "+d.address) {
		t.Errorf("%+v", f)
	}
}

// TestRenewalInUse: a connection whose credential comes to its end says hello again by itself, and its stream goes on.
func TestRenewalInUse(t *testing.T) {
	d, b := run(t, "a", ""), Open(t.TempDir())
	d.life = fresh + 5*time.Second
	_, err := b.Add(t.Context(), "prod", d.address, d.pin, SignIn{User: "ann", Password: "correct horse"})
	must(t, err)
	c, err := b.Dial(t.Context(), "prod", Launch{})
	must(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, err := range c.Stream(ctx, "events.follow", nil) {
		must(t, err)
		d.mu.Lock()
		d.life = time.Hour
		d.mu.Unlock()
		break
	}
	before := d.hellos.Load()
	for d.hellos.Load() == before {
		select {
		case <-ctx.Done():
			t.Fatal("it was not renewed")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if d.refreshes.Load() != 1 {
		t.Errorf("%d refreshes", d.refreshes.Load())
	}
	_, err = c.Call(ctx, "daemon.version", nil)
	must(t, err)
}

func connect(t *testing.T, d *daemon) *Registry {
	t.Helper()
	b := Open(t.TempDir())
	_, err := b.Add(t.Context(), "prod", d.address, d.pin, SignIn{Token: "omt_ci"})
	must(t, err)
	r, w, err := b.Connect(t.Context(), "prod", catalog.Specs(), Launch{Role: "operator", Toolsets: []string{"daemon", "apps", "events"}})
	must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	if w.Channel != "agent" || w.Role != "operator" {
		t.Errorf("%+v", w)
	}
	return r
}

func TestRegistry(t *testing.T) {
	d := run(t, "a", "")
	r := connect(t, d)
	v, err := r.Do(t.Context(), tools.Call{Method: "apps.stop", In: json.RawMessage(`{"names":["c"]}`)})
	must(t, err)
	out, is := v.(op.Outcome)
	if raw, _ := json.Marshal(out.Result); !is || out.Status != op.Done || !strings.Contains(string(raw), "a/b/c") {
		t.Errorf("%#v", v)
	}
	d.mu.Lock()
	if c := d.calls[len(d.calls)-1]; c.Channel != op.Agent || c.Ceiling != op.Operator || len(c.Toolsets) != 3 {
		t.Errorf("%+v", c)
	}
	d.mu.Unlock()
	_, err = r.Do(t.Context(), tools.Call{Method: "no.such"})
	wantReason(t, err, fault.NotFound, "unknown_method")

	d.Use(setting.Listener{Listen: d.address}) // the connection is lost, and then it can be had again
	<-r.client.Done()
	d.Use(setting.Listener{Enabled: true, Listen: d.address})
	v, err = r.Do(t.Context(), tools.Call{Method: "daemon.version"})
	if raw, _ := json.Marshal(v); err != nil || !strings.Contains(string(raw), "1.2.3") {
		t.Errorf("%s %v", raw, err)
	}
	if _, err = d.sessions.Disconnect("ci/agent"); err != nil {
		t.Fatal(err)
	}
	<-r.client.Done()
	for range 2 { // what a person has ended is not begun anew
		_, err = r.Do(t.Context(), tools.Call{Method: "daemon.version"})
		wantReason(t, err, fault.Denied, "disconnected")
	}
}

func TestNews(t *testing.T) {
	d := run(t, "a", "")
	r, b := connect(t, d), bus.New(1, 16)
	sub := b.Subscribe(bus.Filter{}, 16)
	defer sub.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Follow(ctx, b, func(context.Context) {}) }()
	ev, _, err := sub.Next(t.Context())
	if err != nil || ev.Key != "a/b/c" {
		t.Errorf("%+v %v", ev, err)
	}
	stop()
	must(t, <-done)
}
