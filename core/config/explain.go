package config

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Schema is the JSON Schema (2020-12) of omnitron.yaml, for editors. It is closed: what it does not name is an error.
func Schema() []byte { return schemaOf(fileKind, "omnitron.yaml") }

// DaemonSchema is the JSON Schema of config.yaml.
func DaemonSchema() []byte { return schemaOf(setting.Kind, "config.yaml") }

func schemaOf[T any](k schema.Kind[T], title string) []byte {
	s := k.Schema()
	s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", title
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil { // maps, lists, text and numbers
		panic("config: a schema that is no JSON: " + err.Error())
	}
	return append(text, '\n')
}

// Doc says what a key means.
type Doc struct {
	Path     string   `json:"path" jsonschema:"the key's path"`
	Type     string   `json:"type" jsonschema:"what it must be"`
	Doc      string   `json:"doc" jsonschema:"what it means"`
	Default  string   `json:"default,omitempty" jsonschema:"what holds when it is absent"`
	Example  string   `json:"example,omitempty" jsonschema:"the key in use, as YAML"`
	Required bool     `json:"required,omitempty" jsonschema:"whether it must be given"`
	Later    bool     `json:"later,omitempty" jsonschema:"known, but not supported yet"`
	Change   string   `json:"change,omitempty" jsonschema:"how a changed value is taken up: live or restart"`
	Allowed  []string `json:"allowed,omitempty" jsonschema:"the words that it may be"`
	Keys     []Child  `json:"keys,omitempty" jsonschema:"the keys below"`
}

// Child is a key below another.
type Child struct {
	Name  string `json:"name" jsonschema:"name of the key"`
	Type  string `json:"type" jsonschema:"what it must be"`
	Doc   string `json:"doc" jsonschema:"what it means"`
	Later bool   `json:"later,omitempty" jsonschema:"known, but not supported yet"`
}

// Explain gives the meaning of a key: apps.health, config.apps.health.interval, daemon.limits. An empty path is the
// whole file. Faults: not_found, with the keys that were perhaps meant.
func Explain(path string) (Doc, error) {
	parts := strings.FieldsFunc(strings.NewReplacer("[]", "", "[", ".", "]", "").Replace(path), func(r rune) bool { return r == '.' })
	if len(parts) > 0 && parts[0] == "config" {
		parts = parts[1:]
	}
	root := &schema.Key{Doc: "omnitron.yaml: the apps of a project.", Label: fileKind.Label(), Keys: fileKind.Keys()}
	if len(parts) > 0 && parts[0] == "daemon" {
		root = &schema.Key{Name: "daemon", Doc: "config.yaml in the home: settings of the daemon.", Label: setting.Kind.Label(), Keys: setting.Kind.Keys()}
		parts = parts[1:]
	}
	k, walked := root, root.Name
	for _, part := range parts {
		i := slices.IndexFunc(k.Keys, func(c *schema.Key) bool { return c.Name == part })
		if i < 0 {
			return Doc{}, unknownKey(walked, part, k.Keys)
		}
		k = k.Keys[i]
		walked = strings.TrimPrefix(walked+"."+part, ".")
	}
	return docOf(walked, k), nil
}

func unknownKey(at, part string, keys []*schema.Key) error {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	if at == "" {
		at = "the file"
	}
	f := fault.New(fault.NotFound, "%s has no key %q", at, part).WithReason("unknown_key").WithHint("omnitron explain config lists the keys")
	if near := fault.Near(part, names); near != "" {
		return f.WithCandidates(near)
	}
	return f.WithCandidates(names...)
}

func docOf(path string, k *schema.Key) Doc {
	d := Doc{Path: path, Type: k.Label, Doc: k.Doc, Default: k.Default, Example: k.Example, Required: k.Required, Later: k.Later, Allowed: k.Allowed}
	if k.Name != "" && !k.Later {
		d.Change = "restart"
		if k.Live {
			d.Change = "live"
		}
	}
	for _, c := range k.Keys {
		d.Keys = append(d.Keys, Child{c.Name, c.Label, c.Doc, c.Later})
	}
	return d
}
