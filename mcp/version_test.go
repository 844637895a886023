package mcp

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	mcplib "github.com/mark3labs/mcp-go/mcp"
)

// TestUnknownVersion: a version that nobody speaks, or none from a client of the era without a handshake, is told which
// versions there are, and nothing is done for it.
func TestUnknownVersion(t *testing.T) {
	const caps = `"io.modelcontextprotocol/clientCapabilities":{}`
	meta := func(version string) string {
		return fmt.Sprintf(`"_meta":{"io.modelcontextprotocol/protocolVersion":%s,%s}`, version, caps)
	}
	for name, c := range map[string]struct {
		before  string // a line that is answered first
		method  string
		params  string
		refused bool
	}{
		"before everything":              {"", "tools/list", meta(`"1999-01-01"`), true},
		"later than all":                 {"", "tools/list", meta(`"2999-01-01"`), true},
		"no text":                        {"", "tools/list", meta(`7`), true},
		"empty":                          {"", "tools/list", meta(`""`), true},
		"a call":                         {"", "tools/call", `"name":"apps_list",` + meta(`"1999-01-01"`), true},
		"initialize":                     {"", "initialize", `"protocolVersion":"2025-11-25","capabilities":{},` + meta(`"1999-01-01"`), true},
		"ping":                           {"", "ping", meta(`"1999-01-01"`), true},
		"after discovery":                {`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{` + meta(`"2026-07-28"`) + `}}`, "tools/list", meta(`"1999-01-01"`), true},
		"after a handshake":              {hello(""), "tools/list", meta(`"1999-01-01"`), true},
		"missing beside what goes by it": {"", "tools/list", `"_meta":{` + caps + `}`, true},
		"missing after discovery":        {`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{` + meta(`"2026-07-28"`) + `}}`, "tools/list", "", true},
		"missing after a handshake":      {hello(""), "tools/list", "", false},
		"an older one that is known":     {hello(""), "tools/list", meta(`"2025-11-25"`), false},
		"the era's own":                  {"", "tools/list", meta(`"2026-07-28"`), false},
	} {
		p := newBed(t).peer(t)
		if c.before != "" {
			p.send(c.before)
			p.reply()
		}
		p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":9,"method":%q,"params":{%s}}`, c.method, c.params))
		r := p.reply()
		if !c.refused {
			if r.Error != nil {
				t.Errorf("%s: refused: %.300s", name, r.line)
			}
			continue
		}
		var full struct {
			Error struct {
				Data mcplib.UnsupportedProtocolVersionData
			}
		}
		if err := json.Unmarshal([]byte(r.line), &full); err != nil {
			t.Fatal(err)
		}
		if r.Error == nil || r.Error.Code != mcplib.UNSUPPORTED_PROTOCOL_VERSION || !slices.Equal(full.Error.Data.Supported, mcplib.ValidProtocolVersions) {
			t.Errorf("%s: no list of the versions: %.300s", name, r.line)
		}
	}
}
