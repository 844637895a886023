package tools

import (
	"context"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
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
		return ctx, r.unknown(c.method, c.caller)
	}
	c.Method = m
	return ctx, nil
}

// unknown is the fault of a method that does not exist, or not for this caller: it suggests only what he can see. The
// name is quoted, so that its bytes stay data, and cut.
func (r *Registry) unknown(name string, who op.Caller) error {
	const most = 80
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	f := fault.New(fault.NotFound, "there is no method %q", name).WithReason("unknown_method")
	if near := r.near(strings.ToLower(strings.ReplaceAll(name, "_", ".")), who); near != "" {
		f = f.WithCandidates(near).WithHint("did you mean %s?", near)
	}
	return f
}

// near gives the id that was probably meant: the same in another spelling, a similar one, or the only one with that verb
// in another service.
func (r *Registry) near(id string, who op.Caller) string {
	_, verb, _ := strings.Cut(id, ".")
	var names, sameVerb []string
	for _, m := range r.methods {
		if !m.Visible(who) {
			continue
		}
		if names = append(names, m.ID()); m.Verb == verb {
			sameVerb = append(sameVerb, m.ID())
		}
	}
	if slices.Contains(names, id) {
		return id
	}
	if near := fault.Near(id, names); near != "" || len(sameVerb) != 1 {
		return near
	}
	return sameVerb[0]
}

// toolName is an id as the name of a tool.
func toolName(id string) string { return strings.ReplaceAll(id, ".", "_") }
