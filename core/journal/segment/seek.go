package segment

import (
	"slices"
	"sort"
	"time"
)

// First is the place in front of everything that is stored.
func (r *Reader) First() (Point, error) {
	r.loaded = false
	if err := r.look(); err != nil {
		return Point{}, err
	}
	if len(r.set.Files) == 0 {
		return Point{Pos: r.set.Next}, nil
	}
	return Point{Pos: r.set.Files[0].Base}, nil
}

// Last is the place behind everything that is stored; with hold, in front of a last line that is not finished yet, or of a
// loss that is still going on.
func (r *Reader) Last(hold bool) (at Point, err error) {
	err = r.with(func(fs []File) int { return len(fs) - 1 }, func(_ int, o *opened) error {
		if o == nil {
			at = Point{Pos: r.set.Next}
			return nil
		}
		list, growing, err := r.lossesAt(o.end)
		if hold && growing {
			list = list[:len(list)-1]
		}
		if at = behind(Point{Pos: o.end}, list); err != nil || !hold || !o.Live || o.end == o.Base {
			return err
		}
		x, err := o.index()
		if err != nil || x.ended(o.end) {
			return err
		}
		start := max(o.Base, o.end-MaxLine-1)
		buf := make([]byte, o.end-start)
		if err := o.read(buf, start); err != nil {
			return err
		}
		b := lastBoundary(buf, start, cutsOf(x.span(nil, start, o.end)))
		if at.Pos = start + int64(max(b, 0)); at.Pos < o.end {
			at.Marks = AllMarks
		}
		return nil
	})
	return at, err
}

// Since is a place at which a line begins such that every line in front of it came before t, and, unless the clock was
// set back, no line behind it did.
func (r *Reader) Since(t time.Time) (at Point, err error) {
	at, err = r.First()
	if err != nil {
		return at, err
	}
	ns := t.UnixNano()
	err = r.with(func(fs []File) int {
		// The last file that begins before t.
		return sort.Search(len(fs), func(i int) bool {
			x, err := fs[i].index()
			if err != nil || x == nil {
				return false
			}
			defer x.close()
			return x.at(0).Time >= ns
		}) - 1
	}, func(i int, o *opened) error {
		if o == nil {
			return nil
		}
		x, err := o.index()
		if err != nil {
			return err
		}
		if x == nil {
			if at = (Point{Pos: o.Base}); o.mod.Before(t) {
				at.Pos = o.end
			}
			return nil
		}
		at.Pos = o.end
		if k := x.since(ns); k < x.n {
			at.Pos = min(x.at(k).Pos, o.end)
		}
		return r.align(o, x, &at)
	})
	return at, err
}

// align moves at forward to where a line begins.
func (r *Reader) align(o *opened, x *index, at *Point) error {
	if at.Pos <= o.Base || at.Pos >= o.end {
		return nil
	}
	n := int(min(MaxLine+2, o.end-at.Pos+1))
	buf := make([]byte, n)
	if err := o.read(buf, at.Pos-1); err != nil {
		return err
	}
	cuts := cutsOf(x.span(nil, at.Pos-1, at.Pos+int64(n)))
	if buf[0] == '\n' || slices.Contains(cuts, at.Pos) {
		return nil
	}
	if b := firstBoundary(buf, at.Pos-1, cuts); b >= 0 {
		at.Pos += int64(b) - 1
		return nil
	}
	at.Pos = o.end
	return nil
}
