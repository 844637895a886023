package pin

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

// server shows a key made of a seed at an address, and says whether each connection was resumed.
func server(t *testing.T, address, seed string, config func(*tls.Config)) (addr, pin string, seen *[]bool, stop func()) {
	t.Helper()
	s, err := cert.New(cert.Options{Home: t.TempDir(), Disk: store.OS, Log: slog.New(slog.DiscardHandler), Now: time.Now, Keys: func(name string) ([]byte, error) {
		sum := sha256.Sum256([]byte(name + seed))
		return sum[:], nil
	}}).Serve(cert.Use{})
	if err != nil {
		t.Fatal(err)
	}
	c := s.Config()
	if config != nil {
		config(c)
	}
	l, err := tls.Listen("tcp", address, c)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	seen = &[]bool{}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if err := c.(*tls.Conn).HandshakeContext(context.Background()); err == nil {
				*seen = append(*seen, c.(*tls.Conn).ConnectionState().DidResume)
				_, _ = io.WriteString(c, "hi\n") // the ticket comes along
				_, _ = io.Copy(io.Discard, c)
			}
			_ = c.Close()
		}
	})
	stop = sync.OnceFunc(func() { _ = l.Close(); all.Wait() })
	t.Cleanup(stop)
	return l.Addr().String(), s.Pin(), seen, stop
}

func greet(t *testing.T, addr, pin string) error {
	t.Helper()
	c, err := Dial(t.Context(), addr, pin)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.ReadFull(c, make([]byte, 3))
	return err
}

func TestPinnedKey(t *testing.T) {
	addr, pin, seen, stop := server(t, "127.0.0.1:0", "a", nil)
	for range 2 {
		if err := greet(t, addr, pin); err != nil {
			t.Fatal(err)
		}
	}
	shown, err := Look(t.Context(), addr)
	if err != nil || cert.Pin(shown) != pin {
		t.Errorf("%v %v", shown, err)
	}
	if f := fault.From(greet(t, addr, "sha256/other")); f.Code != fault.Denied || f.Reason != "key_changed" || f.Hint == "" {
		t.Errorf("resumed with another pin: %+v", f)
	}
	stop()
	if !(*seen)[1] {
		t.Error("nothing was resumed, so that this shows little")
	}
	_, other, _, _ := server(t, addr, "b", nil) // somebody else takes its place
	if f := fault.From(greet(t, addr, pin)); f.Code != fault.Denied || f.Reason != "key_changed" {
		t.Errorf("another key: %+v", f)
	}
	if err := greet(t, addr, other); err != nil {
		t.Error(err)
	}
}

// TestSilence: a machine that acknowledges nothing is not waited for as long as the kernel would.
func TestSilence(t *testing.T) {
	addr, pin, _, _ := server(t, "127.0.0.1:0", "a", nil)
	c, err := Dial(t.Context(), addr, pin)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*tls.Conn).NetConn().(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	ms := 0
	if err := raw.Control(func(fd uintptr) { ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil || ms != 20_000 {
		t.Errorf("%d ms, %v", ms, err)
	}
}

func TestNobodyOrSomebodyElse(t *testing.T) {
	addr, pin, _, stop := server(t, "127.0.0.1:0", "a", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })
	if f := fault.From(greet(t, addr, pin)); f.Code != fault.Invalid || f.Reason != "no_tls" {
		t.Errorf("TLS 1.2: %+v", f)
	}
	stop()
	if f := fault.From(greet(t, addr, pin)); f.Code != fault.Unavailable || f.Reason != "remote_unreachable" {
		t.Errorf("nobody: %+v", f)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "SSH-2.0-x\r\n")
			_ = c.Close()
		}
	}()
	if f := fault.From(greet(t, l.Addr().String(), pin)); f.Code != fault.Invalid || f.Reason != "no_tls" {
		t.Errorf("another protocol: %+v", f)
	}
	<-done
	if f := fault.From(greet(t, "nowhere", pin)); f.Code != fault.Invalid || f.Reason != "bad_value" {
		t.Errorf("no port: %+v", f)
	}
}
