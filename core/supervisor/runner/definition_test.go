package runner

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
)

// unread is output that nobody asks for.
type unread struct{ Lines }

func (unread) Keep(*config.App) {}

// TestGoneAtOnce: what is too much counts as a change also when nothing is left of it before the command comes.
func TestGoneAtOnce(t *testing.T) {
	st, err := store.OpenState(filepath.Join(t.TempDir(), "state.json"), store.OS, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	app := func(processes ...string) *config.App {
		a := &config.App{Key: "shop/dev/pool", Name: "pool"}
		for _, p := range processes {
			a.Processes = append(a.Processes, config.Process{Name: p, Instances: 1})
		}
		return a
	}
	obeyed := func(r *Runner, k Kind) bool {
		w := &Waiter{Kind: k, Target: op.Target{Key: r.Key}, Patient: true, Began: time.Now(), Done: make(chan struct{})}
		r.obey(w)
		return w.changed
	}
	r := New(&Common{State: st, Lines: unread{}, Now: time.Now}, app("web", "job"), 1)
	r.unit("job", 1).phase = backoff
	r.follow(app("web"), 2, true)
	r.part()
	if len(r.units) != 1 {
		t.Fatalf("%d slots are left", len(r.units))
	}
	if !obeyed(r, Renew) {
		t.Error("a process was ended, and nothing is said to have changed")
	}
	if obeyed(r, Renew) {
		t.Error("it is told twice")
	}
	r.follow(app(), 3, true) // web never ran
	r.part()
	if obeyed(r, Renew) {
		t.Error("nothing ran of what is gone, and something is said to have changed")
	}
}
