package http

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
)

// raw sends bytes and gives what comes back until the connection ends or is quiet.
func (w *world) raw(text string) string {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return ""
	}
	_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	out, _ := io.ReadAll(c)
	return string(out)
}

const paint = `{"names":["car"],"color":"green"}`

// TestForeignRequests is every way in which a page of somebody else reaches a local port, on every route.
func TestForeignRequests(t *testing.T) {
	w := start(t, func(s *Server) { s.Agents = refuser{} })
	routes := []struct{ method, path, body string }{
		{"GET", "/healthz", ""}, {"GET", "/readyz", ""}, {"GET", "/metrics", ""}, {"GET", "/openapi.json", ""}, {"GET", "/", ""}, {"GET", "/nothing", ""},
		{"POST", "/api/v1/toys/paint", paint}, {"GET", "/api/v1/toys/list", ""}, {"POST", "/api/v1/toys/ping", "{}"}, {"POST", "/mcp", "{}"}, {"GET", "/mcp", ""},
		{"GET", "/mcp/full", ""}, {"GET", "/.well-known/oauth-protected-resource/mcp", ""}, {"POST", "/register", "{}"},
	}
	for name, headers := range map[string][]string{
		"another origin":            {"Origin", "http://evil.example"},
		"no origin at all":          {"Origin", "null"},
		"another port of this host": {"Origin", "http://127.0.0.1:3000"},
		"another scheme":            {"Origin", "https://" + w.addr},
		"a name that is not ours":   {"Host", "evil.example:9800"},
		"a name with ours in it":    {"Host", "127.0.0.1.evil.example"},
		"a page that hides itself":  {"Sec-Fetch-Site", "cross-site"},
		"a page of the same site":   {"Sec-Fetch-Site", "same-site"},
	} {
		for _, r := range routes {
			if a := w.ask(r.method, r.path, "admin", r.body, headers...); a.status != 403 {
				t.Errorf("%s: %s %s answers %d", name, r.method, r.path, a.status)
			}
		}
	}
	if w.Box.Toys()[0].Color != "red" {
		t.Error("it had an effect")
	}
	for name, headers := range map[string][]string{
		"our own page": {"Origin", "http://" + w.addr}, "its fetch": {"Sec-Fetch-Site", "same-origin"}, "by name": {"Host", "localhost:1234", "Origin", "http://localhost:1234"},
	} {
		if a := w.ask("POST", "/api/v1/toys/list", "viewer", "{}", headers...); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

type refuser struct{}

func (refuser) ServeMCP(w http.ResponseWriter, _ *http.Request, _ []byte, _ Launch, _ func(string)) {
	w.WriteHeader(200)
}

// TestMalformedRequests smuggles, spells and repeats: nothing of it has an effect, and the plane goes on.
func TestMalformedRequests(t *testing.T) {
	w := start(t)
	auth := "Authorization: Bearer admin\r\nContent-Type: application/json\r\n"
	host := "Host: " + w.addr + "\r\n"
	smuggled := "POST /api/v1/toys/paint HTTP/1.1\r\n" + host + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(paint), paint)
	list := "POST /api/v1/toys/list HTTP/1.1\r\n" + host + auth
	for name, c := range map[string]struct{ send, want string }{
		"a length and chunks":        {list + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, ""},
		"two lengths":                {list + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + smuggled, " 400 "},
		"a length with a sign":       {list + "Content-Length: +2\r\n\r\n{}" + smuggled, " 400 "},
		"two codings":                {list + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, ""},
		"an unknown coding":          {list + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, " 501 "},
		"chunks with extensions":     {list + "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n" + smuggled, ""},
		"a bad chunk":                {list + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" + smuggled, ""},
		"an absolute form":           {"POST http://evil.example/api/v1/toys/paint HTTP/1.1\r\n" + host + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(paint), paint), " 403 "},
		"two hosts":                  {"GET /healthz HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n", " 400 "},
		"no host":                    {"GET /healthz HTTP/1.1\r\n\r\n", " 400 "},
		"a space before the colon":   {"GET /healthz HTTP/1.1\r\n" + host + "Origin : http://evil.example\r\n\r\n", " 400 "},
		"an ancient version":         {"GET /healthz\r\n\r\n", " 400 "},
		"TRACE":                      {"TRACE /healthz HTTP/1.1\r\n" + host + "\r\n", " 405 "},
		"CONNECT":                    {"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n", " 405 "},
		"OPTIONS":                    {"OPTIONS /api/v1/toys/paint HTTP/1.1\r\n" + host + "\r\n", " 405 "},
		"the whole server":           {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", " 404 "},
		"two authorizations":         {"GET /openapi.json HTTP/1.1\r\n" + host + "Authorization: Bearer x\r\nAuthorization: Bearer admin\r\n\r\n", " 400 "},
		"two origins":                {"GET /healthz HTTP/1.1\r\n" + host + "Origin: http://" + w.addr + "\r\nOrigin: http://evil.example\r\n\r\n", " 400 "},
		"a name in the URL":          {"GET http://a:b@" + w.addr + "/healthz HTTP/1.1\r\n" + host + "\r\n", " 400 "},
		"a long head":                {"GET /healthz HTTP/1.1\r\n" + host + "X-Long: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", ""},
		"many headers":               {"GET /healthz HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", 100_000) + "\r\n", ""},
		"bytes of another protocol":  {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ""},
		"the preface of HTTP/2":      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
		"an upgrade to it":           {"GET /healthz HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", " 200 "},
		"dots that leave":            {"GET /api/v1/../../metrics HTTP/1.1\r\n" + host + auth + "\r\n", " 404 "},
		"escaped dots":               {"GET /%2e%2e/metrics HTTP/1.1\r\n" + host + auth + "\r\n", " 404 "},
		"two slashes":                {"GET //metrics HTTP/1.1\r\n" + host + auth + "\r\n", " 404 "},
		"a parameter":                {"GET /metrics;x HTTP/1.1\r\n" + host + auth + "\r\n", " 404 "},
		"a slash behind":             {"GET /metrics/ HTTP/1.1\r\n" + host + auth + "\r\n", " 404 "},
		"capitals":                   {"GET /METRICS HTTP/1.1\r\n" + host + auth + "\r\n", " 404 "},
		"a body where none is taken": {"GET /healthz HTTP/1.1\r\n" + host + "Content-Length: 400\r\n\r\n" + smuggled, " 400 "},
	} {
		got := w.raw(c.send)
		if !strings.Contains(firstLine(got), c.want) || c.want != "" && got == "" {
			t.Errorf("%s: %q, want%s", name, firstLine(got), c.want)
		}
		if w.Box.Toys()[0].Color != "red" {
			t.Fatalf("%s: it had an effect\n%s", name, got)
		}
	}
	if a := w.ask("GET", "/healthz", "", ""); a.status != 200 {
		t.Errorf("afterwards: %+v", a)
	}
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\r\n"); return line }

// TestForgedBearers offers what is none.
func TestForgedBearers(t *testing.T) {
	w := start(t)
	for _, b := range []string{"x", "", " ", "admin admin", "Bearer admin", "ADMIN", "admin\t", "eyJhbGciOiJub25lIn0.e30.", strings.Repeat("a.", 5000), "../../admin", "omr_refresh", "admin,viewer"} {
		if a := w.ask("POST", "/api/v1/toys/list", "", "{}", "Authorization", "Bearer "+b); a.status != 401 && b != "admin\t" {
			t.Errorf("%.40q: %d", b, a.status)
		}
	}
	for _, where := range []string{"/api/v1/toys/list?token=admin", "/metrics?access_token=admin"} {
		if a := w.ask("GET", where, "", ""); a.status != 400 {
			t.Errorf("%s: %d", where, a.status)
		}
	}
	a := w.ask("GET", "/metrics", "", "")
	if a.status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("%+v", a)
	}
}

// TestFiguresAreOfTheWholeDaemon: whose token is limited to some projects, or to methods that tell less, sees none.
func TestFiguresAreOfTheWholeDaemon(t *testing.T) {
	w := start(t)
	for bearer, c := range map[string]struct {
		scope  op.Scope
		status int
	}{
		"some":    {op.Scope{Projects: []string{"shop"}}, 403},
		"stacks":  {op.Scope{Stacks: []string{"dev"}}, 403},
		"lists":   {op.Scope{Methods: []string{"apps.list"}}, 403},
		"both":    {op.Scope{Projects: []string{"shop"}, Methods: []string{"daemon.*"}}, 403},
		"figures": {op.Scope{Methods: []string{"daemon.status"}}, 200},
		"all":     {op.Scope{}, 200},
	} {
		w.auth.add(bearer, op.Caller{User: "vera", UID: -1, Channel: op.App, Ceiling: op.Admin, Role: op.Admin, Token: "t-" + bearer, Scope: c.scope}, time.Time{})
		a := w.ask("GET", "/metrics", bearer, "")
		if a.status != c.status || (c.status == 403) != strings.Contains(a.body, `"scope"`) || (c.status == 200) != strings.Contains(a.body, "omnitron_toys") {
			t.Errorf("%s: %d %s", bearer, a.status, a.body)
		}
	}
}

// TestABodyThatIsTooLarge is refused by its length, and without one once it is too long; it costs no memory.
func TestABodyThatIsTooLarge(t *testing.T) {
	w := start(t)
	before := heap()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /api/v1/toys/list HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer viewer\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", w.addr, 256<<20)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 413 || !res.Close {
		t.Errorf("%v %+v", err, res)
	}
	r := w.request("POST", "/api/v1/toys/list", "viewer", "")
	r.Body, r.ContentLength = io.NopCloser(io.LimitReader(spaces{}, 256<<20)), -1
	if res, err := w.http.Do(r); err == nil {
		if res.StatusCode != 413 {
			t.Errorf("%d", res.StatusCode)
		}
		_ = res.Body.Close()
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	for _, size := range []int{maxBody - 2, maxBody, maxBody + 1} {
		a := w.ask("POST", "/api/v1/toys/list", "viewer", "{"+strings.Repeat(" ", size-2)+"}")
		if (size > maxBody) != (a.status == 413) {
			t.Errorf("%d bytes: %d", size, a.status)
		}
	}
}

type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestSlowConnections opens many that take their time with the head or the body: all are cut within ten seconds, and others are
// served meanwhile.
func TestSlowConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	w := start(t)
	began := time.Now()
	var all sync.WaitGroup
	for i := range 200 {
		c, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		head := "POST /api/v1/toys/list HTTP/1.1\r\nHost: " + w.addr + "\r\n"
		if i%2 == 1 {
			head += "Authorization: Bearer viewer\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
		}
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer c.Close()
			_ = c.SetReadDeadline(began.Add(15 * time.Second))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a slow connection was not cut")
			}
		})
	}
	for range 50 {
		at := time.Now()
		if a := w.ask("POST", "/api/v1/toys/list", "admin", "{}"); a.status != 200 || time.Since(at) > time.Second {
			t.Errorf("%d after %s", a.status, time.Since(at))
		}
	}
	all.Wait()
	if took := time.Since(began); took > sendFor+2*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestPlainBeyondLoopback is refused before anything listens.
func TestPlainBeyondLoopback(t *testing.T) {
	for _, at := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		s := &Server{Listen: at, Authority: newAuthority(), Registry: start(t).Registry, Log: start(t).srv.Log}
		if err := s.Run(t.Context()); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// TestOverTLS speaks HTTP/2 there, and only there.
func TestOverTLS(t *testing.T) {
	w := start(t, func(s *Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MinVersion: tls.VersionTLS13}
	})
	res, err := w.http.Do(w.request("POST", "/api/v1/toys/list", "viewer", "{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != 200 {
		t.Errorf("%s %d", res.Proto, res.StatusCode)
	}
	stream, err := w.http.Do(w.request("POST", "/api/v1/toys/watch", "operator", "{}"))
	if err != nil {
		t.Fatal(err)
	}
	w.auth.revoke("operator")
	began := time.Now()
	_, _ = io.Copy(io.Discard, stream.Body)
	_ = stream.Body.Close()
	if took := time.Since(began); took > time.Second {
		t.Errorf("a stream over HTTP/2 went on for %s", took)
	}
	if a := w.ask("POST", "/api/v1/toys/list", "viewer", "{}", "Origin", "http://"+w.addr); a.status != 403 {
		t.Errorf("a plain origin: %d", a.status)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestProxies sees the client that a trusted proxy names, and believes nobody else.
func TestProxies(t *testing.T) {
	for proxies, want := range map[string]string{"": "127.0.0.1", "127.0.0.0/8": "192.0.2.7"} {
		var seen netip.Addr
		w := start(t, func(s *Server) {
			if proxies != "" {
				s.Proxies = []netip.Prefix{netip.MustParsePrefix(proxies)}
			}
			s.Refused = func(from netip.Addr, _ *fault.Error) { seen = from }
		})
		w.ask("GET", "/metrics", "", "", "X-Forwarded-For", "10.9.9.9, 192.0.2.7, 127.0.0.2")
		if seen.String() != want {
			t.Errorf("%q: %s", proxies, seen)
		}
		a := w.ask("POST", "/api/v1/toys/list", "viewer", "{}", "X-Forwarded-Proto", "https", "Origin", "https://"+w.addr)
		if (a.status == 200) != (proxies != "") {
			t.Errorf("%q: an origin of the proxy's: %d", proxies, a.status)
		}
	}
}

// browsers is a stand-in for sessions of browsers.
type browsers struct{ off chan struct{} }

func (b browsers) Browse(_ context.Context, session string) (string, string, error) {
	return "cookie-" + session, "key-" + session, nil
}

func (b browsers) AdmitBrowser(cookie, key string, _ netip.Addr) (*token.Identity, error) {
	if cookie != "cookie-s1" || key != "key-s1" {
		return nil, fault.New(fault.Unauthenticated, "no").WithReason("bad_token")
	}
	return &token.Identity{Caller: op.Caller{User: "alice", UID: -1, Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, Console: true, Token: "b"}, Revoked: b.off}, nil
}

// TestBrowserSessions uses a cookie where it is good, and as an app on another port of this host would.
func TestBrowserSessions(t *testing.T) {
	w := start(t, func(s *Server) { s.Browser = browsers{make(chan struct{})}; s.Agents = refuser{} })
	own := "http://" + w.addr
	cookie := w.srv.cookieName() + "=cookie-s1"
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
	}{
		"a page's call":           {"POST", "/api/v1/toys/list", "{}", []string{"Cookie", cookie, keyHeader, "key-s1", "Origin", own}, 200},
		"a page's read":           {"GET", "/api/v1/toys/list", "", []string{"Cookie", cookie, keyHeader, "key-s1", "Sec-Fetch-Site", "same-origin"}, 200},
		"the cookie alone":        {"POST", "/api/v1/toys/list", "{}", []string{"Cookie", cookie, "Origin", own}, 401},
		"another key":             {"POST", "/api/v1/toys/list", "{}", []string{"Cookie", cookie, keyHeader, "key-s2", "Origin", own}, 401},
		"from another port":       {"POST", "/api/v1/toys/list", "{}", []string{"Cookie", cookie, "Origin", "http://127.0.0.1:3000"}, 403},
		"captured, by a program":  {"POST", "/api/v1/toys/paint", paint, []string{"Cookie", cookie}, 401},
		"captured, with a guess":  {"POST", "/api/v1/toys/paint", paint, []string{"Cookie", cookie, keyHeader, "x", "Origin", own}, 401},
		"the key without origin":  {"POST", "/api/v1/toys/list", "{}", []string{"Cookie", cookie, keyHeader, "key-s1"}, 401},
		"on MCP":                  {"POST", "/mcp", "{}", []string{"Cookie", cookie, keyHeader, "key-s1", "Origin", own}, 401},
		"on figures":              {"GET", "/metrics", "", []string{"Cookie", cookie, keyHeader, "key-s1", "Origin", own}, 401},
		"a session from nowhere":  {"POST", "/session", `{"name":"a","password":"b"}`, nil, 403},
		"leaving without a key":   {"DELETE", "/session", "", []string{"Cookie", cookie, "Origin", own}, 401},
		"the page of the methods": {"GET", "/openapi.json", "", []string{"Cookie", cookie, keyHeader, "key-s1"}, 200},
	} {
		if a := w.ask(c.method, c.path, "", c.body, c.headers...); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
		}
	}
	if w.Box.Toys()[0].Color != "red" {
		t.Error("it had an effect")
	}
}
