package faults

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// figures is what daemon and keeper use.
type figures struct {
	daemonFDs, keeperFDs, goroutines int
	daemonRSS, keeperRSS             int64
}

// However often an app is restarted, daemon and keeper use no more than before.
func TestRestartsLeakNothing(t *testing.T) {
	r := rig.New(t)
	prog, mark := actor(t), marker()
	scan(t, mark)
	r.Up(fmt.Sprintf(`
apps:
  - {name: app, command: %s, ready: notify, health: {exec: ["true"], interval: 1s}}
`, argv(prog, "sit", mark+".app", "child=1")))
	restart := func(n int) {
		for range n {
			if err := r.Call("apps.restart", map[string]any{"names": []string{"app"}}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	restart(rig.Count(150, 1000)) // until the ring of events, the pages of the database and the heap have their size
	n := rig.Count(60, 1000)
	var grown [2]int64
	for range 3 { // a heap may still have been on its way to its size; a leak grows each time
		before := measure(t, r)
		restart(n)
		after := measure(t, r)
		t.Logf("before %d restarts: %+v", n, before)
		t.Logf("after:             %+v", after)
		for what, more := range map[string]int{"descriptors of the daemon": after.daemonFDs - before.daemonFDs,
			"descriptors of the keeper": after.keeperFDs - before.keeperFDs, "goroutines": after.goroutines - before.goroutines} {
			if more < -2 || more > 2 {
				t.Errorf("%d restarts cost %d %s", n, more, what)
			}
		}
		grown = [2]int64{after.daemonRSS - before.daemonRSS, after.keeperRSS - before.keeperRSS}
		if max(grown[0], grown[1]) <= 2<<20 {
			return
		}
	}
	t.Errorf("%d restarts made the daemon grow by %d bytes and the keeper by %d, three times in a row", n, grown[0], grown[1])
}

// measure takes the least of several looks: what is only on its way does not count.
func measure(t *testing.T, r *rig.Rig) figures {
	t.Helper()
	least := figures{1 << 30, 1 << 30, 1 << 30, 1 << 60, 1 << 60}
	keeper := r.KeeperPID()
	for range 40 {
		await(50 * time.Millisecond)
		var st struct {
			FDs        int   `json:"fds"`
			Goroutines int   `json:"goroutines"`
			RSS        int64 `json:"rss_bytes"`
			Keeper     struct {
				RSS int64 `json:"rss_bytes"`
			}
		}
		if err := r.Call("daemon.status", struct{}{}, &st); err != nil {
			t.Fatal(err)
		}
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", keeper))
		if err != nil {
			t.Fatal(err)
		}
		least.daemonFDs, least.keeperFDs = min(least.daemonFDs, st.FDs), min(least.keeperFDs, len(fds))
		least.goroutines = min(least.goroutines, st.Goroutines)
		least.daemonRSS, least.keeperRSS = min(least.daemonRSS, st.RSS), min(least.keeperRSS, st.Keeper.RSS)
	}
	if rss := residentOf(t, keeper); rss < least.keeperRSS/2 || rss > least.keeperRSS*2 {
		t.Errorf("daemon.status tells %d bytes of the keeper, the kernel %d", least.keeperRSS, rss)
	}
	return least
}

func residentOf(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
