package records

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/op"
)

const (
	eventDelay = 100 * time.Millisecond // how long an event may wait for others to share its commit
	eventBatch = 256                    // this many do not wait
	// eventRoom is how many events may wait for the disk. A death of the daemon can lose as many, so their numbers are
	// not used again: see First.
	eventRoom = 4096
)

// retryAfter is when events that could not be written are tried again.
const retryAfter = time.Second

// Events is the repository of what has happened.
type Events struct {
	db  database
	log *slog.Logger
	bus *bus.Bus // whose events are recorded: its newest ones may not be on disk yet
}

// NewEvents gives the repository in db.
func NewEvents(db database, log *slog.Logger) *Events { return &Events{db: db, log: log} }

// First is the number that the first event of a new bus should have, above all that a cursor may name.
func (e *Events) First(ctx context.Context) (first uint64, err error) {
	err = e.db.View(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT coalesce(max(seq) + ?, 1) FROM events`, eventRoom).Scan(&first)
	})
	if err != nil {
		return 0, fmt.Errorf("cannot read events: %w", err)
	}
	return first, nil
}

// Append keeps events; one whose number is there already is left as it is.
func (e *Events) Append(ctx context.Context, events []bus.Event) error {
	return e.db.Update(ctx, func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, `INSERT OR IGNORE INTO events (seq, at, topic, type, key, slot, text, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return fmt.Errorf("cannot keep events: %w", err)
		}
		defer insert.Close() //nolint:errcheck // the transaction ends it anyway
		for _, ev := range events {
			data := ""
			if len(ev.Data) > 0 {
				raw, err := json.Marshal(ev.Data)
				if err != nil { // a mistake of the publisher must not hold up everybody's events
					raw, _ = json.Marshal(map[string]string{"encoding_error": err.Error()})
				}
				data = string(raw)
			}
			if _, err := insert.ExecContext(ctx, ev.Seq, ev.At.UnixNano(), ev.Topic, ev.Type, ev.Key, ev.Slot, ev.Text, data); err != nil {
				return fmt.Errorf("cannot keep events: %w", err)
			}
		}
		return nil
	})
}

// EventFilter says which events are wanted; what is empty does not restrict.
type EventFilter struct {
	Topics []string
	Keys   []string
	Since  time.Time
	Until  time.Time
	After  uint64 // only later numbers, and then oldest first
	Before uint64 // only earlier numbers
	Limit  int    // 1 to 1000; 0: 20

	Scope op.Scope // only of apps within it
}

// List gives events newest first, those included that Record has not written yet; with After it gives what is on disk,
// oldest first. more says that there are others beyond the last one; its number is the After or Before of the next page.
func (e *Events) List(ctx context.Context, f EventFilter) (events []bus.Event, more bool, err error) {
	where, args := f.where()
	order, limit := "DESC", pageSize(f.Limit)
	if f.After > 0 {
		order = "ASC"
	}
	query := `SELECT seq, at, topic, type, key, slot, text, data FROM events` + where + ` ORDER BY seq ` + order + ` LIMIT ?`
	var recent []bus.Event
	if f.After == 0 && e.bus != nil { // before the disk is looked at: what is written and forgotten meanwhile is in both
		recent = e.bus.Recent(bus.Filter{Topics: f.Topics, Keys: f.Keys}, 0, eventRoom)
	}
	err = e.db.View(ctx, func(tx *sql.Tx) error {
		events, err = collect(ctx, tx, scanEvent, query, append(args, limit+1)...)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("cannot read events: %w", err)
	}
	events = append(f.unwritten(recent, events), events...)
	if len(events) > limit {
		return events[:limit], true, nil
	}
	return events, false, nil
}

// unwritten gives those of the recent events, newest first, that a list from the disk lacks at its beginning.
func (f EventFilter) unwritten(recent, written []bus.Event) (fresh []bus.Event) {
	var newest uint64
	if len(written) > 0 {
		newest = written[0].Seq
	}
	for _, ev := range slices.Backward(recent) {
		if ev.Seq > newest && f.Scope.CoversKey(ev.Key) && (f.Before == 0 || ev.Seq < f.Before) && !ev.At.Before(f.Since) && (f.Until.IsZero() || ev.At.Before(f.Until)) {
			fresh = append(fresh, ev)
		}
	}
	return fresh
}

func (f EventFilter) where() (string, []any) {
	var terms []string
	var args []any
	add := func(term string, values ...any) { terms, args = append(terms, term), append(args, values...) }
	in := func(column string, values []string) {
		if len(values) == 0 {
			return
		}
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = v
		}
		add(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", list...)
	}
	in("topic", f.Topics)
	in("key", f.Keys)
	if f.Scope.Bounded() {
		var any []string
		for _, project := range orAll(f.Scope.Projects) {
			for _, stack := range orAll(f.Scope.Stacks) {
				any, args = append(any, "key GLOB ?"), append(args, project+"/"+stack+"/*") // a key has two slashes
			}
		}
		terms = append(terms, "("+strings.Join(any, " OR ")+")")
	}
	if !f.Since.IsZero() {
		add("at >= ?", f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		add("at < ?", f.Until.UnixNano())
	}
	if f.After > 0 {
		add("seq > ?", f.After)
	}
	if f.Before > 0 {
		add("seq < ?", f.Before)
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}

func scanEvent(rows *sql.Rows) (ev bus.Event, err error) {
	var at int64
	var data string
	if err := rows.Scan(&ev.Seq, &at, &ev.Topic, &ev.Type, &ev.Key, &ev.Slot, &ev.Text, &data); err != nil {
		return ev, err
	}
	ev.At = time.Unix(0, at)
	if data != "" {
		err = json.Unmarshal([]byte(data), &ev.Data)
	}
	return ev, err
}

// Retire deletes what is older than before, and the oldest beyond keep events (0: no such bound).
func (e *Events) Retire(ctx context.Context, before time.Time, keep int) (deleted int64, err error) {
	err = e.db.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM events WHERE at < ?1 OR (?2 > 0 AND seq <= (SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?2))`,
			before.UnixNano(), keep)
		if err != nil {
			return fmt.Errorf("cannot retire events: %w", err)
		}
		deleted, err = result.RowsAffected()
		return err
	})
	return deleted, err
}

// Record keeps everything that b carries until ctx ends, a batch a commit, at most 100 ms behind. While the disk
// refuses, events wait in the subscription; those that find no room there are lost and an event of the type "lost" says
// how many. Its subscription begins with the call of Record's maker, so nothing published after it is missed.
func (e *Events) Record(b *bus.Bus) func(ctx context.Context) error {
	e.bus = b
	sub := b.Subscribe(bus.Filter{}, eventRoom)
	return func(ctx context.Context) error {
		defer sub.Close()
		for {
			batch, lost := gather(ctx, sub)
			if lost > 0 {
				b.Publish(bus.Event{Topic: "events", Type: "lost", Text: fmt.Sprintf("%d events were not kept", lost), Data: map[string]any{"count": lost}})
			}
			if len(batch) > 0 && e.keep(ctx, batch) {
				b.Kept(batch[len(batch)-1].Seq)
			}
			if ctx.Err() != nil && len(batch) < eventBatch {
				return nil
			}
		}
	}
}

// gather waits for an event and then a little for more. After the end of ctx it gives what is there.
func gather(ctx context.Context, sub *bus.Sub) (batch []bus.Event, lost int64) {
	ev, lost, err := sub.Next(ctx)
	if err != nil {
		return nil, lost
	}
	batch = append(batch, ev)
	until, cancel := context.WithTimeout(ctx, eventDelay)
	defer cancel()
	for len(batch) < eventBatch {
		ev, dropped, err := sub.Next(until)
		if err != nil {
			break
		}
		batch, lost = append(batch, ev), lost+dropped
	}
	return batch, lost
}

// keep tries until the batch is on disk, which it reports, or ctx has ended.
func (e *Events) keep(ctx context.Context, batch []bus.Event) bool {
	retry := time.NewTicker(retryAfter)
	defer retry.Stop()
	for failed := false; ; failed = true {
		err := e.Append(context.WithoutCancel(ctx), batch) // at the end of ctx the last batch is kept too
		if err == nil {
			return true
		}
		if !failed {
			e.log.Error("cannot keep events, trying again", "count", len(batch), "err", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-retry.C:
		}
	}
}

// orAll are globs; none match all.
func orAll(globs []string) []string {
	if len(globs) == 0 {
		return []string{"*"}
	}
	return globs
}
