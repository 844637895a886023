// Package setting is config.yaml: what a daemon is told about itself and its planes, read with the places of its mistakes,
// and which of it is in force.
package setting

import (
	"path/filepath"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
)

// Daemon is config.yaml, resolved: the settings of a home's daemon.
type Daemon struct {
	Limits    Limits    `json:"limits"`
	Logging   Logging   `json:"logging"`
	Policy    Policy    `json:"policy"`
	Retention Retention `json:"retention"`
	TCP       Listener  `json:"tcp"`
	HTTP      HTTP      `json:"http"`
}

// Limits is how much one agent may do; persons have no limit.
type Limits struct {
	AgentCalls   int `json:"agentCalls"`   // calls a second
	AgentChanges int `json:"agentChanges"` // calls a second that change something
}

// Logging is about the daemon's own log.
type Logging struct {
	Level string `json:"level"` // debug | info | warn | error
}

// Retention is how long records are kept.
type Retention struct {
	Events time.Duration `json:"events"`
	Audit  time.Duration `json:"audit"`
}

type (
	daemonKeys struct {
		Limits    schema.Value[limitsKeys]
		Logging   schema.Value[daemonLoggingKeys]
		Policy    schema.Value[policyKeys]
		Retention schema.Value[retentionKeys]
		TCP       schema.Value[listenerKeys]
		HTTP      schema.Value[httpKeys]
	}
	limitsKeys        struct{ AgentCalls, AgentChanges schema.Value[int] }
	daemonLoggingKeys struct{ Level schema.Value[string] }
	retentionKeys     struct{ Events, Audit schema.Value[time.Duration] }
)

const day = 24 * time.Hour

var defaultDaemon = Daemon{
	Limits:    Limits{AgentCalls: 200, AgentChanges: 5},
	Logging:   Logging{Level: "info"},
	Policy:    Policy{Approvers: ApproversAny, Rules: []Rule{}},
	Retention: Retention{Events: 30 * day, Audit: 365 * day},
	TCP:       Listener{Listen: "127.0.0.1:9700", Names: []string{}},
	HTTP:      HTTP{Listener: Listener{Listen: "127.0.0.1:9800", Names: []string{}}, REST: true, TrustedProxies: []string{}},
}

// Kind is the form of config.yaml: its keys, for the schema and for explanations.
var Kind = schema.Object("the file", nil,
	schema.Field("limits", schema.Object("limits", nil,
		schema.Field("agentCalls", schema.Int(1, 1_000_000), func(k *limitsKeys) *schema.Value[int] { return &k.AgentCalls }, "Calls a second that one agent may make.", schema.Default("200"), schema.Example("200"), schema.Live()),
		schema.Field("agentChanges", schema.Int(1, 1_000_000), func(k *limitsKeys) *schema.Value[int] { return &k.AgentChanges }, "Calls a second with which one agent may change something.", schema.Default("5"), schema.Example("5"), schema.Live()),
	), func(k *daemonKeys) *schema.Value[limitsKeys] { return &k.Limits }, "How much agents may do; persons have no limit.", schema.Example("{agentCalls: 200, agentChanges: 5}"), schema.Live()),
	schema.Field("logging", schema.Object("logging", nil,
		schema.Field("level", schema.Enum("a log level", "debug", "info", "warn", "error"), func(k *daemonLoggingKeys) *schema.Value[string] { return &k.Level }, "The lowest level that goes into daemon.log.", schema.Default("info"), schema.Example("debug"), schema.Live()),
	), func(k *daemonKeys) *schema.Value[daemonLoggingKeys] { return &k.Logging }, "The daemon's own log.", schema.Example("{level: info}"), schema.Live()),
	schema.Field("policy", callPolicyKind, func(k *daemonKeys) *schema.Value[policyKeys] { return &k.Policy },
		"What may happen without a person, and who that is.", schema.Example("{approvers: any}"), schema.Live()),
	schema.Field("retention", schema.Object("retention", nil,
		schema.Field("events", schema.Duration(time.Hour), func(k *retentionKeys) *schema.Value[time.Duration] { return &k.Events }, "How long events are kept.", schema.Default("30d"), schema.Example("30d"), schema.Live()),
		schema.Field("audit", schema.Duration(day), func(k *retentionKeys) *schema.Value[time.Duration] { return &k.Audit }, "How long the record of calls is kept.", schema.Default("365d"), schema.Example("365d"), schema.Live()),
	), func(k *daemonKeys) *schema.Value[retentionKeys] { return &k.Retention }, "How long records are kept.", schema.Example("{events: 30d}"), schema.Live()),
	schema.Field("tcp", schema.Object("tcp", nil, listenerFields(func(k *listenerKeys) *listenerKeys { return k }, defaultDaemon.TCP.Listen)...), func(k *daemonKeys) *schema.Value[listenerKeys] { return &k.TCP },
		"The network plane for omnitron --remote and other programs, over TLS.", schema.Example("{enabled: true, listen: \"0.0.0.0:9700\"}"), schema.Live()),
	schema.Field("http", httpKind, func(k *daemonKeys) *schema.Value[httpKeys] { return &k.HTTP },
		"The network plane for browsers, programs and agents: REST, MCP and figures.", schema.Example("{enabled: true}"), schema.Live()),
	schema.Later[daemonKeys]("auth", "Accounts and tokens."),
	schema.Later[daemonKeys]("cluster", "Several daemons together."),
	schema.Later[daemonKeys]("metrics", "What is measured."),
	schema.Later[daemonKeys]("remotes", "Other daemons by name."),
)

// Load reads config.yaml. Without text, or with comments only, everything has its default. methods are the ids that
// a rule of the policy may mean; nil: they are not known. The error is *tree.Errors: invalid, reason config_invalid.
func Load(text, path string, methods []string) (*Daemon, error) {
	c := defaultDaemon
	var ps tree.Problems
	f := tree.NewFile(path, filepath.Base(path), text)
	var k daemonKeys
	if root := tree.ParseOptional(f, &ps); root != nil {
		k, _ = Kind.Decode(&schema.Decoder{Problems: &ps}, root)
		c.Policy = k.Policy.V.resolve(filepath.Dir(path), methods, &ps)
		k.TCP.V.resolve(&c.TCP, filepath.Dir(path), &ps)
		k.HTTP.V.resolveHTTP(&c.HTTP, filepath.Dir(path), &ps)
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	schema.Put(&c.Limits.AgentCalls, k.Limits.V.AgentCalls)
	schema.Put(&c.Limits.AgentChanges, k.Limits.V.AgentChanges)
	schema.Put(&c.Logging.Level, k.Logging.V.Level)
	schema.Put(&c.Retention.Events, k.Retention.V.Events)
	schema.Put(&c.Retention.Audit, k.Retention.V.Audit)
	return &c, nil
}
