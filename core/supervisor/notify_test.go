package supervisor

import (
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// TestWatchdog: what reports in time runs on, under another daemon too; what falls silent has failed, with the reason.
func TestWatchdog(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: alive, ready: notify, watchdog: 400ms, command: ` + w.prog("READY=1", "every:100ms:WATCHDOG=1") + `}
  - {name: told, ready: notify, watchdog: 1s500ms, command: "echo $$WATCHDOG_USEC > usec; exec ` + w.prog0("READY=1", "every:100ms:WATCHDOG=1") + `"}
`)
	if got := strings.Join(w.file("usec"), " "); got != "1500000" {
		t.Errorf("WATCHDOG_USEC is %s", got)
	}
	if _, err := w.apply(`
project: shop
apps:
  - {name: alive, ready: notify, watchdog: 400ms, command: ` + w.prog("READY=1", "every:100ms:WATCHDOG=1") + `}
  - {name: mute, ready: notify, watchdog: 300ms, command: ` + w.prog("READY=1", "WATCHDOG=1") + `, restart: {maxRestarts: 1, backoff: {type: fixed, initial: 10ms}}}
`); err != nil {
		t.Fatal(err)
	}
	alive, began := w.pid("alive"), time.Now()
	if _, err := w.start("mute"); err != nil {
		t.Fatal(err)
	}
	v := w.is("mute", view.Crashed)
	if x := v.Instances[0].LastExit; x == nil || x.Reason != "watchdog" || x.Signal != "SIGTERM" || !strings.Contains(x.Message, "did not say WATCHDOG=1 for 300ms") || v.Restarts != 1 {
		t.Errorf("it ended so: %+v, %d restarts", x, v.Restarts)
	}
	if took := time.Since(began); took < 600*time.Millisecond {
		t.Errorf("two silences of 300ms were over after %s", took)
	}
	if w.pid("alive") != alive || w.app("alive").Restarts != 0 {
		t.Error("what reports in time was started again")
	}
	w.end()
	w.begin()
	again := time.Now()
	eventually(t, "it to have reported to another daemon for a while", func() bool { return time.Since(again) > 900*time.Millisecond })
	if w.pid("alive") != alive {
		t.Error("what reports to another daemon was started again")
	}
}

// TestExtend: a program that asks for more time to start, and to stop, gets it.
func TestExtend(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: slow, ready: {notify: true, timeout: 400ms}, stop: {timeout: 300ms}, command: ` + w.prog("term:EXTEND_TIMEOUT_USEC=20000000", "EXTEND_TIMEOUT_USEC=20000000", "for:900ms", "READY=1") + `}
`)
	if v := w.app("slow"); v.State != view.Running || v.Restarts != 0 {
		t.Fatal(w.tell())
	}
	if _, err := w.stop("slow"); err != nil {
		t.Fatal(err)
	}
	if x := w.app("slow").Instances[0].LastExit; x == nil || x.Code != 7 || x.Signal != "" {
		t.Errorf("it asked for time to stop and ended so: %+v", x)
	}
}

// TestReloading: RELOADING=1 is shown until the program is ready again.
func TestReloading(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up("project: shop\napps:\n  - {name: api, ready: notify, command: " + w.prog("READY=1", "wait:reload", "RELOADING=1", "wait:done", "READY=1\nSTATUS=reloaded") + "}\n")
	w.touch("reload")
	eventually(t, "it to be shown as reloading", func() bool {
		v := w.app("api")
		return v.State == view.Running && strings.Contains(v.Reason, "reloading")
	}, w.tell)
	w.touch("done")
	eventually(t, "it to be ready again", func() bool { v := w.app("api"); return v.Reason == "" && v.Instances[0].Status == "reloaded" }, w.tell)
}
