package supervisor

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

func TestSnapshots(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(pool)
	v := w.app("pool")
	if v.Health != "unknown" || v.Reason != "" || v.Restarts != 0 || v.Desired != "running" || v.Since.Before(v.Instances[0].Since) || !v.Alive() {
		t.Errorf("%+v", v)
	}
	since := v.Instances[1].Since
	if since.Before(v.Instances[2].Since) {
		since = v.Instances[2].Since
	}
	if _, err := w.stop("pool:web#1"); err != nil {
		t.Fatal(err)
	}
	if v = w.app("pool"); v.State != view.Running || !v.Since.Equal(since) || v.Instances[0].State != view.Stopped || !v.Instances[0].Since.After(since) {
		t.Errorf("%+v", v)
	}
	if _, err := w.stop("pool"); err != nil {
		t.Fatal(err)
	}
	if v = w.app("pool"); v.Alive() || !v.Since.After(since) {
		t.Errorf("%+v", v)
	}
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	if w.out.kept["shop/dev/pool"] == 0 {
		t.Error("nobody was told how much output is kept")
	}
}
