package setting

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/fault"
)

var known = []string{"apps.list", "apps.stop", "apps.restart", "logs.purge", "secrets.get"}

func TestPolicy(t *testing.T) {
	c, err := Load(`
policy:
  approvers: console
  rules:
    - name: dev-stops
      when: {channel: agent, method: [apps.stop, apps.re*], stack: dev}
      then: allow
      perHour: 10
    - {name: look, when: {effect: reads, role: [viewer, operator], user: "ci-*", project: shop}, then: hold}
    - {name: rest, then: deny}
  webhook: {url: "https://chat.example.com/T0K3N", secretFile: keys/hook}
`, "/h/config.yaml", known)
	if err != nil {
		t.Fatal(err)
	}
	want := Policy{Approvers: "console", Webhook: Webhook{"https://chat.example.com/T0K3N", "/h/keys/hook"}, Rules: []Rule{
		{"dev-stops", When{Channel: []string{"agent"}, Method: []string{"apps.stop", "apps.re*"}, Stack: []string{"dev"}}, "allow", 10},
		{"look", When{Effect: []string{"reads"}, Role: []string{"viewer", "operator"}, User: []string{"ci-*"}, Project: []string{"shop"}}, "hold", 0},
		{"rest", When{}, "deny", 0},
	}}
	if diff := cmp.Diff(want, c.Policy); diff != "" {
		t.Error(diff)
	}
	for i, line := range []string{"channel agent, method apps.stop|apps.re*, stack dev, allow, 10 an hour", "role viewer|operator, user ci-*, effect reads, project shop, hold", "deny"} {
		if got := c.Policy.Rules[i].String(); got != line {
			t.Errorf("shown as %q, want %q", got, line)
		}
	}
	if got := c.Policy.Webhook.URL.String(); strings.Contains(got, "T0K3N") || !strings.Contains(got, "chat.example.com") {
		t.Errorf("the address is shown as %q", got)
	}
}

func TestPolicyThatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"{approver: any}":                                                       `did you mean "approvers"?`,
		"{approvers: anybody}":                                                  "one of: any, console",
		"{rules: [{then: allow}]}":                                              `a rule needs "name"`,
		"{rules: [{name: a}]}":                                                  `a rule needs "then"`,
		"{rules: [{name: a, then: alow}]}":                                      `did you mean "allow"?`,
		"{rules: [{name: a, than: allow}]}":                                     `did you mean "then"?`,
		"{rules: [{name: A, then: allow}]}":                                     "the name of a rule",
		"{rules: [{name: a, then: allow}, {name: a, then: deny}]}":              `there is a rule "a" already`,
		"{rules: [{name: a, then: allow, when: {methods: apps.stop}}]}":         `did you mean "method"?`,
		"{rules: [{name: a, then: allow, when: {method: apps.stpo}}]}":          `no method is called "apps.stpo"`,
		"{rules: [{name: a, then: allow, when: {method: [apps.*, app.stop]}}]}": `did you mean "apps.stop"?`,
		"{rules: [{name: a, then: allow, when: {method: '[apps'}}]}":            "is no glob",
		"{rules: [{name: a, then: allow, when: {channel: agnet}}]}":             `did you mean "agent"?`,
		"{rules: [{name: a, then: allow, when: {effect: read}}]}":               `did you mean "reads"?`,
		"{rules: [{name: a, then: allow, when: {role: root}}]}":                 `no role is called "root"`,
		"{rules: [{name: a, then: allow, when: {channel: []}}]}":                "not an empty list",
		"{rules: [{name: a, then: allow, perHour: 0}]}":                         "from 1 to 1000000",
		"{rules: [{name: a, then: hold, perHour: 3}]}":                          "lets nothing through",
		"{webhook: {url: 'http://example.com/x', secretFile: k}}":               "https address",
		"{webhook: {url: 'https://example.com/x'}}":                             `needs "secretFile"`,
	} {
		c, err := Load("policy: "+text+"\n", "/h/config.yaml", known)
		if c != nil || err == nil || !strings.Contains(err.Error(), want) || fault.From(err).Reason != "config_invalid" {
			t.Errorf("%s: want %q, got %v", text, want, err)
			continue
		}
		if !strings.Contains(err.Error(), "config.yaml:1:") || !strings.Contains(err.Error(), "^") {
			t.Errorf("%s: no line and caret: %v", text, err)
		}
	}
	if _, err := Load("policy: {rules: [{name: a, then: allow, when: {method: any.thing}}]}", "/h/config.yaml", nil); err != nil {
		t.Errorf("methods that are not known are no errors: %v", err)
	}
}
