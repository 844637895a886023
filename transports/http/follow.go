package http

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// retryEvery is how often a listener that cannot be had is tried again.
const retryEvery = time.Second

// Plane keeps a server as config.yaml says it. Its exported fields are set before Run.
type Plane struct {
	Server  Server                                                // what each server has beside its settings
	Ready   func(ctx context.Context) error                       // nil once credentials can be told apart, before which nothing listens; may be nil
	Secures func(names []string, cert, key string) (Shown, error) // what a listener shows of the daemon
	Stopped func()                                                // called when a server has ended; may be nil

	mu      sync.Mutex
	want    setting.HTTP
	news    chan struct{} // closed with other settings
	listen  string
	shown   Shown // by what listens
	trouble error
}

// Shown is what a listener with TLS shows. The zero value is that of one without.
type Shown struct {
	TLS     *tls.Config
	Pin     func() string // of its key
	Trouble func() error  // nil, or what is wrong with the certificate meanwhile
}

// Status is how the plane stands.
type Status struct {
	Enabled bool
	Listen  string // where it listens; "" while it does not
	Pin     string // of the key that it shows; "" without TLS
	Trouble error  // what keeps it from being as config.yaml says, or is wrong with its certificate
}

// Status tells how the plane stands.
func (p *Plane) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := Status{Enabled: p.want.Enabled, Listen: p.listen, Trouble: p.trouble}
	if p.shown.TLS != nil && p.listen != "" {
		st.Pin = p.shown.Pin()
		if st.Trouble == nil {
			st.Trouble = p.shown.Trouble()
		}
	}
	return st
}

// URL is how others reach the plane while it listens, or "": by the first of its names, and else by its address. own tells
// whether it shows a certificate of the daemon's own authority.
func (p *Plane) URL() (url string, own bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listen == "" {
		return "", false
	}
	host, port, _ := net.SplitHostPort(p.listen) // it is an address
	if ip, err := netip.ParseAddr(host); len(p.want.Names) > 0 {
		host = p.want.Names[0]
	} else if err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http://"
	if p.shown.TLS != nil {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port), p.shown.TLS != nil && p.want.Cert == ""
}

// Use takes settings up.
func (p *Plane) Use(c setting.HTTP) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.news != nil && reflect.DeepEqual(c, p.want) {
		return
	}
	p.want = c
	if p.news != nil {
		close(p.news)
	}
	p.news = make(chan struct{})
}

// Run serves until ctx ends. ready is called once the first settings were followed, whether or not that worked: a daemon whose
// port is taken supervises all the same.
func (p *Plane) Run(ctx context.Context, ready func()) error {
	ready = sync.OnceFunc(ready)
	told := ""
	for ctx.Err() == nil {
		p.mu.Lock()
		want, news := p.want, p.news
		p.mu.Unlock()
		if !want.Enabled {
			p.stands("", Shown{}, nil)
			ready()
			select {
			case <-news:
			case <-ctx.Done():
			}
			continue
		}
		err := p.serve(ctx, want, news, ready)
		p.stands("", Shown{}, err)
		ready()
		if err == nil {
			continue
		}
		if told != err.Error() { // it is tried again and again
			told = err.Error()
			p.Server.Log.Error("the HTTP plane is down", "err", err)
		}
		select {
		case <-news:
		case <-time.After(retryEvery):
		case <-ctx.Done():
		}
	}
	return nil
}

func (p *Plane) stands(listen string, shown Shown, trouble error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listen, p.shown, p.trouble = listen, shown, trouble
}

// serve runs a server with these settings until there are others.
func (p *Plane) serve(ctx context.Context, c setting.HTTP, news <-chan struct{}, ready func()) error {
	if p.Ready != nil {
		if err := p.Ready(ctx); err != nil {
			return err
		}
	}
	s := p.make(c)
	var shown Shown
	if c.Cert != "" || !c.Loopback() { // on this machine alone there is nobody to hide from, and clients know no key of ours
		var err error
		if shown, err = p.Secures(c.Names, c.Cert, c.Key); err != nil {
			return err
		}
		s.TLS = shown.TLS
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.OnListen = func(a net.Addr) { p.stands(a.String(), shown, nil); ready() }
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-news:
			stop()
		case <-ctx.Done():
		}
	}()
	err := s.Run(ctx)
	stop()
	<-done
	if p.Stopped != nil {
		p.Stopped()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fault.Wrap(err, fault.Conflict, "cannot listen on %s: another process does", c.Listen).WithReason("listen_failed").
			WithHint("give http.listen another port in config.yaml, or end that process; it is tried again every second")
	}
	if err != nil && !fault.Is(err, fault.Denied) {
		return fault.Wrap(err, fault.Conflict, "%v", err).WithReason("listen_failed").WithHint("give http.listen another port in config.yaml, or end what holds it")
	}
	return err
}

// make gives a server with settings.
func (p *Plane) make(c setting.HTTP) *Server {
	b := &p.Server
	var proxies []netip.Prefix = c.Proxies()
	return &Server{Listen: c.Listen, Names: c.Names, REST: c.REST, Proxies: proxies, Authority: b.Authority, Browser: b.Browser, Registry: b.Registry, Sessions: b.Sessions,
		Agents: b.Agents, Log: b.Log, Version: b.Version, Keys: b.Keys, Ready: b.Ready, Metrics: b.Metrics, Refused: b.Refused, MaxConns: b.MaxConns}
}
