package conformance

import (
	"slices"
	"testing"
)

// meaningful are the scenarios that a server without the suite's own tools can pass.
var meaningful = []string{"server-initialize", "ping", "server-session-lifecycle", "server-stateless", "tools-list", "resources-list", "prompts-list",
	"completion-complete", "dns-rebinding-protection", "server-sse-multiple-streams", "sep-2164-resource-not-found", "caching", "http-header-validation"}

// needsFixtures are the checks in them that ask for a tool or prompt of the suite's own.
var needsFixtures = []string{"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400", "sep-2575-http-server-no-independent-requests-on-stream",
	"sep-2575-server-no-log-without-loglevel", "completion-complete"}

// TestProduction runs the suite on the daemon as it is, in each profile, through a proxy that adds the token.
func TestProduction(t *testing.T) {
	w := newWorld(t)
	base := proxied(t, w.url, w.bearer)
	for _, path := range []string{"/mcp", "/mcp/full", "/mcp/readonly", "/mcp/x/apps,logs"} {
		for _, name := range meaningful {
			if path != "/mcp" && name != "tools-list" && name != "server-initialize" && name != "caching" {
				continue
			}
			t.Run(path+"/"+name, func(t *testing.T) {
				checks := scenario(t, base+path, name)
				passed := 0
				checks = slices.DeleteFunc(checks, func(c check) bool { return slices.Contains(needsFixtures, c.ID) && c.Status == "FAILURE" })
				for _, c := range checks {
					if c.Status == "SUCCESS" {
						passed++
					}
				}
				if passed == 0 {
					t.Error("nothing was tested")
				}
				for _, bad := range failures(checks) {
					t.Error(bad)
				}
			})
		}
	}
}
