package http

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// What may be there at a time, of one principal and of all.
const (
	requestsOne = 256
	requestsAll = 2048
	bodiesOne   = 16 << 20 // bytes of bodies that are read or worked on
	bodiesAll   = 64 << 20
	bodyStep    = 64 << 10 // by which room for a body of unknown length is taken
)

// gate counts requests and the bytes of their bodies, by principal; whoever shows no credential counts by address.
type gate struct {
	mu       sync.Mutex
	requests int
	bytes    int
	by       map[string]*share
}

// share is what one principal has of it.
type share struct{ requests, bytes int }

// enter takes a place for a request.
func (g *gate) enter(who string) (*pass, *refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.by[who]
	if s == nil {
		s = &share{}
	}
	if g.requests >= requestsAll || s.requests >= requestsOne {
		return nil, limited(fault.New(fault.Limited, "too many requests are in flight").WithReason("in_flight"))
	}
	g.requests++
	s.requests++
	g.by[who] = s
	return &pass{gate: g, who: who, share: s}, nil
}

func limited(f *fault.Error) *refusal { return &refusal{statusOf(f), f.WithRetryAfter(1)} }

// pass is the place of one request.
type pass struct {
	gate  *gate
	who   string
	share *share
	bytes int
}

// room takes n bytes more, if they are there.
func (p *pass) room(n int) bool {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if p.gate.bytes+n > bodiesAll || p.share.bytes+n > bodiesOne {
		return false
	}
	p.gate.bytes += n
	p.share.bytes += n
	p.bytes += n
	return true
}

// leave gives everything back.
func (p *pass) leave() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.gate.requests--
	p.gate.bytes -= p.bytes
	p.share.requests--
	p.share.bytes -= p.bytes
	if p.share.requests == 0 {
		delete(p.gate.by, p.who)
	}
}

// body reads a body. No more memory is taken than has come, nor than there is room for.
func (p *pass) body(r *http.Request) ([]byte, *refusal) {
	tooLarge := &refusal{http.StatusRequestEntityTooLarge, fault.New(fault.Limited, "the body has more than %d bytes", maxBody).WithReason("too_large")}
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	var buf []byte
	for {
		if len(buf) == cap(buf) {
			grow := min(max(bodyStep, cap(buf)), maxBody+1-cap(buf))
			if n := int(r.ContentLength); n >= 0 && n < bodyStep && buf == nil {
				grow = n + 1
			}
			if grow <= 0 {
				return nil, tooLarge
			}
			if !p.room(grow) {
				return nil, limited(fault.New(fault.Limited, "too many bytes of requests are being worked on").WithReason("bodies"))
			}
			next := make([]byte, len(buf), cap(buf)+grow)
			copy(next, buf)
			buf = next
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > maxBody:
			return nil, tooLarge
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, &refusal{http.StatusRequestTimeout, fault.New(fault.Invalid, "the body did not come whole, or took longer than %s", sendFor).WithReason("bad_request")}
		}
	}
}

// bounded is a listener that keeps the number of connections within bounds, of all and of one address.
type bounded struct {
	net.Listener
	most int

	mu   sync.Mutex
	open int
	by   map[netip.Addr]int
}

// Accept gives the next connection for which there is a place; the others are closed.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if addr := peerOf(c.RemoteAddr().String()); b.take(addr) {
			return &counted{Conn: c, give: func() { b.give(addr) }}, nil
		}
		_ = c.Close()
	}
}

func (b *bounded) take(addr netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.most || b.by[addr] >= max(1, b.most/2) && !addr.IsLoopback() {
		return false
	}
	b.open++
	b.by[addr]++
	return true
}

func (b *bounded) give(addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.by[addr]--; b.by[addr] == 0 {
		delete(b.by, addr)
	}
}

// counted is a connection that gives its place back once.
type counted struct {
	net.Conn
	closed atomic.Bool
	give   func()
}

func (c *counted) Close() error {
	if !c.closed.Swap(true) {
		c.give()
	}
	return c.Conn.Close()
}
