package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// hold starts a leader that waits inside its step until release is called, so that others gather behind it.
func hold(t *testing.T, g *group[int], wg *sync.WaitGroup, run func([]*member[int])) (release func()) {
	t.Helper()
	in, out := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		err := g.do(context.Background(), -1, func(ms []*member[int]) {
			close(in)
			<-out
			run(ms)
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-in
	return func() { close(out) }
}

func TestGroupSharesOneStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group[int]
		var wg sync.WaitGroup
		var sizes []int
		run := func(ms []*member[int]) {
			sizes = append(sizes, len(ms))
			for _, m := range ms {
				m.err = nil
			}
		}
		release := hold(t, &g, &wg, run)
		for i := range 50 {
			wg.Go(func() {
				if err := g.do(context.Background(), i, run); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		release()
		wg.Wait()
		if len(sizes) != 2 || sizes[0] != 1 || sizes[1] != 50 {
			t.Errorf("steps of %v parts, want the leader's own and one for the 50 who waited", sizes)
		}
		if err := g.do(context.Background(), 0, run); err != nil || len(sizes) != 3 {
			t.Errorf("afterwards a call alone gave %v in %d steps", err, len(sizes))
		}
	})
}

func TestGroupWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group[int]
		var wg sync.WaitGroup
		var parts []int
		run := func(ms []*member[int]) {
			for _, m := range ms {
				parts, m.err = append(parts, m.part), nil
			}
		}
		release := hold(t, &g, &wg, run)
		ctx, cancel := context.WithCancel(context.Background())
		wg.Go(func() {
			if err := g.do(ctx, 1, run); !errors.Is(err, context.Canceled) {
				t.Errorf("a part that was taken back gave %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if err := g.do(context.Background(), 2, run); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		release()
		wg.Wait()
		if len(parts) != 2 || parts[0] != -1 || parts[1] != 2 {
			t.Errorf("handled %v, want the leader's and the one that stayed", parts)
		}
	})
}

// A step that never returns normally must not leave the others waiting, nor the group without a leader.
func TestGroupSurvivesALeaderThatExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group[int]
		var wg sync.WaitGroup
		run := func(ms []*member[int]) {
			if len(ms) > 1 {
				panic("a mistake in the step")
			}
			ms[0].err = nil
		}
		release := hold(t, &g, &wg, run)
		var mu sync.Mutex
		abandoned, panicked := 0, 0
		for i := range 5 {
			wg.Go(func() {
				defer func() {
					if recover() != nil {
						mu.Lock()
						panicked++
						mu.Unlock()
					}
				}()
				if err := g.do(context.Background(), i, run); errors.Is(err, errAbandoned) {
					mu.Lock()
					abandoned++
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		release()
		wg.Wait()
		if panicked != 1 || abandoned != 4 {
			t.Errorf("%d panicked and %d were given up, want 1 and 4", panicked, abandoned)
		}
		if err := g.do(context.Background(), 9, run); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// The part of somebody else may take the transaction down; then the parts that were fine run again.
func TestUpdateRunsAgainAfterALostTransaction(t *testing.T) {
	s := openAt(t, t.TempDir()+"/omnitron.db")
	runs := 0
	fine := &member[change]{part: change{t.Context(), func(tx *sql.Tx) error {
		runs++
		_, err := tx.Exec("INSERT INTO settings VALUES ('fine', 'x')")
		return err
	}}}
	guilty := &member[change]{part: change{t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.Exec("ROLLBACK"); err != nil {
			t.Error(err)
		}
		return errors.New("guilty")
	}}}
	s.commit([]*member[change]{fine, guilty})
	if fine.err != nil || runs != 2 || guilty.err == nil {
		t.Errorf("fine: %v after %d runs; guilty: %v", fine.err, runs, guilty.err)
	}
	var n int
	if err := s.r.QueryRow("SELECT count(*) FROM settings WHERE name = 'fine'").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// A caller that is gone when its turn comes gets nothing done.
func TestUpdateOfACallerThatIsGone(t *testing.T) {
	s := openAt(t, t.TempDir()+"/omnitron.db")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	gone := &member[change]{part: change{ctx, func(*sql.Tx) error { ran = true; return nil }}}
	stays := &member[change]{part: change{t.Context(), func(*sql.Tx) error { return nil }}}
	s.commit([]*member[change]{gone, stays})
	if ran || !errors.Is(gone.err, context.Canceled) || stays.err != nil {
		t.Errorf("it ran: %v, %v; the other got %v", ran, gone.err, stays.err)
	}
	if err := s.Update(ctx, gone.part.fn); ran || !errors.Is(err, context.Canceled) {
		t.Errorf("it ran: %v, %v", ran, err)
	}
}
