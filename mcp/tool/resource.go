package tool

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/tools"
)

// How an address goes on after its words.
const (
	ByKey  = "/{project}/{stack}/{app}"
	ByName = "/{name}"
)

// Resource is a method that can be read by its address: it takes a name or nothing.
type Resource struct {
	Base   string // omnitron://apps
	Field  string // where the name goes, "" for a method that takes nothing
	many   bool   // the field is a list
	Title  string
	Doc    string
	ID     string // of the method
	Topics []string
	Tool   *Tool
}

// newResource reads the address of a method, or gives nil when it has none.
func newResource(d *tools.Method) (*Resource, error) {
	if d.Resource == "" {
		return nil, nil
	}
	r := &Resource{Base: d.Resource, Title: title(d.Service, d.Verb), Doc: d.Doc, ID: d.ID(), Topics: d.Topics}
	named := false
	for _, suffix := range []string{ByKey, ByName} {
		if base, ok := strings.CutSuffix(r.Base, suffix); ok {
			r.Base, named = base, true
			break
		}
	}
	if strings.ContainsAny(r.Base, "{}") || !strings.HasPrefix(r.Base, "omnitron://") {
		return nil, fmt.Errorf("%q is no address: omnitron://words, then nothing, %s or %s", d.Resource, ByKey, ByName)
	}
	if d.Effect != op.Reads || d.Stream {
		return nil, fmt.Errorf("only what reads once can be a resource")
	}
	if !named {
		return r, nil
	}
	props := object.Get(d.InSchema, "properties")
	switch {
	case object.Get(props, "name") != nil:
		r.Field = "name"
	case object.Get(props, "names") != nil:
		r.Field, r.many = "names", true
	default:
		return nil, fmt.Errorf("the address %q has a name and the input has none", d.Resource)
	}
	return r, nil
}

// Input is what the method gets for a name.
func (r *Resource) Input(name string) json.RawMessage {
	if r.Field == "" {
		return json.RawMessage("{}")
	}
	value := answer.AppendString(nil, name)
	if r.many {
		value = append(append([]byte{'['}, value...), ']')
	}
	return object.Set(json.RawMessage("{}"), r.Field, value)
}

// Find gives the resource among some that an address means, and the name in it.
func Find(resources []*Resource, uri string) (r *Resource, name string, ok bool) {
	for _, r := range resources {
		if uri == r.Base && r.Field == "" {
			return r, "", true
		}
		rest, ok := strings.CutPrefix(uri, r.Base+"/")
		if !ok || r.Field == "" {
			continue
		}
		parts := strings.Split(rest, "/")
		if len(parts) != 1 && len(parts) != 3 {
			continue
		}
		for i, p := range parts {
			var err error
			if parts[i], err = url.PathUnescape(p); err != nil || parts[i] == "" {
				return nil, "", false
			}
		}
		return r, strings.Join(parts, "/"), true
	}
	return nil, "", false
}
