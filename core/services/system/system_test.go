package system

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
)

// TestSystem: the machine has a name, processors and memory; what does not run uses nothing.
func TestSystem(t *testing.T) {
	h := hosttest.New(t)
	h.Declare("project: shop\napps:\n  - {name: api, command: [./api]}\n")
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Snapshot(t.Context(), Nothing{})
	if err != nil || m.Hostname == "" || m.CPUs < 1 || m.MemTotal <= m.MemFree || m.DiskTotal < m.DiskFree || m.Uptime < 1 || m.Apps == nil || len(m.Apps) != 0 {
		t.Errorf("%+v %v", m, err)
	}
	l, err := s.Processes(h.On(op.Caller{}, "api"), op.Selection{})
	if err != nil || l.Items == nil || len(l.Items) != 0 {
		t.Errorf("%+v %v", l, err)
	}
}
