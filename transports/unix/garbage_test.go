package unix

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/transports/wire"
	"github.com/omnitron-dev/omnitron/transports/wire/door"
	"golang.org/x/sys/unix"
)

//go:embed testdata/garbage.tsv
var garbage string

// asServer makes the test binary serve the socket that it names until it gets SIGTERM, so that its memory can be seen.
const asServer = "OMNITRON_TEST_SERVER"

func runServer(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p := newPlane(dir)
	p.OnListen = func() { fmt.Println("up") }
	if err := p.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// otherProcess serves in a process of its own and gives its pid.
func otherProcess(t *testing.T) (*plane, int) {
	t.Helper()
	p := newPlane(home(t))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asServer+"="+filepath.Dir(p.Path))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	return p, cmd.Process.Pid
}

// memory gives a line of /proc/<pid>/status in bytes.
func memory(t *testing.T, pid int, name string) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(text), name+":")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	must(t, err)
	return kb << 10
}

type xs struct{ c byte }

func (x xs) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = x.c
	}
	return len(b), nil
}

// TestGarbage sends everything that is no message: each line has one answer, and the connection and the daemon's memory
// stay as they were.
func TestGarbage(t *testing.T) {
	p, pid := otherProcess(t)
	conn := p.dial(t)
	good := `{"jsonrpc":"2.0","id":"good","method":"toy.echo","params":{}}` + "\n"
	conn.send(good)
	conn.wantCode(0)
	before := memory(t, pid, "VmRSS")
	must(t, os.WriteFile("/proc/"+strconv.Itoa(pid)+"/clear_refs", []byte("5"), 0o200)) // the peak counts from here
	check := func(line string, code int) {
		t.Helper()
		conn.send(line + "\n" + good)
		a := conn.wantCode(code)
		if len(a.ID) > wire.MaxID+2 {
			t.Errorf("an id of %d bytes came back", len(a.ID))
		}
		conn.wantCode(0)
	}
	n := 0
	for row := range strings.Lines(garbage) {
		code, quoted, _ := strings.Cut(strings.TrimSuffix(row, "\n"), "\t")
		line, err := strconv.Unquote(quoted)
		must(t, err)
		want, err := strconv.Atoi(code)
		must(t, err)
		check(line, want)
		n++
	}
	if n < 40 {
		t.Fatalf("the corpus has %d lines", n)
	}
	call := `{"jsonrpc":"2.0","id":1,"method":"toy.echo","params":`
	for _, depth := range []int{65, 1_000, 10_000, 100_000} {
		check(call+strings.Repeat("[", depth)+strings.Repeat("]", depth)+"}", wire.CodeInvalidRequest)
		check(strings.Repeat(`{"a":`, depth)+"1"+strings.Repeat("}", depth), wire.CodeInvalidRequest)
	}
	check("["+strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"},`, 50_000)+"1]", wire.CodeInvalidRequest)
	check(`{"jsonrpc":"2.0","id":"`+strings.Repeat("x", 1<<20)+`","method":"toy.echo"}`, wire.CodeInvalidRequest)
	check(`{"jsonrpc":"2.0","id":1,"method":"`+strings.Repeat("x", 1<<20)+`"}`, wire.CodeMethodNotFound)
	var many strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&many, `"%x":0,`, i)
	}
	check(call+"{"+many.String()+`"z":0}}`, wire.CodeInvalidRequest)
	for _, c := range []struct {
		size int64
		fill byte
		end  string
	}{{wire.MaxLine + 1, ' ', "\n"}, {64 << 20, 'x', "\n"}, {256 << 20, ' ', "\n"}, {64 << 20, '[', ""}} {
		for _, opened := range []bool{false, true} { // as the first message and later
			long := p.dial(t)
			if opened {
				long.send(good)
				long.wantCode(0)
			}
			sent := make(chan struct{})
			go func() { // the connection may end before the line does
				defer close(sent)
				_, _ = io.Copy(long, io.LimitReader(xs{c.fill}, c.size))
				_, _ = io.WriteString(long, c.end)
			}()
			long.wantCode(wire.CodeInvalidRequest)
			long.wantEnd()
			_ = long.Close()
			<-sent
		}
	}
	if grown := memory(t, pid, "VmHWM") - before; grown > 8<<20 && !raceDetector {
		t.Errorf("memory grew by %d kB", grown>>10)
	}
	check("{", wire.CodeParse)
}

// TestManyConnections opens and closes thousands, some of them in the middle of a message, and looks for what stays.
func TestManyConnections(t *testing.T) {
	p := newPlane(home(t)).run(t)
	settled := func() bool { return p.group.Len() == 0 }
	before := descriptors(t)
	for i := range 3000 {
		conn, err := net.Dial("unix", p.Path)
		must(t, err)
		switch i % 4 {
		case 0:
			_, err = io.WriteString(conn, `{"jsonrpc":`)
		case 1:
			_, err = io.WriteString(conn, `{"jsonrpc":"2.0","id":1,"method":"toy.block"}`+"\n")
		case 2:
			_, err = io.WriteString(conn, `{"jsonrpc":"2.0","id":1,"method":"toy.echo"}`+"\n")
			must(t, conn.(*net.UnixConn).CloseWrite())
			if _, e := io.Copy(io.Discard, conn); e != nil {
				t.Fatal(e)
			}
		}
		must(t, err)
		must(t, conn.Close())
		if i%500 == 499 {
			until(t, "they are over", settled)
		}
	}
	until(t, "all are over", settled)
	if after := descriptors(t); after > before+2 {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

// TestManyClientsAtOnce: a long call of each of 64 clients does not hold up their short ones.
func TestManyClientsAtOnce(t *testing.T) {
	p := newPlane(home(t)).run(t)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			c, err := wire.Dial(t.Context(), "unix", p.Path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			long, stop := context.WithCancel(t.Context())
			var inner sync.WaitGroup
			inner.Go(func() { _ = c.Call(long, "toy.block", nil, nil) }) // ends with the context
			for i := range 50 {
				var out struct{ Params struct{ I int } }
				if err := c.Call(t.Context(), "toy.echo", map[string]int{"i": i}, &out); err != nil || out.Params.I != i {
					t.Errorf("call %d: %+v %v", i, out, err)
				}
			}
			stop()
			inner.Wait()
		})
	}
	wg.Wait()
}

// setFileLimit lowers the number of descriptors until the test ends.
func setFileLimit(t *testing.T, n uint64) (restore func()) {
	t.Helper()
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}))
	restore = sync.OnceFunc(func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) })
	t.Cleanup(restore)
	return restore
}

func TestDescriptorsAreKeptInReserve(t *testing.T) {
	p := newPlane(home(t)).run(t)
	const limit = 128
	restore := setFileLimit(t, limit)
	var open []*peer
	for range limit {
		conn := p.dial(t)
		_, _ = io.WriteString(conn, `{"jsonrpc":"2.0","id":1,"method":"toy.echo"}`+"\n") // it may be refused already
		if a := conn.read(); a.Error != nil {
			if a.Error.Code != -32013 || a.Error.Fault().Reason != "descriptors" {
				t.Fatalf("got %+v", a.Error)
			}
			break
		}
		open = append(open, conn)
	}
	until(t, "the reserve is free", func() bool { return descriptors(t) <= limit-door.ReserveFDs+2 }) // ours to look, and the refused one
	if len(open) < 20 {
		t.Errorf("%d connections are open", len(open))
	}
	for range 20 {
		conn := p.dial(t)
		conn.wantCode(-32013)
		_ = conn.Close()
	}
	if n := strings.Count(p.logs.String(), "few file descriptors"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
	for _, conn := range open[:10] {
		_ = conn.Close()
	}
	until(t, "descriptors are free again", func() bool { return descriptors(t) <= limit-door.ReserveFDs-6 })
	conn := p.dial(t)
	conn.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	conn.wantCode(0)
	restore()
}

func TestAcceptGoesOnAfterEMFILE(t *testing.T) {
	p := newPlane(home(t)).run(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	restore := setFileLimit(t, 3)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: p.Path}); err != nil {
		t.Fatal(err)
	}
	until(t, "accept fails", func() bool { return strings.Contains(p.logs.String(), "cannot accept") })
	pauses := time.Now()
	until(t, "it has been tried again", func() bool { return time.Since(pauses) > 200*time.Millisecond })
	restore()
	conn := connOf(t, fd)
	began := time.Now()
	if _, err := io.WriteString(conn, `{"jsonrpc":"2.0","id":1,"method":"toy.echo"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	if n, err := conn.Read(make([]byte, 100)); n == 0 {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("back after %s", took)
	}
	if n := strings.Count(p.logs.String(), "cannot accept"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}

// FuzzDialect: what the dialect was told by is what the handler gets.
func FuzzDialect(f *testing.F) {
	for row := range strings.Lines(garbage) {
		_, quoted, _ := strings.Cut(strings.TrimSuffix(row, "\n"), "\t")
		if line, err := strconv.Unquote(quoted); err == nil {
			f.Add([]byte(line))
		}
	}
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"apps\u002elist","params":{"a":1}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if strings.Contains(string(line), "\n") {
			return
		}
		var p wire.Parser
		m, bad := p.Parse(line)
		if bad != nil || !m.Request() {
			return
		}
		dialect, method, params := DialectOf(m), m.Method, string(m.Params)
		if dialect == Native && strings.Contains(method, "/") || dialect == MCP && strings.Contains(method, ".") && !strings.Contains(method, "/") {
			t.Fatalf("%q is taken for dialect %d", method, dialect)
		}
		ours, theirs := net.Pipe()
		got := make(chan string, 1)
		done := make(chan error, 1)
		go func() {
			done <- wire.Serve(t.Context(), ours, line, func(_ context.Context, m string, p json.RawMessage, _ op.Emit) (any, error) {
				got <- m + "\x00" + string(p)
				return struct{}{}, nil
			}, wire.Options{})
		}()
		buf := make([]byte, 1<<16)
		if _, err := theirs.Read(buf); err != nil {
			t.Fatal(err)
		}
		_ = theirs.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		select {
		case g := <-got:
			if g != method+"\x00"+params {
				t.Fatalf("the dialect was told by %q %q, the handler got %q", method, params, g)
			}
		default:
			if len(method) <= wire.MaxMethod && (params == "" || params == "null" || params[0] == '{') {
				t.Fatalf("%q did not get to the handler", line)
			}
		}
	})
}
