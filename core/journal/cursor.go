package journal

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// A cursor is a byte that says what it is for, then for each stream a hash of its name and a point. Streams stand there
// at a fixed place and width, so that a follower changes one entry an item.
const (
	cursorPage   = 'q' // lines in front of the points are still to come; streams that are not named are exhausted or newer
	cursorFollow = 'f' // lines behind the points are; streams that are not named are new
	cursorEntry  = 20
)

func streamHash(s Stream) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s.String()))
	return h.Sum64()
}

func appendEntry(b []byte, hash uint64, at segment.Point) []byte {
	b = binary.LittleEndian.AppendUint64(b, hash)
	b = binary.LittleEndian.AppendUint64(b, uint64(at.Pos))
	return binary.LittleEndian.AppendUint32(b, uint32(at.Marks))
}

func putPoint(entry []byte, at segment.Point) {
	binary.LittleEndian.PutUint64(entry[8:], uint64(at.Pos))
	binary.LittleEndian.PutUint32(entry[16:], uint32(at.Marks))
}

var cursorText = base64.RawURLEncoding

// parseCursor gives the points of a cursor by the hashes of their streams.
func parseCursor(text string, kind byte) (map[uint64]segment.Point, error) {
	bad := fault.New(fault.Invalid, "the cursor is none that an answer of this method gave").WithReason("bad_cursor").
		WithHint("leave the cursor out to begin anew")
	b, err := cursorText.DecodeString(text)
	if err != nil || len(b) == 0 || b[0] != kind || (len(b)-1)%cursorEntry != 0 {
		return nil, bad
	}
	points := map[uint64]segment.Point{}
	for b = b[1:]; len(b) > 0; b = b[cursorEntry:] {
		at := segment.Point{
			Pos:   int64(binary.LittleEndian.Uint64(b[8:])),
			Marks: int32(binary.LittleEndian.Uint32(b[16:])),
		}
		if at.Pos < 0 || at.Marks < unopened {
			return nil, bad
		}
		points[binary.LittleEndian.Uint64(b)] = at
	}
	return points, nil
}
