package role

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Beats hears programs say that they are there. They write a line into a FIFO as the first thing that they do, which
// costs all contenders the same and tells name, pid and moment without looking at /proc.
type Beats struct {
	Path string
	f    *os.File
	wg   sync.WaitGroup

	mu   sync.Mutex
	all  []Beat
	news chan struct{} // closed and replaced with each beat
}

// Beat is one line of a program.
type Beat struct {
	Name string
	Word string // the pid, or what a role says at its end
	At   time.Time
}

// PID is the word as a pid.
func (b Beat) PID() int { n, _ := strconv.Atoi(b.Word); return n }

// Listen makes the FIFO at path and hears what is written to it.
func Listen(path string) (*Beats, error) {
	if err := unix.Mkfifo(path, 0o622); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0) // writing too: it never ends
	if err != nil {
		return nil, err
	}
	b := &Beats{Path: path, f: f, news: make(chan struct{})}
	b.wg.Go(func() {
		in := bufio.NewScanner(f)
		for in.Scan() {
			at := time.Now()
			name, word, _ := strings.Cut(in.Text(), " ")
			b.mu.Lock()
			b.all = append(b.all, Beat{name, word, at})
			close(b.news)
			b.news = make(chan struct{})
			b.mu.Unlock()
		}
	})
	return b, nil
}

// Close ends the hearing.
func (b *Beats) Close() {
	b.f.Close()
	b.wg.Wait()
}

// Len is how many there were.
func (b *Beats) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

// Of gives the beats with a name, from the nth of all on.
func (b *Beats) Of(name string, from int) (some []Beat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.all[from:] {
		if x.Name == name {
			some = append(some, x)
		}
	}
	return some
}

// Last is the latest beat with a name.
func (b *Beats) Last(name string) Beat {
	some := b.Of(name, 0)
	if len(some) == 0 {
		return Beat{}
	}
	return some[len(some)-1]
}

// Next waits for the first beat with a name after the first n of all.
func (b *Beats) Next(ctx context.Context, within time.Duration, name string, n int) (Beat, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	for {
		b.mu.Lock()
		news := b.news
		b.mu.Unlock()
		if some := b.Of(name, n); len(some) > 0 {
			return some[0], nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return Beat{}, ctx.Err()
		case <-t.C:
			return Beat{}, fmt.Errorf("not a word of %s within %s", name, within)
		}
	}
}

// Reach waits until there are n beats and gives the moment of the last.
func (b *Beats) Reach(ctx context.Context, within time.Duration, n int) (time.Time, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	for {
		b.mu.Lock()
		news, have := b.news, len(b.all)
		if have >= n {
			at := b.all[n-1].At
			b.mu.Unlock()
			return at, nil
		}
		b.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-t.C:
			return time.Time{}, fmt.Errorf("%d of %d programs within %s", have, n, within)
		}
	}
}
