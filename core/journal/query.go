package journal

import (
	"container/heap"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/journal/level"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// The sizes of a backward chunk: the first is enough for a tail.
const (
	firstChunk = 16 << 10
	maxChunk   = 128 << 10
)

// back walks one stream from its end to its beginning.
type back struct {
	s      Stream
	nth    int // order among equal times
	r      *segment.Reader
	at     segment.Point // everything behind it was given
	bound  int64         // when the next item came; while c is empty, at the latest
	size   int
	c      *segment.Chunk
	lo, hi int           // the items of c that are still to be given
	lvls   []level.Level // of the items from lo on, made when one is asked for
	shared bool          // c is the ring's: read on into another
	end    bool          // at stands for the end, not only for a time
	done   bool
}

// load reads the chunk in front of the place reached, large enough that the levels in it do not depend on what stands in
// front of it.
func (b *back) load() error {
	c := b.c
	if c == nil || b.shared {
		c, b.shared = new(segment.Chunk), false
	}
	for size := b.size; ; size = max(2*size, 2*reach) {
		err := b.r.Backward(c, b.at, size)
		if errors.Is(err, io.EOF) {
			b.done, b.c = true, nil
			return nil
		}
		if err != nil {
			return err
		}
		if b.adopt(c) {
			b.size = min(2*b.size, maxChunk)
			return nil
		}
	}
}

// adopt takes c as the chunk in front of the place reached, unless it begins in the middle of a stack trace and ends
// before that does.
func (b *back) adopt(c *segment.Chunk) bool {
	lo := 0
	for lo < len(c.Items) && !settled(c, lo) {
		lo++
	}
	if lo > 0 && lo == len(c.Items) {
		return false
	}
	b.c, b.lo, b.hi, b.lvls = c, lo, len(c.Items), b.lvls[:0]
	if b.hi == 0 {
		b.at = c.Next
		return true
	}
	b.bound, _ = c.Stamp(c.Items[b.hi-1])
	return true
}

// take steps over the next item.
func (b *back) take() {
	b.hi--
	switch {
	case b.hi == b.lo && b.lo == 0:
		b.at = b.c.Next
	default:
		b.at = b.c.Before(b.c.Items[b.hi])
	}
	if b.hi > b.lo {
		b.bound, _ = b.c.Stamp(b.c.Items[b.hi-1])
	}
}

// loaded reports whether the next item is at hand.
func (b *back) loaded() bool { return b.c != nil && b.hi > b.lo }

// level is the level of item i of the chunk.
func (b *back) level(i int) level.Level {
	if len(b.lvls) == 0 {
		var v levels
		for _, it := range b.c.Items[b.lo:] {
			b.lvls = append(b.lvls, v.next(b.c, it))
		}
	}
	return b.lvls[i-b.lo]
}

// continues reports whether item i of the chunk goes on with the line of the item in front of it.
func (b *back) continues(i int) (bool, error) {
	it := b.c.Items[i]
	switch pos := b.c.Pos + int64(it.Off); {
	case it.Mark != 0:
		return false, nil
	case i > 0:
		return b.c.Partial(b.c.Items[i-1]), nil
	case !b.c.First && pos%segment.MaxLine != 0: // no piece but the first of a line begins there
		return false, nil
	}
	var before segment.Chunk
	err := b.r.Backward(&before, b.c.Before(it), 1)
	if n := len(before.Items); err == nil && n > 0 {
		return before.Partial(before.Items[n-1]), nil
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return false, err
}

// merge is a heap of streams, the one with the newest item first.
type merge []*back

func (m merge) Len() int { return len(m) }
func (m merge) Less(i, k int) bool {
	if m[i].bound != m[k].bound {
		return m[i].bound > m[k].bound
	}
	return m[i].nth > m[k].nth
}
func (m merge) Swap(i, k int) { m[i], m[k] = m[k], m[i] }
func (m *merge) Push(x any)   { *m = append(*m, x.(*back)) }
func (m *merge) Pop() any {
	last := len(*m) - 1
	b := (*m)[last]
	*m = (*m)[:last]
	return b
}

// Query gives the newest lines that the filter wants, or with a cursor those before, in the order in which they came.
// next goes on towards older ones; it is "" when nothing older is stored. truncated says that there is more: the limit
// was reached, or so much text, or the time for one query was up, in which case there may be no line at all.
//
// Faults: invalid.
func (j *Journal) Query(ctx context.Context, f Filter) (lines []Line, next string, truncated bool, err error) {
	q, err := f.compile()
	if err != nil {
		return nil, "", false, err
	}
	if q.limit < 0 {
		q.limit = DefaultLimit
	}
	var points map[uint64]segment.Point
	if f.Cursor != "" {
		if points, err = parseCursor(f.Cursor, cursorPage); err != nil {
			return nil, "", false, err
		}
	}
	list, _, err := j.streams(q)
	if err != nil {
		return nil, "", false, err
	}
	var m merge
	now := time.Now()
	for i, s := range list {
		b := j.newBack(s, i)
		at, known := points[streamHash(s)]
		switch {
		case known:
			b.at = at
		case points != nil:
			continue
		default:
			j.begin(q, b, now)
		}
		m = append(m, b)
	}
	if lines, truncated, err = j.page(ctx, q, &m); err != nil {
		return nil, "", false, err
	}
	return lines, m.cursor(), truncated, nil
}

// newBack makes a walk that is bounded by nothing yet.
func (j *Journal) newBack(s Stream, nth int) *back {
	r := segment.NewReader(j.dir, s)
	r.Secrets = j.secrets.Matcher()
	return &back{s: s, nth: nth, r: r, size: firstChunk, bound: math.MaxInt64}
}

// unopened as the marks of a point says that its position is a time: the stream's turn has not come yet, and all that
// came until then is still to be given.
const unopened = -1

// begin puts a stream at its end, or where the filter's time ends. It is opened when its turn comes.
func (j *Journal) begin(q *query, b *back, now time.Time) {
	if b.at = (segment.Point{Pos: now.UnixNano(), Marks: unopened}); q.until != 0 {
		b.at.Pos = q.until
		return
	}
	b.end = true
	if at := segment.Written(j.dir, b.s); !at.IsZero() {
		b.bound = at.Add(time.Second).UnixNano() // clocks of file systems are coarse
	}
}

// page takes lines from the streams until there are enough. The streams that are not done stay in m.
func (j *Journal) page(ctx context.Context, q *query, m *merge) (lines []Line, more bool, err error) {
	*m = slices.DeleteFunc(*m, func(b *back) bool { return b.done })
	heap.Init(m)
	started, weight, taken := time.Now(), 0, 0
	for m.Len() > 0 {
		b := (*m)[0]
		if b.bound < q.since {
			heap.Pop(m)
			continue
		}
		if !b.loaded() {
			if err := ctx.Err(); err != nil {
				return nil, false, err
			}
			if taken > 0 && time.Since(started) > j.budget {
				more = true
				break
			}
			if err := j.advance(b); err != nil {
				return nil, false, err
			}
			if b.done {
				heap.Pop(m)
			} else {
				heap.Fix(m, 0)
			}
			continue
		}
		if len(lines) == q.limit || weight > maxWeight {
			more = true
			break
		}
		i := b.hi - 1
		it := b.c.Items[i]
		if q.passes(b.c, it, func() level.Level { return b.level(i) }) {
			var l Line
			l.set(&b.s, b.c, it)
			l.Level = b.level(i).String()
			if l.Continues, err = b.continues(i); err != nil {
				return nil, false, err
			}
			lines = append(lines, l)
			weight += l.weight()
		}
		b.take()
		taken++
		heap.Fix(m, 0)
	}
	slices.Reverse(lines)
	return lines, more, nil
}

// advance loads a stream's next chunk; the first comes from the ring if nothing was written since.
func (j *Journal) advance(b *back) error {
	if b.at.Marks != unopened {
		return b.load()
	}
	if !b.end {
		at, err := b.r.Since(time.Unix(0, b.at.Pos+1))
		if err != nil {
			return err
		}
		b.at = at
		return b.load()
	}
	stamp := segment.Look(j.dir, b.s)
	if t := j.ring.find(b.s, stamp); t != nil && t.chunk.Hides(b.r.Secrets) {
		b.at, b.shared = t.end, true
		b.adopt(t.chunk)
		return nil
	}
	at, err := b.r.Last(false)
	if err != nil {
		return err
	}
	b.at = at
	if err := b.load(); err != nil || b.done {
		return err
	}
	b.shared = j.ring.keep(b.s, stamp, at, b.c)
	return nil
}

// cursor names the places that the streams have reached.
func (m merge) cursor() string {
	if len(m) == 0 {
		return ""
	}
	text := []byte{cursorPage}
	for _, b := range m {
		text = appendEntry(text, streamHash(b.s), b.at)
	}
	return cursorText.EncodeToString(text)
}
