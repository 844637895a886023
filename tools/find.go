package tools

import (
	"context"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Find gives the method of an id, service.verb, or of a former id.
func (r *Registry) Find(id string) (*Method, bool) {
	m, ok := r.ids[id]
	return m, ok
}

// Tool gives the method of a tool's name, service_verb, present or former.
func (r *Registry) Tool(name string) (*Method, bool) {
	m, ok := r.tools[name]
	return m, ok
}

// find looks the method up. What stays on the unix socket does not exist elsewhere, nor for agents.
func (r *Registry) find(ctx context.Context, c *call) (context.Context, error) {
	m, ok := r.ids[c.method]
	if !ok || !m.reaches(c.caller) {
		return ctx, r.unknown(c.method)
	}
	c.Method = m
	return ctx, nil
}

// unknown is the fault of a method that does not exist. The name is quoted, so that its bytes stay data, and cut.
func (r *Registry) unknown(name string) error {
	const most = 80
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	f := fault.New(fault.NotFound, "there is no method %q", name).WithReason("unknown_method")
	near := fault.Near(strings.ReplaceAll(name, "_", "."), r.names)
	if near == "" {
		near = r.verb(name)
	}
	if near != "" {
		f = f.WithCandidates(near).WithHint("did you mean %s?", near)
	}
	return f
}

// verb gives the only method that has the verb of name, for a service that was guessed wrong.
func (r *Registry) verb(name string) string {
	_, verb, _ := strings.Cut(name, ".")
	found := ""
	for _, m := range r.methods {
		if verb != "" && m.Verb == verb {
			if found != "" {
				return ""
			}
			found = m.ID()
		}
	}
	return found
}

// toolName is an id as the name of a tool.
func toolName(id string) string { return strings.ReplaceAll(id, ".", "_") }
