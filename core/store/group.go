package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
)

// errAbandoned is what a caller sees whose part was in a batch that its leader left half done (runtime.Goexit).
var errAbandoned = errors.New("the write was given up before it was made")

// group lets concurrent callers share one expensive step, a commit or the write of a file, and needs no goroutine of
// its own: the first caller leads, does the step for everyone who waits at that moment, and hands the lead to the first
// of those who came meanwhile. Nobody waits longer than the step under way and the next one.
type group[T any] struct {
	mu      sync.Mutex
	waiting []*member[T]
	busy    bool // somebody leads
}

// member is one caller's part of a step.
type member[T any] struct {
	part   T
	err    error
	crash  string    // the part panicked: text and stack
	chosen bool      // leads next; it can no longer withdraw
	turn   chan bool // true: lead; false: done
}

// do has part handled by a run of the leader, and returns when that is over. A part whose ctx ends while it waits is
// taken back; once a leader has it, its fate is that of the step. A panic of the part is raised again here.
func (g *group[T]) do(ctx context.Context, part T, run func([]*member[T])) error {
	m := &member[T]{part: part, err: errAbandoned, turn: make(chan bool, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	first := !g.busy
	g.busy = true
	g.mu.Unlock()
	if first || g.await(ctx, m) {
		g.lead(m, run)
	}
	if m.crash != "" {
		panic(m.crash)
	}
	return m.err
}

// await reports whether m has to lead; otherwise its part is over.
func (g *group[T]) await(ctx context.Context, m *member[T]) bool {
	select {
	case lead := <-m.turn:
		return lead
	case <-ctx.Done():
	}
	g.mu.Lock()
	i := slices.Index(g.waiting, m)
	withdrawn := i >= 0 && !m.chosen
	if withdrawn {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		m.err = ctx.Err()
	}
	g.mu.Unlock()
	return !withdrawn && <-m.turn
}

func (g *group[T]) lead(self *member[T], run func([]*member[T])) {
	g.mu.Lock()
	batch := g.waiting
	g.waiting = nil
	g.mu.Unlock()
	defer func() { // also when run does not return, so that nobody waits for ever
		for _, m := range batch {
			if m != self {
				m.turn <- false
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.busy = len(g.waiting) > 0; g.busy {
			g.waiting[0].chosen = true
			g.waiting[0].turn <- true
		}
	}()
	run(batch)
}

// try calls fn and keeps its panic for the caller whose part it is, which must not hit the leader.
func (m *member[T]) try(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			m.crash = fmt.Sprintf("%v\n%s", p, debug.Stack())
			err = errAbandoned
		}
	}()
	return fn()
}
