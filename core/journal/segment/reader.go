package segment

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sort"

	"github.com/omnitron-dev/omnitron/core/redact"
)

// Reader reads one stream. It keeps no file open between calls.
type Reader struct {
	Secrets *redact.Matcher // what its chunks hide

	dir    string
	stream Stream
	set    Set
	loaded bool
	inode  uint64
	frames map[string][]frame
	broken map[string]bool // archives that cannot be unpacked: what they held is a hole
}

// NewReader makes a reader of a stream below dir.
func NewReader(dir string, s Stream) *Reader { return &Reader{dir: dir, stream: s} }

// look brings the list of files up to date; it is kept as long as the live file is the same one.
func (r *Reader) look() error {
	now, _ := inodeOf(Path(r.dir, r.stream))
	if r.loaded && now == r.inode && now != 0 {
		return nil
	}
	set := r.set
	if !r.loaded || !r.set.Sure || len(r.broken) > 0 || !set.catchUp(Path(r.dir, r.stream)) {
		var err error
		if set, err = Load(r.dir, r.stream); err != nil {
			return err
		}
	}
	set.Files = slices.DeleteFunc(set.Files, func(f File) bool { return r.broken[f.Path] })
	r.set, r.loaded, r.inode = set, true, 0
	if n := len(set.Files); n > 0 && set.Files[n-1].Live && set.Sure {
		r.inode = set.Files[n-1].inode
	}
	return nil
}

// with opens the file that pick chooses and calls use; when the keeper, compression or retention have just taken it
// away, it looks again.
func (r *Reader) with(pick func([]File) int, use func(i int, o *opened) error) error {
	for range 1000 {
		if err := r.look(); err != nil {
			return err
		}
		i := pick(r.set.Files)
		if i < 0 {
			return use(i, nil)
		}
		o, err := open(r.set.Files[i], r.frames[r.set.Files[i].Path])
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errMoved) {
			r.loaded = false
			continue
		}
		if err == nil {
			if o.Format != Plain && r.frames[o.Path] == nil {
				r.frames = map[string][]frame{o.Path: o.frames}
			}
			err = use(i, o)
			o.close()
		}
		switch {
		case errors.Is(err, errFrame):
			if r.broken == nil {
				r.broken = map[string]bool{}
			}
			r.broken[r.set.Files[i].Path] = true
		case !errors.Is(err, errMoved):
			return err
		}
		r.loaded = false
	}
	return errMoving
}

// lossesAt gives the losses recorded at pos, in the indexes of both files where two meet there, and whether the last one
// may still grow: both by one look at the index, because a look later it may be whole, and larger than what was read.
func (r *Reader) lossesAt(pos int64) (list []Loss, growing bool, err error) {
	fs := r.set.Files
	i := sort.Search(len(fs), func(i int) bool { return fs[i].Base > pos }) - 1
	if i > 0 && fs[i].Base == pos {
		i--
	}
	for ; i >= 0 && i < len(fs) && fs[i].Base <= pos; i++ {
		x, err := fs[i].index()
		if err != nil {
			return nil, false, err
		}
		n := int32(0)
		if fs[i].Base == pos {
			n = inNext
		}
		growing = fs[i].Live && x.growing(pos)
		for k, rec := range x.losses(pos) {
			list = append(list, Loss{Record: rec, At: Point{pos, n + int32(k)}})
		}
		x.close()
	}
	return list, growing, nil
}

// Forward reads into c what stands behind at: about size bytes of whole lines, more where a line is longer. A chunk
// without items means that nothing more is there yet. At the end of the live file an unfinished line is left (Waiting),
// unless its printer has ended, and so is a loss that is still going on.
func (r *Reader) Forward(c *Chunk, at Point, size int) error {
	pick := func(fs []File) int {
		i := sort.Search(len(fs), func(i int) bool { return fs[i].Base > at.Pos }) - 1
		if len(fs) > 0 {
			i = max(i, 0)
		}
		return i
	}
	return r.with(pick, func(i int, o *opened) error {
		c.reset(at)
		if o == nil {
			return nil
		}
		return r.forward(c, at, i, o, size)
	})
}

func (r *Reader) forward(c *Chunk, at Point, i int, o *opened, size int) error {
	c.mod = o.mod
	switch more := i+1 < len(r.set.Files); {
	case at.Pos < o.Base: // retention or a purge has overtaken us
		c.hole(at.Pos, o.Base)
		return nil
	case at.Pos > o.end && !more:
		// The stream began anew in front of the place that we had reached: somebody has removed its files.
		if o.Live && r.set.Sure {
			c.hole(at.Pos, o.Base)
		}
		return nil
	case at.Pos >= o.end:
		list, growing, err := r.lossesAt(at.Pos)
		if err != nil {
			return err
		}
		if growing && !more {
			list = list[:len(list)-1] // it is told when it is whole
		}
		if at.Pos == o.end {
			c.addLosses(list, at.Marks, AllMarks)
			c.Next = behind(at, list)
		}
		if more {
			c.hole(at.Pos, r.set.Files[i+1].Base)
			return nil
		}
		c.weave()
		return nil
	}
	x, err := o.index()
	if err != nil {
		return err
	}
	for {
		n := int(min(int64(size), o.end-at.Pos))
		if err := c.fill(o, x, at.Pos, n); err != nil {
			return err
		}
		full, tail := at.Pos+int64(n) == o.end, Hold
		if full && (!o.Live || c.ended) {
			tail = Close
		}
		took := c.split(c.buf, tail)
		if took == 0 && !full {
			size = max(2*size, MaxLine+1)
			continue
		}
		if full {
			c.Waiting = int64(n - took)
		}
		c.Data, c.First = c.buf[:took], at.Pos == o.Base
		if err := r.inner(c, at, o.Base, at.Pos+int64(took)); err != nil {
			return err
		}
		if took > 0 {
			c.Next = Point{Pos: at.Pos + int64(took)}
		} else {
			c.Next = behind(at, c.Losses)
		}
		c.weave()
		return c.hide(r.Secrets, o)
	}
}

// inner collects the losses at the chunk's first byte, as far as they are behind at, and up to its last one.
func (r *Reader) inner(c *Chunk, at Point, base, until int64) error {
	if at.Pos == base && at.Marks != AllMarks {
		first, _, err := r.lossesAt(at.Pos)
		if err != nil {
			return err
		}
		c.addLosses(first, at.Marks, AllMarks)
	}
	nth := int32(0)
	for i, rec := range c.recs {
		if i == 0 || c.recs[i-1].Pos != rec.Pos {
			nth = 0
		}
		if !rec.Loss() {
			continue
		}
		if rec.Pos > max(at.Pos, base) && rec.Pos < until || rec.Pos == at.Pos && at.Pos != base && nth >= at.Marks {
			c.Losses = append(c.Losses, Loss{Record: rec, At: Point{rec.Pos, nth}})
		}
		nth++
	}
	return nil
}

// Backward reads into c what stands in front of at, ending there, about size bytes. io.EOF says that nothing does.
func (r *Reader) Backward(c *Chunk, at Point, size int) error {
	pick := func(fs []File) int {
		return sort.Search(len(fs), func(i int) bool { return fs[i].Base >= at.Pos }) - 1
	}
	return r.with(pick, func(i int, o *opened) error {
		c.reset(Point{Pos: at.Pos})
		if at.Marks > 0 {
			list, _, err := r.lossesAt(at.Pos)
			if err != nil {
				return err
			}
			c.addLosses(list, 0, at.Marks)
			if len(c.Losses) > 0 {
				c.weave()
				return nil
			}
		}
		if o == nil {
			return io.EOF
		}
		return r.backward(c, i, o, size)
	})
}

func (r *Reader) backward(c *Chunk, i int, o *opened, size int) error {
	p := c.Pos
	c.mod = o.mod
	if p > o.end {
		if i+1 < len(r.set.Files) {
			c.Pos = o.end
			c.hole(o.end, p)
			c.Next = Point{o.end, AllMarks}
			return nil
		}
		p = o.end
	}
	if p == o.Base {
		c.Next = Point{Pos: p}
		return nil
	}
	x, err := o.index()
	if err != nil {
		return err
	}
	for {
		n := int(min(int64(size), p-o.Base))
		start := p - int64(n)
		if err := c.fill(o, x, start, n); err != nil {
			return err
		}
		cuts, skip := cutsOf(c.recs), 0
		if start > o.Base {
			if skip = firstBoundary(c.buf, start, cuts); skip < 0 {
				size = max(2*size, MaxLine+2)
				continue
			}
		}
		tail := Open
		if p == o.end || c.buf[n-1] == '\n' || slices.Contains(cuts, p) {
			tail = Close
		}
		c.Pos, c.Data = start+int64(skip), c.buf[skip:]
		c.split(c.Data, tail)
		c.First, c.Next = c.Pos == o.Base, Point{Pos: c.Pos}
		if err := r.inner(c, Point{Pos: c.Pos}, o.Base, p); err != nil {
			return err
		}
		c.weave()
		return c.hide(r.Secrets, o)
	}
}
