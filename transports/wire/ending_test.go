package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

func TestHalfCloseStillGetsItsAnswers(t *testing.T) {
	h := newToys()
	p := serve(t, t.Context(), h.handle, Options{})
	p.send(rpc(1, "toy.block", ""))
	if _, err := io.WriteString(p.conn, rpc(2, "toy.echo", "")); err != nil { // a last line without its end
		t.Fatal(err)
	}
	if err := p.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a := p.read(); string(a.ID) != "2" || a.Error != nil {
		t.Fatalf("got %+v", a)
	}
	if h.stopped.Load() != 0 {
		t.Fatal("the open call was ended")
	}
	close(h.release)
	if a := p.read(); string(a.ID) != "1" || a.Error != nil {
		t.Fatalf("got %+v", a)
	}
	p.wantEnd()
	if err := p.wantServed(); err != nil {
		t.Fatal(err)
	}
}

func TestHalfMessageIsAnswered(t *testing.T) {
	p := serve(t, t.Context(), newToys().handle, Options{})
	if _, err := io.WriteString(p.conn, `{"jsonrpc":"2.0","id":1,"meth`); err != nil {
		t.Fatal(err)
	}
	if err := p.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a := p.read(); string(a.ID) != "null" || a.code() != CodeParse {
		t.Fatalf("got %+v", a)
	}
	p.wantEnd()
}

func TestCallerGoesAway(t *testing.T) {
	for _, half := range []bool{false, true} {
		t.Run(fmt.Sprintf("half-closed-before=%v", half), func(t *testing.T) {
			h := newToys()
			p := serve(t, t.Context(), h.handle, Options{})
			p.send(rpc(1, "toy.block", ""), rpc(2, "toy.block", ""))
			until(t, "both run", func() bool { return h.running.Load() == 2 })
			if half {
				if err := p.conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			_ = p.conn.Close()
			if err := p.wantServed(); err != nil {
				t.Fatal(err)
			}
			if h.stopped.Load() != 2 {
				t.Errorf("%d of 2 were stopped", h.stopped.Load())
			}
		})
	}
}

func TestDrain(t *testing.T) {
	h := newToys()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p := serve(t, ctx, h.handle, Options{Drain: patience})
	p.send(rpc("unary", "toy.stubborn", ""), rpc("stream", "toy.flood", ""))
	p.read() // the stream has begun
	stop()
	var a answer
	for a = p.read(); a.Method == "$/item"; a = p.read() {
	}
	if string(a.ID) != `"stream"` || a.code() != -32010 || a.Error.Fault().Reason != "shutting_down" {
		t.Fatalf("stream: %+v", a)
	}
	p.send(rpc("new", "toy.echo", ""))
	if a := p.read(); string(a.ID) != `"new"` || a.code() != -32010 {
		t.Fatalf("new call: %+v", a)
	}
	close(h.release)
	if a := p.read(); string(a.ID) != `"unary"` || a.Error != nil {
		t.Fatalf("unary: %+v", a)
	}
	p.wantEnd()
	if err := p.wantServed(); err != nil {
		t.Fatal(err)
	}
}

func TestDrainEndsWhatTakesTooLong(t *testing.T) {
	h := newToys()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p := serve(t, ctx, h.handle, Options{Drain: 50 * time.Millisecond})
	p.send(rpc(1, "toy.block", ""))
	until(t, "it runs", func() bool { return h.running.Load() == 1 })
	stop()
	if a := p.read(); string(a.ID) != "1" || a.code() != -32010 {
		t.Fatalf("got %+v", a)
	}
	p.wantEnd()
	if err := p.wantServed(); err != nil {
		t.Fatal(err)
	}
}

// TestPlainStream serves a stream without deadlines, descriptors or half-closing, such as a TLS connection or a pipe.
func TestPlainStream(t *testing.T) {
	ours, theirs := net.Pipe()
	h := newToys()
	done := make(chan error, 1)
	go func() {
		done <- Serve(t.Context(), struct{ io.ReadWriteCloser }{ours}, []byte(rpc(0, "toy.block", "")), h.handle, Options{WriteTimeout: 100 * time.Millisecond})
	}()
	c := NewClient(theirs)
	var out struct{ A int }
	if err := c.Call(t.Context(), "toy.echo", map[string]int{"A": 5}, &out); err != nil || out.A != 5 {
		t.Fatal(out, err)
	}
	until(t, "the first message was taken", func() bool { return h.running.Load() == 1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if h.stopped.Load() != 1 {
		t.Error("the open call was not ended")
	}

	ours, theirs = net.Pipe() // and one that is not read
	go func() {
		done <- Serve(t.Context(), struct{ io.ReadWriteCloser }{ours}, []byte(rpc(0, "toy.flood", "")), h.handle, Options{WriteTimeout: 50 * time.Millisecond})
	}()
	if err := <-done; !errors.Is(err, errCut) {
		t.Fatalf("ended with %v", err)
	}
	_ = theirs.Close()
}

// TestEndWhileReading: that reading was ended for the daemon's end is no sign of a caller who went away.
func TestEndWhileReading(t *testing.T) {
	h := newToys()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ours, []byte(rpc(1, "toy.block", "")), h.handle, Options{Drain: patience}) }()
	until(t, "it runs", func() bool { return h.running.Load() == 1 })
	stop()
	if err := ours.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_ = theirs.SetReadDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(theirs).ReadBytes('\n')
	if err != nil || !strings.Contains(string(line), `"shutting_down"`) {
		t.Errorf("%q %v", line, err)
	}
	_ = theirs.Close()
	<-done // with what the deadline has ended
}

// TestCut: a fault as the cause ends every call at once with its words, and the connection soon, whatever a handler does.
func TestCut(t *testing.T) {
	h := newToys()
	ctx, cut := context.WithCancelCause(t.Context())
	defer cut(nil)
	p := serve(t, ctx, h.handle, Options{Drain: patience})
	p.send(rpc("unary", "toy.block", ""), rpc("stubborn", "toy.stubborn", ""))
	until(t, "it runs", func() bool { return h.running.Load() == 1 })
	at := time.Now()
	cut(fault.New(fault.Unauthenticated, "not any more").WithReason("revoked"))
	if a := p.read(); string(a.ID) != `"unary"` || a.code() != -32001 || a.Error.Fault().Reason != "revoked" {
		t.Fatalf("got %+v", a)
	}
	p.send(rpc("new", "toy.echo", ""))
	if a := p.read(); string(a.ID) != `"new"` || a.code() != -32001 {
		t.Fatalf("new call: %+v", a)
	}
	if a := p.read(); string(a.ID) != "null" || a.code() != -32001 {
		t.Fatalf("the connection as such: %+v", a)
	}
	p.wantEnd()
	if took := time.Since(at); took > time.Second {
		t.Errorf("closed after %s", took)
	}
	close(h.release)
	if err := p.wantServed(); err != nil {
		t.Fatal(err)
	}
}
