package unix

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/transports/wire"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const patience = 10 * time.Second

// asStranger makes the test binary connect to the socket that it names, send a call and print what comes back.
const asStranger = "OMNITRON_TEST_STRANGER"

func TestMain(m *testing.M) {
	if path := os.Getenv(asStranger); path != "" {
		conn, err := net.Dial("unix", path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_, _ = io.WriteString(conn, `{"jsonrpc":"2.0","id":1,"method":"toy.echo"}`+"\n")
		_, _ = io.Copy(os.Stdout, conn)
		os.Exit(0)
	}
	if dir := os.Getenv(asServer); dir != "" {
		os.Exit(runServer(dir))
	}
	goleak.VerifyTestMain(m)
}

// plane is a server whose dialects answer with what they were given.
type plane struct {
	*Server
	logs  syncBuffer
	mu    sync.Mutex
	seen  []op.Caller
	first []string
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newPlane(dir string) *plane {
	p := &plane{}
	echo := func(ctx context.Context, conn net.Conn, first []byte) error {
		p.mu.Lock()
		p.seen, p.first = append(p.seen, op.CallerOf(ctx)), append(p.first, string(first))
		p.mu.Unlock()
		return wire.Serve(ctx, conn, first, func(ctx context.Context, method string, params json.RawMessage, _ op.Emit) (any, error) {
			if method == "toy.block" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return map[string]any{"method": method, "params": params, "channel": op.CallerOf(ctx).Channel}, nil
		}, wire.Options{Priority: func(m string) bool { return m == "daemon.ping" }})
	}
	p.Server = &Server{
		Path: filepath.Join(dir, "daemon.sock"), Owner: os.Getuid(),
		Native: echo,
		MCP:    echo,
		Log:    slog.New(slog.NewTextHandler(&p.logs, nil)),
	}
	return p
}

// home gives a private directory in which others can only reach what a test opens.
func home(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (p *plane) run(t testing.TB) *plane {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	up, done := make(chan struct{}), make(chan error, 1)
	p.OnListen = func() { close(up) }
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
		if _, err := os.Lstat(p.Path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket was left: %v", err)
		}
	})
	select {
	case <-up:
	case err := <-done:
		t.Fatal(err)
	}
	return p
}

func (p *plane) dial(t testing.TB) *peer {
	t.Helper()
	conn, err := net.Dial("unix", p.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &peer{t: t, UnixConn: conn.(*net.UnixConn), r: bufio.NewReader(conn)}
}

type peer struct {
	t testing.TB
	*net.UnixConn
	r *bufio.Reader
}

type answer struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *wire.Error     `json:"error"`
}

func (p *peer) send(text string) {
	p.t.Helper()
	_ = p.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(p, text); err != nil {
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

func (p *peer) wantCode(code int) answer {
	p.t.Helper()
	a := p.read()
	if got := a.Error; code == 0 && got != nil || code != 0 && (got == nil || got.Code != code) {
		p.t.Fatalf("got %s %s %+v, want code %d", a.ID, a.Result, got, code)
	}
	return a
}

func (p *peer) wantEnd() {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(p.r); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("the connection goes on: %q, %v", rest, err)
	}
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

func descriptors(t testing.TB) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range list { // what was inherited may lie above a limit that was lowered since
		if fd, err := strconv.ParseUint(d.Name(), 10, 64); err == nil && fd < limit.Cur {
			n++
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func connOf(t *testing.T, fd int) *net.UnixConn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UnixConn)
}
