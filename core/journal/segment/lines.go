package segment

import "bytes"

// MaxLine is how long a line may be, with its newline, before it is handed out in pieces. The pieces of a longer line
// end where the position is a multiple of MaxLine, so that readers in both directions, from wherever they begin, see the
// same ones without looking for the start of the line.
const MaxLine = 64 << 10

// Tail says what the end of the data means for a line that has no newline there.
type Tail uint8

// The meanings.
const (
	Hold  Tail = iota // it may go on: leave it
	Close             // it ends here
	Open              // it goes on, is longer than MaxLine, and the data end where a piece ends
)

// Split cuts data, whose first byte is at pos and begins a line or a piece, into lines, newline included, and calls emit
// for each. A line also ends at every position of cuts (ascending). It gives how many bytes it has taken.
func Split(data []byte, pos int64, cuts []int64, tail Tail, emit func(off, end int)) int {
	p, c, size := 0, 0, len(data)
	for p < size {
		for c < len(cuts) && cuts[c] <= pos+int64(p) {
			c++
		}
		limit := size
		if c < len(cuts) {
			limit = int(min(int64(size), cuts[c]-pos))
		}
		t, found := limit, limit < size || c < len(cuts) && cuts[c] == pos+int64(size)
		if i := bytes.IndexByte(data[p:limit], '\n'); i >= 0 {
			t, found = p+i+1, true
		}
		if !found && tail == Close {
			found = true
		}
		// From here on found says that the line ends at t.
		if found && t-p <= MaxLine {
			emit(p, t)
			p = t
			continue
		}
		next := int((pos+int64(p))/MaxLine*MaxLine + MaxLine - pos)
		switch {
		case t-p > MaxLine, tail == Open && !found && next <= size:
			emit(p, next)
			p = next
		case tail == Open && !found:
			emit(p, size)
			p = size
		default:
			return p
		}
	}
	return p
}

// lastBoundary gives the last place in data, whose first byte is at pos, where a line or piece ends for certain, or -1.
func lastBoundary(data []byte, pos int64, cuts []int64) int {
	best := bytes.LastIndexByte(data, '\n') + 1
	for _, c := range cuts {
		if c > pos && c <= pos+int64(len(data)) {
			best = max(best, int(c-pos))
		}
	}
	if len(data)-best > MaxLine {
		return int((pos+int64(len(data))-1)/MaxLine*MaxLine - pos)
	}
	if best == 0 {
		return -1
	}
	return best
}

// firstBoundary gives the first place in data strictly before its end where a line starts for certain; where there is
// none and data is longer than a line may be, the first place where a piece starts; else -1.
func firstBoundary(data []byte, pos int64, cuts []int64) int {
	best := -1
	if i := bytes.IndexByte(data[:len(data)-1], '\n'); i >= 0 {
		best = i + 1
	}
	for _, c := range cuts {
		if at := int(c - pos); at > 0 && at < len(data) && (best < 0 || at < best) {
			best = at
		}
	}
	if best < 0 && len(data) > MaxLine {
		best = int((pos+MaxLine-1)/MaxLine*MaxLine - pos)
	}
	return best
}
