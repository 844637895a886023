package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
)

// begin puts calls on record: every third is an agent's, every second is about api.
func begin(t *testing.T, h *hosttest.Host, n int) {
	t.Helper()
	for i := range n {
		e := ledger.Entry{Time: time.Now(), Call: fmt.Sprint("c", i), User: "ann", Channel: "person", Plane: "unix", Method: "apps.start", Targets: []string{"shop/dev/web"}, Args: json.RawMessage(`{"n":1}`), Changes: true}
		if i%3 == 0 {
			e.User, e.Channel = "bob", "agent"
		}
		if i%2 == 0 {
			e.Targets = []string{"shop/dev/api"}
		}
		seq, err := h.Ledger.Begin(t.Context(), e)
		if err == nil && i != n-1 {
			h.Ledger.Settle(seq, ledger.Result{Decision: "allow", Code: []string{"", "failed"}[i%2], Reason: []string{"", "start_failed"}[i%2], Took: 1500 * time.Microsecond})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Ledger.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func all(t *testing.T, s *Service, in Search) (out []Call) {
	t.Helper()
	for {
		l, err := s.List(t.Context(), in)
		if err != nil || in.Limit > 0 && len(l.Items) > in.Limit {
			t.Fatalf("%+v %v", l, err)
		}
		out = append(out, l.Items...)
		if in.Cursor = l.NextCursor; !l.Truncated {
			return out
		}
	}
}

func TestList(t *testing.T) {
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	begin(t, h, 30)
	calls := all(t, s, Search{Page: op.Page{Limit: 4}})
	if len(calls) != 30 {
		t.Fatalf("%d calls", len(calls))
	}
	for i, c := range calls {
		if c.Call != fmt.Sprint("c", 29-i) {
			t.Errorf("place %d has %s", i, c.Call)
		}
	}
	if c := calls[0]; c.Result != "open" || c.Decision != "" || c.Who != "ann" {
		t.Errorf("one that runs: %+v", c)
	}
	if c := calls[1]; c.Result != "ok" || c.Decision != "allow" || c.TookMS != 1.5 || string(c.Args) != `{"n":1}` || c.Targets[0] != "shop/dev/api" {
		t.Errorf("one that is done: %+v", c)
	}
	if c := calls[2]; c.Result != "failed" || c.Reason != "start_failed" {
		t.Errorf("one that failed: %+v", c)
	}
	for name, c := range map[string]struct {
		in   Search
		want int
	}{
		"who": {Search{Who: "bob"}, 10}, "channel": {Search{Channel: "agent"}, 10}, "app": {Search{App: "shop/dev/api"}, 15}, "failed": {Search{Result: "failed"}, 14}, "ok": {Search{Result: "ok"}, 15},
		"method": {Search{Method: "apps.start"}, 30}, "service": {Search{Method: "apps.*"}, 30}, "another method": {Search{Method: "apps.stop"}, 0}, "allowed": {Search{Decision: "allow"}, 29},
		"since": {Search{Since: time.Now().Add(time.Hour)}, 0}, "until": {Search{Until: time.Now().Add(-time.Hour)}, 0}, "changes": {Search{Changes: true}, 30},
	} {
		if got := all(t, s, c.in); len(got) != c.want {
			t.Errorf("%s: %d calls, want %d", name, len(got), c.want)
		}
	}
	if _, err := s.List(context.Background(), Search{Page: op.Page{Cursor: "x"}}); fault.From(err).Reason != "bad_cursor" {
		t.Errorf("%v", err)
	}
}
