// Package catalog lists the services of the daemon. A new service costs one line here.
package catalog

import (
	"fmt"

	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/services/agents"
	"github.com/omnitron-dev/omnitron/core/services/approvals"
	"github.com/omnitron-dev/omnitron/core/services/apps"
	"github.com/omnitron-dev/omnitron/core/services/audit"
	"github.com/omnitron-dev/omnitron/core/services/auth"
	"github.com/omnitron-dev/omnitron/core/services/daemon"
	"github.com/omnitron-dev/omnitron/core/services/events"
	"github.com/omnitron-dev/omnitron/core/services/health"
	"github.com/omnitron-dev/omnitron/core/services/logs"
	"github.com/omnitron-dev/omnitron/core/services/projects"
	"github.com/omnitron-dev/omnitron/core/services/secrets"
	"github.com/omnitron-dev/omnitron/core/services/stacks"
	"github.com/omnitron-dev/omnitron/core/services/system"
	"github.com/omnitron-dev/omnitron/core/services/tokens"
	"github.com/omnitron-dev/omnitron/core/services/users"
)

// Services is every service, in the order in which they are built and listed.
var Services = []Entry{
	provide(apps.Methods, apps.New),
	provide(daemon.Methods, daemon.New),
	provide(projects.Methods, projects.New),
	provide(stacks.Methods, stacks.New),
	provide(logs.Methods, logs.New),
	provide(health.Methods, health.New),
	provide(events.Methods, events.New),
	provide(system.Methods, system.New),
	provide(audit.Methods, audit.New),
	provide(approvals.Methods, approvals.New),
	provide(agents.Methods, agents.New),
	provide(secrets.Methods, secrets.New),
	provide(auth.Methods, auth.New),
	provide(users.Methods, users.New),
	provide(tokens.Methods, tokens.New),
}

// Entry is a service that can be described without being built.
type Entry interface {
	Specs() []op.Spec
	Build(*host.Host) ([]op.Method, error)
}

// Specs describes every method; no daemon is needed.
func Specs() []op.Spec {
	var all []op.Spec
	for _, s := range Services {
		all = append(all, s.Specs()...)
	}
	return all
}

// Build builds every service on h and gives all methods, in the order of Specs.
func Build(h *host.Host) ([]op.Method, error) {
	var all []op.Method
	for _, s := range Services {
		methods, err := s.Build(h)
		if err != nil {
			return nil, err
		}
		all = append(all, methods...)
	}
	return all, nil
}

type entry[S any] struct {
	op.Table[S]
	build func(*host.Host) (S, error)
}

// provide ties the table of a service to its constructor.
func provide[S any](t op.Table[S], build func(*host.Host) (S, error)) Entry {
	return entry[S]{t, build}
}

// Build implements Entry.
func (e entry[S]) Build(h *host.Host) ([]op.Method, error) {
	s, err := e.build(h)
	if err != nil {
		return nil, fmt.Errorf("cannot build the service %s: %w", e.Name, err)
	}
	return e.Bind(s), nil
}
