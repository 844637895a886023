package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// dialled gives a client of a server with the handler; both are ended by the test's end, in which nothing may be left.
func dialled(t *testing.T, h Handler) *Client {
	t.Helper()
	return dialledTo(t, func(conn net.Conn) error { return Serve(t.Context(), conn, nil, h, Options{}) })
}

func dialledTo(t *testing.T, server func(net.Conn) error) *Client {
	t.Helper()
	l, path := listen(t)
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = server(conn)
		}
		done <- err
	}()
	c, err := Dial(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the server goes on")
		}
	})
	return c
}

func wantFault(t *testing.T, err error, code fault.Code, reason string) *fault.Error {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != code || f.Reason != reason {
		t.Fatalf("got %#v, want %s %s", err, code, reason)
	}
	return f
}

func TestDialFaults(t *testing.T) {
	dir := t.TempDir()
	_, err := Dial(t.Context(), "unix", filepath.Join(dir, "nobody"))
	if f := wantFault(t, err, fault.Unavailable, "not_running"); f.Hint == "" {
		t.Error("no hint")
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "dead")})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	_, err = Dial(t.Context(), "unix", filepath.Join(dir, "dead"))
	wantFault(t, err, fault.Unavailable, "not_running")
	long := "/" + strings.Repeat("x", MaxSocketPath)
	_, err = Dial(t.Context(), "unix", long)
	if f := wantFault(t, err, fault.Invalid, "socket_path_too_long"); !strings.Contains(f.Hint, "OMNITRON_HOME") {
		t.Errorf("hint %q", f.Hint)
	}
	if err := CheckSocketPath(long[1:]); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err = Dial(ctx, "unix", filepath.Join(dir, "nobody"))
	wantFault(t, err, fault.Cancelled, "")
}

func TestCallFaults(t *testing.T) {
	c := dialled(t, newToys().handle)
	f := wantFault(t, c.Call(t.Context(), "toy.fault", nil, nil), fault.Conflict, "port_in_use")
	if f.Message != "port 80 is taken" || f.Hint != "free it" {
		t.Errorf("%+v", f)
	}
	wantFault(t, c.Call(t.Context(), "toy.nothing", nil, nil), fault.NotFound, UnknownMethod)
	wantFault(t, c.Call(t.Context(), "toy.echo", map[string]any{"f": func() {}}, nil), fault.Invalid, "")
	wantFault(t, c.Call(t.Context(), "toy.echo", struct{ A int }{1}, new(string)), fault.Internal, "bad_answer")
	var raw json.RawMessage
	if err := c.Call(t.Context(), "toy.echo", json.RawMessage(`{"a": 1}`), &raw); err != nil || string(raw) != `{"a":1}` {
		t.Errorf("%s %v", raw, err)
	}
	for _, err := range c.Stream(t.Context(), "toy.fault", nil) {
		wantFault(t, err, fault.Conflict, "port_in_use")
	}
}

func TestContextCancelsTheCall(t *testing.T) {
	h := newToys()
	c := dialled(t, h.handle)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		until(t, "it runs", func() bool { return h.running.Load() == 1 })
		stop()
	}()
	err := c.Call(ctx, "toy.block", nil, nil)
	if wantFault(t, err, fault.Cancelled, ""); !errors.Is(err, context.Canceled) {
		t.Error("the cause is gone")
	}
	if why := <-h.seen; why != errCancelled.Message {
		t.Errorf("the handler saw %q", why)
	}
	ctx, stop = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	wantFault(t, c.Call(ctx, "toy.block", nil, nil), fault.Deadline, "")
	if why := <-h.seen; why != errCancelled.Message {
		t.Errorf("the handler saw %q", why)
	}
	if err := c.Call(t.Context(), "daemon.ping", nil, nil); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
}

func TestLeavingAStreamCancelsIt(t *testing.T) {
	h := newToys()
	c := dialled(t, h.handle)
	for range c.Stream(t.Context(), "toy.flood", nil) {
		break
	}
	if why := <-h.seen; why != errCancelled.Message {
		t.Errorf("the handler saw %q", why)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var last error
	for _, err := range c.Stream(ctx, "toy.flood", nil) {
		stop()
		last = err
	}
	wantFault(t, last, fault.Cancelled, "")
	<-h.seen
}

// TestStreamHoldsTheDaemonBack reads nothing for a while: the daemon's handler stops at a bound that is far below what it
// would send, and goes on when the reader does.
func TestStreamHoldsTheDaemonBack(t *testing.T) {
	h := newToys()
	c := dialled(t, h.handle)
	n := 0
	for _, err := range c.Stream(t.Context(), "toy.flood", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			was := int64(-1)
			until(t, "the handler waits", func() bool {
				now := h.most.Load()
				still := now == was && now > 100
				was = now
				return still
			})
			if was > 4000 {
				t.Errorf("the handler sent %d items of 1 kB to a reader that does not read", was)
			}
		}
		if n == 10_000 {
			break
		}
	}
	<-h.seen
}

// TestCallsGoOnWhileAStreamWaits calls from inside a stream's loop, over the same connection.
func TestCallsGoOnWhileAStreamWaits(t *testing.T) {
	h := newToys()
	c := dialled(t, h.handle)
	n := 0
	for _, err := range c.Stream(t.Context(), "toy.flood", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if n%1000 == 0 {
			ctx, stop := context.WithTimeout(t.Context(), patience)
			if err := c.Call(ctx, "daemon.ping", nil, nil); err != nil {
				t.Fatal(err)
			}
			stop()
		}
		if n++; n == 3000 {
			break
		}
	}
	<-h.seen
}

// TestSlowStreamEndsAsLimited never reads its stream while a call of the same connection stays open.
func TestSlowStreamEndsAsLimited(t *testing.T) {
	h := newToys()
	c := dialled(t, h.handle)
	blocked := make(chan error, 1)
	go func() { blocked <- c.Call(t.Context(), "toy.block", nil, nil) }()
	until(t, "the call is open", func() bool { return h.running.Load() == 1 })
	var last error
	n, size := 0, 0
	for item, err := range c.Stream(t.Context(), "toy.flood", nil) {
		if n++; n == 1 {
			if why := <-h.seen; why != errCancelled.Message {
				t.Errorf("the handler saw %q", why)
			}
		}
		size += len(item)
		last = err
	}
	wantFault(t, last, fault.Limited, "slow_reader")
	if size < hardItems/2 || size > hardItems+softItems+4096 {
		t.Errorf("%d bytes were kept", size)
	}
	close(h.release)
	if err := <-blocked; err != nil {
		t.Error(err)
	}
}

func TestConnectionIsLost(t *testing.T) {
	c := dialledTo(t, func(conn net.Conn) error {
		_, err := bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		return err
	})
	wantFault(t, c.Call(t.Context(), "toy.echo", nil, nil), fault.Unavailable, "connection_lost")
	<-c.Done()
	wantFault(t, c.Call(t.Context(), "toy.echo", nil, nil), fault.Unavailable, "connection_lost")
	for _, err := range c.Stream(t.Context(), "toy.echo", nil) {
		wantFault(t, err, fault.Unavailable, "connection_lost")
	}
}

func TestRefusedConnectionSaysWhy(t *testing.T) {
	closed := make(chan struct{})
	c := dialledTo(t, func(conn net.Conn) error {
		defer close(closed)
		_, err := conn.Write(ErrorLine(nil, FromFault(fault.New(fault.Denied, "not you").WithReason("peer_uid"))))
		_ = conn.Close()
		return err
	})
	<-closed // so that the write fails with EPIPE
	wantFault(t, c.Call(t.Context(), "toy.echo", nil, nil), fault.Denied, "peer_uid")
	wantFault(t, c.Call(t.Context(), "toy.echo", nil, nil), fault.Denied, "peer_uid")
}

func TestDaemonThatTalksNonsense(t *testing.T) {
	for _, line := range []string{"HTTP/1.1 400 Bad Request\n", `{"jsonrpc":"2.0","id":1,"result":1,"id":1}` + "\n"} {
		c := dialledTo(t, func(conn net.Conn) error {
			_, _ = io.WriteString(conn, line)
			_, err := io.Copy(io.Discard, conn)
			return err
		})
		wantFault(t, c.Call(t.Context(), "toy.echo", nil, nil), fault.Unavailable, "bad_answer")
	}
}

// TestCancelOfACallThatCannotBeSent: the daemon reads nothing and the input is larger than what a socket takes.
func TestCancelOfACallThatCannotBeSent(t *testing.T) {
	for range 20 { // the end of the call and that of its connection come in any order
		hold := make(chan struct{})
		c := dialledTo(t, func(conn net.Conn) error {
			<-hold
			return conn.Close()
		})
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
		err := c.Call(ctx, "toy.echo", map[string]string{"text": strings.Repeat("x", 3<<20)}, nil)
		close(hold)
		stop()
		wantFault(t, err, fault.Deadline, "")
	}
}

// hasty is a daemon that answers the first message and ends the connection before the client's writing has returned.
type hasty struct {
	*io.PipeReader
	answer *io.PipeWriter
	client chan *Client
}

func (h *hasty) Write(b []byte) (int, error) {
	_, err := io.WriteString(h.answer, `{"jsonrpc":"2.0","id":1,"result":{"status":"done"}}`+"\n")
	_ = h.answer.Close()
	<-(<-h.client).Done()
	return len(b), err
}

// TestAnswerFasterThanTheEnd: the last answer of a daemon that ends counts, however late the client notices that it has
// sent its call.
func TestAnswerFasterThanTheEnd(t *testing.T) {
	in, out := io.Pipe()
	h := &hasty{in, out, make(chan *Client, 1)}
	c := NewClient(h)
	defer c.Close()
	h.client <- c
	var got struct{ Status string }
	if err := c.Call(t.Context(), "daemon.shutdown", nil, &got); err != nil || got.Status != "done" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHungDaemon: one that reads nothing any more ends the connection, and with it the call; a handler that takes long does
// not, and neither does a stream whose reader takes long.
func TestHungDaemon(t *testing.T) {
	hung := fault.New(fault.Unavailable, "it hangs").WithReason("remote_hung")
	watch := Watch{Every: 5 * time.Millisecond, Misses: 3, Hung: hung}
	t.Run("hangs", func(t *testing.T) {
		ended := make(chan struct{})
		c := dialledTo(t, func(net.Conn) error { <-ended; return nil })
		defer close(ended)
		c.Watch(watch)
		wantFault(t, c.Call(t.Context(), "toy.block", nil, nil), fault.Unavailable, "remote_hung")
		wantFault(t, c.Call(t.Context(), "toy.block", nil, nil), fault.Unavailable, "remote_hung")
	})
	t.Run("the network is to blame", func(t *testing.T) {
		ended := make(chan struct{})
		c := dialledTo(t, func(net.Conn) error { <-ended; return nil })
		defer close(ended)
		asked := make(chan struct{}, 1000)
		slow := watch
		slow.Unsent = func() int { asked <- struct{}{}; return 1 }
		c.Watch(slow)
		for range 20 {
			<-asked
		}
		if err := c.Err(); err != nil {
			t.Error(err)
		}
	})
	patient := Watch{Every: 20 * time.Millisecond, Misses: 10, Hung: hung} // a busy machine is no hung daemon
	t.Run("busy", func(t *testing.T) {
		h := newToys()
		c := dialled(t, h.handle)
		c.Watch(patient)
		called := make(chan error, 1)
		go func() { called <- c.Call(t.Context(), "toy.block", nil, nil) }()
		from := c.heard.Load()
		until(t, "it was asked often", func() bool { return c.heard.Load() > from+30 })
		close(h.release)
		if err := <-called; err != nil {
			t.Error(err)
		}
	})
	t.Run("a slow reader", func(t *testing.T) {
		h := newToys()
		c := dialled(t, h.handle)
		c.Watch(patient)
		n := 0
		for _, err := range c.Stream(t.Context(), "toy.flood", nil) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				until(t, "the connection is not read", c.held.Load)
				select {
				case <-c.Done():
				case <-time.After(2 * time.Duration(patient.Misses) * patient.Every):
				}
			}
			if n == 5000 {
				break
			}
		}
		<-h.seen
	})
}
