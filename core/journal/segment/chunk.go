package segment

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/omnitron-dev/omnitron/core/redact"
)

// Point is a place in a stream: in front of the byte at Pos, with the losses recorded at Pos seen that are numbered
// below Marks. They are numbered from 0 in the file that ends at Pos, and from inNext in the one that begins there, so
// that a number stays true when the older file is deleted.
type Point struct {
	Pos   int64
	Marks int32
}

const inNext = 1 << 30

// AllMarks in a Point means behind every loss that was recorded at Pos.
const AllMarks = math.MaxInt32

// Item is a line, a piece of one, or a recorded loss.
type Item struct {
	Off, End int32 // of Chunk.Data
	Mark     int32 // for a loss: 1 + its record's number in Chunk.Losses; 0 for a line
}

// Chunk is a run of whole items of one file.
type Chunk struct {
	Pos     int64 // of Data[0]
	Data    []byte
	Items   []Item
	Losses  []Loss
	First   bool  // whether Pos is where its file begins
	Live    bool  // whether it comes from the live file
	Next    Point // where to go on, in the direction of reading
	Waiting int64 // bytes of a line that is not finished yet
	secrets *redact.Matcher
	hidden  []redact.Span // of Data
	recs    []Record
	buf     []byte
	mod     time.Time // when the file last grew: what is known of bytes that no index tells of
	end     int64     // of the file
	ended   bool      // whether whoever printed the file's last byte has ended
}

// reset empties the chunk; what it has allocated stays.
func (c *Chunk) reset(at Point) {
	*c = Chunk{Pos: at.Pos, Next: at, Items: c.Items[:0], Losses: c.Losses[:0], recs: c.recs[:0], buf: c.buf, hidden: c.hidden[:0]}
}

// fill reads n bytes of o from pos on into the chunk's buffer, and the records that belong to them.
func (c *Chunk) fill(o *opened, x *index, pos int64, n int) error {
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	c.recs = x.span(c.recs[:0], pos, pos+int64(n))
	c.mod, c.end, c.ended, c.Live = o.mod, o.end, x.ended(o.end), o.Live
	return o.read(c.buf, pos)
}

// Size is how much memory the chunk's text takes.
func (c *Chunk) Size() int { return cap(c.buf) }

// Release gives the chunk's buffers up.
func (c *Chunk) Release() { *c = Chunk{Pos: c.Pos, Next: c.Next} }

// Loss is a record of missing output, or a hole that the reader itself met (Hole): files that were deleted before they
// were read, Val bytes long.
type Loss struct {
	Record
	Hole bool
	At   Point // in front of it
}

func (c *Chunk) addLosses(list []Loss, from, until int32) {
	for _, l := range list {
		if l.At.Marks >= from && l.At.Marks < until {
			c.Losses = append(c.Losses, l)
		}
	}
}

// behind is the place behind the last of some losses at one place.
func behind(at Point, list []Loss) Point {
	if n := len(list); n > 0 {
		at.Marks = max(at.Marks, list[n-1].At.Marks+1)
	}
	return at
}

// hole ends the chunk with a stretch of which no file is left.
func (c *Chunk) hole(from, to int64) {
	c.Losses = append(c.Losses, Loss{
		Record: Record{Time: c.mod.UnixNano(), Pos: from, Val: to - from, Kind: KindGap},
		Hole:   true, At: Point{from, AllMarks},
	})
	c.Next = Point{Pos: to}
	c.weave()
}

// weave puts the losses among the lines.
func (c *Chunk) weave() {
	if len(c.Losses) == 0 {
		return
	}
	lines := slices.Clone(c.Items)
	c.Items = c.Items[:0]
	l := 0
	for i := range c.Losses {
		off := int32(c.Losses[i].Pos - c.Pos)
		for l < len(lines) && lines[l].Off < off {
			c.Items = append(c.Items, lines[l])
			l++
		}
		c.Items = append(c.Items, Item{Off: off, End: off, Mark: int32(i) + 1})
	}
	c.Items = append(c.Items, lines[l:]...)
}

// Loss gives the loss that an item stands for.
func (c *Chunk) Loss(i Item) *Loss {
	if i.Mark == 0 {
		return nil
	}
	return &c.Losses[i.Mark-1]
}

// Before is the place in front of an item.
func (c *Chunk) Before(i Item) Point {
	if l := c.Loss(i); l != nil {
		return l.At
	}
	return Point{c.Pos + int64(i.Off), AllMarks}
}

// After is the place behind an item.
func (c *Chunk) After(i Item) Point {
	l := c.Loss(i)
	switch {
	case l == nil:
		return Point{Pos: c.Pos + int64(i.End)}
	case l.Hole:
		return Point{Pos: l.Pos + l.Val}
	default:
		return Point{l.At.Pos, l.At.Marks + 1}
	}
}

// Partial reports whether the line of an item goes on behind it.
func (c *Chunk) Partial(i Item) bool {
	if i.Mark != 0 || c.Data[i.End-1] == '\n' {
		return false
	}
	end := c.Pos + int64(i.End)
	if end == c.end && c.ended {
		return false
	}
	for k := c.upto(end) - 1; k >= 0 && c.recs[k].Pos == end; k-- {
		if c.recs[k].cuts() {
			return false
		}
	}
	return true
}

// upto is the number of records at pos or in front of it.
func (c *Chunk) upto(pos int64) int {
	return sort.Search(len(c.recs), func(i int) bool { return c.recs[i].Pos > pos })
}

// Stamp gives when the item arrived, in Unix nanoseconds, and who printed it, 0 where that is not known.
func (c *Chunk) Stamp(i Item) (at int64, pid int) {
	if l := c.Loss(i); l != nil {
		return l.Time, int(l.PID)
	}
	k := c.upto(c.Pos+int64(i.Off)) - 1
	if k < 0 {
		return c.mod.UnixNano(), 0
	}
	at = c.recs[k].Time
	if r := c.recs[k]; r.Kind != KindData || r.Val > 0 && c.Pos+int64(i.Off) >= r.Pos+r.Val {
		at = max(at, c.mod.UnixNano()) // the index lags behind
	}
	for ; k >= 0 && pid == 0; k-- {
		pid = int(c.recs[k].PID)
	}
	return at, pid
}

// split fills Items from data, of which the records are known.
func (c *Chunk) split(data []byte, tail Tail) int {
	c.Items = c.Items[:0]
	return Split(data, c.Pos, cutsOf(c.recs), tail, func(off, end int) {
		c.Items = append(c.Items, Item{Off: int32(off), End: int32(end)})
	})
}
