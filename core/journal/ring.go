package journal

import (
	"sync"

	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// Bounds of what the ring keeps.
const (
	ringStream = 64 << 10 // bytes of text a stream
	ringLines  = 4096     // items a stream
	ringTotal  = 4 << 20  // bytes of text in all
)

// ring keeps the last lines of live files that were asked for, read and cut, until the file grows. It is filled by
// queries only: the files are the truth, and a stream that nobody looks at costs nothing.
type ring struct {
	mu    sync.Mutex
	tails map[Stream]*tail
	used  int
}

// tail is the end of a stream. It is never changed.
type tail struct {
	stamp segment.Stamp
	end   segment.Point
	chunk *segment.Chunk
}

func (r *ring) init() { r.tails = map[Stream]*tail{} }

// find gives the end of a stream if it is still that.
func (r *ring) find(s Stream, now segment.Stamp) *tail {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tails[s]
	if t == nil || t.stamp != now {
		return nil
	}
	return t
}

// keep takes the end of a stream as it was when the stamp was taken, and reports whether it did: the chunk is shared
// from then on.
func (r *ring) keep(s Stream, stamp segment.Stamp, end segment.Point, c *segment.Chunk) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(s)
	size := c.Size()
	if !c.Live || size > ringStream || len(c.Items) > ringLines {
		return false
	}
	for other := range r.tails { // whichever comes first: a tail is quickly read again
		if r.used+size <= ringTotal {
			break
		}
		r.drop(other)
	}
	r.tails[s] = &tail{stamp, end, c}
	r.used += size
	return true
}

// drop forgets a stream.
func (r *ring) drop(s Stream) {
	if t := r.tails[s]; t != nil {
		r.used -= t.chunk.Size()
		delete(r.tails, s)
	}
}
