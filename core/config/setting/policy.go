package setting

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Policy is what may happen without a person, and who that is.
type Policy struct {
	Approvers string  `json:"approvers"` // any | console
	Rules     []Rule  `json:"rules"`     // read from the top, before the defaults
	Webhook   Webhook `json:"webhook"`
}

// Who may approve.
const (
	ApproversAny     = "any"     // every person
	ApproversConsole = "console" // a person who signed in with a password
)

// Rule is one rule of the policy.
type Rule struct {
	Name    string `json:"name"`
	When    When   `json:"when"`
	Then    string `json:"then"`              // allow | confirm | hold | deny
	PerHour int    `json:"perHour,omitempty"` // 0: no budget
}

// String is the rule in one line, as daemon.config and a plan have it.
func (r Rule) String() string {
	var b strings.Builder
	for _, w := range r.When.lists() {
		if len(*w.globs) > 0 {
			fmt.Fprintf(&b, "%s %s, ", w.key, strings.Join(*w.globs, "|"))
		}
	}
	b.WriteString(r.Then)
	if r.PerHour > 0 {
		fmt.Fprintf(&b, ", %d an hour", r.PerHour)
	}
	return b.String()
}

// When says which calls a rule is about: globs of which one has to match; what is empty matches all.
type When struct {
	Channel []string `json:"channel,omitempty"`
	Role    []string `json:"role,omitempty"` // that the method needs
	User    []string `json:"user,omitempty"`
	Effect  []string `json:"effect,omitempty"`
	Method  []string `json:"method,omitempty"`
	Project []string `json:"project,omitempty"`
	Stack   []string `json:"stack,omitempty"`
}

type whenList struct {
	key   string
	globs *[]string
}

func (w *When) lists() []whenList {
	return []whenList{{"channel", &w.Channel}, {"role", &w.Role}, {"user", &w.User}, {"effect", &w.Effect}, {"method", &w.Method}, {"project", &w.Project}, {"stack", &w.Stack}}
}

// Webhook is told of calls that wait for a person.
type Webhook struct {
	URL        Address `json:"url"`        // "": none
	SecretFile string  `json:"secretFile"` // absolute; what is in it signs the messages
}

// Address is a URL that may carry a secret of its own: it is shown without its path.
type Address string

// String hides what may be secret.
func (a Address) String() string {
	u, err := url.Parse(string(a))
	if a == "" || err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/…"
}

type (
	policyKeys struct {
		Approvers schema.Value[string]
		Rules     schema.Value[[]schema.Value[ruleKeys]]
		Webhook   schema.Value[webhookKeys]
	}
	ruleKeys struct {
		Name, Then schema.Value[string]
		When       schema.Value[whenKeys]
		PerHour    schema.Value[int]
	}
	whenKeys struct {
		Channel, Role, User, Effect, Method, Project, Stack schema.Value[[]schema.Value[string]]
	}
	webhookKeys struct{ URL, SecretFile schema.Value[string] }
)

var globKind = schema.Parsed("a glob such as apps.*", func(text string) (string, *schema.Mistake) {
	if text == "" {
		return "", &schema.Mistake{Message: "%s must be a glob, not empty", Hint: "* matches everything; so does leaving the key out"}
	}
	if _, err := path.Match(text, ""); err != nil {
		return "", &schema.Mistake{Message: "%s is no glob: " + strings.ReplaceAll(fmt.Sprintf("%q", text), "%", "%%"), Hint: "* any text, ? any character, [ab] one of these"}
	}
	return text, nil
})

var globsKind = schema.OneOf("a glob, or a list of them",
	schema.AsList(schema.List("a list of globs", globKind, 1), func(globs []schema.Value[string]) []schema.Value[string] { return globs }),
	schema.AsScalar(globKind, func(glob string) []schema.Value[string] { return []schema.Value[string]{{V: glob}} }))

func whenField(name, doc, example string, at func(*whenKeys) *schema.Value[[]schema.Value[string]]) schema.FieldOf[whenKeys] {
	return schema.Field(name, globsKind, at, doc, schema.Default("all"), schema.Example(example), schema.Live())
}

var ruleKind = schema.Object("a rule", nil,
	schema.Field("name", schema.Name("a rule"), func(k *ruleKeys) *schema.Value[string] { return &k.Name },
		"What it is called where it decides.", schema.Required(), schema.Example("deploys-at-will"), schema.Live()),
	schema.Field("when", schema.Object("when", nil,
		whenField("channel", "Who calls: person, agent, app or node.", "agent", func(k *whenKeys) *schema.Value[[]schema.Value[string]] { return &k.Channel }),
		whenField("role", "The role that the method needs: public, viewer, operator, admin or node.", "operator", func(k *whenKeys) *schema.Value[[]schema.Value[string]] { return &k.Role }),
		whenField("user", "The account of the caller.", "ci-*", func(k *whenKeys) *schema.Value[[]schema.Value[string]] { return &k.User }),
		whenField("effect", "What the method does: reads, adds, sets, interrupts or destroys.", "[adds, sets]", func(k *whenKeys) *schema.Value[[]schema.Value[string]] { return &k.Effect }),
		whenField("method", "The method, service.verb.", "[apps.stop, logs.*]", func(k *whenKeys) *schema.Value[[]schema.Value[string]] { return &k.Method }),
		whenField("project", "The project of the apps that the call names; a call that names none does not match.", "shop", func(k *whenKeys) *schema.Value[[]schema.Value[string]] { return &k.Project }),
		whenField("stack", "The stack of the apps that the call names; a call that names none does not match.", "dev", func(k *whenKeys) *schema.Value[[]schema.Value[string]] { return &k.Stack }),
	), func(k *ruleKeys) *schema.Value[whenKeys] { return &k.When },
		"Which calls it is about; all of its keys have to match.", schema.Default("every call"), schema.Example("{channel: agent, method: apps.*, stack: dev}"), schema.Live()),
	schema.Field("then", schema.Enum("allow, confirm, hold or deny", "allow", "confirm", "hold", "deny"), func(k *ruleKeys) *schema.Value[string] { return &k.Then },
		"What happens: allow; confirm: the caller says it again, with the plan in sight; hold: a person decides; deny. No rule gives a right that the caller has not, nor lets an agent approve, resume agents, or touch accounts and tokens.", schema.Required(), schema.Example("allow"), schema.Live()),
	schema.Field("perHour", schema.Int(1, 1_000_000), func(k *ruleKeys) *schema.Value[int] { return &k.PerHour },
		"So many calls an hour go through by this rule, whoever makes them; beyond that they are held.", schema.Default("no limit"), schema.Example("10"), schema.Live()),
)

var callPolicyKind = schema.Object("policy", nil,
	schema.Field("approvers", schema.Enum("any or console", ApproversAny, ApproversConsole), func(k *policyKeys) *schema.Value[string] { return &k.Approvers },
		"Who decides on held calls: any person, or only one who signed in with a password. Nobody decides on calls of his own.", schema.Default(ApproversAny), schema.Example(ApproversConsole), schema.Live()),
	schema.Field("rules", schema.List("a list of rules", ruleKind, 0), func(k *policyKeys) *schema.Value[[]schema.Value[ruleKeys]] { return &k.Rules },
		"Read from the top; the first that matches decides, then the defaults. Of a call on several apps the strictest answer holds.", schema.Example("[{name: dev-stops, when: {channel: agent, method: apps.stop, stack: dev}, then: allow, perHour: 10}]"), schema.Live()),
	schema.Field("webhook", schema.Object("webhook", nil,
		schema.Field("url", schema.Text("a URL"), func(k *webhookKeys) *schema.Value[string] { return &k.URL },
			"Where it is told, by POST: https, or http on this machine.", schema.Required(), schema.Example("https://chat.example.com/hooks/approvals"), schema.Live()),
		schema.Field("secretFile", schema.Text("a path"), func(k *webhookKeys) *schema.Value[string] { return &k.SecretFile },
			"What is in this file signs the messages (HMAC-SHA256, header X-Omnitron-Signature); relative to the file.", schema.Required(), schema.Example("webhook.key"), schema.Live()),
	), func(k *policyKeys) *schema.Value[webhookKeys] { return &k.Webhook },
		"Is told of every new call that waits for a person.", schema.Example("{url: \"https://chat.example.com/hooks/approvals\", secretFile: webhook.key}"), schema.Live()),
)

// resolve gives the policy that the file says, and says what is wrong with it beyond its form.
func (k policyKeys) resolve(dir string, methods []string, ps *tree.Problems) Policy {
	p := Policy{Approvers: k.Approvers.Or(ApproversAny), Rules: []Rule{}}
	seen := map[string]bool{}
	for _, r := range k.Rules.V {
		name := r.V.Name
		if name.Set() && seen[name.V] {
			ps.Add(name.Node.Pos, tree.Meaning, "there is a rule %q already", name.V).Hint = "the name says which rule decided: give it another one"
		}
		seen[name.V] = true
		if r.V.PerHour.Set() && (r.V.Then.V == "hold" || r.V.Then.V == "deny") {
			ps.Add(r.V.PerHour.Node.Pos, tree.Meaning, "perHour limits what goes through, and this rule lets nothing through").Hint = "remove it, or say then: allow or then: confirm"
		}
		p.Rules = append(p.Rules, Rule{Name: name.V, When: r.V.When.V.resolve(methods, ps), Then: r.V.Then.V, PerHour: r.V.PerHour.V})
	}
	if w := k.Webhook; w.Set() {
		p.Webhook = Webhook{URL: Address(w.V.URL.V), SecretFile: w.V.SecretFile.V}
		if !filepath.IsAbs(p.Webhook.SecretFile) {
			p.Webhook.SecretFile = filepath.Join(dir, p.Webhook.SecretFile)
		}
		if at := w.V.URL; at.Set() && !safe(at.V) {
			ps.Add(at.Node.Pos, tree.Meaning, "\"url\" must be an https address, or http on this machine").Hint = "what waits for a person is told in it"
		}
	}
	return p
}

// safe reports whether what is sent to a URL can be read on its way by nobody.
func safe(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return false
	}
	host := u.Hostname()
	return u.Scheme == "https" || u.Scheme == "http" && (host == "localhost" || host == "::1" || strings.HasPrefix(host, "127."))
}

// words are the values that the globs of a key can mean; nil where they are not known.
func words(key string, methods []string) []string {
	switch key {
	case "channel":
		return []string{string(op.Person), string(op.Agent), string(op.App), string(op.Peer)}
	case "role":
		return []string{op.Public.String(), op.Viewer.String(), op.Operator.String(), op.Admin.String(), op.Node.String()}
	case "effect":
		return []string{op.Reads.String(), op.Adds.String(), op.Sets.String(), op.Interrupts.String(), op.Destroys.String()}
	case "method":
		return methods
	}
	return nil
}

func (w whenKeys) resolve(methods []string, ps *tree.Problems) (out When) {
	given := map[string]schema.Value[[]schema.Value[string]]{"channel": w.Channel, "role": w.Role, "user": w.User, "effect": w.Effect, "method": w.Method, "project": w.Project, "stack": w.Stack}
	for _, l := range out.lists() {
		for _, glob := range given[l.key].V {
			if glob.Node == nil { // written without a list around it
				glob.Node = given[l.key].Node
			}
			*l.globs = append(*l.globs, glob.V)
			if words := words(l.key, methods); words != nil && !matchesAny(glob.V, words) {
				p := ps.Add(glob.Node.Pos, tree.Meaning, "no %s is called %q", l.key, glob.V)
				if p.Near = fault.Near(glob.V, words); p.Near == "" && len(words) < 10 {
					p.Allowed = words
				}
			}
		}
	}
	return out
}

func matchesAny(glob string, words []string) bool {
	for _, w := range words {
		if ok, err := path.Match(glob, w); ok && err == nil {
			return true
		}
	}
	return false
}
