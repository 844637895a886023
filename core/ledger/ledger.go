// Package ledger is the record of calls. A changing call is written, durably, before it has an effect: no record, no
// effect. How it ended follows within 100 ms; reads and refusals are written behind, in batches, and what had to be
// left out is itself on record as a gap.
//
// Rows are only ever added. Each carries an HMAC over itself and the mac before it, with a key of the vault, so that a row
// that was edited, deleted, inserted or moved is found, and the first one named. The end of the chain, its head, is in a
// file of its own, synced before the answer; a third file anchors it every hour. The store is ahead of its head after a
// death in between: then its last rows are verified. It is never behind, unless somebody has cut it off.
package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Unrecorded is the reason of the fault that refuses a call which cannot be recorded.
const Unrecorded = "audit_unavailable"

const (
	flushDelay = 100 * time.Millisecond // how far behind the file may be
	retryDelay = time.Second            // after a failed write
	room       = 16384                  // rows that may wait; reads beyond it become a gap
	burst      = room / 4               // so many rows do not wait
	keep       = 1024                   // for so many rows, a third of a megabyte, there is room while none wait
)

// database is what the ledger needs of a store.
type database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// Entry is one call.
type Entry struct {
	Seq        int64           // its place among all commands; given by Begin
	Time       time.Time       // zero: now
	Call       string          // call id
	User       string          //
	UID        int             //
	Channel    string          // person, agent, app, node
	Client     string          // what the client calls itself: foreign text
	Session    string          //
	Plane      string          // unix, stdio, tcp, http
	Trace      string          // W3C trace id
	Method     string          //
	Targets    []string        // keys of the apps it is about
	Args       json.RawMessage // with what is secret taken out by the caller
	Decision   string          // allow, confirm, hold, deny; "" before it is made
	Code       string          // fault code, "" for success
	Reason     string          // reason of the fault
	Took       time.Duration
	Count      int64  // how many calls, or rows, this one stands for; 0: itself
	Open       bool   // it has begun and its end is not on record
	Changes    bool   // it was recorded before its effect
	Refused    bool   // it was turned away
	Address    string // where it came from; "" on a socket
	Credential string // what the caller signed in with, session:ID or token:ID; "" on a socket
}

// Result is how a call ended.
type Result struct {
	Decision string
	Code     string
	Reason   string
	Took     time.Duration
}

// Options say where the files beside the record lie, and who has its key.
type Options struct {
	Home string // holds audit.head and audit.anchor
	Keys Keys
	Log  *slog.Logger
}

// Ledger is safe for concurrent use.
type Ledger struct {
	home string
	keys Keys
	db   database
	log  *slog.Logger
	sync func(*os.File) error // of the head

	wake  chan struct{} // capacity 1: there is something to write
	flush sync.Mutex    // one flush at a time, so that rows keep their order

	opened    atomic.Bool
	mode      sync.RWMutex // held by who writes; to be sealed from now on takes it alone
	seal      *seal        // nil until the key could be had
	head      *head
	anchors   *anchors
	anchoring sync.Mutex
	unsealed  atomic.Pointer[error]
	trouble   atomic.Pointer[Broken]
	ahead     atomic.Int64

	mu        sync.Mutex
	waiting   []row
	spare     []row // what the next ones wait in
	gap       int64 // reads that found no room since the last flush
	health    error
	strangers map[stranger]*turned
}

// New gives the ledger in db.
func New(db database, o Options) *Ledger {
	return &Ledger{home: o.Home, keys: o.Keys, db: db, log: o.Log, sync: fdatasync, wake: make(chan struct{}, 1), strangers: map[stranger]*turned{}}
}

func (l *Ledger) path(name string) string { return filepath.Join(l.home, name) }

// errHead says that rows are in the store, and that its head could not be written.
var errHead = errors.New("the end of the record cannot be written")

// append adds rows to the chain and returns when they and its head are durable, with what the functions have done in the
// same transaction.
func (l *Ledger) append(ctx context.Context, rows []row, with ...func(*sql.Tx) error) (seq int64, err error) {
	if err := l.open(ctx); err != nil {
		return 0, err
	}
	l.mode.RLock()
	defer l.mode.RUnlock()
	var known position
	if l.head != nil {
		known, _ = l.head.ends()
	}
	end := known
	err = l.db.Update(ctx, func(tx *sql.Tx) error {
		for _, fn := range with {
			if err := fn(tx); err != nil {
				return err
			}
		}
		var err error
		end, err = l.seal.add(tx, known, rows)
		return err
	})
	if err != nil || l.head == nil {
		return end.seq, err
	}
	if err := l.head.advance(end); err != nil {
		return end.seq, errors.Join(errHead, err)
	}
	return end.seq, nil
}

// Begin records a changing call and gives its number, which grows in the order in which calls were recorded: the last
// one recorded on a target is the one that counts. The record is durable when Begin returns, and so is what the functions
// with have done in its transaction: both, or neither.
//
// Faults: those of the functions; internal with reason audit_unavailable. Then the call must not go on.
func (l *Ledger) Begin(ctx context.Context, e Entry, with ...func(*sql.Tx) error) (seq int64, err error) {
	seq, err = l.append(ctx, []row{rowOf(intent, e)}, with...)
	if errors.Is(err, errHead) {
		l.Settle(seq, Result{Code: string(fault.Internal), Reason: Unrecorded})
	} else if err == nil || ctx.Err() != nil {
		return seq, err
	}
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code != fault.Internal {
		return 0, f
	}
	return 0, fault.Wrap(err, fault.Internal, "the call was not made, because it cannot be recorded: %v", err).
		WithReason(Unrecorded).WithHint("make room on the disk or mend it, then call again; reads and supervision go on")
}

// Settle records how the call with the number seq ended. It is durable within 100 ms, and never left out.
func (l *Ledger) Settle(seq int64, r Result) {
	l.enqueue(row{kind: settle, ref: seq, at: time.Now().UnixNano(), decision: r.Decision, code: r.Code, reason: r.Reason, took: int64(r.Took)}, false)
}

// Read records a call that is over and changed nothing: a read, or a call that was refused before it could be recorded.
// It costs the caller an append to a list; when nobody can write, calls beyond the list's room become a counted gap.
func (l *Ledger) Read(e Entry) {
	kind := read
	if e.Refused {
		kind = refusal
	}
	l.enqueue(rowOf(kind, e), true)
}

func (l *Ledger) enqueue(r row, mayDrop bool) {
	l.mu.Lock()
	n := len(l.waiting)
	if mayDrop && n >= room {
		l.gap++
	} else {
		l.waiting = append(l.waiting, r)
	}
	l.mu.Unlock()
	if n == 0 || n == burst {
		l.signal()
	}
}

func (l *Ledger) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Health is the error of the last write behind if that failed, else nil.
func (l *Ledger) Health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health
}

// Run writes what waits, at most 100 ms behind, until ctx ends, and then once more.
func (l *Ledger) Run(ctx context.Context) error {
	if err := l.open(ctx); err != nil {
		l.log.Error("cannot take over the record of calls", "err", err)
	}
	timer := time.NewTimer(flushDelay)
	defer timer.Stop()
	sums := time.NewTicker(sumEvery)
	defer sums.Stop()
	for {
		select {
		case <-ctx.Done():
			l.sum(time.Now().Add(minute))
			return l.Flush(context.WithoutCancel(ctx)) // the last word, after the end
		case <-sums.C:
			l.sum(time.Now())
			continue
		case <-l.wake:
		}
		delay := flushDelay
		if l.Health() != nil {
			delay = retryDelay
		}
		if !l.pause(ctx, timer, delay) {
			continue
		}
		if err := l.Flush(ctx); err != nil {
			l.signal()
		}
	}
}

// pause lets rows gather; a burst ends it. It reports false at the end of ctx.
func (l *Ledger) pause(ctx context.Context, timer *time.Timer, d time.Duration) bool {
	timer.Reset(d)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-l.wake:
			l.mu.Lock()
			full := len(l.waiting) >= burst && l.health == nil
			l.mu.Unlock()
			if full {
				return true
			}
		}
	}
}

// Flush writes what waits now, so that List shows everything that is over. What has begun goes to its end: that ctx ends is the
// matter of who has called, and no trouble of the record's.
func (l *Ledger) Flush(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	l.flush.Lock()
	defer l.flush.Unlock()
	l.mu.Lock()
	rows, lost := l.waiting, l.gap
	l.waiting, l.spare, l.gap = l.spare, nil, 0
	l.mu.Unlock()
	if len(rows) == 0 && lost == 0 && l.Health() == nil {
		return nil
	}
	batch := rows
	if lost > 0 {
		batch = append(batch[:len(batch):len(batch)], own(gap, "", lost, ""))
	}
	_, err := l.append(ctx, batch)
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, errHead) { // rows are in the store, and must not be there twice
		l.log.Error("cannot write the end of the record of calls", "err", err)
	} else if err != nil {
		l.waiting, l.gap = append(rows, l.waiting...), l.gap+lost
		if l.health == nil {
			l.log.Error("cannot write the record of calls", "err", err)
		}
		err = fmt.Errorf("cannot write the record of calls: %w", err)
	} else if l.health != nil {
		l.log.Info("the record of calls can be written again")
	}
	if (err == nil || errors.Is(err, errHead)) && cap(rows) <= keep {
		clear(rows)
		l.spare = rows[:0]
	}
	l.health = err
	return err
}
