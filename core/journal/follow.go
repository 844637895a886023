package journal

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/journal/level"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
	"github.com/omnitron-dev/omnitron/core/redact"
)

// The sizes of a forward chunk. All chunks of a follower together stay near followMemory.
const (
	minForward   = 8 << 10
	followMemory = 512 << 10
)

// front walks one stream from a place on, for ever.
type front struct {
	s     Stream
	r     *segment.Reader
	at    segment.Point // behind the chunk
	c     segment.Chunk
	given int // items of the chunk that were given or passed over
	size  int
	lvls  levels
	open  bool // the line of the item before goes on
	entry int  // where this stream stands in the cursor
	dirty bool // there may be something behind the chunk
}

func (b *front) pending() bool { return b.given < len(b.c.Items) }

// load reads what comes next.
func (b *front) load(most int, secrets *redact.Live) error {
	b.r.Secrets = secrets.Matcher()
	if err := b.r.Forward(&b.c, b.at, b.size); err != nil {
		return err
	}
	b.given, b.at = 0, b.c.Next
	switch {
	case len(b.c.Items) == 0:
		b.dirty = false
		b.c.Release()
	case len(b.c.Data) > b.size*3/4:
		b.size = min(2*b.size, most)
	}
	return nil
}

// follower is the state of one Follow.
type follower struct {
	j       *Journal
	q       *query
	sub     *sub
	streams []*front
	byPath  map[string]*front
	ready   []*front // those with something pending
	cursor  []byte
	looked  time.Time // while polling
}

// Follow gives the lines that the filter wants as they are printed, for ever: from the cursor on, else from the time
// since on, else from the last Limit stored lines on. It goes on across rotation and compression, gives the lines of
// instances and apps that appear later from their beginning, and says what it could not see: Line.Kind is gap where files
// were deleted before they were read, with the exact number of bytes. Lines of different streams come in the order of
// their arrival as far as they are there together. It runs on the caller's goroutine, holds no file open while the caller
// works on an item, and ends with ctx, whose error comes last, or when the caller breaks.
//
// Faults: invalid.
func (j *Journal) Follow(ctx context.Context, f Filter) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		q, err := f.compile()
		if err == nil {
			err = j.follow(ctx, q, f.Cursor, yield)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(Line{}, err)
		}
	}
}

// errEnough says that the caller wants no more.
var errEnough = errors.New("the caller has seen enough")

func (j *Journal) follow(ctx context.Context, q *query, cursor string, yield func(Line, error) bool) error {
	w := &follower{j: j, q: q, sub: j.hub.join(), byPath: map[string]*front{}, cursor: []byte{cursorFollow}}
	defer j.hub.leave(w.sub)
	if err := w.begin(ctx, cursor); err != nil {
		return err
	}
	for {
		if err := w.gather(); err != nil {
			return err
		}
		if len(w.ready) == 0 {
			if err := w.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if err := w.give(ctx, yield); err != nil {
			return err
		}
	}
}

// begin finds the streams and the places where they are read from.
func (w *follower) begin(ctx context.Context, cursor string) error {
	var points map[uint64]segment.Point
	if cursor != "" {
		var err error
		if points, err = parseCursor(cursor, cursorFollow); err != nil {
			return err
		}
	}
	list, err := w.scan()
	if err != nil {
		return err
	}
	var m merge
	for i, s := range list {
		b := w.add(s)
		at, known := points[streamHash(s)]
		switch {
		case known:
			b.at = at
		case points != nil:
			b.at, err = b.r.First()
		case w.q.since != 0:
			b.at, err = b.r.Since(time.Unix(0, w.q.since))
		default:
			if b.at, err = b.r.Last(true); w.q.limit > 0 {
				back := w.j.newBack(s, i)
				back.at = b.at
				m = append(m, back)
			}
		}
		if err != nil {
			return err
		}
	}
	if err := w.rewind(ctx, m); err != nil {
		return err
	}
	for _, b := range w.streams {
		if err := w.prime(b); err != nil {
			return err
		}
		putPoint(w.cursor[b.entry:], b.at)
	}
	return nil
}

// prime gives a stream the level that the first line may continue.
func (w *follower) prime(b *front) error {
	var c segment.Chunk
	if err := b.r.Backward(&c, b.at, reach); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	for _, it := range c.Items {
		b.lvls.next(&c, it)
		b.open = c.Partial(it)
	}
	return nil
}

// rewind puts the streams in front of the last lines that the filter wants, as far back as there is time to look.
func (w *follower) rewind(ctx context.Context, m merge) error {
	all, q := slices.Clone(m), *w.q
	for began := time.Now(); ; {
		lines, more, err := w.j.page(ctx, &q, &m)
		if err != nil {
			return err
		}
		if q.limit -= len(lines); !more || q.limit <= 0 || time.Since(began) > w.j.budget {
			break
		}
	}
	for _, b := range all {
		w.streams[b.nth].at = b.at
	}
	return nil
}

// add takes a stream in.
func (w *follower) add(s Stream) *front {
	b := &front{s: s, r: segment.NewReader(w.j.dir, s), size: minForward, dirty: true, entry: len(w.cursor)}
	w.cursor = appendEntry(w.cursor, streamHash(s), segment.Point{})
	w.streams = append(w.streams, b)
	w.byPath[Path(w.j.dir, s)] = b
	return b
}

// scan lists the streams with their folders watched: it lists again until no folder has come in between.
func (w *follower) scan() (list []Stream, err error) {
	for before := []string(nil); ; {
		list, folders, err := w.j.streams(w.q)
		if err != nil {
			return nil, err
		}
		w.sub.watch(folders)
		if slices.Equal(before, folders) {
			return list, nil
		}
		before = folders
	}
}

// gather hears what has changed and reads what is new.
func (w *follower) gather() error {
	dirty, rescan, poll := w.sub.news()
	if poll && time.Since(w.looked) >= pollEvery {
		w.looked, rescan = time.Now(), true
	}
	for path := range dirty {
		if b := w.byPath[path]; b != nil {
			b.dirty = true
		}
	}
	if rescan {
		list, err := w.scan()
		if err != nil {
			return err
		}
		for _, s := range list {
			if w.byPath[Path(w.j.dir, s)] != nil {
				continue
			}
			b := w.add(s)
			if b.at, err = b.r.First(); err != nil {
				return err
			}
			putPoint(w.cursor[b.entry:], b.at)
		}
	}
	w.ready = w.ready[:0]
	for _, b := range w.streams {
		if b.dirty = b.dirty || rescan; b.dirty && !b.pending() {
			if err := b.load(max(minForward, min(maxChunk, followMemory/len(w.streams))), w.j.secrets); err != nil {
				return err
			}
		}
		if b.pending() {
			w.ready = append(w.ready, b)
		}
	}
	return nil
}

// give hands out what is there, the earliest first, until a stream has to be read on.
func (w *follower) give(ctx context.Context, yield func(Line, error) bool) error {
	for {
		b, first := w.ready[0], int64(math.MaxInt64)
		if len(w.ready) > 1 {
			for _, r := range w.ready {
				if at, _ := r.c.Stamp(r.c.Items[r.given]); at < first {
					b, first = r, at
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		it := b.c.Items[b.given]
		b.given++
		lvl := b.lvls.next(&b.c, it)
		continues := b.open && it.Mark == 0
		b.open = b.c.Partial(it)
		putPoint(w.cursor[b.entry:], b.c.After(it))
		if w.q.passes(&b.c, it, func() level.Level { return lvl }) {
			var l Line
			l.set(&b.s, &b.c, it)
			l.Level, l.Continues = lvl.String(), continues
			l.Cursor = cursorText.EncodeToString(w.cursor)
			if !yield(l, nil) {
				return errEnough
			}
		}
		if !b.pending() {
			return nil
		}
	}
}

// wait returns when something may have changed.
func (w *follower) wait(ctx context.Context) error {
	var tick <-chan time.Time
	if w.sub.polls() {
		t := time.NewTimer(pollEvery - time.Since(w.looked))
		defer t.Stop()
		tick = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.sub.wake:
	case <-tick:
	}
	return nil
}

// Watch waits for a line that matches, in any of several streams, each from a position on; it is how an app is ready
// whose `ready` names a text. It ends with ctx, whose error it then gives.
func (j *Journal) Watch(ctx context.Context, from map[Stream]int64, re *regexp.Regexp) (line Line, err error) {
	q := &query{only: from, grep: re}
	cursor := []byte{cursorFollow}
	for s, pos := range from {
		q.keys = append(q.keys, selector{s.Project, s.Stack, s.App, s.Process, s.Instance})
		cursor = appendEntry(cursor, streamHash(s), segment.Point{Pos: pos})
	}
	err = j.follow(ctx, q, cursorText.EncodeToString(cursor), func(l Line, _ error) bool {
		line = l
		return false
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return line, err
}

// End is the position that the next byte of a stream will have.
func (j *Journal) End(s Stream) (int64, error) {
	at, err := segment.NewReader(j.dir, s).Last(false)
	return at.Pos, err
}
