package lines

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOrder: lines of one goroutine come in their order and whole, whoever writes them.
func TestOrder(t *testing.T) {
	r, w := io.Pipe()
	out := NewWriter(w, 4<<10, time.Minute, func() {})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				if g%2 == 0 {
					out.Post(fmt.Appendf(nil, "%d %d %s", g, i, strings.Repeat("x", i)))
				} else if err := out.Write(fmt.Appendf(nil, "%d %d %s", g, i, strings.Repeat("x", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		wg.Wait()
		out.Drain()
		w.Close()
	}()
	next := map[int]int{}
	in := bufio.NewScanner(r)
	for in.Scan() {
		var g, i int
		var x string
		if n, _ := fmt.Sscan(in.Text(), &g, &i, &x); n < 2 || i != next[g] || len(x) != i {
			t.Fatalf("line %q after %v", in.Text(), next)
		}
		next[g]++
	}
	for g := range 8 {
		if next[g] != 500 {
			t.Errorf("%d lines of %d", next[g], g)
		}
	}
}

// TestStall: a reader that takes nothing is cut off, those who wait fail, and what waits is bounded; whether the stream has
// deadlines or not, and however often lines went through before.
func TestStall(t *testing.T) {
	r, w := io.Pipe()
	mine, theirs := net.Pipe()
	for name, c := range map[string]struct {
		in  io.ReadCloser
		out io.Writer
	}{"plain": {r, w}, "deadlines": {theirs, mine}} {
		t.Run(name, func(t *testing.T) {
			cut := make(chan struct{})
			out := NewWriter(c.out, 1<<10, 50*time.Millisecond, func() {
				close(cut)
				c.in.Close()
			})
			in := bufio.NewReader(c.in)
			for start := time.Now(); time.Since(start) < 100*time.Millisecond; {
				out.Post([]byte("x"))
				if _, err := in.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			out.Drain()
			line := []byte(strings.Repeat("x", 600))
			errs := make(chan error, 10)
			for range 10 {
				go func() { errs <- out.Write(line) }()
			}
			<-cut
			failed := 0
			for range 10 {
				if err := <-errs; errors.Is(err, ErrStalled) {
					failed++
				}
			}
			if err := out.Write(line); !errors.Is(err, ErrStalled) || failed < 7 || len(out.buf) > 2<<10 {
				t.Errorf("%v, %d failed, %d bytes wait", err, failed, len(out.buf))
			}
			out.Drain()
		})
	}
}
