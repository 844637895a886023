package main

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

// beats hears programs say that they are there. They write a line into a FIFO as the first thing that they do, which
// costs all contenders the same and tells name, pid and moment without looking at /proc.
type beats struct {
	path string
	f    *os.File
	wg   sync.WaitGroup

	mu   sync.Mutex
	all  []beat
	news chan struct{} // closed and replaced with each beat
}

type beat struct {
	name string
	word string // the pid, or what a role says at its end
	at   time.Time
}

func (b beat) pid() int { n, _ := strconv.Atoi(b.word); return n }

func listen(path string) (*beats, error) {
	if err := unix.Mkfifo(path, 0o622); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0) // writing too: it never ends
	if err != nil {
		return nil, err
	}
	b := &beats{path: path, f: f, news: make(chan struct{})}
	b.wg.Go(func() {
		in := bufio.NewScanner(f)
		for in.Scan() {
			at := time.Now()
			name, word, _ := strings.Cut(in.Text(), " ")
			b.mu.Lock()
			b.all = append(b.all, beat{name, word, at})
			close(b.news)
			b.news = make(chan struct{})
			b.mu.Unlock()
		}
	})
	return b, nil
}

func (b *beats) close() {
	b.f.Close()
	b.wg.Wait()
}

// len is how many there were.
func (b *beats) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.all)
}

// of gives the beats with a name, from the nth of all on.
func (b *beats) of(name string, from int) (some []beat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.all[from:] {
		if x.name == name {
			some = append(some, x)
		}
	}
	return some
}

// last is the latest beat with a name.
func (b *beats) last(name string) beat {
	some := b.of(name, 0)
	if len(some) == 0 {
		return beat{}
	}
	return some[len(some)-1]
}

// next waits for the first beat with a name after the first n of all.
func (b *beats) next(ctx context.Context, within time.Duration, name string, n int) (beat, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	for {
		b.mu.Lock()
		news := b.news
		b.mu.Unlock()
		if some := b.of(name, n); len(some) > 0 {
			return some[0], nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return beat{}, ctx.Err()
		case <-t.C:
			return beat{}, fmt.Errorf("not a word of %s within %s", name, within)
		}
	}
}

// reach waits until there are n beats and gives the moment of the last.
func (b *beats) reach(ctx context.Context, within time.Duration, n int) (time.Time, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	for {
		b.mu.Lock()
		news, have := b.news, len(b.all)
		if have >= n {
			at := b.all[n-1].at
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
