package main

import (
	"context"
	"slices"
	"sync"
)

// rotations holds the logs that wait for the compression of what was rotated, each once: compressing takes longer than
// printing, and nothing else may wait for it.
type rotations struct {
	mu    sync.Mutex
	paths []string
	wake  chan struct{} // holds one token
}

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

// compress compresses one log after the other until ctx ends.
func (d *daemon) compress(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.rotated.wake:
		}
		for _, path := range d.rotated.take() {
			if err := d.host.Journal.Rotated(ctx, path); err != nil && ctx.Err() == nil {
				d.log.Warn("cannot compress a rotated log", "path", path, "err", err)
			}
		}
	}
}

// retire does what has to be done at once when a log was rotated, and leaves the rest to compress.
func (d *daemon) retire(ctx context.Context, path string) {
	if err := d.host.Journal.Retire(ctx, path); err != nil && ctx.Err() == nil {
		d.log.Warn("cannot delete what a log keeps no longer", "path", path, "err", err)
	}
	d.rotated.add(path)
}
