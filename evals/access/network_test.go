package access

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/core/vault"
	"github.com/omnitron-dev/omnitron/mcp"
	mcpweb "github.com/omnitron-dev/omnitron/mcp/web"
	"github.com/omnitron-dev/omnitron/tools"
	web "github.com/omnitron-dev/omnitron/transports/http"
	"github.com/omnitron-dev/omnitron/transports/tcp"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// network is the same registry behind the network planes, with the accounts and tokens of two homes.
type network struct {
	atTCP, atWeb string        // addresses
	own, foreign *token.Tokens // another home's are as good there as ours are here
	clock        atomic.Int64  // by how much it is behind
	dials        atomic.Int64
}

// reach opens the network planes, wired as the daemon wires them.
func (h *house) reach(t *testing.T, registry *tools.Registry) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	now := func() time.Time { return time.Now().Add(time.Duration(h.clock.Load())) }
	open := func(home string) (*token.Tokens, *vault.Vault, string) {
		dir := t.TempDir()
		v := vault.New(vault.Options{Home: dir, Disk: store.OS, Log: log, Now: time.Now})
		all, err := token.Open(t.Context(), token.Options{DB: storetest.New(t), Vault: v, Home: home, Log: log, Now: now})
		for _, role := range []op.Role{op.Admin, op.Operator, op.Viewer} {
			if err == nil {
				_, err = all.Create(t.Context(), role.String(), role, "correct horse battery staple")
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return all, v, dir
	}
	var v *vault.Vault
	var dir string
	h.clock.Store(int64(-2 * time.Hour))
	h.own, v, dir = open("own")
	h.foreign, _, _ = open("foreign")
	handle := func(ctx context.Context, method string, params json.RawMessage, emit op.Emit) (any, error) {
		return registry.Do(ctx, tools.Call{Method: method, In: params, Emit: emit})
	}
	m, err := mcp.New(registry, mcp.Options{Log: log, Sessions: registry.Sessions})
	if err != nil {
		t.Fatal(err)
	}
	agents := mcpweb.New(m, log)
	certs := cert.New(cert.Options{Home: dir, Keys: v.Key, Disk: store.OS, Log: log, Now: time.Now})
	native := &tcp.Server{Certificates: certs, Authority: h.own, Sessions: registry.Sessions, Handle: handle, Options: wire.Options{Log: log}, Log: log,
		Public: func(id string) bool { m, ok := registry.Find(id); return ok && m.Role == op.Public }}
	native.Use(setting.Listener{Enabled: true, Listen: "127.0.0.1:0"})
	up, listening := make(chan struct{}), make(chan net.Addr, 1)
	pages := &web.Server{Listen: "127.0.0.1:0", REST: true, Authority: h.own, Browser: h.own, Registry: registry, Sessions: registry.Sessions, Agents: mcpAgents{agents}, Log: log,
		OnListen: func(a net.Addr) { listening <- a }}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- native.Run(ctx, func() { close(up) }) }()
	go func() { ended <- pages.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		agents.Close()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	<-up
	if h.atTCP = native.Status().Listen; h.atTCP == "" {
		t.Fatal(native.Status().Trouble)
	}
	h.atWeb = (<-listening).String()
}

// mcpAgents lets the plane and the handler of MCP know each other.
type mcpAgents struct{ *mcpweb.Handler }

func (a mcpAgents) ServeMCP(w http.ResponseWriter, r *http.Request, body []byte, l web.Launch, lacks func(string)) {
	a.Handler.ServeMCP(w, r, body, mcp.Launch{Profile: l.Profile, Toolsets: l.Toolsets}, lacks)
}

// credential makes what somebody shows, or "".
type credential func(t *testing.T, h *house, s seat) string

// issue makes the bearer of a seat: of a person that of a session, of others a named token.
func issue(t *testing.T, of *token.Tokens, s seat, scope op.Scope, expires time.Time) (bearer string, end func() error) {
	t.Helper()
	if s.channel == op.Person {
		c, err := of.SignIn(t.Context(), s.rights.String(), netip.Addr{}, "test")
		if err != nil {
			t.Fatal(err)
		}
		return c.Access, func() error { return of.End(t.Context(), c.Session) }
	}
	text, n, err := of.Issue(t.Context(), token.Named{Name: "test", User: "admin", Role: s.rights, Channel: s.channel, Scope: scope, Expires: expires}) // of an admin: the token's own role is the limit
	if err != nil {
		t.Fatal(err)
	}
	return text, func() error { _, err := of.Revoke(t.Context(), n.ID); return err }
}

func good(t *testing.T, h *house, s seat) string {
	h.clock.Store(0)
	bearer, _ := issue(t, h.own, s, op.Scope{}, time.Time{})
	return bearer
}

func within(scope op.Scope) credential {
	return func(t *testing.T, h *house, s seat) string {
		h.clock.Store(0)
		bearer, _ := issue(t, h.own, s, scope, time.Time{})
		return bearer
	}
}

func none(_ *testing.T, h *house, _ seat) string { h.clock.Store(0); return "" }

func expired(t *testing.T, h *house, s seat) string {
	h.clock.Store(int64(-2 * time.Hour))
	defer h.clock.Store(0)
	bearer, _ := issue(t, h.own, s, op.Scope{}, time.Now().Add(-time.Hour))
	return bearer
}

func foreign(t *testing.T, h *house, s seat) string {
	h.clock.Store(0)
	bearer, _ := issue(t, h.foreign, s, op.Scope{}, time.Time{})
	return bearer
}

func revoked(t *testing.T, h *house, s seat) string {
	h.clock.Store(0)
	bearer, end := issue(t, h.own, s, op.Scope{}, time.Time{})
	if err := end(); err != nil {
		t.Fatal(err)
	}
	return bearer
}

// socket dials from an address that has not guessed much.
func (h *house) socket(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+h.dials.Add(1)/50/250), byte(1+h.dials.Load()/50%250))}}
	return d.DialContext(ctx, "tcp", addr)
}

// overTCP calls over TLS; without a credential, or with one that is none, over a connection for each call.
func overTCP(c credential, launch string, fails bool) func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
	return func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		bearer := c(t, h, s)
		connect := func() *wire.Client {
			raw, err := h.socket(t.Context(), h.atTCP)
			if err != nil {
				t.Fatal(err)
			}
			client := wire.NewClient(tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}))
			if bearer == "" {
				return client
			}
			said := json.RawMessage(fmt.Appendf(nil, `{"token":%q%s}`, bearer, launch))
			if err := client.Call(t.Context(), tcp.Hello, said, nil); (err != nil) != fails {
				t.Fatalf("the hello: %v", err)
			}
			return client
		}
		if !fails && bearer != "" {
			client := connect()
			t.Cleanup(func() { _ = client.Close() })
			return h.calls(t, client)
		}
		return func(m *tools.Method, in string) string {
			client := connect()
			defer client.Close()
			return h.calls(t, client)(m, in)
		}
	}
}

// overREST calls by HTTP.
func overREST(c credential) func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
	return func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		bearer := c(t, h, s)
		return func(m *tools.Method, in string) string {
			res := h.post(t, "/api/v1/"+m.Service+"/"+m.Verb, in, "Authorization", bearing(bearer))
			return h.read(t, m, res)
		}
	}
}

func bearing(bearer string) string {
	if bearer == "" {
		return ""
	}
	return "Bearer " + bearer
}

// overCookie calls as a page does.
func overCookie(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
	h.clock.Store(0)
	c, err := h.own.SignIn(t.Context(), s.rights.String(), netip.Addr{}, "page")
	if err != nil {
		t.Fatal(err)
	}
	cookie, key, err := h.own.Browse(t.Context(), c.Session)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(h.atWeb)
	return func(m *tools.Method, in string) string {
		return h.read(t, m, h.post(t, "/api/v1/"+m.Service+"/"+m.Verb, in, "Cookie", "omnitron_"+port+"="+cookie, "X-Omnitron-Key", key, "Origin", "http://"+h.atWeb))
	}
}

// post makes one request on a connection of its own.
func (h *house) post(t *testing.T, path, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.atWeb+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return h.socket(ctx, addr) }}
	res, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// read names an answer of REST. Its status has to fit what it says.
func (h *house) read(t *testing.T, m *tools.Method, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var last json.RawMessage
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		last = bytes.Clone(s.Bytes()) // a stream's last line says how it ended
	}
	var a struct {
		Error  *fault.Error
		Status op.Status
	}
	if err := json.Unmarshal(last, &a); err != nil {
		t.Fatalf("%s: %s: %q", m.ID(), res.Status, raw)
	}
	got := h.became(t, m, raw, a.Error)
	want := map[string]int{done: 200, confirm: 202, hold: 202, deny: 403, unknown: 401, gone: 404}[got]
	if want != res.StatusCode {
		t.Errorf("%s: %s, and the status is %s", m.ID(), got, res.Status)
	}
	return got
}

// overMCP calls as an agent's client does, in one profile.
func overMCP(c credential, path, profile string) func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
	return func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		tr := &http.Transport{}
		t.Cleanup(tr.CloseIdleConnections)
		client := sdk.NewClient(&sdk.Implementation{Name: "access", Version: "1"}, nil)
		session, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: "http://" + h.atWeb + path, HTTPClient: &http.Client{Transport: shows{bearing(c(t, h, s)), tr}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = session.Close() })
		return h.tools(t, session, profile)
	}
}

// shows adds a credential to requests.
type shows struct {
	what string
	next http.RoundTripper
}

func (s shows) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", s.what)
	return s.next.RoundTrip(r)
}

// barred calls by MCP with what is no credential: no library would get so far.
func barred(c credential) func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
	return func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		bearer := c(t, h, s)
		return func(m *tools.Method, in string) string {
			const version = "2026-07-28"
			body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}},"name":%q,"arguments":%s}}`, version, m.Tool(), in)
			return h.read(t, m, h.post(t, "/mcp/full", body, "Authorization", bearing(bearer), "Mcp-Protocol-Version", version, "Mcp-Method", "tools/call", "Mcp-Name", m.Tool()))
		}
	}
}
