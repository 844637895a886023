package wire

import "sync"

// Group runs a bounded number of functions at once and waits for them. The zero value with a Limit is ready to use.
type Group struct {
	Limit int // at once; 0: no bound

	mu sync.Mutex
	n  int
	wg sync.WaitGroup
}

// Go runs f on its own goroutine, or reports false when the limit is reached.
func (g *Group) Go(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.Limit > 0 && g.n >= g.Limit {
		return false
	}
	g.n++
	g.wg.Add(1)
	go g.run(f)
	return true
}

func (g *Group) run(f func()) {
	defer g.wg.Done()
	defer func() {
		g.mu.Lock()
		g.n--
		g.mu.Unlock()
	}()
	f()
}

// Len is how many run now.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

// Wait returns when all have ended.
func (g *Group) Wait() { g.wg.Wait() }
