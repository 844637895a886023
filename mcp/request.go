package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	mcplib "github.com/mark3labs/mcp-go/mcp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// The keys in _meta that a request of the modern era carries.
const (
	metaVersion = "io.modelcontextprotocol/protocolVersion"
	metaClient  = "io.modelcontextprotocol/clientInfo"
	metaCaps    = "io.modelcontextprotocol/clientCapabilities"
	metaServer  = "io.modelcontextprotocol/serverInfo"
	metaStream  = "io.modelcontextprotocol/subscriptionId"
	modernEra   = mcplib.ProtocolVersion20260728
	richSince   = mcplib.ProtocolVersion20250618 // structured content, output schemas, resource links
)

// request is a message with what it or the handshake says of its client.
type request struct {
	wire.Message
	modern  bool            // of the era without a handshake
	sound   bool            // modern with capabilities
	wrong   *wire.Error     // what it says of its era makes no sense to us
	rich    bool            // the client knows structured content
	elicits bool            // the client asks its user when we ask it
	token   json.RawMessage // for progress, nil: none wanted
	client  string
	trace   string
	out     Out
}

// request reads what a message says of its era and its client.
func (c *conn) request(m wire.Message) *request {
	r := &request{Message: m}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.rich, r.elicits, r.client = c.version == "" || c.version >= richSince, c.elicits, c.client
	r.read()
	switch {
	case r.modern:
		c.modern = true
	case r.wrong == nil && c.modern && c.version == "" && m.Method != "initialize" && m.Method != "ping":
		r.wrong = noVersion() // of a client that speaks the era without a handshake
	}
	return r
}

// read takes from the message itself what it says of its era and its client.
func (r *request) read() {
	meta := object.Get(r.Params, "_meta")
	if !object.Is(meta) {
		return
	}
	var version string
	var caps json.RawMessage
	var said, modern bool // the version; anything that only the era without a handshake has
	object.Visit(meta, func(key string, value json.RawMessage) bool {
		switch key {
		case "progressToken":
			if value[0] == '"' || value[0] == '-' || '0' <= value[0] && value[0] <= '9' {
				r.token = value
			}
		case metaVersion:
			said, version = true, object.Unquote(value)
		case metaCaps:
			modern, caps = true, value
		case metaClient:
			modern, r.client = true, clientName(value)
		case "traceparent":
			r.trace = traceID(object.Unquote(value))
		}
		return true
	})
	switch {
	case said && !mcplib.IsValidProtocolVersion(version):
		r.wrong = unknownVersion(version)
	case !said && modern:
		r.wrong = noVersion()
	case version >= modernEra:
		r.modern, r.rich, r.sound, r.elicits = true, true, object.Is(caps), elicitsForms(caps)
	}
}

// unknownVersion is the protocol's own error for a version that nobody here speaks: it lists those that we do.
func unknownVersion(version string) *wire.Error {
	e := mcplib.UnsupportedProtocolVersionError{Version: version, Supported: mcplib.ValidProtocolVersions}.JSONRPCError().Error
	data, _ := json.Marshal(e.Data) // strings
	return &wire.Error{Code: e.Code, Message: e.Message, Data: data}
}

// noVersion refuses a request of the era without a handshake that does not say its version.
func noVersion() *wire.Error {
	e := unknownVersion("")
	e.Message = "missing _meta field " + metaVersion
	return e
}

// elicitsForms reads from capabilities whether a client shows its user a form. An empty object means forms.
func elicitsForms(caps json.RawMessage) bool {
	e := object.Get(caps, "elicitation")
	return object.Is(e) && (object.Get(e, "form") != nil || object.Get(e, "url") == nil)
}

// clientName is what a client calls itself, made harmless.
func clientName(info json.RawMessage) string {
	name := answer.Line(object.String(info, "name"), 60)
	if v := object.String(info, "version"); v != "" {
		name += "/" + answer.Line(v, 30)
	}
	return name
}

// traceID takes the trace out of a W3C traceparent, or gives "".
func traceID(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return ""
	}
	return parts[1]
}

// idKey is the same for two spellings of one id and differs for a string and a number.
func idKey(id json.RawMessage) string {
	if strings.IndexByte(string(id), '\\') < 0 {
		return string(id)
	}
	return string(answer.AppendString(nil, object.Unquote(id)))
}

// with gives ctx the caller of a request.
func (c *conn) with(ctx context.Context, r *request) context.Context {
	caller := c.caller
	caller.Client, caller.Trace = r.client, r.trace
	return op.WithCaller(ctx, caller)
}

// lower fixes what a connection may do. Its faults are invalid (launch_options): a launch asks for what there is not or for
// more than the caller has.
func (s *Server) lower(caller op.Caller, l Launch) (op.Caller, error) {
	if caller.Channel == op.Person || caller.Channel == "" {
		caller.Channel = op.Agent
	}
	if caller.Role == 0 {
		caller.Role = op.Operator
	}
	if l.Role != "" {
		role := op.ParseRole(l.Role)
		if role != op.Viewer && role != op.Operator && role != op.Admin {
			return caller, wrongLaunch("unknown role %s", wire.Quote(l.Role, 32)).WithCandidates("viewer", "operator", "admin")
		}
		if !caller.Ceiling.Covers(role) {
			return caller, wrongLaunch("role %s is above what this connection may have (%s)", l.Role, caller.Ceiling)
		}
		caller.Ceiling, caller.Role = role, role
	}
	if !caller.Ceiling.Covers(caller.Role) {
		caller.Role = caller.Ceiling
	}
	switch l.Profile {
	case "", profileCore, profileFull:
	case profileReadOnly:
		caller.ReadOnly = true
	default:
		return caller, wrongLaunch("unknown profile %s", wire.Quote(l.Profile, 32)).WithCandidates(profileCore, profileFull, profileReadOnly)
	}
	caller.ReadOnly = caller.ReadOnly || l.ReadOnly
	if len(l.Toolsets) > maxToolsets {
		return caller, wrongLaunch("%d toolsets are named, %d are the most", len(l.Toolsets), maxToolsets)
	}
	switch n := len(l.Session); {
	case n > 0 && (n < 16 || n > 64):
		return caller, wrongLaunch("a session has 16 to 64 random characters, and this one has %d", n)
	case caller.Token == "": // nobody has signed in: who the client is does not depend on one connection, if it says so
		caller.Token = cmp.Or(l.Session, caller.Session)
	}
	known := s.services()
	for _, t := range l.Toolsets {
		if !slices.Contains(known, t) {
			return caller, wrongLaunch("unknown toolset %s", wire.Quote(t, 32)).WithCandidates(known...)
		}
		if len(caller.Toolsets) > 0 && !slices.Contains(caller.Toolsets, t) {
			return caller, wrongLaunch("toolset %s is not among those that this connection may have", t)
		}
	}
	if len(l.Toolsets) > 0 { // each once: what is made for a choice is kept
		caller.Toolsets = slices.Compact(slices.Sorted(slices.Values(l.Toolsets)))
	}
	return caller, nil
}

// maxToolsets is how many services a launch may name.
const maxToolsets = 64

func wrongLaunch(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).WithReason("launch_options")
}

// services are the names of all services, in order.
func (s *Server) services() []string {
	var names []string
	for _, m := range s.ordered {
		names = append(names, m.Service)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// greet answers initialize, in the order in which it came, because what follows depends on it.
func (c *conn) greet(ctx context.Context, r *request) {
	line, failed := c.forward(ctx, r, head(nil, r.ID))
	if failed != nil {
		r.out.Post(ErrorLine(r.ID, failed))
		return
	}
	c.introduce(clientName(object.Get(r.Params, "clientInfo")))
	c.mu.Lock()
	c.version = mcplib.NegotiateLegacyVersion(object.String(r.Params, "protocolVersion"))
	c.elicits = elicitsForms(object.Get(r.Params, "capabilities")) && c.version >= richSince
	c.mu.Unlock()
	r.out.Post(append(line, '}'))
}

// forward lets the library answer. It sees an id of ours, because it would round the client's.
func (c *conn) forward(ctx context.Context, r *request, line []byte) ([]byte, *wire.Error) {
	msg := answer.AppendString([]byte(`{"jsonrpc":"2.0","id":1,"method":`), r.Method)
	if r.Params != nil {
		msg = append(append(msg, `,"params":`...), r.Params...)
	}
	ctx, why := withReason(c.with(ctx, r), c, r.modern)
	ctx, told := c.entertain(ctx, r)
	reply := c.surface.library.HandleMessage(ctx, append(msg, '}'))
	told()
	switch m := reply.(type) {
	case mcplib.JSONRPCResponse:
		b, err := answer.Marshal(m.Result)
		if err != nil {
			return nil, &wire.Error{Code: wire.CodeOf("internal"), Message: "cannot write the answer"}
		}
		return append(line, b...), nil
	case mcplib.JSONRPCError:
		return nil, why.improve(r, m.Error)
	}
	return nil, &wire.Error{Code: wire.CodeOf("internal"), Message: "the request got no answer"}
}

// reason carries what went wrong in a handler of ours past the library, which knows one code only.
type reason struct {
	conn       *conn
	err        *wire.Error
	noResource int // the code of the era
}

type reasonKey struct{}

func withReason(ctx context.Context, c *conn, modern bool) (context.Context, *reason) {
	r := &reason{conn: c, noResource: codeNoResource}
	if modern {
		r.noResource = wire.CodeOf(fault.Invalid)
	}
	return context.WithValue(ctx, reasonKey{}, r), r
}

func reasonOf(ctx context.Context) *reason { return ctx.Value(reasonKey{}).(*reason) }

// improve gives the error that a client should see for one of the library's.
func (w *reason) improve(r *request, e mcplib.JSONRPCErrorDetails) *wire.Error {
	if w.err != nil {
		return w.err
	}
	if r.Method == "resources/read" && e.Code == w.noResource {
		uri := object.String(r.Params, "uri")
		out := wire.FromFault(noResource(uri))
		out.Code, out.Data = e.Code, object.Set(out.Data, "uri", answer.AppendString(nil, answer.Line(uri, 200)))
		return out
	}
	out := &wire.Error{Code: e.Code, Message: e.Message}
	if e.Data != nil {
		out.Data, _ = json.Marshal(e.Data) // data of the library is plain
	}
	switch e.Code {
	case wire.CodeInvalidRequest: // the message was one: its params did not fit the method
		out.Code, out.Message = wire.CodeOf("invalid"), "the params do not fit "+r.Method
	case wire.CodeMethodNotFound:
		if !strings.Contains(e.Message, "removed") && !strings.Contains(e.Message, "requires") {
			out.Message = "unknown method " + wire.Quote(r.Method, 64)
		}
	}
	return out
}

// toolCall is the params of tools/call.
type toolCall struct {
	name      string
	args      json.RawMessage // an object
	wrapped   bool            // args came inside those of a meta tool
	responses json.RawMessage // modern: what the user said to a question of ours
	state     string          // modern: what we gave the client to keep with the question
}

func parseCall(params json.RawMessage) (toolCall, *wire.Error) {
	p := toolCall{args: json.RawMessage("{}")}
	bad := ""
	if !object.Is(params) {
		return p, invalidParams("tools/call needs params: {name, arguments}")
	}
	object.Visit(params, func(key string, value json.RawMessage) bool {
		switch key {
		case "name":
			p.name = object.Unquote(value)
		case "arguments":
			if object.Is(value) {
				p.args = value
			} else if string(value) != "null" {
				bad = "arguments must be an object"
			}
		case "inputResponses":
			p.responses = value
		case "requestState":
			p.state = object.Unquote(value)
		}
		return true
	})
	if bad == "" && p.name == "" {
		bad = "name must be the name of a tool"
	}
	if bad != "" {
		return p, invalidParams(bad)
	}
	return p, nil
}

func invalidParams(text string) *wire.Error {
	return &wire.Error{Code: wire.CodeOf(fault.Invalid), Message: text}
}
