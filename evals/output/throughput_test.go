package output_test

import (
	"io"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestThroughput prints lines of 61 bytes as fast as they are taken, with rotation and compression as they are by default
// but for the smaller files. Nothing may be lost; the figures are for reading.
func TestThroughput(t *testing.T) {
	lines := rig.Count(500_000, 5_000_000)
	w := newWorld(t)
	w.up("maxSize: 20MB, maxFiles: 10000", w.app("fast", "oneshot: true\nenabled: false", "plain", lines, "0s"))
	m := w.watchMemory()
	keeper, daemon := w.cpu(w.KeeperPID()), w.cpu(w.DaemonPID())
	began := time.Now()
	w.OK("start", "fast", "--no-wait")
	w.WaitState("fast", "completed", 4*time.Minute)
	took := time.Since(began)
	w.settled("fast", "out")
	packed := time.Since(began)
	keeper, daemon = w.cpu(w.KeeperPID())-keeper, w.cpu(w.DaemonPID())-daemon
	want, _, total, _ := expected(func(out, _ io.Writer) error { return plain(out, 0, lines, 0) })
	if got, n := w.sum("fast", "out"); got != want {
		t.Errorf("%d bytes are stored, of %d", n, total)
	}
	if s := w.stats("fast", "out"); s.Lost != 0 || s.Gaps != 0 {
		t.Errorf("logs.stats tells of losses: %+v", s)
	}
	millions := float64(lines) / 1e6
	t.Logf("%d lines of %d bytes: %.0f MB/s, loss 0, all compressed after %s; CPU a million lines: keeper %.2f s, daemon %.2f s; keeper and daemon grew by %s",
		lines, plainSize, float64(total)/1e6/took.Seconds(), packed.Round(time.Millisecond), keeper.Seconds()/millions, daemon.Seconds()/millions, mb(m.growth()))
}
