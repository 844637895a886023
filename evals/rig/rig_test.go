package rig_test

import (
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

func TestUpAndDown(t *testing.T) {
	r := rig.New(t)
	r.Up(`
apps:
  - name: a
    command: [sleep, "1000.` + "1" + `"]
  - name: once
    command: ["true"]
    oneshot: true
`)
	if got := r.App("a"); got.State != "running" {
		t.Errorf("a is %s", got.State)
	}
	if got := r.App("once"); got.State != "completed" {
		t.Errorf("once is %s", got.State)
	}
	pid := r.PID("a")
	r.OK("down")
	if p, ok := rig.ReadProcess(pid); ok && p.State != 'Z' {
		t.Errorf("pid %d lives after down: %s", pid, p.Args)
	}
	r.Until(5*time.Second, "nothing of the home lives", func() bool { return len(r.Left()) == 0 })
	if ran := r.Run("ls"); ran.Code != 2 || !strings.Contains(ran.Err, "omnitron up") {
		t.Errorf("ls after down: exit %d, %s", ran.Code, ran.Err)
	}
}
