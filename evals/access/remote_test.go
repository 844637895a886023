package access

import (
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/op"
)

// What can be shown, and who shows it.
var (
	anybody = func(s seat) bool { // everyone who has a credential of his own
		return slices.Contains([]string{"person admin", "person operator", "person viewer", "agent", "agent operator", "agent viewer", "app admin", "app operator", "app viewer"}, s.name)
	}
	programs  = func(s seat) bool { return anybody(s) && s.channel != op.Person }
	agents    = func(s seat) bool { return anybody(s) && s.channel == op.Agent }
	people    = func(s seat) bool { return anybody(s) && s.channel == op.Person }
	nobody    = func(s seat) bool { return s.name == "nobody" }
	only      = func(name string) func(seat) bool { return func(s seat) bool { return s.name == name } }
	elsewhere = op.Scope{Projects: []string{"another"}}
	logsOnly  = op.Scope{Methods: []string{"logs.*", "apps.restart"}}
)

// as gives what becomes of the calls of another seat, for whom a credential is lowered to.
func as(name string) func(row, seat) string {
	i := slices.IndexFunc(seats, func(s seat) bool { return s.name == name })
	return func(r row, _ seat) string { return expected(r, seats[i]) }
}

// lowered is what becomes of the calls of whoever comes as an agent, whatever he is.
func lowered(r row, s seat) string {
	return as(map[op.Role]string{op.Admin: "agent", op.Operator: "agent operator", op.Viewer: "agent viewer"}[s.rights])(r, s)
}

// stranger is what becomes of the calls of a connection that nobody is known on.
func stranger(r row, _ seat) string {
	if r.role == "public" {
		return done
	}
	return unknown
}

// refused is what becomes of calls with a credential that is none: everything needs a good one then.
func refused(row, seat) string { return unknown }

// outside is what becomes of the calls of a token for another project: what names apps does not find them, and of the rest there
// is only what shows no more than the token's own. Read by hand.
func outside(s func(row, seat) string) func(row, seat) string {
	return func(r row, who seat) string {
		got := s(r, who)
		service, _, _ := strings.Cut(r.id, ".")
		switch {
		case got == deny, r.role == "public":
			return got
		case slices.Contains([]string{"auth.signout", "auth.whoami", "auth.sessions", "auth.password", "approvals.list", "approvals.get", "approvals.wait", "events.follow", "events.list", "apps.list", "apps.graph",
			"projects.list", "projects.get", "stacks.list", "stacks.get", "stacks.status", "stacks.start", "stacks.stop"}, r.id):
			return got
		case service == "apps" && !slices.Contains([]string{"apps.add", "apps.apply", "apps.plan"}, r.id), service == "logs", service == "health", r.id == "system.processes":
			return gone
		}
		return deny
	}
}

// beyond is what becomes of the calls of a token for some methods.
func beyond(s func(row, seat) string) func(row, seat) string {
	return func(r row, who seat) string {
		if strings.HasPrefix(r.id, "logs.") || r.id == "apps.restart" || r.role == "public" {
			return s(r, who)
		}
		return deny
	}
}

// remote are the network planes with everything that can be shown there.
var remote = []plane{
	{"tcp", "none", stranger, nobody, overTCP(none, "", true)},
	{"tcp", "its own", nil, anybody, overTCP(good, "", false)},
	{"tcp", "lowered to agent", lowered, anybody, overTCP(good, `,"channel":"agent"`, false)},
	{"tcp", "launched as admin", lowered, only("agent"), overTCP(good, `,"launch":{"role":"admin"}`, false)},
	{"tcp", "launched as viewer", as("agent viewer"), only("agent"), overTCP(good, `,"launch":{"role":"viewer"}`, false)},
	{"tcp", "launched to read", as("agent read-only"), only("agent"), overTCP(good, `,"launch":{"read_only":true}`, false)},
	{"tcp", "expired", stranger, anybody, overTCP(expired, "", true)},
	{"tcp", "of another home", stranger, anybody, overTCP(foreign, "", true)},
	{"tcp", "revoked", stranger, anybody, overTCP(revoked, "", true)},
	{"tcp", "of another project", outside(expected), programs, overTCP(within(elsewhere), "", false)},
	{"tcp", "for some methods", beyond(expected), programs, overTCP(within(logsOnly), "", false)},

	{"http", "none", stranger, nobody, overREST(none)},
	{"http", "its own", nil, anybody, overREST(good)},
	{"http", "a page's", nil, people, overCookie},
	{"http", "expired", refused, anybody, overREST(expired)},
	{"http", "of another home", refused, anybody, overREST(foreign)},
	{"http", "revoked", refused, anybody, overREST(revoked)},
	{"http", "of another project", outside(expected), programs, overREST(within(elsewhere))},
	{"http", "for some methods", beyond(expected), programs, overREST(within(logsOnly))},

	{"mcp over http", "none", refused, nobody, barred(none)},
	{"mcp over http", "its own", lowered, anybody, overMCP(good, "/mcp/full", "full")},
	{"mcp over http, core", "its own", lowered, anybody, overMCP(good, "/mcp", "core")},
	{"mcp over http, readonly", "its own", as("agent read-only"), only("agent"), overMCP(good, "/mcp/readonly", "readonly")},
	{"mcp over http", "expired", refused, anybody, barred(expired)},
	{"mcp over http", "of another home", refused, anybody, barred(foreign)},
	{"mcp over http", "revoked", refused, anybody, barred(revoked)},
	{"mcp over http", "of another project", outside(lowered), programs, overMCP(within(elsewhere), "/mcp/full", "full")},
	{"mcp over http", "for some methods", beyond(lowered), agents, overMCP(within(logsOnly), "/mcp/full", "full")},
}
