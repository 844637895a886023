package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
)

// recordKey seals the records of this part.
type recordKey struct{}

func (recordKey) Key(string) ([]byte, error) { return []byte("bench"), nil }

// records measures what it costs that a changing call is on record, and the end of the record in a file of its own,
// before it has an effect: beside the fsync of a plain file that grows by a page, in turns, so that both see the same disk.
func records(ctx context.Context, b *bench) (err error) {
	dir, err := os.MkdirTemp(b.dir, "records")
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(filepath.Join(dir, "omnitron.db"), log)
	if err != nil {
		return err
	}
	defer db.Close()
	l := ledger.New(db, ledger.Options{Home: dir, Keys: recordKey{}, Log: log})
	plain, err := os.Create(filepath.Join(dir, "plain"))
	if err != nil {
		return err
	}
	defer plain.Close()
	page := make([]byte, 4096)
	e := ledger.Entry{User: "bench", Channel: "person", Plane: "unix", Method: "apps.restart", Targets: []string{"shop/dev/api"}, Args: []byte(`{"names":["api"]}`)}
	for _, flight := range []int{1, 32} {
		var raw, own table.Spread
		var mu sync.Mutex
		for range b.count(400, 80) {
			start := time.Now()
			if _, err := plain.Write(page); err != nil {
				return err
			}
			if err := plain.Sync(); err != nil {
				return err
			}
			raw = append(raw, time.Since(start))
			var wg sync.WaitGroup
			for range flight {
				wg.Go(func() {
					start := time.Now()
					_, e := l.Begin(ctx, e)
					mu.Lock()
					defer mu.Unlock()
					own = append(own, time.Since(start))
					if err == nil {
						err = e
					}
				})
			}
			if wg.Wait(); err != nil {
				return err
			}
		}
		slices.Sort(raw)
		slices.Sort(own)
		ratio := float64(own.At(.5)) / float64(raw.At(.5))
		r := b.table.Row(fmt.Sprintf("record of a changing call, %d in flight: p50 / an fsync's (µs)", flight), "≤ 1.5 at 1")
		if flight > 1 {
			r.Floor = ""
		}
		r.Set("omnitron", ratio <= 1.5, "%.2f (%d / %d)", ratio, own.At(.5).Microseconds(), raw.At(.5).Microseconds())
	}
	v, err := l.Verify(ctx, "")
	if err == nil && v.Broken != nil {
		err = fmt.Errorf("row %d of the record: %s", v.Broken.Seq, v.Broken.Why)
	}
	return err
}
