package store_test

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
)

// memDisk is a disk whose power can be cut: what a file holds is durable once Write has returned, but names change on
// the medium only with SyncDir; after a cut any number of the changes since then, in order, may have made it.
type memDisk struct {
	mu      sync.Mutex
	names   map[string]*[]byte
	durable map[string]*[]byte
	pending []func(map[string]*[]byte)
	steps   int  // changing calls so far
	cutAt   int  // from this call on everything fails; 0: never
	plain   bool // it cannot exchange names
}

var errCut = errors.New("the power is off")

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*[]byte{}, durable: map[string]*[]byte{}}
}

// afterCut gives what a machine finds that comes back when n of the pending changes had reached the medium.
func (d *memDisk) afterCut(n int) *memDisk {
	names := maps.Clone(d.durable)
	for _, change := range d.pending[:n] {
		change(names)
	}
	return &memDisk{names: names, durable: maps.Clone(names), plain: d.plain}
}

func (d *memDisk) step(change func(map[string]*[]byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.steps++; d.cutAt > 0 && d.steps >= d.cutAt {
		return errCut
	}
	if err := change(d.names); err != nil {
		return err
	}
	d.pending = append(d.pending, func(names map[string]*[]byte) { _ = change(names) })
	return nil
}

func (d *memDisk) Read(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if data, ok := d.names[name]; ok {
		return slices.Clone(*data), nil
	}
	return nil, fs.ErrNotExist
}

func (d *memDisk) Write(name string, data []byte) error {
	file := slices.Clone(data) // one file, under this name now and on the medium later
	return d.step(func(names map[string]*[]byte) error { names[name] = &file; return nil })
}

func (d *memDisk) Link(from, to string) error {
	return d.step(func(names map[string]*[]byte) error {
		switch {
		case names[from] == nil:
			return fs.ErrNotExist
		case names[to] != nil:
			return fs.ErrExist
		}
		names[to] = names[from]
		return nil
	})
}

func (d *memDisk) Exchange(a, b string) error {
	if d.plain {
		return errors.ErrUnsupported
	}
	return d.step(func(names map[string]*[]byte) error {
		if names[a] == nil || names[b] == nil {
			return fs.ErrNotExist
		}
		names[a], names[b] = names[b], names[a]
		return nil
	})
}

func (d *memDisk) Rename(from, to string) error {
	return d.step(func(names map[string]*[]byte) error {
		if names[from] == nil {
			return fs.ErrNotExist
		}
		if names[from] != names[to] { // two names of one file stay, as rename(2) has it
			names[to] = names[from]
			delete(names, from)
		}
		return nil
	})
}

func (d *memDisk) Remove(name string) error {
	return d.step(func(names map[string]*[]byte) error {
		if names[name] == nil {
			return fs.ErrNotExist
		}
		delete(names, name)
		return nil
	})
}

func (d *memDisk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.steps++; d.cutAt > 0 && d.steps >= d.cutAt {
		return errCut
	}
	d.durable, d.pending = maps.Clone(d.names), nil
	return nil
}
