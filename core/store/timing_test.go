package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
)

func TestWaitingPutsShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.WrapDisk(newMemDisk())
		f := openState(t, "/home/state.json", disk)
		put(t, f, number(0))
		put(t, f, number(0))
		perWrite := disk.Calls()
		put(t, f, number(0))
		perWrite = disk.Calls() - perWrite
		before := disk.Calls()
		reached, release := disk.StallAt(1)
		var wg sync.WaitGroup
		add := func(i int) {
			wg.Go(func() {
				err := f.Put(context.Background(), func(s *store.State) error {
					s.Set(store.AppState{Key: fmt.Sprint("app", i)})
					if i%10 == 3 {
						return errors.New("mine")
					}
					return nil
				})
				if (err != nil) != (i%10 == 3) {
					t.Errorf("put %d gave %v", i, err)
				}
			})
		}
		add(0)
		<-reached
		for i := 1; i < 50; i++ {
			add(i)
		}
		f.Touch(func(s *store.State) { s.HomeDown = true })
		synctest.Wait()
		if s := f.View(); !s.HomeDown || s.Len() != 1 { // nobody who looks waits for the disk
			t.Errorf("while the disk works the state is %+v", s)
		}
		release()
		wg.Wait()
		if writes := (disk.Calls() - before) / perWrite; writes != 2 {
			t.Errorf("50 puts took %d writes, want 2", writes)
		}
		for name, s := range map[string]store.State{"memory": f.View(), "disk": openState(t, "/home/state.json", disk).View()} {
			if s.Len() != 1+45 || !s.HomeDown {
				t.Errorf("%s has %d apps, touched %v", name, s.Len(), s.HomeDown)
			}
		}
	})
}

func TestRunWritesWhatWasTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.WrapDisk(newMemDisk())
		f := openState(t, "/home/state.json", disk)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		onDisk := func() int { return numberOf(openState(t, "/home/state.json", disk).View()) }
		wait := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		wait(10 * time.Millisecond)
		for i := range 20 {
			f.Touch(func(s *store.State) { s.Set(number(i + 1)) })
		}
		calls := disk.Calls()
		wait(99 * time.Millisecond)
		if disk.Calls() != calls {
			t.Error("it was written before 100 ms")
		}
		wait(2 * time.Millisecond)
		if n := onDisk(); n != 20 {
			t.Errorf("after 100 ms the disk has %d", n)
		}
		calls = disk.Calls()
		wait(31 * time.Second)
		if disk.Calls() == calls {
			t.Error("nothing was written within 30 s")
		}

		disk.FailAll(syscall.EIO)
		f.Touch(func(s *store.State) { s.Set(number(21)) })
		wait(20 * time.Second)
		if f.Health() == nil || onDisk() != 20 || numberOf(f.View()) != 21 {
			t.Errorf("on a broken disk: health %v, disk %d, memory %d", f.Health(), onDisk(), numberOf(f.View()))
		}
		disk.FailAll(nil)
		wait(2 * time.Second)
		if f.Health() != nil || onDisk() != 21 {
			t.Errorf("2 s after the disk healed: health %v, disk %d", f.Health(), onDisk())
		}

		f.Touch(func(s *store.State) { s.Set(number(22)) })
		cancel()
		wg.Wait()
		if n := onDisk(); n != 22 {
			t.Errorf("at the end the disk has %d", n)
		}
	})
}

// What the disk refused while Run was ending is not forgotten: the last word is tried, and its failure told.
func TestTheEndTellsWhatIsNotOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.WrapDisk(newMemDisk())
		f := openState(t, "/home/state.json", disk)
		put(t, f, number(1))
		disk.FailAll(syscall.EIO)
		if err := f.Put(t.Context(), func(s *store.State) error { s.Set(number(2)); return nil }); err == nil {
			t.Fatal("the write was not refused")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.Run(ctx); !errors.Is(err, syscall.EIO) {
			t.Errorf("at the end: %v", err)
		}
	})
}

// A refused write may have reached the disk all the same; Run puts that right without being asked.
func TestRunRepairsARefusedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.WrapDisk(newMemDisk())
		f := openState(t, "/home/state.json", disk)
		put(t, f, number(1))
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { _ = f.Run(ctx) })
		disk.FailAt(4, syscall.EIO) // the fsync of the directory, after the rename
		if err := f.Put(t.Context(), func(s *store.State) error { s.Set(number(2)); return nil }); err == nil {
			t.Fatal("the write was not refused")
		}
		<-time.After(5 * time.Second)
		synctest.Wait()
		if n := numberOf(openState(t, "/home/state.json", disk).View()); n != 1 || f.Health() != nil {
			t.Errorf("after 5 s the disk has %d, health %v", n, f.Health())
		}
		cancel()
		wg.Wait()
	})
}
