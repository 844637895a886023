// Package policy says what may happen without a person: allow, confirm, hold, deny. It limits power, not text. The rules
// are a list that is read from the top, those of config.yaml before those of the product; the pipeline asks it for every
// call, and the approvals service what would be said.
package policy

import (
	"fmt"
	"path"
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
	id      string // of the method, made once
}

// Decision is the verdict, the rule that gave it and the sentence that explains it to the caller.
type Decision struct {
	Verdict Verdict
	Rule    string   // its name, or that of a default
	Why     string   // one line
	Budgets []Budget // what letting the call through uses up
}

// Budget is a rule that lets so many calls an hour through, whoever makes them.
type Budget struct {
	Rule    string
	PerHour int
}

// Rule gives the verdict for the calls that it matches. The fields are globs of which one has to match; what is empty
// matches all. A call on several apps is judged on each of them, and the strictest verdict holds.
type Rule struct {
	Name     string
	Channels []string
	Roles    []string // that the method needs
	Users    []string
	Effects  []string
	Methods  []string // service.verb, service.* or *.verb
	Projects []string // never of a call that names no apps
	Stacks   []string
	Verdict  Verdict
	PerHour  int    // 0: no budget; beyond it a call is held
	Why      string // of a default; a rule of config.yaml has none
}

// Rules are read from the top; the first that matches decides, and nothing matching is denied.
type Rules []Rule

var changing = []string{op.Adds.String(), op.Sets.String(), op.Interrupts.String(), op.Destroys.String()}

// fixed are what no rule can loosen: nobody but a person lifts what was imposed on an agent, or hands out rights.
var fixed = Rules{
	{Name: "agents-lift-nothing", Channels: []string{string(op.Agent)}, Methods: []string{"agents.resume", "approvals.approve", "approvals.deny"}, Verdict: Deny,
		Why: "only a person may lift what holds agents back"},
	{Name: "agents-no-accounts", Channels: []string{string(op.Agent)}, Methods: []string{"auth.*", "users.*", "tokens.*"}, Verdict: Deny,
		Why: "agents have no business with accounts and credentials"},
}

// Default is the policy without configuration: a person may do what his rights cover, and a program what its token was made
// for; an agent may look, add and set,
// confirms what interrupts, and waits for a person where something is lost for good, a secret is touched, a command is
// run, or configuration and rights change.
func Default() Rules {
	agent := []string{string(op.Agent)}
	return Rules{
		{Name: "persons", Channels: []string{string(op.Person), string(op.Peer)}, Verdict: Allow, Why: "within the rights of the caller"},
		{Name: "programs", Channels: []string{string(op.App)}, Verdict: Allow, Why: "within the rights that its token was given"},

		{Name: "agents-secrets", Channels: agent, Methods: []string{"secrets.*"}, Verdict: Hold, Why: "secrets are shown to and changed for agents only with a person's consent"},
		{Name: "agents-destroy", Channels: agent, Effects: []string{op.Destroys.String()}, Verdict: Hold, Why: "what is destroyed cannot be brought back"},
		{Name: "agents-exec", Channels: agent, Methods: []string{"*.exec"}, Effects: changing, Verdict: Hold, Why: "a command can do anything"},
		{Name: "agents-what-runs", Channels: agent, Methods: []string{"apps.add", "apps.apply", "daemon.reload", "daemon.restart", "daemon.shutdown"}, Verdict: Hold,
			Why: "it changes what runs here, or whether anything does"},
		{Name: "agents-configure", Channels: agent, Roles: []string{op.Admin.String()}, Effects: changing, Verdict: Hold, Why: "it changes configuration or rights"},
		{Name: "agents-restart", Channels: agent, Methods: []string{"apps.restart", "apps.reload"}, Verdict: Allow, Why: "the app is back by itself"},
		{Name: "agents-interrupt", Channels: agent, Effects: []string{op.Interrupts.String()}, Verdict: Confirm, Why: "it takes service away"},
		{Name: "agents-harmless", Channels: agent, Effects: []string{op.Reads.String(), op.Adds.String(), op.Sets.String()}, Verdict: Allow, Why: "it takes nothing away"},
	}
}

// The names of what decides before any rule.
const (
	ByPublic   = "public"    // everybody may
	BySignal   = "signal"    // the kernel let the owner send it, so the policy must not lock him out
	ByRights   = "rights"    // above the rights of the caller
	ByReadOnly = "read-only" //
	ByRole     = "role"      // within his rights and above the role that he acts with
	ByNobody   = "no-rule"   //
)

// Decide says what may happen to a call. Before the rules comes what no rule can grant: above the caller's rights, for who
// only reads everything that changes something, and what is fixed for agents is denied; between the role it acts with and
// its rights a call is held, unless the rules deny it.
func (rs Rules) Decide(r Request) Decision {
	r.id = r.Spec.ID()
	id, who := r.id, r.Caller
	switch {
	case r.Spec.Role == op.Public && (who.Channel == "" || !r.Spec.Effect.Changes()):
		return Decision{Verdict: Allow, Rule: ByPublic, Why: id + ": everybody may"} // signing in comes before there is somebody to have a policy for
	case who.Plane == "signal":
		return Decision{Verdict: Allow, Rule: BySignal, Why: id + ": the owner of the daemon sent a signal"}
	case !who.Ceiling.Covers(r.Spec.Role):
		return Decision{Verdict: Deny, Rule: ByRights, Why: fmt.Sprintf("%s needs the role %s, which is above the rights of the caller", id, name(r.Spec.Role))}
	case who.ReadOnly && r.Spec.Effect.Changes():
		return Decision{Verdict: Deny, Rule: ByReadOnly, Why: fmt.Sprintf("%s changes something, and this connection only reads", id)}
	}
	if d, ok := fixed.first(&r, nil); ok {
		return d
	}
	switch len(r.Targets) {
	case 0:
		return rs.on(&r, nil).Bound(r)
	case 1:
		return rs.on(&r, &r.Targets[0]).Bound(r)
	}
	all := make([]Decision, len(r.Targets))
	for i := range r.Targets {
		all[i] = rs.on(&r, &r.Targets[i])
	}
	return strictest(all).Bound(r)
}

// on judges a call on one of its targets, or on none.
func (rs Rules) on(r *Request, t *op.Target) Decision {
	if d, ok := rs.first(r, t); ok {
		return d
	}
	return Decision{Verdict: Deny, Rule: ByNobody, Why: fmt.Sprintf("no rule allows %s to the channel %q", r.id, r.Caller.Channel)}
}

func (rs Rules) first(r *Request, t *op.Target) (Decision, bool) {
	for i := range rs {
		rule := &rs[i]
		if !rule.matches(r, t) {
			continue
		}
		why := r.id + ": " + rule.Why + " (default rule " + rule.Name + ")"
		if rule.Why == "" {
			why = fmt.Sprintf("%s: the rule %q of config.yaml says %s", r.id, rule.Name, rule.Verdict)
		}
		d := Decision{Verdict: rule.Verdict, Rule: rule.Name, Why: why}
		if rule.PerHour > 0 {
			d.Budgets = []Budget{{rule.Name, rule.PerHour}}
		}
		return d, true
	}
	return Decision{}, false
}

// strictness orders the verdicts; what is none of them is as good as a no.
func (v Verdict) strictness() int {
	if i := slices.Index([]Verdict{Allow, Confirm, Hold}, v); i >= 0 {
		return i
	}
	return 3
}

// strictest is the decision on the whole of a call: that on one target never loosens that on another, and each budget that
// it draws on is used.
func strictest(all []Decision) Decision {
	worst := all[0]
	var budgets []Budget
	for _, d := range all {
		if d.Verdict.strictness() > worst.Verdict.strictness() {
			worst = d
		}
		for _, b := range d.Budgets {
			if !slices.Contains(budgets, b) {
				budgets = append(budgets, b)
			}
		}
	}
	worst.Budgets = budgets
	return worst
}

// Bound is the decision within what no rule can grant: what lies above the role that the caller acts with is held, and so
// is what should be confirmed where an answer cannot carry a token. Only what goes through uses budgets up.
func (d Decision) Bound(r Request) Decision {
	above := !r.Caller.Role.Covers(r.Spec.Role)
	switch {
	case d.Verdict.strictness() >= Hold.strictness():
	case above:
		d = Decision{Verdict: Hold, Rule: ByRole, Why: fmt.Sprintf("%s needs the role %s, and the caller acts as %s", r.Spec.ID(), name(r.Spec.Role), name(r.Caller.Role))}
	case d.Verdict == Confirm && (r.Spec.Stream || !r.Spec.Effect.Changes()):
		d.Verdict = Hold
	}
	if d.Verdict.strictness() >= Hold.strictness() {
		d.Budgets = nil
	}
	return d
}

// name is a role in a sentence; a caller that nobody vouched for has none.
func name(r op.Role) string {
	if r == 0 {
		return "nobody"
	}
	return r.String()
}

func (r *Rule) matches(req *Request, t *op.Target) bool {
	if len(r.Projects)+len(r.Stacks) > 0 && (t == nil || !fits(r.Projects, t.Project) || !fits(r.Stacks, t.Stack)) {
		return false
	}
	return fits(r.Channels, string(req.Caller.Channel)) && fits(r.Users, req.Caller.User) && fits(r.Methods, req.id) &&
		(len(r.Roles) == 0 || fits(r.Roles, req.Spec.Role.String())) && (len(r.Effects) == 0 || fits(r.Effects, req.Spec.Effect.String()))
}

// fits reports whether one of the globs matches; none at all match everything.
func fits(globs []string, text string) bool {
	for _, g := range globs {
		if g == text {
			return true
		}
		if g == "" || text != "" && g[0] != text[0] && !strings.ContainsRune(`*?[\`, rune(g[0])) {
			continue // most globs, for next to nothing
		}
		if ok, err := path.Match(g, text); ok && err == nil { // the loader of the file refuses a glob that is none
			return true
		}
	}
	return len(globs) == 0
}
