package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// Stat says what is stored of a stream.
type Stat struct {
	Project  string    `json:"project" jsonschema:"project of the app"`
	Stack    string    `json:"stack" jsonschema:"stack of the app"`
	App      string    `json:"app" table:"1" jsonschema:"app that printed it"`
	Process  string    `json:"process" table:"2" jsonschema:"process of the app"`
	Instance int       `json:"instance" table:"3" jsonschema:"instance of the process, from 1"`
	Stream   string    `json:"stream" table:"4" enum:"out,err" jsonschema:"standard output or standard error"`
	Files    int       `json:"files" table:"5" jsonschema:"how many files, the live one included"`
	Bytes    int64     `json:"stored_bytes" table:"6" unit:"bytes" jsonschema:"how much was printed of what is still stored"`
	Disk     int64     `json:"disk_bytes" table:"7" unit:"bytes" jsonschema:"how much room it takes, indexes included"`
	First    int64     `json:"first_pos" jsonschema:"position of the oldest byte stored"`
	Next     int64     `json:"next_pos" jsonschema:"position that the next byte will have: how much was ever printed"`
	Oldest   time.Time `json:"oldest,omitzero" table:"8" unit:"time" jsonschema:"when the oldest stored output came"`
	Newest   time.Time `json:"newest,omitzero" table:"9" unit:"time" jsonschema:"when the newest stored output came"`
	Lost     int64     `json:"lost_bytes,omitempty" table:"10" unit:"bytes" jsonschema:"bytes dropped because they could not be stored, as far back as is stored"`
	Gaps     int       `json:"gaps,omitempty" jsonschema:"places where an unknown amount is missing, as far back as is stored"`
}

// counts remembers what is known of files: an archive does not change, and an index only grows.
type counts struct {
	mu   sync.Mutex
	seen map[Stream]map[int64]known // by the position of the file's first byte
}

// known is what is known of a file.
type known struct {
	path   string // of an archive whose measures are final
	extent segment.Extent
	all    segment.Losses
	next   segment.Losses // to go on counting from
}

// of measures a file, as far as that was not done before.
func (c *counts) of(s Stream, f segment.File) (k known, err error) {
	c.mu.Lock()
	k = c.seen[s][f.Base]
	c.mu.Unlock()
	if k.path == f.Path {
		return k, nil
	}
	if k.extent, err = segment.Measure(f); err != nil {
		return k, err
	}
	if k.all, k.next, err = segment.Count(f, k.next); err != nil {
		return k, err
	}
	if !f.Live {
		k.path = f.Path
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[s] == nil {
		c.seen[s] = map[int64]known{}
	}
	c.seen[s][f.Base] = k
	return k, nil
}

// keep forgets the files of a stream that are not among these.
func (c *counts) keep(s Stream, files []segment.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen[s]) == len(files) {
		return
	}
	there := map[int64]bool{}
	for _, f := range files {
		there[f.Base] = true
	}
	maps.DeleteFunc(c.seen[s], func(base int64, _ known) bool { return !there[base] })
}

// Stats says what is stored of each stream of the apps; without keys, of all.
//
// Faults: invalid.
func (j *Journal) Stats(ctx context.Context, keys ...string) ([]Stat, error) {
	list, err := j.Streams(keys...)
	if err != nil {
		return nil, err
	}
	stats := make([]Stat, 0, len(list))
	for _, s := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		st, err := j.stat(s)
		if err != nil {
			return nil, err
		}
		stats = append(stats, st)
	}
	return stats, nil
}

// stat measures a stream, again if its files have moved meanwhile.
func (j *Journal) stat(s Stream) (st Stat, err error) {
	for range 100 {
		if st, err = j.statOnce(s); !segment.Moved(err) {
			break
		}
	}
	return st, err
}

func (j *Journal) statOnce(s Stream) (Stat, error) {
	st := Stat{Project: s.Project, Stack: s.Stack, App: s.App, Process: s.Process, Instance: s.Instance, Stream: s.Name}
	set, err := segment.Load(j.dir, s)
	if err != nil {
		return st, err
	}
	st.First, st.Next, st.Files = set.Next, set.Next, len(set.Files)
	for i, f := range set.Files {
		k, err := j.counts.of(s, f)
		if err != nil {
			return st, err
		}
		e := k.extent
		if i == 0 {
			st.First, st.Oldest = e.Base, e.Oldest
		}
		st.Next, st.Newest = e.End, e.Newest
		st.Bytes += e.End - e.Base
		st.Disk += e.Disk
		st.Lost += k.all.Bytes
		st.Gaps += k.all.Gaps
	}
	j.counts.keep(s, set.Files)
	return st, nil
}

// token is a right that one at a time has.
type token chan struct{}

func (t token) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t token) give() { <-t }

// Purged says what Purge has deleted.
type Purged struct {
	Files int   `json:"files" table:"1" jsonschema:"how many files were deleted"`
	Bytes int64 `json:"bytes" table:"2" unit:"bytes" jsonschema:"how many bytes of output they held"`
}

// Purge deletes what is stored of the apps. Of a live file that has something in it, the keeper is asked to rotate first
// (SetRotate); if it has to wait for the end of a line, that file stays. One that nobody has open is rotated here, so
// nobody may begin to write it meanwhile. Positions go on from where they were, so that a follower sees a gap of exactly
// what was deleted before it was read.
//
// Faults: invalid.
func (j *Journal) Purge(ctx context.Context, keys ...string) (p Purged, err error) {
	if len(keys) == 0 {
		return p, fault.New(fault.Invalid, "nothing is purged without the name of an app")
	}
	list, err := j.Streams(keys...)
	if err != nil {
		return p, err
	}
	if err := j.upkeep.take(ctx); err != nil {
		return p, err
	}
	defer j.upkeep.give()
	for _, s := range list {
		if err := j.purge(ctx, s, &p); err != nil {
			return p, fmt.Errorf("cannot purge the log of %s: %w", s, err)
		}
	}
	return p, nil
}

func (j *Journal) purge(ctx context.Context, s Stream, p *Purged) error {
	live := Path(j.dir, s)
	if st, err := os.Stat(live); err == nil && st.Size() > 0 {
		held := false
		j.mu.Lock()
		rotate := j.rotate
		j.mu.Unlock()
		if rotate != nil {
			if held, err = rotate(ctx, live); err != nil {
				return err
			}
		}
		if !held {
			if err := segment.Seal(j.dir, s, time.Now()); err != nil {
				return err
			}
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		if err := segment.Seal(j.dir, s, time.Now()); err != nil {
			return err
		}
	}
	set, err := segment.Load(j.dir, s)
	for range 1000 { // an app that prints a lot may be in the middle of its next rotation
		if err != nil || set.Settled() {
			break
		}
		set, err = segment.Load(j.dir, s)
	}
	if err != nil {
		return err
	}
	if len(set.Archives()) > 0 && !set.Settled() {
		return errors.New("its rotation is half done; the keeper mends it when the app starts next")
	}
	for _, f := range set.Archives() {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := segment.Remove(f)
		if err != nil {
			return err
		}
		p.Files, p.Bytes = p.Files+1, p.Bytes+n
	}
	return nil
}

// Maintain tends to all streams once: it deletes the oldest files above each policy's number, compresses the rotated
// ones, and removes what a crash has left of an earlier try. It returns the failures of all streams together.
func (j *Journal) Maintain(ctx context.Context) error {
	list, err := j.Streams()
	if err != nil {
		return err
	}
	var failed []error
	for _, s := range list {
		if err := j.tend(ctx, s); err != nil {
			failed = append(failed, fmt.Errorf("cannot tend to the log of %s: %w", s, err))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// Rotated does for the stream of one live file what Maintain does for all. It may take long: see Retire.
func (j *Journal) Rotated(ctx context.Context, path string) error {
	s, ok := segment.Parse(j.dir, path)
	if !ok {
		return fmt.Errorf("%s is no log file of an app", path)
	}
	return j.tend(ctx, s)
}

// Retire deletes the files of the stream of one live file that its policy does not keep. It waits for nobody who
// compresses: call it whenever the keeper has rotated the file.
func (j *Journal) Retire(ctx context.Context, path string) error {
	s, ok := segment.Parse(j.dir, path)
	if !ok {
		return fmt.Errorf("%s is no log file of an app", path)
	}
	_, err := j.retire(ctx, s, false)
	return err
}

// retire deletes what the stream's policy does not keep, and gives the archives that are left. With the right to pack it
// deletes what was never finished, too: nobody is at it.
func (j *Journal) retire(ctx context.Context, s Stream, packing bool) ([]segment.File, error) {
	if err := j.upkeep.take(ctx); err != nil {
		return nil, err
	}
	defer j.upkeep.give()
	set, err := segment.Load(j.dir, s)
	if err != nil {
		return nil, err
	}
	useless := set.Strays(j.dir, s)
	if packing {
		useless = append(useless, set.Parts...)
	}
	for _, path := range useless {
		if err := segment.Unlink(path); err != nil {
			return nil, err
		}
	}
	if !set.Settled() {
		return nil, nil
	}
	policy, archives := j.policy(s), set.Archives()
	if _, compress := formats[policy.Compress]; !compress {
		for _, path := range set.Twice {
			if err := segment.Unlink(path); err != nil {
				return nil, err
			}
		}
	}
	for ; len(archives) > policy.MaxFiles-1; archives = archives[1:] {
		if _, err := segment.Remove(archives[0]); err != nil {
			return nil, err
		}
	}
	return archives, nil
}

var formats = map[string]segment.Format{"zstd": segment.Zstd, "gzip": segment.Gzip}

func (j *Journal) tend(ctx context.Context, s Stream) error {
	if err := j.packing.take(ctx); err != nil {
		return err
	}
	defer j.packing.give()
	archives, err := j.retire(ctx, s, true)
	if err != nil {
		return err
	}
	format, compress := formats[j.policy(s).Compress]
	for _, f := range slices.Backward(archives) { // of a flood the newest stay longest
		if !compress || f.Format != segment.Plain {
			continue
		}
		if err := segment.Compress(ctx, f.Path, format, j.swap(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// swap has names change while nobody else changes any.
func (j *Journal) swap(ctx context.Context) func(func() error) error {
	return func(change func() error) error {
		if err := j.upkeep.take(ctx); err != nil {
			return err
		}
		defer j.upkeep.give()
		return change()
	}
}
