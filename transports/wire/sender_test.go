package wire

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a connection whose other end does not read yet.
type gate struct {
	open chan struct{}
	got  strings.Builder
}

func (g *gate) Write(b []byte) (int, error) {
	<-g.open
	return g.got.Write(b)
}

func (*gate) Close() error { return nil }

func TestFlushWaitsForWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		s := &sender{conn: g, limit: time.Hour}
		s.flush() // nothing was sent
		send := func(text string) {
			if err := s.send(context.Background(), []byte(text)); err != nil {
				t.Error(err)
			}
		}
		go send("first ")
		synctest.Wait()
		send("second") // behind the one that is being written
		flushed := false
		go func() {
			s.flush()
			flushed = true
		}()
		synctest.Wait()
		if flushed {
			t.Error("it did not wait")
		}
		close(g.open)
		synctest.Wait()
		if !flushed || g.got.String() != "first second" {
			t.Errorf("flushed %v, written %q", flushed, g.got.String())
		}
	})
}

func TestFlushEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		s := &sender{conn: g, limit: time.Minute}
		go func() { _ = s.send(context.Background(), []byte("stuck")) }() // fails when its time is up
		synctest.Wait()
		began := time.Now()
		s.flush()
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %s", took)
		}
		close(g.open)
	})
}
