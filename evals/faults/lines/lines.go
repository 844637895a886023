// Package lines says what the numbered lines of a printing program are, so that whoever knows how many were printed
// knows every byte.
package lines

import "strconv"

// fill is what lines are filled up with.
const fill = "the quick brown fox jumps over the lazy dog, and the dog does not mind at all; "

// Append adds line n of a stream to b. Most lines are short, some are long, one in a thousand does not fit into a pipe at
// once.
func Append(b []byte, stream string, n int) []byte {
	b = append(b, stream...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, ' ')
	for left := length(n); left > 0; left -= len(fill) {
		b = append(b, fill[:min(left, len(fill))]...)
	}
	return append(b, '\n')
}

// length spreads the lengths without any memory: the same n always gives the same.
func length(n int) int {
	h := uint32(n) * 2654435761
	switch {
	case n%1000 == 999:
		return 70_000 + int(h%5000)
	case n%50 == 49:
		return 2000 + int(h%2000)
	}
	return int(h>>16) % 160
}
