package tcp

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/transports/wire"
	"go.uber.org/goleak"
)

const patience = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority knows the tokens that a test gives it.
type authority struct {
	mu     sync.Mutex
	tokens map[string]*token.Identity
	ends   map[string]chan struct{}
}

func (a *authority) give(bearer string, c op.Caller, expires time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end := make(chan struct{})
	a.tokens[bearer], a.ends[bearer] = &token.Identity{Caller: c, Expires: expires, Revoked: end}, end
}

func (a *authority) revoke(bearer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.ends[bearer])
	delete(a.tokens, bearer)
}

// Admit implements token.Authority.
func (a *authority) Admit(_ context.Context, bearer string, _ netip.Addr, lower op.Channel) (*token.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := a.tokens[bearer]
	if id == nil {
		return nil, fault.New(fault.Unauthenticated, "the token is none of this daemon's").WithReason("bad_token")
	}
	own := *id
	if lower != "" {
		own.Caller.Channel = lower
	}
	return &own, nil
}

// plane is a server whose handler has the methods that tests need.
type plane struct {
	*Server
	auth    *authority
	stop    context.CancelFunc
	done    chan error
	address string
	pin     string
	logs    strings.Builder
	release chan struct{} // lets toy.stubborn go on
	began   chan string   // a method has begun to wait
	stubs   atomic.Int64  // that have run to their end

	mu      sync.Mutex
	callers []op.Caller
	turned  map[string]int // refusals by reason
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.w.Write(p) }

func (p *plane) handle(ctx context.Context, method string, params json.RawMessage, emit op.Emit) (any, error) {
	p.mu.Lock()
	p.callers = append(p.callers, op.CallerOf(ctx))
	p.mu.Unlock()
	switch method {
	case "toy.block":
		p.began <- method
		<-ctx.Done()
		return nil, ctx.Err()
	case "toy.stubborn":
		p.began <- method
		<-p.release
		p.stubs.Add(1)
		return struct{}{}, nil
	case "toy.count":
		for i := 0; ; i++ {
			if err := emit(i); err != nil {
				return nil, err
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
	}
	return map[string]any{"method": method, "user": op.CallerOf(ctx).User, "channel": op.CallerOf(ctx).Channel}, nil
}

func port(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func person() op.Caller {
	return op.Caller{User: "ann", UID: -1, Channel: op.Person, Token: "session:1", Console: true, Ceiling: op.Admin, Role: op.Admin}
}

// newPlane runs a plane. trouble is the reason for which it does not come up at once; none: it does.
func newPlane(t testing.TB, change func(*Server), trouble ...string) *plane {
	t.Helper()
	p := &plane{auth: &authority{tokens: map[string]*token.Identity{}, ends: map[string]chan struct{}{}}, done: make(chan error, 1), address: port(t),
		release: make(chan struct{}), began: make(chan string, 16), turned: map[string]int{}}
	log := slog.New(slog.NewTextHandler(locked{&p.mu, &p.logs}, nil))
	certs := cert.New(cert.Options{Home: t.TempDir(), Disk: store.OS, Log: log, Now: time.Now, Keys: func(name string) ([]byte, error) {
		sum := sha256.Sum256([]byte(name))
		return sum[:], nil
	}})
	p.Server = &Server{Certificates: certs, Authority: p.auth, Sessions: session.New(time.Now), Handle: p.handle, Log: log,
		Public:  func(m string) bool { return m == "daemon.ping" || m == "auth.signin" },
		Refused: func(_ netip.Addr, why *fault.Error) { p.mu.Lock(); defer p.mu.Unlock(); p.turned[why.Reason]++ }}
	if change != nil {
		change(p.Server)
	}
	p.auth.give("good", person(), time.Time{})
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.Use(setting.Listener{Enabled: true, Listen: p.address})
	up := make(chan struct{})
	go func() { p.done <- p.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-p.done:
			must(t, err)
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	<-up
	st := p.Status()
	if len(trouble) > 0 {
		if fault.From(st.Trouble).Reason != trouble[0] {
			t.Fatalf("%+v", st)
		}
		return p
	}
	must(t, st.Trouble)
	p.pin = st.Pin
	return p
}

func (p *plane) refusals(reason string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turned[reason]
}

// peer is a client that says what it likes.
type peer struct {
	t testing.TB
	*tls.Conn
	raw net.Conn
	r   *bufio.Reader
}

func (p *plane) dial(t testing.TB) *peer {
	t.Helper()
	raw, err := net.Dial("tcp", p.address)
	must(t, err)
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	t.Cleanup(func() { _ = raw.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	must(t, c.HandshakeContext(t.Context()))
	return &peer{t, c, raw, bufio.NewReader(c)}
}

// hello is dial and a granted hello.
func (p *plane) hello(t testing.TB, bearer string) *peer {
	t.Helper()
	c := p.dial(t)
	c.send(greeting(bearer))
	c.want("")
	return c
}

func greeting(bearer string) string {
	return `{"jsonrpc":"2.0","id":"h","method":"auth.hello","params":{"token":` + strconv.Quote(bearer) + `}}`
}

func call(id any, method string) string {
	raw, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method})
	return string(raw)
}

type answer struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *wire.Error     `json:"error"`
}

func (p *peer) send(lines ...string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, strings.Join(lines, "\n")+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) read() answer {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	line, err := p.r.ReadBytes('\n')
	var a answer
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err != nil {
		p.t.Fatalf("%q: %v", line, err)
	}
	return a
}

// want reads an answer with a reason; "": one that is no error.
func (p *peer) want(reason string) answer {
	p.t.Helper()
	a := p.read()
	for a.Method == "$/item" {
		a = p.read()
	}
	got := ""
	if a.Error != nil {
		got = a.Error.Fault().Reason
	}
	if got != reason || (a.Error != nil) != (reason != "") {
		p.t.Fatalf("got %s %s %+v, want reason %q", a.ID, a.Result, a.Error, reason)
	}
	return a
}

// wantEnd waits until the connection is over and gives how long that took.
func (p *peer) wantEnd() time.Duration {
	p.t.Helper()
	began := time.Now()
	_ = p.SetReadDeadline(time.Now().Add(patience + 5*time.Second))
	if rest, err := io.ReadAll(p.r); errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("the connection goes on: %q", rest)
	}
	return time.Since(began)
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not so in time: %s", what)
		}
	}
}
