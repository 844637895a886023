package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/mcp/bridge"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/limit"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
	"github.com/omnitron-dev/omnitron/transports/unix"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// house is a registry of recorders behind the socket.
type house struct {
	methods  []*tools.Method
	path     string // of the socket
	reached  atomic.Pointer[string]
	mu       sync.Mutex
	seat     seat
	injected bool // the seat takes the place of what the socket knows of its peer

	network
}

// one resolves every name to one app, for those who may see it.
type one struct{}

func (one) Resolve(ctx context.Context, _ []op.Selector, _ op.ProjectRef, _ op.StackRef) ([]op.Target, error) {
	if !op.CallerOf(ctx).Scope.CoversKey("shop/dev/web") {
		return nil, fault.New(fault.NotFound, "there is no such app").WithReason("app_unknown")
	}
	return []op.Target{{Key: "shop/dev/web", Project: "shop", Stack: "dev", Generation: 1, Slots: []string{"web:web#1"}}}, nil
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{}
	var methods []op.Method
	for _, s := range catalog.Specs() {
		m := op.Method{Spec: s, Handle: func(_ context.Context, _ json.RawMessage, emit op.Emit) (any, error) {
			id := s.ID()
			h.reached.Store(&id)
			value := reflect.New(s.Out).Elem().Interface()
			if s.Stream {
				return nil, emit(value)
			}
			return value, nil
		}}
		if s.Plannable {
			m.Plan = func(context.Context, json.RawMessage) (*op.Plan, error) {
				return &op.Plan{Items: []op.Item{{Target: "shop/dev/web", To: "changed"}}}, nil
			}
		}
		methods = append(methods, m)
	}
	deps := toolstest.New(t).Registry.Deps
	deps.Resolver, deps.Limits = one{}, limit.Limits{Input: 4 << 20}
	registry, err := tools.New(methods, deps)
	if err != nil {
		t.Fatal(err)
	}
	h.methods = registry.Methods()
	h.serve(t, registry)
	h.reach(t, registry)
	return h
}

// serve opens the socket, wired as the daemon wires it.
func (h *house) serve(t *testing.T, registry *tools.Registry) {
	t.Helper()
	dir, err := os.MkdirTemp("", "om")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	m, err := mcp.New(registry, mcp.Options{Log: log, Sessions: registry.Sessions})
	if err != nil {
		t.Fatal(err)
	}
	handle := func(ctx context.Context, method string, params json.RawMessage, emit op.Emit) (any, error) {
		return registry.Do(ctx, tools.Call{Method: method, In: params, Emit: emit})
	}
	listening := make(chan struct{})
	h.path = filepath.Join(dir, "daemon.sock")
	srv := &unix.Server{Path: h.path, Owner: os.Geteuid(), Log: log, OnListen: func() { close(listening) },
		Native: func(ctx context.Context, conn net.Conn, first []byte) error {
			return wire.Serve(op.WithCaller(ctx, h.caller(op.CallerOf(ctx))), conn, first, handle, wire.Options{Log: log})
		},
		MCP: func(ctx context.Context, conn net.Conn, first []byte) error {
			return m.ServeConn(ctx, conn, first, h.caller(op.CallerOf(ctx)))
		}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir) // the system's folder for what is temporary
	})
	select {
	case <-listening:
	case err := <-ended:
		t.Fatal(err)
	}
}

// caller is who is at the other end.
func (h *house) caller(peer op.Caller) op.Caller {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.seat; h.injected {
		peer.Channel, peer.Ceiling, peer.Role, peer.ReadOnly = s.channel, s.rights, s.acts, s.reads
	}
	return peer
}

func (h *house) sit(s seat, injected bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seat, h.injected = s, injected
}

// plane is a way to make calls.
type plane struct {
	name       string
	credential string
	expects    func(r row, s seat) string                                                   // what becomes of a call; nil: expected
	seats      func(s seat) bool                                                            // who can come this way
	open       func(t *testing.T, h *house, s seat) func(m *tools.Method, in string) string // gives what becomes of a call
}

var local = []plane{
	{"unix", "peer, as it is", nil, func(s seat) bool { return s.name == "person admin" }, func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		h.sit(s, false)
		return h.native(t)
	}},
	{"unix", "as given", nil, func(seat) bool { return true }, func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		h.sit(s, true)
		return h.native(t)
	}},
	{"mcp", "peer and launch", nil, func(s seat) bool { return s.channel == op.Agent }, func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		h.sit(s, false)
		return h.agent(t, s.launch, "full")
	}},
	{"mcp, core", "peer and launch", nil, func(s seat) bool { return s.channel == op.Agent }, func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		h.sit(s, false)
		return h.agent(t, s.launch, "core")
	}},
	{"mcp", "as given", nil, func(s seat) bool { return s.channel == op.Agent && s.launch.Role == "" }, func(t *testing.T, h *house, s seat) func(*tools.Method, string) string {
		h.sit(s, true)
		return h.agent(t, mcp.Launch{}, "full")
	}},
}

// native makes calls in the native dialect.
func (h *house) native(t *testing.T) func(*tools.Method, string) string {
	t.Helper()
	c, err := wire.Dial(t.Context(), "unix", h.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return h.calls(t, c)
}

// calls makes calls over a connection.
func (h *house) calls(t *testing.T, c *wire.Client) func(*tools.Method, string) string {
	return func(m *tools.Method, in string) string {
		if m.Stream {
			for _, err := range c.Stream(t.Context(), m.ID(), json.RawMessage(in)) {
				if err != nil {
					return h.became(t, m, nil, fault.From(err))
				}
			}
			return h.became(t, m, nil, nil)
		}
		var out json.RawMessage
		if err := c.Call(t.Context(), m.ID(), json.RawMessage(in), &out); err != nil {
			return h.became(t, m, nil, fault.From(err))
		}
		return h.became(t, m, out, nil)
	}
}

// agent makes calls through what omnitron mcp is made of, standard input and output included.
func (h *house) agent(t *testing.T, launch mcp.Launch, profile string) func(*tools.Method, string) string {
	t.Helper()
	launch.Profile = profile
	fromClient, toBridge := io.Pipe()
	fromBridge, toClient := io.Pipe()
	d := bridge.Daemon{Version: "test", Ensure: func(context.Context) error { return nil }, Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.path)
	}}
	ended := make(chan error, 1)
	go func() {
		ended <- bridge.Run(context.Background(), fromClient, toClient, d, launch, slog.New(slog.DiscardHandler))
		_ = toClient.Close()
	}()
	s, err := sdk.NewClient(&sdk.Implementation{Name: "access", Version: "1"}, nil).Connect(t.Context(), &sdk.IOTransport{Reader: fromBridge, Writer: toBridge}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = toBridge.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = s.Close() // its stream has ended
	})
	return h.tools(t, s, profile)
}

// tools makes calls as a client of MCP.
func (h *house) tools(t *testing.T, s *sdk.ClientSession, profile string) func(*tools.Method, string) string {
	return func(m *tools.Method, in string) string {
		name, args := m.Tool(), json.RawMessage(in)
		if profile == "core" {
			name = map[bool]string{true: "ops_write", false: "ops_read"}[m.Effect.Changes()]
			args = fmt.Appendf(nil, `{"method":%q,"input":%s}`, m.ID(), in)
		}
		r, err := s.CallTool(context.Background(), &sdk.CallToolParams{Name: name, Arguments: args})
		if err != nil {
			if why, ok := errors.AsType[*jsonrpc.Error](err); ok && why.Data != nil { // over HTTP, what lies above the rights
				f := &fault.Error{}
				if json.Unmarshal(why.Data, f) != nil || f.Code != fault.Denied {
					t.Errorf("%s: %s", m.ID(), why.Data)
				}
				return h.became(t, m, nil, f)
			}
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", m.ID(), err)
			}
			return h.became(t, m, nil, fault.New(fault.NotFound, "%v", err).WithReason("unknown_method"))
		}
		if r.IsError {
			raw, _ := json.Marshal(r.Meta[mcp.MetaError]) // it came as JSON
			f := &fault.Error{}
			if err := json.Unmarshal(raw, f); err != nil {
				t.Fatal(err)
			}
			return h.became(t, m, nil, f)
		}
		raw, _ := json.Marshal(r.StructuredContent) // it came as JSON
		return h.became(t, m, raw, nil)
	}
}

// became names what came of a call, by its answer, and fails the test where the recorder has another story.
func (h *house) became(t *testing.T, m *tools.Method, answer json.RawMessage, f *fault.Error) string {
	t.Helper()
	reached := h.reached.Swap(nil)
	if reached != nil && *reached != m.ID() {
		t.Errorf("%s has reached %s", m.ID(), *reached)
	}
	what := done
	var out struct{ Status op.Status }
	switch {
	case f != nil:
		switch {
		case f.Code == fault.Held:
			what = hold
		case f.Code == fault.Denied, f.Code == fault.NotFound && f.Reason == "unknown_method":
			what = deny
		case f.Code == fault.Unauthenticated:
			what = unknown
		case f.Code == fault.NotFound && f.Reason == "app_unknown":
			what = gone
		default:
			what = f.Error()
		}
	case m.Controlled():
		if err := json.Unmarshal(answer, &out); err != nil {
			t.Errorf("%s: %v", m.ID(), err)
		}
		what = map[op.Status]string{op.Done: done, op.Running: done, op.Confirm: confirm, op.Waiting: hold}[out.Status]
	}
	if (reached != nil) != (what == done) {
		t.Errorf("%s: the answer says %s; its recorder was reached: %v", m.ID(), what, reached != nil)
	}
	return what
}
