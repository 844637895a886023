package cli

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// TestHungDaemon: a call that takes long is left alone while the daemon answers to a ping beside it, and ends when it does
// not; so does a stream.
func TestHungDaemon(t *testing.T) {
	stuck := fault.New(fault.Unavailable, "the daemon (pid 7) does not answer").WithReason("daemon_hung").WithHint("omnitron kill")
	for _, c := range []struct {
		name  string
		args  []string
		hangs time.Duration // 0: it is only busy
		code  int
	}{
		{"busy", []string{"stop", "api"}, 0, 0},
		{"hung", []string{"stop", "api"}, time.Second, 2},
		{"hung later", []string{"stop", "api"}, 20 * time.Second, 2},
		{"stream", []string{"logs", "-f", "api"}, time.Second, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				began, looks := time.Now(), 0
				b.env.Hung = func(context.Context, string) error {
					if looks++; c.hangs > 0 && time.Since(began) >= c.hangs {
						return stuck
					}
					return nil
				}
				b.answers["apps.stop"] = func(ctx context.Context, _ map[string]any) (any, error) {
					select {
					case <-ctx.Done():
						return nil, fault.New(fault.Cancelled, "cancelled")
					case <-time.After(time.Minute):
						return done(map[string]any{"items": []any{}}), nil
					}
				}
				b.items["logs.follow"] = func(ctx context.Context, _ map[string]any, _ func(any) bool) error {
					<-ctx.Done()
					return fault.New(fault.Cancelled, "cancelled")
				}
				r := b.run(t, c.args...)
				if r.code != c.code || c.code != 0 && (!strings.Contains(r.err, "(pid 7) does not answer") || !strings.Contains(r.err, "omnitron kill")) {
					t.Errorf("exit %d, %q, %q", r.code, r.out, r.err)
				}
				if took := time.Since(began); c.hangs > 0 && took > 2*c.hangs+5*time.Second {
					t.Errorf("it is found out after %s", took)
				}
				if looks == 0 {
					t.Error("nobody looks")
				}
			})
		})
	}
}
