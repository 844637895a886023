package tcp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/transports/wire"
)

// quick makes a server that waits for nobody for long.
func quick(s *Server) {
	s.HelloTimeout, s.Stall = 300*time.Millisecond, 300*time.Millisecond
}

// TestForeignProtocols: whatever else speaks to the port gets no further than the handshake.
func TestForeignProtocols(t *testing.T) {
	p := newPlane(t, quick)
	for _, said := range []string{
		greeting("good") + "\n", call(1, "apps.list") + "\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-x\r\n", "\x00\x00\x00\x00", "\x16\x03\x01\x00\x05hello", "\x80\x2e\x01\x03\x01", "",
		strings.Repeat("\xff", 1<<20), "\x16\x03\x01\xff\xff" + strings.Repeat("x", 1<<17),
	} {
		c, err := net.Dial("tcp", p.address)
		must(t, err)
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, said) // the end may come before the whole
		began := time.Now()
		answer, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > 5*time.Second {
			t.Errorf("%.20q: the connection goes on", said)
		}
		if strings.HasPrefix(said, "{") && !strings.Contains(string(answer), "tls_needed") {
			t.Errorf("%.20q: %q", said, answer)
		}
		_ = c.Close()
	}
	if p.refusals("tls_needed") < 8 {
		t.Errorf("refusals: %v", p.turned)
	}
	p.hello(t, "good")
	if len(p.callers) != 0 {
		t.Errorf("calls got through: %v", p.callers)
	}
}

func TestFormerTLS(t *testing.T) {
	p := newPlane(t, nil)
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		if c, err := tls.Dial("tcp", p.address, &tls.Config{InsecureSkipVerify: true, MinVersion: v, MaxVersion: v}); err == nil {
			_ = c.Close()
			t.Errorf("version %x is spoken", v)
		}
	}
	p.hello(t, "good")
}

// TestGarbageBeforeHello: each is answered with its own code, at most four times, and then it is over.
func TestGarbageBeforeHello(t *testing.T) {
	p := newPlane(t, nil)
	for line, code := range map[string]int{
		"": wire.CodeParse, "{": wire.CodeParse, "nonsense": wire.CodeParse, "\xff\xfe": wire.CodeParse, `{"jsonrpc":"2.0","id":1,"method":"auth.hello"} x`: wire.CodeParse,
		`{"jsonrpc":"1.0","id":1,"method":"auth.hello"}`: wire.CodeInvalidRequest, `[` + greeting("good") + `]`: wire.CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1,"method":"auth.hello","method":"daemon.ping"}`: wire.CodeInvalidRequest, `{"jsonrpc":"2.0","id":1,"METHOD":"auth.hello"}`: wire.CodeInvalidRequest,
		`{"jsonrpc":"2.0","method":"auth.hello","params":{"token":"good"}}`: -32602, `{"jsonrpc":"2.0","id":1,"result":{}}`: -32602,
		`{"jsonrpc":"2.0","id":1,"method":"initialize"}`: -32001, `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`: -32001, `{"jsonrpc":"2.0","id":1,"method":"auth\u002ehello","params":{"token":"no"}}`: -32001,
		`{"jsonrpc":"2.0","id":1,"method":"Auth.hello"}`: -32001, `{"jsonrpc":"2.0","id":1,"method":"$/cancel"}`: -32001,
		`{"jsonrpc":"2.0","id":1,"method":"auth.hello","params":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`: wire.CodeInvalidRequest,
	} {
		c := p.dial(t)
		c.send(line, line, line, line, greeting("good"))
		for range 4 {
			if a := c.read(); a.Error == nil || a.Error.Code != code {
				t.Errorf("%.60q: %+v, want %d", line, a.Error, code)
				break
			}
		}
		c.wantEnd()
		_ = c.Close()
	}
	if len(p.callers) != 0 {
		t.Errorf("calls got through: %v", p.callers)
	}
}

// TestHugeHello: what is longer than a hello may be is refused before it is held.
func TestHugeHello(t *testing.T) {
	p := newPlane(t, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for begin, fill := range map[string]byte{`{"jsonrpc":"2.0","id":"h","method":"auth.hello","params":{"token":"`: 'x', "": 'x', " ": ' '} {
		c := p.dial(t)
		go func() { // it ends with the connection
			_, _ = io.WriteString(c.Conn, begin)
			_, _ = io.Copy(c.Conn, io.LimitReader(endless{fill}, 64<<20))
		}()
		if a := c.read(); a.Error == nil || a.Error.Code != -32602 || a.Error.Fault().Reason != "protocol" {
			t.Errorf("%+v", a)
		}
		_ = c.raw.Close()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("memory grew by %d kB", grown>>10)
	}
}

// TestGarbageAfterHello sends what is no message to a connection that is known: each line has the answer that it has on the
// socket, and the connection goes on.
func TestGarbageAfterHello(t *testing.T) {
	p := newPlane(t, nil)
	c := p.hello(t, "good")
	corpus, err := os.ReadFile(filepath.Join("..", "unix", "testdata", "garbage.tsv"))
	must(t, err)
	n := 0
	for row := range strings.Lines(string(corpus)) {
		code, quoted, _ := strings.Cut(strings.TrimSuffix(row, "\n"), "\t")
		line, err := strconv.Unquote(quoted)
		must(t, err)
		want, err := strconv.Atoi(code)
		must(t, err)
		c.send(line, call("good", "apps.list"))
		got := 0
		if a := c.read(); a.Error != nil {
			got = a.Error.Code
		}
		if got != want {
			t.Errorf("%.60q: code %d, want %d", line, got, want)
		}
		c.want("")
		n++
	}
	if n < 40 {
		t.Errorf("the corpus has %d lines", n)
	}
}

// endless is a stream of one byte.
type endless struct{ c byte }

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e.c
	}
	return len(b), nil
}

func TestHugeMessage(t *testing.T) {
	p := newPlane(t, nil)
	c := p.hello(t, "good")
	go func() { _, _ = io.WriteString(c.Conn, strings.Repeat("x", wire.MaxLine+1)+"\n") }() // it may end with the connection
	if a := c.read(); a.Error == nil || a.Error.Code != wire.CodeInvalidRequest {
		t.Errorf("%+v", a)
	}
	c.wantEnd()
}

// drip sends a byte now and then until the connection is over, and gives how long that took.
func drip(t *testing.T, w io.Writer, text string) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; time.Since(began) < patience; i++ {
		if _, err := w.Write([]byte{text[i%len(text)]}); err != nil {
			return time.Since(began)
		}
		<-tick.C
	}
	t.Error("the connection goes on")
	return 0
}

// TestSlowConnections: slow in the handshake, before the hello, in the hello and in a message; others are served meanwhile.
func TestSlowConnections(t *testing.T) {
	p := newPlane(t, quick)
	others, over := make(chan error, 1), make(chan struct{})
	good := p.hello(t, "good")
	go func() {
		c := wire.NewClient(good.Conn)
		defer c.Close()
		for {
			began := time.Now()
			if err := c.Call(t.Context(), "apps.list", nil, nil); err != nil || time.Since(began) > time.Second {
				others <- fmt.Errorf("another client waited %s: %w", time.Since(began), err)
				return
			}
			select {
			case <-over:
				others <- nil
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	raw, err := net.Dial("tcp", p.address)
	must(t, err)
	defer raw.Close()
	drip(t, raw, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	silent := p.dial(t)
	silent.wantEnd()
	drip(t, p.dial(t), greeting("good"))
	if p.refusals("first_message") != 2 {
		t.Errorf("refusals: %v", p.turned)
	}
	slow := p.hello(t, "good")
	drip(t, slow, `{"jsonrpc":"2.0","id":1,"method":"apps.list","params":{"a":"`+strings.Repeat("x", 1000))
	reader := p.hello(t, "good") // between messages it may be silent
	<-time.After(2 * p.Stall)
	reader.send(call(1, "apps.list"))
	reader.want("")
	_, _ = io.WriteString(reader.Conn, `{"jsonrpc":"2.0","id":2,`)
	<-time.After(p.Stall / 3)
	reader.send(`"method":"apps.list"}`)
	reader.want("")
	<-time.After(2 * p.Stall)
	reader.send(call(3, "apps.list"))
	reader.want("")
	close(over)
	must(t, <-others)
}

// TestFloods: strangers take no more places than theirs, and whoever has a credential still gets in.
func TestFloods(t *testing.T) {
	p := newPlane(t, func(s *Server) { s.MaxStrangers, s.MaxAddress = 40, 30 })
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	refused := func() int { return p.refusals("connections") }
	for range 60 {
		if c, err := net.Dial("tcp", p.address); err == nil { // else it was refused before it was looked at
			open = append(open, c)
		}
	}
	until(t, "the flood is refused", func() bool { return refused() == 50 })
	from := func(ip string) error {
		c, err := (&tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}, Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", p.address)
		if err == nil {
			open = append(open, c)
		}
		return err
	}
	must(t, from("127.0.0.2")) // another address has places of its own
	for _, c := range open {
		_ = c.Close()
	}
	until(t, "places are free", func() bool { p.doors.mu.Lock(); defer p.doors.mu.Unlock(); return p.doors.open == 0 })
	for range 30 {
		p.hello(t, "good") // who has said hello is no stranger
	}
	before := refused()
	if c, err := net.Dial("tcp", p.address); err == nil {
		open = append(open, c)
	}
	until(t, "the 31st of one address is refused", func() bool { return refused() == before+1 })
	if len(p.doors.by) != 1 {
		t.Errorf("%d addresses are remembered", len(p.doors.by))
	}
	if n := strings.Count(p.logs.String(), "too many are open"); n == 0 || n > 2 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestIdleConnections: a thousand cost less than 64 MB, ends of theirs included, and are all closed.
func TestIdleConnections(t *testing.T) {
	p := newPlane(t, nil)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	before := heap()
	idle := make([]*peer, 1000)
	for i := range idle {
		idle[i] = p.hello(t, "good")
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("1000 idle connections cost %d kB", grown>>10)
	} else {
		t.Logf("1000 idle connections, both ends: %d kB", grown>>10)
	}
	began := time.Now()
	idle[999].send(call(1, "apps.list"))
	idle[999].want("")
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("a call beside them took %s", took)
	}
	at := time.Now()
	p.auth.revoke("good")
	until(t, "all sessions are closed", func() bool { return len(p.Sessions.List()) == 0 })
	if took := time.Since(at); took > 2*time.Second {
		t.Errorf("revoked after %s", took)
	}
}
