// Package faulty makes stores fail on demand: the n-th call, every call until it heals, or a call that does not come
// back until it is told to.
package faulty

import (
	"context"
	"database/sql"
	"sync"

	"github.com/omnitron-dev/omnitron/core/store"
)

// script says what happens to which call.
type script struct {
	mu     sync.Mutex
	calls  int
	failAt map[int]error
	all    error
	stalls map[int]*stall
}

// stall is a call that waits.
type stall struct{ reached, release chan struct{} }

// FailAt lets the n-th call from now on fail; 1 is the next one.
func (s *script) FailAt(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failAt == nil {
		s.failAt = map[int]error{}
	}
	s.failAt[s.calls+n] = err
}

// FailAll lets every call fail; nil heals.
func (s *script) FailAll(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = err
}

// StallAt lets the n-th call from now on wait: reached is closed when it has come, and it goes on after release.
func (s *script) StallAt(n int) (reached <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalls == nil {
		s.stalls = map[int]*stall{}
	}
	st := &stall{make(chan struct{}), make(chan struct{})}
	s.stalls[s.calls+n] = st
	return st.reached, sync.OnceFunc(func() { close(st.release) })
}

// Calls is how many calls there were.
func (s *script) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// next is called at the beginning of every call.
func (s *script) next() error {
	s.mu.Lock()
	s.calls++
	n, err := s.calls, s.all
	if e := s.failAt[n]; e != nil {
		err = e
	}
	st := s.stalls[n]
	s.mu.Unlock()
	if st != nil {
		close(st.reached)
		<-st.release
	}
	return err
}

// Database is what a store and its repositories offer.
type Database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// DB is a database whose calls of Update can fail and stall. A failing call has no effect.
type DB struct {
	script
	Database
}

// Wrap gives db faults.
func Wrap(db Database) *DB { return &DB{Database: db} }

// Update fails as it was told to, else it is that of the database.
func (d *DB) Update(ctx context.Context, fn func(*sql.Tx) error) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Database.Update(ctx, fn)
}

// Disk is a file system whose changing calls can fail and stall. A failing Write leaves half of the data, as a full disk
// does; the other failing calls have no effect.
type Disk struct {
	script
	store.Disk
}

// WrapDisk gives d faults.
func WrapDisk(d store.Disk) *Disk { return &Disk{Disk: d} }

// Write fails as it was told to, half way.
func (d *Disk) Write(name string, data []byte) error {
	if err := d.next(); err != nil {
		_ = d.Disk.Write(name, data[:len(data)/2])
		return err
	}
	return d.Disk.Write(name, data)
}

// Link fails as it was told to.
func (d *Disk) Link(from, to string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.Link(from, to)
}

// Exchange fails as it was told to.
func (d *Disk) Exchange(a, b string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.Exchange(a, b)
}

// Rename fails as it was told to.
func (d *Disk) Rename(from, to string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.Rename(from, to)
}

// Remove fails as it was told to.
func (d *Disk) Remove(name string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.Remove(name)
}

// SyncDir fails as it was told to.
func (d *Disk) SyncDir(dir string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.Disk.SyncDir(dir)
}
