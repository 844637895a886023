package bridge

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Clients are the names that ConfigLine knows.
var Clients = []string{"claude", "cursor"}

// ConfigLine gives what makes a client use omnitron mcp: a command for claude, the content of mcp.json for cursor. exe
// is the path of the program, args what follows mcp. Faults: invalid for an unknown client, with candidates.
func ConfigLine(client, exe string, args []string) (string, error) {
	args = append([]string{"mcp"}, args...)
	switch client {
	case "claude":
		words := []string{"claude", "mcp", "add", "omnitron", "--"}
		for _, w := range append([]string{exe}, args...) {
			words = append(words, quote(w))
		}
		return strings.Join(words, " "), nil
	case "cursor":
		b, err := json.MarshalIndent(map[string]any{"mcpServers": map[string]any{"omnitron": map[string]any{"command": exe, "args": args}}}, "", "  ")
		if err != nil {
			return "", fmt.Errorf("cannot write the configuration: %w", err)
		}
		return string(b), nil
	}
	f := fault.New(fault.Invalid, "unknown client %q", client).WithReason("unknown_client").WithCandidates(Clients...)
	if near := fault.Near(client, Clients); near != "" {
		f = f.WithHint("did you mean %s?", near)
	}
	return "", f
}

// quote makes one word of a shell out of s.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
