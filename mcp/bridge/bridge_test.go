package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/limit"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is a daemon that can be killed and started.
type daemon struct {
	t      *testing.T
	path   string
	kernel *toolstest.World
	bus    *bus.Bus
	server *mcp.Server
	caller op.Caller

	mu      sync.Mutex
	ln      net.Listener
	conns   []net.Conn
	started int
	wg      sync.WaitGroup
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	d := &daemon{t: t, path: filepath.Join(t.TempDir(), "s"), bus: bus.New(1, 16), caller: toolstest.Agent()}
	d.caller.Session = ""
	d.kernel = toolstest.New(t, func(deps *tools.Deps) {
		deps.Limits = limit.Default()
		deps.Limits.Calls, deps.Limits.Changing = 0, 0
	})
	d.kernel.Box.Inside = make(chan struct{}, 64)
	var err error
	if d.server, err = mcp.New(d.kernel.Registry, mcp.Options{Version: "9", Sessions: d.kernel.Sessions, Bus: d.bus}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	return d
}

func (d *daemon) start(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = os.Remove(d.path)
	ln, err := net.Listen("unix", d.path)
	if err != nil {
		return err
	}
	d.ln, d.started = ln, d.started+1
	d.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns = append(d.conns, c)
			d.mu.Unlock()
			d.wg.Go(func() { _ = d.server.ServeConn(context.Background(), c, nil, d.caller) })
		}
	})
	return nil
}

// kill ends the daemon as kill -9 does: every connection breaks.
func (d *daemon) kill() {
	d.mu.Lock()
	if d.ln != nil {
		d.ln.Close()
	}
	for _, c := range d.conns {
		c.Close()
	}
	d.ln, d.conns = nil, nil
	d.mu.Unlock()
	d.wg.Wait()
}

func (d *daemon) reach() Daemon {
	return Daemon{Version: "9", Ensure: d.start, Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.path)
	}}
}

// client is what starts omnitron mcp.
type client struct {
	t   *testing.T
	in  *io.PipeWriter
	out *bufio.Scanner
	end chan error
	got chan string
}

func newClient(t *testing.T, d Daemon, launch mcp.Launch) *client {
	t.Helper()
	ir, iw := io.Pipe()
	or, ow := io.Pipe()
	c := &client{t: t, in: iw, out: bufio.NewScanner(or), end: make(chan error, 1), got: make(chan string, 1000)}
	c.out.Buffer(nil, 1<<20)
	go func() {
		err := Run(context.Background(), ir, ow, d, launch, slog.New(slog.DiscardHandler))
		ow.Close()
		c.end <- err
	}()
	go func() {
		for c.out.Scan() {
			c.got <- c.out.Text()
		}
		close(c.got)
	}()
	t.Cleanup(func() { iw.Close() })
	return c
}

func (c *client) send(lines ...string) {
	c.t.Helper()
	for _, l := range lines {
		if _, err := io.WriteString(c.in, l+"\n"); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *client) next() string {
	c.t.Helper()
	select {
	case l, ok := <-c.got:
		if !ok {
			c.t.Fatal("the stream has ended")
		}
		if !json.Valid([]byte(l)) || !strings.HasPrefix(l, `{"jsonrpc":"2.0"`) || strings.Contains(l, "omnitron-bridge") {
			c.t.Errorf("stray output: %s", l)
		}
		return l
	case <-time.After(10 * time.Second):
		c.t.Fatal("no line")
		return ""
	}
}

func (c *client) expect(parts ...string) string {
	c.t.Helper()
	l := c.next()
	for _, p := range parts {
		if !strings.Contains(l, p) {
			c.t.Errorf("no %s in %.500s", p, l)
		}
	}
	return l
}

// close ends the client's stream and checks that the bridge ends in time.
func (c *client) close() {
	c.t.Helper()
	start := time.Now()
	c.in.Close()
	select {
	case err := <-c.end:
		if err != nil {
			c.t.Errorf("the bridge ends with %v", err)
		}
	case <-time.After(5 * time.Second):
		c.t.Fatal("the bridge does not end")
	}
	if d := time.Since(start); d > time.Second {
		c.t.Errorf("the bridge ends after %s", d)
	}
}

const (
	hello  = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`
	ready  = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	modern = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
)

func call(id any, tool, args string) string {
	b, _ := json.Marshal(id)
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, b, tool, args)
}

// TestStart: the daemon is started when it is needed, the launch reaches it, and the end of the client is the end.
func TestStart(t *testing.T) {
	d := newDaemon(t)
	c := newClient(t, d.reach(), mcp.Launch{Profile: "readonly"})
	c.send(hello, ready, call(1, "toys_list", "{}"), `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	c.expect(`"id":0`, `"protocolVersion":"2025-11-25"`)
	both := c.next() + c.next()
	if !strings.Contains(both, `"id":1`) || strings.Contains(both, "toys_add") || !strings.Contains(both, "toys_fail") {
		t.Errorf("got %s", both)
	}
	if d.started != 1 {
		t.Errorf("the daemon was started %d times", d.started)
	}
	info := d.kernel.Sessions.List()
	if len(info) != 1 || info[0].Client != "c/1" {
		t.Errorf("sessions: %+v", info)
	}
	c.close()
}

// TestOutlives: the daemon dies in the middle; what was in flight is told of, the handshake and the subscriptions are
// repeated, and the client goes on as if nothing had been.
func TestOutlives(t *testing.T) {
	d := newDaemon(t)
	c := newClient(t, d.reach(), mcp.Launch{})
	c.send(hello)
	c.expect(`"id":0`)
	c.send(ready, `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"omnitron://toys"}}`)
	c.expect(`"id":1`, `"result":{}`)
	for round := range 3 {
		c.send(call("slow", "ops_read", `{"method":"toys.fail","input":{"how":"wait"}}`), `{"jsonrpc":"2.0","id":77,"method":"prompts/list"}`)
		c.expect(`"id":77`)
		<-d.kernel.Box.Inside
		d.kill()
		c.expect(`"id":"slow"`, `"isError":true`, `unavailable: `, `"omnitron/error":{"code":"unavailable"`)
		want := []string{`"uri":"omnitron://toys"`} // what may have changed meanwhile
		if round == 1 {                             // somebody else starts it: the client need not ask for anything
			if err := d.start(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			c.send(call(2, "toys_list", "{}"))
			want = append(want, `"id":2`)
		}
		for len(want) > 0 {
			l := c.next()
			n := len(want)
			if want = slices.DeleteFunc(want, func(w string) bool { return strings.Contains(l, w) }); len(want) == n {
				t.Fatalf("got %s", l)
			}
		}
		tick, late := time.NewTicker(20*time.Millisecond), time.After(10*time.Second)
		for heard := false; !heard; {
			d.bus.Publish(bus.Event{Topic: "toys"})
			select {
			case l := <-c.got:
				heard = strings.Contains(l, `"notifications/resources/updated"`) && strings.Contains(l, `"omnitron://toys"`)
				if !heard {
					t.Fatalf("got %s", l)
				}
			case <-tick.C:
			case <-late:
				t.Fatal("nothing is heard of a change")
			}
		}
		tick.Stop()
		for drained := false; !drained; { // a second notification may be on its way
			select {
			case <-c.got:
			case <-time.After(300 * time.Millisecond):
				drained = true
			}
		}
		if info := d.kernel.Sessions.List(); len(info) != 1 || info[0].Client != "c/1" {
			t.Errorf("the handshake was not repeated: %+v", info)
		}
	}
	c.close()
}

// TestOutlivesModern: the same without a handshake: what listens goes on listening under its id.
func TestOutlivesModern(t *testing.T) {
	d := newDaemon(t)
	c := newClient(t, d.reach(), mcp.Launch{})
	c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":5,"method":"subscriptions/listen","params":{%s,"notifications":{"resourceSubscriptions":["omnitron://toys"]}}}`, modern))
	c.expect("subscriptions/acknowledged", `"io.modelcontextprotocol/subscriptionId":5`)
	c.send(strings.Replace(call(6, "ops_read", `{"method":"toys.fail","input":{"how":"wait"}}`), `{"name"`, `{`+modern+`,"name"`, 1))
	<-d.kernel.Box.Inside
	d.kill()
	c.expect(`"id":6`, `"resultType":"complete"`, `"unavailable"`)
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.expect("resources/updated", `"io.modelcontextprotocol/subscriptionId":5`) // what may have changed meanwhile
	d.bus.Publish(bus.Event{Topic: "toys"})
	c.expect("resources/updated", `"io.modelcontextprotocol/subscriptionId":5`)
	c.close()
}

// TestUnreachable: without a daemon every request is answered, and garbage too.
func TestUnreachable(t *testing.T) {
	d := newDaemon(t)
	reach := d.reach()
	reach.Ensure = func(context.Context) error { return errors.New("cannot start it: no disk") }
	c := newClient(t, reach, mcp.Launch{})
	c.send(hello)
	c.expect(`"id":0`, `"error":{"code":-32010`, "no disk")
	c.send(call(9007199254740993, "toys_list", "{}"))
	c.expect(`"id":9007199254740993`, `"isError":true`, "unavailable")
	c.send(`garbage`)
	c.expect(`"code":-32700`)
	c.send(`{"jsonrpc":"2.0","id":3,"method":5}`)
	c.expect(`"id":3`, `"code":-32600`)
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.send(call(4, "toys_list", "{}"))
	c.expect(`"id":4`, `"car"`)
	c.close()
}

// TestRefused: a launch that the daemon does not grant ends the bridge with a reason, and the client's request with an error.
func TestRefused(t *testing.T) {
	d := newDaemon(t)
	d.caller.Ceiling = op.Operator
	c := newClient(t, d.reach(), mcp.Launch{Role: "admin"})
	c.send(hello)
	c.expect(`"id":0`, `"error"`, "above what this connection may have")
	select {
	case err := <-c.end:
		if err == nil || !strings.Contains(err.Error(), "refuses") {
			t.Errorf("the bridge ends with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the bridge goes on")
	}
}

// TestLastAnswers: the answers to what was asked last arrive although nothing more is sent; what hangs does not hold up.
func TestLastAnswers(t *testing.T) {
	d := newDaemon(t)
	c := newClient(t, d.reach(), mcp.Launch{})
	c.send(call(1, "toys_list", "{}"), `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	c.close()
	if got := c.next() + c.next(); !strings.Contains(got, `"id":1`) || !strings.Contains(got, `"id":2`) {
		t.Errorf("got %s", got)
	}
	c = newClient(t, d.reach(), mcp.Launch{})
	c.send(call(1, "ops_read", `{"method":"toys.fail","input":{"how":"wait"}}`))
	<-d.kernel.Box.Inside
	c.close()
}

// TestStops: a bridge whose context ends stops, connected or not.
func TestStops(t *testing.T) {
	d := newDaemon(t)
	for _, connected := range []bool{true, false} {
		ctx, cancel := context.WithCancelCause(context.Background())
		ir, iw := io.Pipe()
		or, ow := io.Pipe()
		end := make(chan error, 1)
		go func() { end <- Run(ctx, ir, ow, d.reach(), mcp.Launch{}, slog.New(slog.DiscardHandler)) }()
		if connected {
			go io.WriteString(iw, call(1, "toys_list", "{}")+"\n")
			if _, err := bufio.NewReader(or).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		stop := errors.New("interrupted")
		cancel(stop)
		select {
		case err := <-end:
			if !errors.Is(err, stop) {
				t.Errorf("ends with %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("does not stop")
		}
		iw.Close()
		ir.Close()
		or.Close()
	}
}

func TestConfigLine(t *testing.T) {
	for _, c := range []struct {
		client string
		args   []string
		want   string
	}{
		{"claude", nil, "claude mcp add omnitron -- '/opt/my tools/omnitron' mcp"},
		{"claude", []string{"--role", "viewer", "--toolsets", "apps,logs"}, "claude mcp add omnitron -- '/opt/my tools/omnitron' mcp --role viewer --toolsets apps,logs"},
		{"cursor", []string{"--read-only"}, `{
  "mcpServers": {
    "omnitron": {
      "args": [
        "mcp",
        "--read-only"
      ],
      "command": "/opt/my tools/omnitron"
    }
  }
}`},
	} {
		got, err := ConfigLine(c.client, "/opt/my tools/omnitron", c.args)
		if err != nil || got != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.client, err, got, c.want)
		}
	}
	_, err := ConfigLine("cursr", "omnitron", nil)
	if f := fault.From(err); f.Code != fault.Invalid || f.Hint != "did you mean cursor?" {
		t.Errorf("unknown client: %+v", f)
	}
}
