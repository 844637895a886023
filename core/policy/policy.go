// Package policy says what may happen without a person: allow, confirm, hold, deny. It limits power, not text. The rules
// are a list that is read from the top; the pipeline asks it for every call, and the approvals service may ask it what
// would be said.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/op"
)

// Verdict is what the policy says to a call.
type Verdict string

// The verdicts.
const (
	Allow   Verdict = "allow"
	Confirm Verdict = "confirm" // the caller says it again, with the token of the plan that it was shown
	Hold    Verdict = "hold"    // a person decides
	Deny    Verdict = "deny"
)

// Request is a call whose targets are known and whose effect is still to come.
type Request struct {
	Caller  op.Caller
	Spec    op.Spec
	Targets []op.Target
}

// Decision is the verdict and the sentence that explains it to the caller.
type Decision struct {
	Verdict Verdict
	Why     string
}

// Rule gives the verdict for the calls that it matches; what is empty matches all.
type Rule struct {
	Channels []op.Channel
	Methods  []string // service.verb, service.* or *.verb
	Roles    []op.Role
	Effects  []op.Effect
	Verdict  Verdict
	Why      string
}

// Rules are read from the top; the first that matches decides, and nothing matching is denied.
type Rules []Rule

var changing = []op.Effect{op.Adds, op.Sets, op.Interrupts, op.Destroys}

// Default is the policy without configuration: a person may do what his rights cover; an agent may look, add and set,
// confirms what interrupts, and waits for a person where something is lost for good, a secret is touched, a command is
// run, or configuration and rights change. Nobody but a person lifts what was imposed on an agent.
func Default() Rules {
	agent := []op.Channel{op.Agent}
	return Rules{
		{Channels: []op.Channel{op.Person, op.Peer}, Verdict: Allow, Why: "within the rights of the caller"},

		{Channels: agent, Methods: []string{"agents.resume", "approvals.approve", "approvals.deny"}, Verdict: Deny,
			Why: "only a person may lift what holds agents back"},
		{Channels: agent, Methods: []string{"auth.*", "users.*", "tokens.*"}, Verdict: Deny,
			Why: "agents have no business with accounts and credentials"},
		{Channels: agent, Methods: []string{"secrets.*"}, Verdict: Hold, Why: "secrets are shown to and changed for agents only with a person's consent"},
		{Channels: agent, Effects: []op.Effect{op.Destroys}, Verdict: Hold, Why: "what is destroyed cannot be brought back"},
		{Channels: agent, Methods: []string{"*.exec"}, Effects: changing, Verdict: Hold, Why: "a command can do anything"},
		{Channels: agent, Methods: []string{"apps.add", "apps.apply", "daemon.reload", "daemon.restart", "daemon.shutdown"}, Verdict: Hold,
			Why: "it changes what runs here, or whether anything does"},
		{Channels: agent, Roles: []op.Role{op.Admin}, Effects: changing, Verdict: Hold, Why: "it changes configuration or rights"},
		{Channels: agent, Methods: []string{"apps.restart", "apps.reload"}, Verdict: Allow, Why: "the app is back by itself"},
		{Channels: agent, Effects: []op.Effect{op.Interrupts}, Verdict: Confirm, Why: "it takes service away"},
		{Channels: agent, Effects: []op.Effect{op.Reads, op.Adds, op.Sets}, Verdict: Allow, Why: "it takes nothing away"},
	}
}

// Decide says what may happen to a call. Before the rules comes what no rule can grant: above the caller's rights and,
// for who only reads, everything that changes something is denied; between the role it acts with and its rights it is
// held, unless the rules deny it.
func (rs Rules) Decide(r Request) Decision {
	id := r.Spec.ID()
	switch {
	case !r.Caller.Ceiling.Covers(r.Spec.Role):
		return Decision{Deny, fmt.Sprintf("%s needs the role %s, which is above the rights of the caller", id, name(r.Spec.Role))}
	case r.Caller.ReadOnly && r.Spec.Effect.Changes():
		return Decision{Deny, fmt.Sprintf("%s changes something, and this connection only reads", id)}
	}
	for _, rule := range rs {
		if !rule.matches(r) {
			continue
		}
		if rule.Verdict != Deny && !r.Caller.Role.Covers(r.Spec.Role) {
			return Decision{Hold, fmt.Sprintf("%s needs the role %s, and the caller acts as %s", id, name(r.Spec.Role), name(r.Caller.Role))}
		}
		return Decision{rule.Verdict, fmt.Sprintf("%s: %s", id, rule.Why)}
	}
	return Decision{Deny, fmt.Sprintf("no rule allows %s to the channel %q", id, r.Caller.Channel)}
}

// name is a role in a sentence; a caller that nobody vouched for has none.
func name(r op.Role) string {
	if r == 0 {
		return "nobody"
	}
	return r.String()
}

func (r Rule) matches(req Request) bool {
	return (len(r.Channels) == 0 || slices.Contains(r.Channels, req.Caller.Channel)) &&
		(len(r.Roles) == 0 || slices.Contains(r.Roles, req.Spec.Role)) &&
		(len(r.Effects) == 0 || slices.Contains(r.Effects, req.Spec.Effect)) &&
		(len(r.Methods) == 0 || slices.ContainsFunc(r.Methods, func(p string) bool { return matchMethod(p, req.Spec) }))
}

func matchMethod(pattern string, s op.Spec) bool {
	service, verb, _ := strings.Cut(pattern, ".")
	return (service == "*" || service == s.Service) && (verb == "*" || verb == s.Verb)
}
