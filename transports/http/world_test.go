package http

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/limit"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority knows a few bearers, and lets tests take them back.
type authority struct {
	mu  sync.Mutex
	ids map[string]*token.Identity
	off map[string]chan struct{}
}

func newAuthority() *authority {
	a := &authority{ids: map[string]*token.Identity{}, off: map[string]chan struct{}{}}
	a.add("viewer", op.Caller{User: "vera", UID: -1, Channel: op.Agent, Ceiling: op.Viewer, Role: op.Viewer, Token: "t-viewer"}, time.Time{})
	a.add("operator", op.Caller{User: "olaf", UID: -1, Channel: op.Person, Ceiling: op.Operator, Role: op.Operator, Token: "t-operator"}, time.Time{})
	a.add("admin", op.Caller{User: "alice", UID: -1, Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, Token: "t-admin"}, time.Time{})
	return a
}

func (a *authority) add(bearer string, c op.Caller, expires time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ch := make(chan struct{})
	a.off[bearer], a.ids[bearer] = ch, &token.Identity{Caller: c, Expires: expires, Revoked: ch}
}

func (a *authority) revoke(bearer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.off[bearer])
	delete(a.ids, bearer)
}

func (a *authority) Admit(_ context.Context, bearer string, _ netip.Addr, lower op.Channel) (*token.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := a.ids[bearer]
	if id == nil {
		return nil, fault.New(fault.Unauthenticated, "the token is not good").WithReason("bad_token")
	}
	own := *id
	if lower != "" {
		own.Caller.Channel = lower
	}
	return &own, nil
}

// world is a plane of toys that listens.
type world struct {
	*toolstest.World
	t     testing.TB
	auth  *authority
	srv   *Server
	addr  string
	http  *http.Client
	stop  func()
	ended chan error
}

func start(t testing.TB, changes ...func(*Server)) *world {
	t.Helper()
	w := &world{World: toolstest.New(t, func(d *tools.Deps) { d.Limits = limit.Default() }), t: t, auth: newAuthority(), ended: make(chan error, 1)}
	listening := make(chan net.Addr, 1)
	w.srv = &Server{Listen: "127.0.0.1:0", REST: true, Authority: w.auth, Registry: w.Registry, Sessions: w.Sessions, Log: slog.New(slog.DiscardHandler), Version: "1.2.3",
		Metrics: func(_ context.Context, m *Metrics) { m.Gauge("toys", "Toys.").Is(3, "box", "a \"b\"\n") }, OnListen: func(a net.Addr) { listening <- a }}
	for _, change := range changes {
		change(w.srv)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.ended <- w.srv.Run(ctx) }()
	select {
	case a := <-listening:
		w.addr = a.String()
	case err := <-w.ended:
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	w.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		cancel()
		if err := <-w.ended; err != nil {
			t.Errorf("the plane ended with %v", err)
		}
		transport.CloseIdleConnections()
	})
	return w
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask makes a request; headers are pairs.
func (w *world) ask(method, path, bearer, body string, headers ...string) answer {
	w.t.Helper()
	r := w.request(method, path, bearer, body, headers...)
	res, err := w.http.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(raw)}
}

func (w *world) request(method, path, bearer, body string, headers ...string) *http.Request {
	w.t.Helper()
	scheme := "http://"
	if w.srv.TLS != nil {
		scheme = "https://"
	}
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, scheme+w.addr+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// code is the fault code in an answer.
func (a answer) code() string {
	var f struct {
		Error struct{ Code, Reason string }
	}
	_ = json.Unmarshal([]byte(a.body), &f)
	if f.Error.Reason != "" {
		return f.Error.Code + "/" + f.Error.Reason
	}
	return f.Error.Code
}

// inside waits until a call of toys.fail has begun to wait.
func (w *world) inside() {
	w.t.Helper()
	select {
	case <-w.Box.Inside:
	case <-time.After(10 * time.Second):
		w.t.Fatal("no call came")
	}
}
