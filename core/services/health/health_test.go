package health

import (
	"fmt"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
)

const shop = `
project: shop
apps:
  - {name: api, command: [./api], health: {tcp: "127.0.0.1:1"}}
  - {name: db, command: [./db]}
`

func service(t *testing.T) (*hosttest.Host, *Service) {
	t.Helper()
	h := hosttest.New(t)
	h.Declare(shop)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	return h, s
}

// TestCheck: what does not run, or has no probe, is unknown, and that is no failure.
func TestCheck(t *testing.T) {
	h, s := service(t)
	r, err := s.Check(h.On(op.Caller{}), op.Selection{})
	if err != nil || !r.OK || len(r.Items) != 2 || r.Items[0].Slot != "api:api#1" || r.Items[0].Probe != "tcp" || r.Items[0].Health != "unknown" || r.Items[1].Probe != "" {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := s.Check(h.On(op.Caller{}, "db:db#1"), op.Selection{}); err != nil || len(r.Items) != 1 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestHistory: changes of health of the apps that were asked about, newest first, page after page.
func TestHistory(t *testing.T) {
	h, s := service(t)
	for i := range 50 {
		h.Bus.Publish(bus.Event{Topic: "health", Type: []string{"healthy", "unhealthy"}[i%2], Key: "shop/dev/api", Slot: "api:api#1", Text: fmt.Sprint(i)})
		h.Bus.Publish(bus.Event{Topic: "health", Type: "healthy", Key: "shop/dev/db", Text: "not asked for"})
		h.Bus.Publish(bus.Event{Topic: "apps", Type: "running", Key: "shop/dev/api", Text: "not health"})
	}
	in := Past{Page: op.Page{Limit: 7}}
	next := 49
	for {
		l, err := s.History(h.On(op.Caller{}, "api"), in)
		if err != nil || len(l.Items) > 7 {
			t.Fatalf("%+v %v", l, err)
		}
		for _, c := range l.Items {
			if c.Note != fmt.Sprint(next) || c.Health != []string{"healthy", "unhealthy"}[next%2] || c.Slot != "api:api#1" {
				t.Errorf("%+v, expected change %d", c, next)
			}
			next--
		}
		if in.Cursor = l.NextCursor; !l.Truncated {
			break
		}
	}
	if next != -1 {
		t.Errorf("%d changes are missing", next+1)
	}
	if l, err := s.History(h.On(op.Caller{}, "api"), Past{Since: time.Now().Add(time.Hour)}); err != nil || len(l.Items) != 0 {
		t.Errorf("%+v %v", l, err)
	}
	if _, err := s.History(h.On(op.Caller{}, "api"), Past{Page: op.Page{Cursor: "x"}}); fault.From(err).Reason != "bad_cursor" {
		t.Errorf("%v", err)
	}
	if l, err := s.History(op.WithTargets(t.Context(), nil), Past{}); err != nil || len(l.Items) != 0 {
		t.Errorf("without apps: %+v %v", l, err)
	}
}
