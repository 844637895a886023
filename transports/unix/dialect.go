package unix

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// Dialect is what a connection speaks.
type Dialect uint8

// The dialects.
const (
	Neither Dialect = iota
	Native
	MCP
)

// DialectOf tells the dialect of a connection by its first message.
func DialectOf(m wire.Message) Dialect {
	switch {
	case m.Method == "initialize", m.Method == "ping":
		return MCP
	case strings.HasPrefix(m.Method, "$/"):
		return Neither
	case strings.Contains(m.Method, "/"):
		return MCP
	}
	service, verb, ok := strings.Cut(m.Method, ".")
	if ok && word(service) && word(verb) {
		return Native
	}
	return Neither
}

func word(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

// LaunchKey is the name under which the first message of an MCP connection says what `omnitron mcp` was started with.
const LaunchKey = "omnitron/launch"

// Launch is what an MCP connection was started with. It can only lower what the connection may do; later messages
// cannot change it.
type Launch struct {
	Role     string   `json:"role,omitempty"`    // viewer | operator | admin; "" is operator
	Profile  string   `json:"profile,omitempty"` // core | full | readonly; "" is core
	Toolsets []string `json:"toolsets,omitempty"`
	ReadOnly bool     `json:"read_only,omitempty"`
	Given    bool     `json:"-"` // the message had launch options, so it came through omnitron mcp
}

// launchOf reads the launch options. Those that are not understood are refused rather than ignored: a misspelt
// read_only must not end in a connection that may write.
func launchOf(m wire.Message) (Launch, *fault.Error) {
	var l Launch
	var params, meta map[string]json.RawMessage // maps: names count as they are spelled
	if m.Params == nil || json.Unmarshal(m.Params, &params) != nil || json.Unmarshal(params["_meta"], &meta) != nil {
		return l, nil
	}
	raw, given := meta[LaunchKey]
	if !given {
		return l, nil
	}
	l.Given = true
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, fault.Wrap(err, fault.Invalid, "the launch options cannot be read: %s", wire.Quote(err.Error(), 200)).WithReason("launch_options")
	}
	switch role := op.ParseRole(l.Role); {
	case l.Role != "" && (role < op.Viewer || role > op.Admin):
		return l, fault.New(fault.Invalid, "no role is called %s", wire.Quote(l.Role, 64)).
			WithReason("launch_options").WithCandidates("viewer", "operator", "admin")
	case l.Profile != "" && l.Profile != "core" && l.Profile != "full" && l.Profile != "readonly":
		return l, fault.New(fault.Invalid, "no profile is called %s", wire.Quote(l.Profile, 64)).
			WithReason("launch_options").WithCandidates("core", "full", "readonly")
	case len(l.Toolsets) > 64:
		return l, fault.New(fault.Invalid, "%d toolsets are named, 64 are the most", len(l.Toolsets)).WithReason("launch_options")
	}
	return l, nil
}

// caller gives the agent that speaks through a connection of peer. A role that was asked for is a ceiling too: above it
// calls are denied, not held.
func (l Launch) caller(peer op.Caller) op.Caller {
	peer.Channel, peer.Role = op.Agent, op.Operator
	if role := op.ParseRole(l.Role); role != 0 {
		peer.Role, peer.Ceiling = role, role
	}
	peer.ReadOnly = l.ReadOnly || l.Profile == "readonly"
	peer.Toolsets = l.Toolsets
	if l.Given {
		peer.Plane = "stdio"
	}
	return peer
}
