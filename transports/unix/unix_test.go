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
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
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
		MCP:    func(ctx context.Context, conn net.Conn, first []byte, _ Launch) error { return echo(ctx, conn, first) },
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
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestFirstMessagePinsTheDialect(t *testing.T) {
	const rpc = `{"jsonrpc":"2.0","id":1,`
	p := newPlane(home(t)).run(t)
	for _, c := range []struct {
		line    string
		code    int
		channel op.Channel // "" when the connection ends
	}{
		{rpc + `"method":"apps.list"}`, 0, op.Person},
		{rpc + `"method":"no_such-1.verb"}`, 0, op.Person},
		{rpc + `"method":"initialize"}`, 0, op.Agent},
		{rpc + `"method":"ping"}`, 0, op.Agent},
		{rpc + `"method":"server/discover"}`, 0, op.Agent},
		{rpc + `"method":"tools/call"}`, 0, op.Agent},
		{rpc + `"method":"apps\u002elist"}`, 0, op.Person},
		{rpc + `"method":"apps"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":".list"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"Apps.list"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"apps.list.all"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"__proto__"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"$/cancel"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"result":{}}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"apps.list","method":"initialize"}`, wire.CodeInvalidRequest, ""},
		{`[` + rpc + `"method":"apps.list"}]`, wire.CodeInvalidRequest, ""},
	} {
		t.Run(c.line, func(t *testing.T) {
			conn := p.dial(t)
			conn.send(c.line + "\n")
			a := conn.wantCode(c.code)
			if c.channel == "" {
				conn.wantEnd()
				return
			}
			var out struct{ Channel op.Channel }
			if err := json.Unmarshal(a.Result, &out); err != nil || out.Channel != c.channel {
				t.Errorf("channel %q, %v, want %q", out.Channel, err, c.channel)
			}
			conn.send(rpc + `"method":"apps.list"}` + "\n" + `{"jsonrpc":"2.0","id":2,` + `"method":"initialize"}` + "\n") // pinned
			for range 2 {
				a := conn.wantCode(0)
				if err := json.Unmarshal(a.Result, &out); err != nil || out.Channel != c.channel {
					t.Errorf("later: channel %q, %v, want %q", out.Channel, err, c.channel)
				}
			}
		})
	}
}

func TestCallers(t *testing.T) {
	p := newPlane(home(t)).run(t)
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"apps.list","params":{"_meta":{"omnitron/launch":{"role":"viewer"}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize"}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"_meta":{"omnitron/launch":{"role":"viewer","profile":"full","toolsets":["logs"],"read_only":true}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"omnitron/launch":{"role":"admin"}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"_meta":{"omnitron/launch":{"profile":"readonly"}}}}`,
	} {
		conn := p.dial(t)
		conn.send(line + "\n")
		conn.wantCode(0)
		_ = conn.Close()
	}
	type short struct {
		channel  op.Channel
		ceiling  op.Role
		role     op.Role
		readOnly bool
		toolsets int
		plane    string
	}
	want := []short{
		{op.Person, op.Admin, op.Admin, false, 0, "unix"},
		{op.Agent, op.Admin, op.Operator, false, 0, "unix"},
		{op.Agent, op.Viewer, op.Viewer, true, 1, "stdio"},
		{op.Agent, op.Admin, op.Admin, false, 0, "stdio"},
		{op.Agent, op.Admin, op.Operator, true, 0, "stdio"},
	}
	sessions := map[string]bool{}
	for i, c := range p.seen {
		if got := (short{c.Channel, c.Ceiling, c.Role, c.ReadOnly, len(c.Toolsets), c.Plane}); got != want[i] {
			t.Errorf("caller %d: %+v, want %+v", i, got, want[i])
		}
		if c.UID != os.Getuid() || c.PID != os.Getpid() || c.User == "" || len(c.Session) < 20 {
			t.Errorf("caller %d: %+v", i, c)
		}
		sessions[c.Session] = true
	}
	if len(sessions) != len(want) {
		t.Errorf("%d sessions", len(sessions))
	}
}

func TestLaunchOptionsThatAreNotUnderstood(t *testing.T) {
	p := newPlane(home(t)).run(t)
	for _, launch := range []string{
		`{"role":"root"}`, `{"role":"node"}`, `{"role":"public"}`, `{"role":5}`, `{"readonly":true}`, `{"profile":"all"}`, `[]`, `"viewer"`,
		`{"toolsets":["a"` + strings.Repeat(`,"a"`, 64) + `]}`,
	} {
		conn := p.dial(t)
		conn.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"_meta":{"omnitron/launch":` + launch + `}}}` + "\n")
		if a := conn.wantCode(-32602); a.Error.Fault().Reason != "launch_options" || string(a.ID) != "1" {
			t.Errorf("%s: %+v", launch, a.Error)
		}
		conn.wantEnd()
	}
	if len(p.seen) != 0 {
		t.Errorf("%d connections got through", len(p.seen))
	}
}

func TestBytesBehindTheFirstMessage(t *testing.T) {
	p := newPlane(home(t)).run(t)
	conn := p.dial(t)
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, `{"jsonrpc":"2.0","id":%d,"method":"toy.echo","params":{"n":%d}}`+"\n", i, i)
	}
	conn.send(b.String())
	seen := map[string]bool{}
	for range 100 {
		a := conn.wantCode(0)
		if !strings.Contains(string(a.Result), `{"n":`+string(a.ID)+`}`) {
			t.Fatalf("%s: %s", a.ID, a.Result)
		}
		seen[string(a.ID)] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d answers", len(seen))
	}
}

func TestGarbageBeforeTheFirstMessage(t *testing.T) {
	p := newPlane(home(t)).run(t)
	conn := p.dial(t)
	conn.send("\n{\nGET / HTTP/1.1\r\n\xff\xfe\n" + `{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	for range 4 {
		if a := conn.wantCode(wire.CodeParse); string(a.ID) != "null" {
			t.Errorf("id %s", a.ID)
		}
	}
	conn.wantCode(0)
}

func TestSilentClientIsCut(t *testing.T) {
	p := newPlane(home(t))
	p.FirstTimeout = 50 * time.Millisecond
	p.run(t)
	silent, half := p.dial(t), p.dial(t)
	half.send(`{"jsonrpc":`)
	for _, conn := range []*peer{silent, half} {
		if a := conn.wantCode(-32012); a.Error.Fault().Reason != "first_message" {
			t.Errorf("%+v", a.Error)
		}
		conn.wantEnd()
	}
}

func TestSocketIsPrivateFromItsFirstMoment(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	p := newPlane(home(t)).run(t)
	info, err := os.Lstat(p.Path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(p.Path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestListenFaults(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		code         fault.Code
		prepare      func(s *Server)
	}{
		{"long path", "socket_path_too_long", fault.Invalid, func(s *Server) { s.Path = "/" + strings.Repeat("x", 107) }},
		{"open home", "home_not_private", fault.Denied, func(s *Server) { must(t, os.Chmod(filepath.Dir(s.Path), 0o750)) }},
		{"another's home", "home_not_private", fault.Denied, func(s *Server) { s.Owner++ }},
		{"open parent", "home_not_private", fault.Denied, func(s *Server) { must(t, os.Chmod(filepath.Dir(filepath.Dir(s.Path)), 0o777)) }},
		{"a file in the way", "socket_path_taken", fault.Conflict, func(s *Server) { must(t, os.WriteFile(s.Path, []byte("mine"), 0o600)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlane(home(t))
			c.prepare(p.Server)
			err := p.Run(t.Context())
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Code != c.code || f.Reason != c.reason || f.Hint == "" {
				t.Fatalf("got %#v", err)
			}
		})
	}
	p := newPlane(filepath.Join(home(t), "nowhere"))
	if err := p.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot look at the home") {
		t.Errorf("got %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDeadDaemonsSocketIsReplacedAndAnothersKept(t *testing.T) {
	p := newPlane(home(t))
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.Path})
	must(t, err)
	dead.SetUnlinkOnClose(false)
	must(t, dead.Close())
	must(t, os.WriteFile(filepath.Join(filepath.Dir(p.Path), ".aemon.sock"), nil, 0o600)) // left by a crash while binding
	ctx, stop := context.WithCancel(t.Context())
	up, done := make(chan struct{}), make(chan error, 1)
	p.OnListen = func() { close(up) }
	go func() { done <- p.Run(ctx) }()
	<-up
	conn := p.dial(t)
	conn.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	conn.wantCode(0)

	successor := newPlane(filepath.Dir(p.Path)).run(t) // takes the name over
	stop()
	must(t, <-done)
	conn = successor.dial(t)
	conn.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	conn.wantCode(0)
}

// TestAnotherUserIsRefused opens home and socket to everybody: the peer credentials still refuse. Without root no other
// user can be had, so the server belongs to another one then.
func TestAnotherUserIsRefused(t *testing.T) {
	p := newPlane(home(t))
	var said []byte
	if os.Getuid() == 0 {
		p.run(t)
		must(t, os.Chmod(filepath.Dir(filepath.Dir(p.Path)), 0o755))
		must(t, os.Chmod(filepath.Dir(p.Path), 0o755))
		must(t, os.Chmod(p.Path, 0o666))
		self, err := os.ReadFile("/proc/self/exe")
		must(t, err)
		exe := filepath.Join(filepath.Dir(p.Path), "stranger")
		must(t, os.WriteFile(exe, self, 0o755))
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = []string{asStranger + "=" + p.Path}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		said, err = cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	} else {
		p.Owner++
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		ours, theirs := connOf(t, pair[0]), connOf(t, pair[1])
		p.serve(t.Context(), ours)
		said, err = io.ReadAll(theirs)
		must(t, err)
	}
	var a answer
	if err := json.Unmarshal(said, &a); err != nil || a.Error == nil || a.Error.Code != -32003 || a.Error.Fault().Reason != "peer_uid" || bytes.Count(said, []byte("\n")) != 1 {
		t.Errorf("the stranger got %q", said)
	}
	if len(p.seen) != 0 || strings.Count(p.logs.String(), "refusing a connection of another user") != 1 {
		t.Errorf("seen %v, log %s", p.seen, p.logs.String())
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

func TestPassedDescriptorsAreNotKept(t *testing.T) {
	p := newPlane(home(t)).run(t)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	conn := p.dial(t)
	for i := range 3 { // with the first message and with later ones
		line := []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(i) + `,"method":"toy.echo"}` + "\n")
		if _, _, err := conn.WriteMsgUnix(line, unix.UnixRights(int(w.Fd())), nil); err != nil {
			t.Fatal(err)
		}
		conn.wantCode(0)
	}
	must(t, w.Close())
	// The pipe ends only if no copy of its writing end is open anywhere.
	must(t, r.SetReadDeadline(time.Now().Add(patience)))
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a passed descriptor is still open: %v", err)
	}
}

func TestMoreConnectionsThanAllowed(t *testing.T) {
	p := newPlane(home(t))
	p.MaxConns = 4
	p.run(t)
	echo, ping := `{"jsonrpc":"2.0","id":1,"method":"toy.echo"}`+"\n", `{"jsonrpc":"2.0","id":2,"method":"daemon.ping"}`+"\n"
	var open []*peer
	for range 4 {
		conn := p.dial(t)
		conn.send(echo)
		conn.wantCode(0)
		open = append(open, conn)
	}
	over := p.dial(t)
	over.send(echo + ping)
	if a := over.wantCode(-32013); a.Error.Fault().Reason != "connections" {
		t.Errorf("%+v", a.Error)
	}
	over.wantCode(0)
	agent := p.dial(t)
	agent.send(`{"jsonrpc":"2.0","id":1,"method":"initialize"}` + "\n")
	agent.wantCode(-32013)
	agent.wantEnd()
	until(t, "the agent's connection is over", func() bool { return p.group.Len() == 5 })
	for range reserveConns - 1 {
		conn := p.dial(t)
		conn.send(ping)
		conn.wantCode(0)
	}
	last := p.dial(t)
	last.wantCode(-32013)
	last.wantEnd()
	_ = open[0].Close()
	_ = over.Close()
	until(t, "places are free", func() bool { return p.group.Len() < 4+reserveConns-1 })
	if n := strings.Count(p.logs.String(), "too many are open"); n != 1 {
		t.Errorf("%d lines in the log: %s", n, p.logs.String())
	}
}

func TestShutdownEndsConnections(t *testing.T) {
	p := newPlane(home(t))
	ctx, stop := context.WithCancel(t.Context())
	up, done := make(chan struct{}), make(chan error, 1)
	p.OnListen = func() { close(up) }
	go func() { done <- p.Run(ctx) }()
	<-up
	silent, busy := p.dial(t), p.dial(t)
	busy.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	busy.wantCode(0)
	stop()
	silent.wantEnd()
	busy.wantEnd()
	must(t, <-done)
}

func TestPanicOfAPlaneEndsOnlyItsConnection(t *testing.T) {
	p := newPlane(home(t))
	p.MCP = func(context.Context, net.Conn, []byte, Launch) error { panic("oh no") }
	p.run(t)
	bad, good := p.dial(t), p.dial(t)
	bad.send(`{"jsonrpc":"2.0","id":1,"method":"initialize"}` + "\n")
	bad.wantEnd()
	good.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	good.wantCode(0)
	if !strings.Contains(p.logs.String(), "oh no") {
		t.Error("the log does not tell")
	}
}

func TestQuietLog(t *testing.T) {
	var b syncBuffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	var q quiet
	for range 1000 {
		q.log(log, "again")
	}
	q.last = q.last.Add(-quietFor)
	q.log(log, "again")
	if text := b.String(); strings.Count(text, "again") != 2 || !strings.Contains(text, "more=999") {
		t.Errorf("log: %s", text)
	}
}
