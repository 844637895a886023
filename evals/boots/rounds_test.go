package boots

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestUpgradeRounds: one version after the other, round and round, while an app prints numbered lines: its process stays, no
// line is missing or there twice, and the socket is away for half a second at most (A11).
func TestUpgradeRounds(t *testing.T) {
	r := rig.New(t)
	versions := []string{another(t, "v1.0.1"), another(t, "v1.0.2")}
	r.Bin = filepath.Join(r.Dir, "omnitron")
	first, err := os.ReadFile(rig.Binary(t))
	if err == nil {
		err = os.WriteFile(r.Bin, first, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	sums := make([]string, len(versions))
	for i, v := range versions {
		sums[i] = strings.Fields(shell(t, "sha256sum "+v))[0]
	}
	r.Up("project: p\napps:\n  - {name: count, command: 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.002; done'}\n")
	pid := r.OK("ls", "--jq", ".items[0].pid")

	away, stop := make(chan time.Duration), make(chan struct{})
	go func() { away <- longestAway(filepath.Join(r.Home, "daemon.sock"), stop) }()
	rounds := rig.Count(4, 100)
	for i := range rounds {
		out := r.OK("upgrade", "--from", versions[i%2], "--sha256", sums[i%2])
		if want := fmt.Sprintf("v1.0.%d", 1+i%2); !strings.Contains(out, r.Bin+" is "+want) || !strings.Contains(out, "daemon: replaced") {
			t.Fatalf("round %d: %s", i, out)
		}
		r.Until(20*time.Second, "daemon and keeper are of the version", func() bool {
			got := r.Run("status", "--jq", ".version + \" \" + .keeper.version")
			return strings.TrimSpace(got.Out) == fmt.Sprintf("v1.0.%d v1.0.%[1]d", 1+i%2)
		})
	}
	close(stop)
	gap := <-away
	t.Logf("%d rounds; the socket was away for %s at most", rounds, gap.Round(time.Millisecond))
	limit := 3 * time.Second // a machine may be busy with other tests
	if rig.Full() {
		limit = 500 * time.Millisecond
	}
	if gap > limit {
		t.Errorf("the socket was away for %s", gap)
	}
	if now := r.OK("ls", "--jq", ".items[0].pid"); now != pid || len(pid) < 2 || strings.HasPrefix(pid, "null") {
		t.Errorf("the app ran as %s and runs as %s", pid, now)
	}
	r.OK("stop", "count")
	logs, err := filepath.Glob(filepath.Join(r.Home, "logs", "p", "dev", "count", "*.out.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v, %v", logs, err)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if strings.TrimSpace(line) != "line "+strconv.Itoa(n) {
			t.Fatalf("where line %d should stand: %q", n, line)
		}
	}
	if n < 10*rounds {
		t.Errorf("only %d lines", n)
	}
}

// longestAway is for how long nobody answered at a socket, the longest time that was seen until stop.
func longestAway(path string, stop chan struct{}) (longest time.Duration) {
	answered := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			longest, answered = max(longest, time.Since(answered)), time.Now()
		}
		select {
		case <-stop:
			return longest
		case <-tick.C:
		}
	}
}
