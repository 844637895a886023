package output_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestStalledReader has many follow an app over rotations and deaths of the daemon, and one that asks for the lines and
// never reads any. The others get every line once, the app is not held, calls are answered, and the daemon's memory stays
// in bounds.
func TestStalledReader(t *testing.T) {
	lines, clients, deaths := rig.Count(100_000, 200_000), rig.Count(5, 49), rig.Count(1, 3)
	w := newWorld(t)
	w.up("maxSize: 200KB, maxFiles: 10000", w.app("busy", "oneshot: true\nenabled: false", "plain", lines, "10ms"))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("it took too long"))
	defer cancel()
	total := int64(lines) * plainSize

	seen, ends := make([]*tiles, clients), make(chan error, clients)
	var slowest atomic.Int64
	for n := range clients {
		seen[n] = newTiles()
		go func() {
			ends <- w.follow(ctx, map[string]any{"names": []string{"busy"}}, func(i item) error {
				err := seen[n].add(i)
				if n == 0 {
					slowest.Store(seen[n].reached("busy", "out"))
				}
				return err
			}, func() bool { return seen[n].reached("busy", "out") == total })
		}()
	}
	stuck := w.stall(t, "busy")
	m := w.watchMemory()
	began := time.Now()
	w.OK("start", "busy", "--no-wait")
	var grown int64
	for n := range deaths {
		mark := total * int64(n+1) / int64(deaths+2)
		w.Until(3*time.Minute, "the followers have come further", func() bool { return slowest.Load() >= mark || len(ends) > 0 })
		var pong json.RawMessage
		asked := time.Now()
		if err := w.Call("daemon.ping", map[string]any{}, &pong); err != nil || time.Since(asked) > time.Second {
			t.Errorf("ping took %s: %v", time.Since(asked), err)
		}
		grown = max(grown, m.growth())
		w.KillDaemon()
		stuck.Close()
		stuck, m = w.stall(t, "busy"), w.watchMemory()
	}
	w.WaitState("busy", "completed", 2*time.Minute)
	for range clients {
		if err := <-ends; err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	grown = max(grown, m.growth())
	want := suffix(0, total)
	for n, s := range seen {
		if got := s.sum("busy", "out"); got != want || s.lost["busy out"] > 0 || s.began["busy out"] != 0 {
			t.Errorf("follower %d did not see every line once: from %d, %d bytes in gaps", n, s.began["busy out"], s.lost["busy out"])
		}
	}
	if limit := int64(clients+1)<<20 + 16<<20; grown > limit {
		t.Errorf("the daemon grew by %s with %d followers, at most %s are allowed", mb(grown), clients+1, mb(limit))
	}

	// The one that was stalled may have been cut off; else it finds all the lines when it begins to read.
	late := newTiles()
	err := readJSON(&unwrap{conn: stuck}, late.add, func() bool { return late.reached("busy", "out") == total })
	if err != nil && late.lines["busy out"] == 0 {
		t.Errorf("the stalled reader got nothing: %v", err)
	}
	t.Logf("%d lines, %d rotations, %d deaths of the daemon: %d followers saw every line in %s; keeper and daemon grew by %s; the stalled one then read %d lines (%v)",
		lines, len(w.files("busy", "out"))-1, deaths, clients, took.Round(time.Millisecond), mb(grown), late.lines["busy out"], err)
}

// stall asks for the lines of an app and does not read them.
func (w *world) stall(t *testing.T, app string) net.Conn {
	t.Helper()
	var c net.Conn
	w.Until(20*time.Second, "the daemon can be reached", func() bool {
		var err error
		c, err = net.Dial("unix", filepath.Join(w.Home, "daemon.sock"))
		return err == nil
	})
	t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, `{"jsonrpc":"2.0","id":1,"method":"logs.follow","params":{"names":[%q],"since":"1970-01-02T00:00:00Z"}}`+"\n", app); err != nil {
		t.Fatal(err)
	}
	return c
}

// unwrap gives the items of the one stream of a connection, one a line.
type unwrap struct {
	conn net.Conn
	dec  *json.Decoder
	rest []byte
}

func (u *unwrap) Read(p []byte) (int, error) {
	if u.dec == nil {
		u.dec = json.NewDecoder(u.conn)
	}
	if len(u.rest) == 0 {
		var m struct {
			Params struct{ Item json.RawMessage }
			Error  json.RawMessage
		}
		if err := u.dec.Decode(&m); err != nil {
			return 0, err
		}
		if m.Params.Item == nil {
			return 0, fmt.Errorf("the stream ended: %s", m.Error)
		}
		u.rest = append(m.Params.Item, '\n')
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}
