package main

import (
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// TestSecondDaemon: a home has one daemon, and whoever comes second is told who it is. The lock goes with its owner.
func TestSecondDaemon(t *testing.T) {
	home := t.TempDir()
	first, err := lockHome(home)
	if err != nil {
		t.Fatal(err)
	}
	second, err := lockHome(home)
	if second != nil || !fault.Is(err, fault.Conflict) || fault.From(err).Reason != "home_taken" || !strings.Contains(err.Error(), home) {
		t.Fatalf("a second daemon: %v, %v", second, err)
	}
	if p, err := readPID(home); err != nil || p.PID == 0 {
		t.Errorf("daemon.pid after that: %+v %v", p, err)
	}
	first.release()
	third, err := lockHome(home)
	if err != nil {
		t.Fatal(err)
	}
	third.release()
}
