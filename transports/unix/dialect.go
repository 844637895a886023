package unix

import (
	"strings"

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

// agent gives the caller that speaks through an MCP connection of peer. What omnitron mcp was started with is the plane's
// to read, and can only lower this.
func agent(peer op.Caller) op.Caller {
	peer.Channel, peer.Role = op.Agent, op.Operator
	return peer
}
