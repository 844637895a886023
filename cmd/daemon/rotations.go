package daemon

import (
	"context"
	"slices"
	"sync"
)

// rotations holds the logs that were rotated and wait to be tended to, each once: what has to be done takes longer than
// a flood of output leaves for it, and nothing else may wait for that.
type rotations struct {
	mu    sync.Mutex
	paths []string
	wake  chan struct{} // holds one token
}

func newRotations() *rotations { return &rotations{wake: make(chan struct{}, 1)} }

func (r *rotations) add(path string) {
	r.mu.Lock()
	if !slices.Contains(r.paths, path) {
		r.paths = append(r.paths, path)
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *rotations) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	paths := r.paths
	r.paths = nil
	return paths
}

// tend does one log after the other until ctx ends.
func (r *rotations) tend(ctx context.Context, do func(ctx context.Context, path string) error, failed func(path string, err error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		for _, path := range r.take() {
			if err := do(ctx, path); err != nil && ctx.Err() == nil {
				failed(path, err)
			}
		}
	}
}

// retire deletes what rotated logs keep no longer.
func (d *daemon) retire(ctx context.Context) error {
	return d.tooMany.tend(ctx, d.host.Journal.Retire, func(path string, err error) {
		d.log.Warn("cannot delete what a log keeps no longer", "path", path, "err", err)
	})
}

// compress compresses what was rotated. It has its own list: retention does not wait for it.
func (d *daemon) compress(ctx context.Context) error {
	return d.plain.tend(ctx, d.host.Journal.Rotated, func(path string, err error) {
		d.log.Warn("cannot compress a rotated log", "path", path, "err", err)
	})
}
