package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	mcplib "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// Extra adds tools, resources and prompts of the library's own kind to a server, for the conformance suite, which asks for some
// that no product has. They stand beside the methods on the same connections, and the lists are the library's.
type Extra func(*server.MCPServer)

// Fail has a handler of an Extra answer with an error of the protocol; the library would know one code only.
func Fail(ctx context.Context, code int, message string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("cannot write the data of an error: %w", err)
	}
	reasonOf(ctx).err = &wire.Error{Code: code, Message: message, Data: raw}
	return fault.New(fault.Invalid, "%s", message)
}

// extra reports whether a request is about what was added.
func (c *conn) extra(r *request) bool {
	if c.srv.o.Extra == nil {
		return false
	}
	switch r.Method {
	case "tools/list", "logging/setLevel":
		return true
	case "tools/call":
		return c.surface.tools[object.String(r.Params, "name")] == nil
	}
	return false
}

// guest is a connection as handlers of the library see it.
type guest struct {
	conn    *conn
	request *request
	told    chan mcplib.JSONRPCNotification
	done    sync.WaitGroup
}

// entertain gives ctx a guest, whose notifications go out in their order, all before the answer.
func (c *conn) entertain(ctx context.Context, r *request) (context.Context, func()) {
	if c.srv.o.Extra == nil {
		return ctx, func() {}
	}
	g := &guest{conn: c, request: r, told: make(chan mcplib.JSONRPCNotification, 256)}
	g.done.Go(func() {
		for n := range g.told {
			if line, err := answer.Marshal(n); err == nil {
				_ = r.out.Write(line) // a client that has gone needs no telling
			}
		}
	})
	return c.surface.library.WithContext(ctx, g), func() { close(g.told); g.done.Wait() }
}

func (g *guest) Initialize()       {}
func (g *guest) Initialized() bool { return true }
func (g *guest) SessionID() string { return g.conn.caller.Session }
func (g *guest) NotificationChannel() chan<- mcplib.JSONRPCNotification {
	return g.told
}
func (g *guest) SetLogLevel(mcplib.LoggingLevel)  {}
func (g *guest) GetLogLevel() mcplib.LoggingLevel { return mcplib.LoggingLevelDebug }

// RequestSampling asks the client for words of a model.
func (g *guest) RequestSampling(ctx context.Context, r mcplib.CreateMessageRequest) (*mcplib.CreateMessageResult, error) {
	raw, err := g.ask(ctx, mcplib.MethodSamplingCreateMessage, r.CreateMessageParams)
	if err != nil {
		return nil, err
	}
	var out mcplib.CreateMessageResult
	text := mcplib.TextContent{}
	if err := errors.Join(json.Unmarshal(raw, &out), json.Unmarshal(object.Get(raw, "content"), &text)); err != nil {
		return nil, fmt.Errorf("cannot read what the client's model said: %w", err)
	}
	out.Content = text
	return &out, nil
}

// RequestElicitation asks the client's user.
func (g *guest) RequestElicitation(ctx context.Context, r mcplib.ElicitationRequest) (*mcplib.ElicitationResult, error) {
	raw, err := g.ask(ctx, mcplib.MethodElicitationCreate, r.Params)
	if err != nil {
		return nil, err
	}
	var out mcplib.ElicitationResult
	return &out, json.Unmarshal(raw, &out)
}

// ListRoots asks the client for its folders.
func (g *guest) ListRoots(ctx context.Context, _ mcplib.ListRootsRequest) (*mcplib.ListRootsResult, error) {
	raw, err := g.ask(ctx, mcplib.MethodListRoots, struct{}{})
	if err != nil {
		return nil, err
	}
	var out mcplib.ListRootsResult
	return &out, json.Unmarshal(raw, &out)
}

// ask makes a request of ours on the way back of the client's.
func (g *guest) ask(ctx context.Context, method mcplib.MCPMethod, params any) (json.RawMessage, error) {
	body, err := answer.Marshal(params)
	if err != nil {
		return nil, err
	}
	id, reply, forget := g.conn.asked.begin()
	defer forget()
	line := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, string(method), body)
	if err := g.request.out.Write(line); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-reply:
		if a.Error != nil {
			return nil, fmt.Errorf("the client answered %s with an error: %s", method, a.Error)
		}
		return a.Result, nil
	}
}
