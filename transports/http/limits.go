package http

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
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
	bodyStep    = 64 << 10 // of a body, before more of it is made room for; no stranger sends more
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

// body reads a body of at most so many bytes. A length that is only said takes no memory: the first piece has to have come. None
// is taken that there is no room for, and a body that is refused was never put together.
func (p *pass) body(r *http.Request, most int) ([]byte, *refusal) {
	tooLarge := &refusal{http.StatusRequestEntityTooLarge, fault.New(fault.Limited, "the body has more than %d bytes", most).WithReason("too_large")}
	length := int(r.ContentLength)
	if length > most {
		return nil, tooLarge
	}
	first := bodyStep
	if length >= 0 {
		first = min(length+1, bodyStep) // one byte more shows that it is over
	}
	buf, err := p.piece(r.Body, nil, first)
	if err == nil && length >= 0 { // the rest is earned: all of it in one
		buf, err = p.piece(r.Body, buf, length+1)
	}
	pieces, had := [][]byte{buf}, len(buf)
	for err == nil && had <= most {
		if buf, err = p.piece(r.Body, nil, bodyStep); len(buf) > 0 {
			pieces = append(pieces, buf)
			had += len(buf)
		}
	}
	if errors.Is(err, io.EOF) && len(pieces) > 1 && had <= most && !p.room(had) {
		err = errNoRoom
	}
	if errors.Is(err, io.EOF) && len(pieces) == 1 && had <= most {
		return pieces[0], nil
	}
	defer reuse(pieces...)
	switch {
	case had > most:
		return nil, tooLarge
	case errors.Is(err, errNoRoom):
		return nil, limited(fault.New(fault.Limited, "too many bytes of requests are being worked on").WithReason("bodies"))
	case !errors.Is(err, io.EOF):
		return nil, &refusal{http.StatusRequestTimeout, fault.New(fault.Invalid, "the body did not come whole, or took longer than %s", sendFor).WithReason("bad_request")}
	}
	return slices.Concat(pieces...), nil
}

// spare are pieces that nobody reads any more: those of a body that was too large are not left to the collector, which would let the
// next ones come on top of them.
var spare = sync.Pool{New: func() any { return new([bodyStep]byte) }}

func reuse(pieces ...[]byte) {
	for _, b := range pieces {
		if cap(b) == bodyStep {
			spare.Put((*[bodyStep]byte)(b[:bodyStep]))
		}
	}
}

var errNoRoom = errors.New("there is no room for it")

// piece reads what comes behind what came already, to so many bytes in all, in memory that it takes room for. The error is nil
// when there may be more.
func (p *pass) piece(from io.Reader, had []byte, size int) ([]byte, error) {
	if size > len(had) && !p.room(size-len(had)) {
		return had, errNoRoom
	}
	var buf []byte
	switch {
	case size <= len(had):
		buf = had
	case size == bodyStep:
		buf = spare.Get().(*[bodyStep]byte)[:0]
	default:
		buf = make([]byte, len(had), size)
		copy(buf, had)
		reuse(had)
	}
	for len(buf) < cap(buf) {
		n, err := from.Read(buf[len(buf):cap(buf)])
		if buf = buf[:len(buf)+n]; err != nil {
			return buf, err
		}
	}
	return buf, nil
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
