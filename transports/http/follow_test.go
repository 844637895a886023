package http

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// TestThePlaneWaits for credentials that can be told apart, and for its port, and says so meanwhile; other settings move it.
func TestThePlaneWaits(t *testing.T) {
	var open, ill atomic.Bool
	p := &Plane{Server: Server{Authority: newAuthority(), Registry: toolstest.New(t).Registry, Log: slog.New(slog.DiscardHandler)},
		Ready: func(context.Context) error {
			if !open.Load() {
				return fault.New(fault.Unavailable, "the vault is sealed").WithReason("vault_sealed")
			}
			return nil
		},
		Secures: func([]string, string, string) (Shown, error) {
			return Shown{&tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}, func() string { return "sha256/x" }, func() error {
				if ill.Load() {
					return fault.New(fault.Invalid, "the certificate has ended").WithReason("certificate_unfit")
				}
				return nil
			}}, nil
		}}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := taken.Addr().String()
	p.Use(setting.HTTP{Listener: setting.Listener{Enabled: true, Listen: at}})
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- p.Run(ctx, func() { close(ready) }) }()
	<-ready // a daemon whose vault is sealed supervises all the same
	if st := p.Status(); !fault.Is(st.Trouble, fault.Unavailable) || st.Listen != "" || where(p) != "" {
		t.Errorf("sealed: %+v", st)
	}
	open.Store(true)
	until(t, "its port is taken", func() bool { return fault.Is(p.Status().Trouble, fault.Conflict) })
	if why := fault.From(p.Status().Trouble); why.Message != "cannot listen on "+at+": another process does" {
		t.Error(why.Message)
	}
	_ = taken.Close()
	until(t, "it listens", func() bool { return p.Status().Listen == at })
	if st := p.Status(); st.Trouble != nil || st.Pin != "" || where(p) != "http://"+at {
		t.Errorf("%+v %s", st, where(p))
	}
	_, port, _ := net.SplitHostPort(at)
	p.Use(setting.HTTP{Listener: setting.Listener{Enabled: true, Listen: "0.0.0.0:" + port, Names: []string{"ops.example.com"}}})
	until(t, "it listens beyond this machine, with TLS", func() bool { return p.Status().Pin == "sha256/x" })
	if where(p) != "https://ops.example.com:"+port+" of its own" {
		t.Error(where(p))
	}
	if st := p.Status(); st.Trouble != nil {
		t.Errorf("with a good certificate: %v", st.Trouble)
	}
	ill.Store(true)
	if st := p.Status(); st.Listen == "" || fault.From(st.Trouble) == nil || fault.From(st.Trouble).Reason != "certificate_unfit" {
		t.Errorf("a certificate that has ended is not told of: %+v", st)
	}
	if res, err := http.Get("http://127.0.0.1:" + port + "/healthz"); err == nil { // the library answers plain HTTP by 400
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %d", res.StatusCode)
		}
		_ = res.Body.Close()
	}
	p.Use(setting.HTTP{})
	until(t, "it is off", func() bool { st := p.Status(); return !st.Enabled && st.Listen == "" })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within ten seconds", what)
		}
	}
}

// TestOnePrincipalCannotHaveAll of the places, nor of the room for bodies.
func TestOnePrincipalCannotHaveAll(t *testing.T) {
	g := gate{by: map[string]*share{}}
	var held []*pass
	for range requestsOne {
		p, why := g.enter("greedy")
		if why != nil {
			t.Fatal(why.fault)
		}
		held = append(held, p)
	}
	if _, why := g.enter("greedy"); why == nil || why.status != http.StatusTooManyRequests || why.fault.RetryAfter == 0 {
		t.Errorf("%+v", why)
	}
	other, why := g.enter("modest")
	if why != nil {
		t.Fatal(why.fault)
	}
	if !held[0].room(bodiesOne) || held[1].room(1) || !other.room(1) {
		t.Error("room is given to whoever has had his share, or not to others")
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, why := held[1].body(r, maxBody); why == nil || why.fault.Reason != "bodies" {
		t.Errorf("%+v", why)
	}
	for _, p := range append(held, other) {
		p.leave()
	}
	if g.requests != 0 || g.bytes != 0 || len(g.by) != 0 {
		t.Errorf("something is left: %+v", &g)
	}
}

// TestConnectionsAreBounded, those of one address beyond this machine by half.
func TestConnectionsAreBounded(t *testing.T) {
	b := &bounded{most: 4, by: map[netip.Addr]int{}}
	far, near := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")
	for i, c := range []struct {
		from netip.Addr
		want bool
	}{{far, true}, {far, true}, {far, false}, {near, true}, {near, true}, {near, false}} {
		if got := b.take(c.from); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	b.give(far)
	if !b.take(near) || b.open != 4 {
		t.Error("a place that is given back is not taken")
	}
}

func where(p *Plane) string {
	url, own := p.URL()
	if own {
		url += " of its own"
	}
	return url
}

// TestBodiesComeWhole in every size about the steps in which they are read, said beforehand or not, and one byte too many is refused.
func TestBodiesComeWhole(t *testing.T) {
	g := gate{by: map[string]*share{}}
	const most = 3*bodyStep + 5
	for _, size := range []int{0, 1, bodyStep - 2, bodyStep - 1, bodyStep, bodyStep + 1, 2*bodyStep - 1, 2 * bodyStep, 3 * bodyStep, most, most + 1} {
		for _, said := range []bool{true, false} {
			for range 2 { // the second time in memory that was there already
				text := strings.Repeat("0123456789abcde", size/15+1)[:size]
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				if !said {
					r.ContentLength = -1
				}
				p, why := g.enter("somebody")
				if why != nil {
					t.Fatal(why.fault)
				}
				got, why := p.body(r, most)
				switch {
				case size > most && (why == nil || why.status != http.StatusRequestEntityTooLarge):
					t.Errorf("%d bytes, said %v: %+v", size, said, why)
				case size <= most && (why != nil || string(got) != text):
					t.Errorf("%d bytes, said %v: %d came, %+v", size, said, len(got), why)
				}
				p.leave()
			}
		}
	}
	if g.bytes != 0 {
		t.Errorf("room for %d bytes is not given back", g.bytes)
	}
}

// TestAStrangerSaysLittle: what nobody is known to say is not read beyond what a sign-in takes.
func TestAStrangerSaysLittle(t *testing.T) {
	const little = 64 << 10 // as docs/http.md says
	w := start(t)
	for size, want := range map[int]int{little + 1: http.StatusRequestEntityTooLarge, little: http.StatusNotFound} {
		body := "{" + strings.Repeat(" ", size-2) + "}"
		if a := w.ask("POST", "/token", "", body); a.status != want {
			t.Errorf("%d bytes: %d %s", size, a.status, a.body)
		}
	}
}
