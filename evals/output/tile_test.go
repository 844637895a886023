package output_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"path/filepath"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// item is an item of a stream of lines or a page.
type item struct {
	At      time.Time
	App     string
	Stream  string
	Pos     int64
	Text    string
	Raw     string
	Partial bool
	Kind    string
	Lost    int64 `json:"lost_bytes"`
	Level   string
	Cursor  string
}

// bytes are what the app printed: the line with its newline, or the piece of one.
func (i item) bytes() ([]byte, error) {
	b := []byte(i.Text)
	if i.Raw != "" {
		var err error
		if b, err = base64.StdEncoding.DecodeString(i.Raw); err != nil {
			return nil, err
		}
	}
	if !i.Partial {
		b = append(b, '\n')
	}
	return b, nil
}

// tiles puts the items of streams together: each has to begin where the one before it of the same stream ended, so that
// nothing is doubled, and nothing missing that is not an item of its own.
type tiles struct {
	began map[string]int64
	next  map[string]int64
	sums  map[string]hash.Hash
	lines map[string]int
	lost  map[string]int64 // bytes of gaps, of which no byte came
	drops map[string]int64 // bytes that were never stored: they have no positions
}

func newTiles() *tiles {
	return &tiles{map[string]int64{}, map[string]int64{}, map[string]hash.Hash{}, map[string]int{}, map[string]int64{}, map[string]int64{}}
}

func (t *tiles) add(i item) error {
	k := i.App + " " + i.Stream
	if t.sums[k] == nil {
		t.sums[k], t.next[k], t.began[k] = sha256.New(), i.Pos, i.Pos
	}
	if i.Pos != t.next[k] {
		return fmt.Errorf("%s: an item at %d (%s %.60q) follows where %d was next", k, i.Pos, i.Kind, i.Text, t.next[k])
	}
	switch i.Kind {
	case "":
		b, err := i.bytes()
		if err != nil {
			return err
		}
		t.sums[k].Write(b)
		t.lines[k]++
		t.next[k] += int64(len(b))
	case "gap":
		t.lost[k] += i.Lost
		t.next[k] += i.Lost
	case "lost":
		t.drops[k] += i.Lost
	}
	return nil
}

func (t *tiles) sum(app, stream string) string {
	h := t.sums[app+" "+stream]
	if h == nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (t *tiles) reached(app, stream string) int64 { return t.next[app+" "+stream] }

// follow follows apps over RPC until enough says so, or ctx ends. A daemon that dies is waited for, and the stream goes
// on from the last cursor.
func (w *world) follow(ctx context.Context, in map[string]any, each func(item) error, enough func() bool) error {
	cursor := ""
	for !enough() {
		if cursor != "" {
			in["cursor"] = cursor
		}
		c, err := w.dial(ctx)
		if err != nil {
			return err
		}
		for raw, err := range c.Stream(ctx, "logs.follow", in) {
			if err != nil {
				if ctx.Err() != nil {
					c.Close()
					return fmt.Errorf("the follower was told to end before it had seen everything: %w", context.Cause(ctx))
				}
				if !fault.Is(err, fault.Unavailable) {
					c.Close()
					return err
				}
				break // the connection is gone: come again
			}
			var i item
			if err := json.Unmarshal(raw, &i); err != nil {
				c.Close()
				return err
			}
			if err := each(i); err != nil {
				c.Close()
				return err
			}
			if cursor = i.Cursor; enough() {
				break
			}
		}
		c.Close()
	}
	return nil
}

// dial connects to the daemon, as soon as one listens.
func (w *world) dial(ctx context.Context) (*wire.Client, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := wire.Dial(ctx, "unix", filepath.Join(w.Home, "daemon.sock"))
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
