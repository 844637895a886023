package mcp

import (
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// asTool spells a call that a hint names as the call of its tool.
func asTool(call fault.Call) (string, bool) {
	return strings.ReplaceAll(call.Method, ".", "_") + "(" + call.JSON() + ")", true
}

// spell spells a call that a hint names so that this connection can make it: as a tool of its list, else through the meta
// tools. What the connection cannot call at all keeps its name, and the hint says so.
func (c *conn) spell(call fault.Call) (string, bool) {
	m := c.srv.methods[call.Method]
	if m == nil {
		return "", false
	}
	reached := c.surface.allowed[call.Method] != nil
	switch {
	case c.surface.tools[m.Tool()] != nil:
		return asTool(fault.Call{Method: m.ID(), Input: call.Input})
	case reached && c.surface.meta:
		through := metaWrite
		if m.Effect == op.Reads {
			through = metaRead
		}
		whole := fault.Do("", "method", m.ID())
		if len(call.Input) > 0 {
			whole.Input["input"] = call.Input
		}
		return through + "(" + whole.JSON() + ")", true
	}
	return m.ID() + " (which this connection may not call)", true
}
