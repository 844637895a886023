package policy

import (
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
)

func spec(id string, role op.Role, effect op.Effect) op.Spec {
	service, verb, _ := strings.Cut(id, ".")
	return op.Spec{Service: service, Verb: verb, Role: role, Effect: effect}
}

var (
	person   = op.Caller{User: "ann", Channel: op.Person, Ceiling: op.Admin, Role: op.Admin}
	agent    = op.Caller{User: "ann", Channel: op.Agent, Ceiling: op.Admin, Role: op.Operator}
	admin    = op.Caller{User: "ann", Channel: op.Agent, Ceiling: op.Admin, Role: op.Admin}
	viewer   = op.Caller{User: "ann", Channel: op.Agent, Ceiling: op.Viewer, Role: op.Viewer}
	reader   = op.Caller{User: "ann", Channel: op.Agent, Ceiling: op.Admin, Role: op.Operator, ReadOnly: true}
	readerP  = op.Caller{User: "ann", Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, ReadOnly: true}
	node     = op.Caller{User: "n2", Channel: op.Peer, Ceiling: op.Node, Role: op.Node}
	app      = op.Caller{User: "shop", Channel: op.App, Ceiling: op.Viewer, Role: op.Viewer}
	stranger = op.Caller{}
)

func TestDefaultPolicy(t *testing.T) {
	for _, c := range []struct {
		who    string
		caller op.Caller
		method op.Spec
		want   Verdict
	}{
		{"person", person, spec("apps.list", op.Viewer, op.Reads), Allow},
		{"person", person, spec("apps.stop", op.Operator, op.Interrupts), Allow},
		{"person", person, spec("logs.purge", op.Admin, op.Destroys), Allow},
		{"person", person, spec("approvals.approve", op.Admin, op.Sets), Allow},
		{"person", person, spec("fleet.heartbeat", op.Node, op.Sets), Deny},

		{"agent", agent, spec("apps.list", op.Viewer, op.Reads), Allow},
		{"agent", agent, spec("apps.start", op.Operator, op.Sets), Allow},
		{"agent", agent, spec("backups.create", op.Operator, op.Adds), Allow},
		{"agent", agent, spec("apps.restart", op.Operator, op.Interrupts), Allow},
		{"agent", agent, spec("apps.reload", op.Operator, op.Interrupts), Allow},
		{"agent", agent, spec("apps.stop", op.Operator, op.Interrupts), Confirm},
		{"agent", agent, spec("apps.signal", op.Operator, op.Interrupts), Confirm},
		{"agent", agent, spec("pipelines.cancel", op.Operator, op.Interrupts), Confirm},
		{"agent", agent, spec("alerts.delete", op.Operator, op.Destroys), Hold},
		{"agent", agent, spec("apps.exec", op.Operator, op.Adds), Hold},
		{"agent", agent, spec("kube.exec", op.Admin, op.Adds), Hold},
		{"agent", agent, spec("apps.apply", op.Admin, op.Interrupts), Hold},
		{"agent", agent, spec("apps.add", op.Admin, op.Adds), Hold},
		{"agent", agent, spec("daemon.shutdown", op.Admin, op.Interrupts), Hold},
		{"agent", agent, spec("secrets.list", op.Admin, op.Reads), Hold},
		{"agent", agent, spec("audit.list", op.Admin, op.Reads), Hold}, // above the role it acts with
		{"agent", agent, spec("metrics.enable", op.Admin, op.Sets), Hold},
		{"agent", agent, spec("agents.pause", op.Admin, op.Interrupts), Hold},
		{"agent", agent, spec("agents.resume", op.Admin, op.Sets), Deny},
		{"agent", agent, spec("approvals.approve", op.Admin, op.Sets), Deny},
		{"agent", agent, spec("approvals.deny", op.Admin, op.Sets), Deny},
		{"agent", agent, spec("approvals.list", op.Viewer, op.Reads), Allow},
		{"agent", agent, spec("auth.signin", op.Public, op.Adds), Deny},
		{"agent", agent, spec("users.list", op.Admin, op.Reads), Deny},
		{"agent", agent, spec("tokens.create", op.Admin, op.Adds), Deny},
		{"agent", agent, spec("daemon.ping", op.Public, op.Reads), Allow},
		{"agent", agent, spec("fleet.heartbeat", op.Node, op.Sets), Deny},

		{"admin agent", admin, spec("audit.list", op.Admin, op.Reads), Allow},
		{"admin agent", admin, spec("secrets.get", op.Admin, op.Reads), Hold},
		{"admin agent", admin, spec("metrics.enable", op.Admin, op.Sets), Hold},
		{"admin agent", admin, spec("apps.apply", op.Admin, op.Interrupts), Hold},
		{"admin agent", admin, spec("daemon.restart", op.Admin, op.Interrupts), Hold},
		{"admin agent", admin, spec("users.create", op.Admin, op.Adds), Deny},

		{"viewer agent", viewer, spec("apps.list", op.Viewer, op.Reads), Allow},
		{"viewer agent", viewer, spec("apps.start", op.Operator, op.Sets), Deny},
		{"reading agent", reader, spec("apps.list", op.Viewer, op.Reads), Allow},
		{"reading agent", reader, spec("apps.start", op.Operator, op.Sets), Deny},
		{"reading agent", reader, spec("logs.purge", op.Admin, op.Destroys), Deny},
		{"reading person", readerP, spec("apps.start", op.Operator, op.Sets), Deny},

		{"node", node, spec("fleet.heartbeat", op.Node, op.Sets), Allow},
		{"node", node, spec("apps.list", op.Viewer, op.Reads), Deny},
		{"app", app, spec("apps.list", op.Viewer, op.Reads), Allow},
		{"stranger", stranger, spec("apps.list", op.Viewer, op.Reads), Deny},
		{"stranger", stranger, spec("daemon.ping", op.Public, op.Reads), Allow},
		{"stranger", stranger, spec("auth.signin", op.Public, op.Adds), Allow},
		{"app", app, spec("daemon.ping", op.Public, op.Reads), Allow},
		{"signal", op.Caller{User: "ann", Channel: op.Person, Plane: "signal", Ceiling: op.Admin, Role: op.Admin}, spec("daemon.reload", op.Admin, op.Interrupts), Allow},
	} {
		got := Default().Decide(Request{Caller: c.caller, Spec: c.method})
		if got.Verdict != c.want {
			t.Errorf("%s, %s: %s (%s), want %s", c.who, c.method.ID(), got.Verdict, got.Why, c.want)
		}
		if !strings.Contains(got.Why, c.method.ID()) {
			t.Errorf("%s, %s: the reason is %q", c.who, c.method.ID(), got.Why)
		}
	}
}

// Whatever is added to the product: an agent may not do more than a person, and nothing that takes away goes unasked.
func TestDefaultsOverEveryCombination(t *testing.T) {
	for _, id := range []string{"new.verb", "apps.stop", "apps.restart", "x.exec", "auth.signin"} {
		for role := op.Public; role <= op.Node; role++ {
			for effect := op.Reads; effect <= op.Destroys; effect++ {
				s := spec(id, role, effect)
				for _, c := range []op.Caller{agent, admin, viewer, reader} {
					got := Default().Decide(Request{Caller: c, Spec: s}).Verdict
					if got == Allow && (effect == op.Destroys || effect == op.Interrupts && id != "apps.restart") {
						t.Errorf("%s %s %s is allowed", id, role, effect)
					}
					if got != Deny && Default().Decide(Request{Caller: person, Spec: s}).Verdict == Deny {
						t.Errorf("%s %s %s: an agent gets %s where a person is denied", id, role, effect, got)
					}
					if got == Allow && !c.Role.Covers(role) {
						t.Errorf("%s %s %s is allowed to who acts as %s", id, role, effect, c.Role)
					}
				}
			}
		}
	}
}
