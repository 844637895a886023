package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

const (
	touchDelay = 100 * time.Millisecond // a touched state is on disk after this time
	flushEvery = 30 * time.Second       // so that a file that somebody removed comes back, and .bak is as new as the file
	retryEvery = time.Second            // after a failed write
)

// StateFile owns state.json. The file always holds a whole state, the one before or the one after a write: tmp, fsync,
// the former file kept as .bak, rename, fsync of the directory. No lock is held while the disk works.
type StateFile struct {
	path   string
	disk   Disk
	log    *slog.Logger
	writes group[mutation]
	dirty  chan struct{} // capacity 1: there is something to write

	mu       sync.Mutex
	state    State
	writing  bool
	touches  []func(*State) // made since the write under way took its copy
	unsaved  bool           // the file is behind the memory
	health   error
	warnings []string
	fresh    bool // neither the file nor its copy is there
	behind   bool
	lost     bool
}

// mutation is one caller's part of a write.
type mutation struct{ fn func(*State) error }

// OpenState reads the state at path. A damaged file is kept as <path>.corrupt-<time> and the copy before it is used; if
// that is no better, the state is empty and Lost reports true: then nothing is known of what should run, which is not
// the same as nothing should run. Warnings says what happened.
//
// Faults: conflict with reason state_too_new when a later version has written the file, which is then not touched;
// internal when it cannot be read.
func OpenState(path string, disk Disk, log *slog.Logger) (*StateFile, error) {
	f := &StateFile{path: path, disk: disk, log: log, dirty: make(chan struct{}, 1)}
	if err := f.load(time.Now()); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *StateFile) load(now time.Time) error {
	main, mainErr := f.read(f.path)
	if mainErr == nil {
		f.state = main
		return nil
	}
	backup, backupErr := f.read(f.backup())
	for _, err := range []error{mainErr, backupErr} {
		if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, fs.ErrNotExist) { // of a later version, or unreadable
			return err
		}
	}
	none := errors.Is(mainErr, fs.ErrNotExist)
	if none && errors.Is(backupErr, fs.ErrNotExist) {
		f.fresh = true
		return nil // a new home
	}
	what := fmt.Sprintf("%s is missing", f.path)
	if !none {
		aside, err := f.setAside(f.path, now)
		if err != nil {
			return err
		}
		what = fmt.Sprintf("%v; it is kept as %s", mainErr, aside)
	}
	if backupErr == nil {
		f.state, f.behind = backup, true
		f.warn(what + "; the copy before it was used, so what was asked for last may be missing")
		return nil
	}
	f.lost = true
	if errors.Is(backupErr, errDamaged) {
		aside, err := f.setAside(f.backup(), now)
		if err != nil {
			return err
		}
		what = fmt.Sprintf("%s; %v; it is kept as %s", what, backupErr, aside)
	}
	f.warn(what + "; there is no usable copy, so it is not known what should run: what lives is kept")
	return nil
}

// errDamaged marks a file that is there and can be read but makes no sense.
var errDamaged = errors.New("damaged")

func (f *StateFile) read(name string) (State, error) {
	data, err := f.disk.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return State{}, err
	case err != nil:
		return State{}, fault.Wrap(err, fault.Internal, "cannot read %s: %v", name, err).WithReason("state_unreadable")
	}
	s, err := decode(data)
	switch {
	case errors.Is(err, errLater):
		return State{}, tooNew(name)
	case err != nil:
		return State{}, fmt.Errorf("%s is %w: %w", name, errDamaged, err)
	}
	return s, nil
}

func (f *StateFile) setAside(name string, now time.Time) (string, error) {
	aside := name + ".corrupt-" + stamp(now)
	if err := f.disk.Rename(name, aside); err != nil {
		return "", fault.Wrap(err, fault.Internal, "cannot set the damaged %s aside: %v", name, err).WithReason(NotDurable)
	}
	return aside, nil
}

func (f *StateFile) warn(text string) {
	f.warnings = append(f.warnings, text)
	f.log.Error("the state file was not usable", "err", text)
}

func (f *StateFile) backup() string { return f.path + ".bak" }

// Warnings says what was wrong with the files when they were read, for status and doctor.
func (f *StateFile) Warnings() []string { return f.warnings }

// Fresh reports that there is no state at all, as in a new home.
func (f *StateFile) Fresh() bool { return f.fresh }

// NotNew says that the home is not new, so that a state which is not there was lost. It must come before Run.
func (f *StateFile) NotNew() {
	if f.fresh && !f.lost {
		f.lost = true
		f.warn(f.path + " is missing, and so is the copy of it, so it is not known what should run: what lives is kept")
	}
}

// Lost reports that there was a state and that nothing of it could be read.
func (f *StateFile) Lost() bool { return f.lost }

// Behind reports that the copy before the last write had to be used: what was asked for last may be missing in it.
func (f *StateFile) Behind() bool { return f.behind }

// Health is the error of the last write if that failed, else nil.
func (f *StateFile) Health() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

// View gives the state as it is now. It costs the same however many apps there are and never waits for the disk.
func (f *StateFile) View() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.snapshot()
}

// Put applies fn and returns when the result is durable; until then View does not show it. Concurrent calls share a
// write, in the order of the calls. If fn fails nothing of it is kept. fn may run on the goroutine of another caller; it
// must change nothing but the state, and not call the StateFile.
//
// Faults: internal with reason state_not_durable when the disk did not take it; the state is then as it was before.
func (f *StateFile) Put(ctx context.Context, fn func(*State) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.writes.do(ctx, mutation{fn}, f.write)
}

// Touch applies fn at once, in memory, for what may get lost: a status that a look at the processes brings back. It
// is written with the next Put, and within 100 ms by Run. fn may run twice and must not call the StateFile.
func (f *StateFile) Touch(fn func(*State)) {
	f.mu.Lock()
	fn(&f.state)
	f.unsaved = true
	if f.writing {
		f.touches = append(f.touches, fn)
	}
	f.mu.Unlock()
	f.wake()
}

// wake tells Run that the file is behind.
func (f *StateFile) wake() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// Flush writes the state now, changed or not.
//
// Faults: as Put.
func (f *StateFile) Flush(ctx context.Context) error {
	return f.Put(ctx, func(*State) error { return nil })
}

// Run writes what was touched, and everything every 30 s, until ctx ends; then it writes once more. After a failed write
// it tries again every second.
func (f *StateFile) Run(ctx context.Context) error {
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	due := time.Now().Add(flushEvery)
	for {
		select {
		case <-ctx.Done():
			f.mu.Lock()
			unsaved := f.unsaved
			f.mu.Unlock()
			if !unsaved {
				return nil
			}
			return f.Flush(context.WithoutCancel(ctx)) // the last word, after the end
		case <-f.dirty:
			delay := touchDelay
			if f.Health() != nil {
				delay = retryEvery
			}
			if soon := time.Now().Add(delay); soon.Before(due) {
				due = soon
			}
		case <-timer.C:
			due = time.Now().Add(flushEvery)
			if err := f.Flush(ctx); err != nil { // noted in Health, and logged once
				due = time.Now().Add(retryEvery)
			}
		}
		timer.Reset(time.Until(due))
	}
}

// write is the leader's part: it changes a copy, writes it, and makes it the state if the disk took it.
func (f *StateFile) write(batch []*member[mutation]) {
	f.mu.Lock()
	next := f.state.snapshot()
	f.writing, f.touches = true, nil
	f.mu.Unlock()

	kept := make([]*member[mutation], 0, len(batch))
	for _, m := range batch {
		if m.err = m.try(func() error { return next.mutate(m.part.fn) }); m.err == nil {
			kept = append(kept, m)
		}
	}
	var err error
	if len(kept) > 0 {
		err = f.save(&next)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.writing = false
	if len(kept) == 0 {
		return
	}
	if err != nil {
		f.unsaved = true // the disk may have taken a part of it all the same
		f.wake()
	} else {
		for _, touch := range f.touches {
			touch(&next)
		}
		f.state, f.unsaved = next, len(f.touches) > 0
	}
	f.note(err)
	for _, m := range kept {
		m.err = err
	}
}

func (f *StateFile) note(err error) {
	switch {
	case err != nil && f.health == nil:
		f.log.Error("cannot write the state", "file", f.path, "err", err)
	case err == nil && f.health != nil:
		f.log.Info("the state can be written again", "file", f.path)
	}
	f.health = err
}

// save makes s the content of the file.
func (f *StateFile) save(s *State) error {
	data, err := encode(s, time.Now())
	if err != nil {
		return err
	}
	if err := Replace(f.disk, f.path, data); err != nil {
		return Unwritten(err, f.path)
	}
	return nil
}
