package segment

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"
)

// RecordSize is the length of one index record on disk.
const RecordSize = 32

// The kinds of index records.
const (
	KindBase    = 1 // first record: position of the file's first byte
	KindData    = 2 // Val bytes from Pos on arrived at Time; the last record of an index may still grow
	KindStart   = 3 // a generation with this pid prints from Pos on
	KindEnd     = 4 // the pid ended
	KindLost    = 5 // Val bytes were lost at Pos; the last record of an index may still grow
	KindGap     = 6 // an unknown number of bytes was lost at Pos
	KindBlocked = 7 // the disk is full
	KindResumed = 8 // it no longer is
)

// Record is one entry of a time index. Any record says that what lies at Pos or behind it came at Time or later.
type Record struct {
	Time int64 // Unix nanoseconds
	Pos  int64
	Val  int64
	Kind uint32
	PID  uint32
}

// Loss reports whether the record says that output is missing.
func (r Record) Loss() bool { return r.Kind == KindLost || r.Kind == KindGap }

// cuts reports whether a line never goes on across the record.
func (r Record) cuts() bool { return r.Loss() || r.Kind == KindStart }

// Append adds the record's form on disk to b.
func (r Record) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Time))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Pos))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Val))
	b = binary.LittleEndian.AppendUint32(b, r.Kind)
	return binary.LittleEndian.AppendUint32(b, r.PID)
}

func decodeRecord(b []byte) Record {
	return Record{
		Time: int64(binary.LittleEndian.Uint64(b)),
		Pos:  int64(binary.LittleEndian.Uint64(b[8:])),
		Val:  int64(binary.LittleEndian.Uint64(b[16:])),
		Kind: binary.LittleEndian.Uint32(b[24:]),
		PID:  binary.LittleEndian.Uint32(b[28:]),
	}
}

const blockRecords = 128 // read at once: one page

// index reads an index file without loading it.
type index struct {
	f     *os.File
	n     int // whole records
	block []byte
	first int // record number of block
}

// openIndex opens the index at path if its first record says base (any base if base < 0); nil without an error when there is none.
func openIndex(path string, base int64) (*index, int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	x := &index{f: f, n: int(st.Size() / RecordSize), first: -1}
	// A machine that lost power may leave zeros where records should be.
	for x.n > 0 && x.at(x.n-1).Kind == 0 {
		x.n--
	}
	r := x.at(0)
	if x.n == 0 || r.Kind != KindBase || (base >= 0 && r.Pos != base) {
		f.Close()
		return nil, 0, nil
	}
	return x, r.Pos, nil
}

func (x *index) close() {
	if x != nil {
		x.f.Close()
	}
}

// at gives record i; one that cannot be read is a zero record, which is of no kind and says nothing.
func (x *index) at(i int) Record {
	if i < 0 || i >= x.n {
		return Record{}
	}
	if x.first < 0 || i < x.first || i >= x.first+len(x.block)/RecordSize {
		if x.block == nil {
			x.block = make([]byte, blockRecords*RecordSize)
		}
		x.first = i / blockRecords * blockRecords
		n, err := x.f.ReadAt(x.block[:cap(x.block)], int64(x.first)*RecordSize)
		if err != nil && err != io.EOF {
			n = 0
		}
		x.block = x.block[:n/RecordSize*RecordSize]
		if i >= x.first+len(x.block)/RecordSize {
			return Record{}
		}
	}
	return decodeRecord(x.block[(i-x.first)*RecordSize:])
}

// lower is the first record at pos or behind it.
func (x *index) lower(pos int64) int {
	return sort.Search(x.n, func(i int) bool { return x.at(i).Pos >= pos })
}

// since is the first record of time t or later, if times only grow.
func (x *index) since(t int64) int {
	return sort.Search(x.n, func(i int) bool { return x.at(i).Time >= t })
}

// lookBack bounds how many records are searched for the pid of a generation that did not change for long.
const lookBack = 4096

// span appends the records from one position to another, both included, before them the one that gives the first byte
// its time, and before that, where need be, the one that gives it its pid.
func (x *index) span(to []Record, from, until int64) []Record {
	if x == nil {
		return to
	}
	i := x.lower(from)
	if i > 0 {
		j := i - 1
		for k := j; k >= 0 && k > i-lookBack; k-- {
			if r := x.at(k); r.PID != 0 {
				if k != j {
					r.Kind, r.Time = 0, x.at(j).Time
					to = append(to, r)
				}
				break
			}
		}
		to = append(to, x.at(j))
	}
	for ; i < x.n; i++ {
		r := x.at(i)
		if r.Pos > until {
			break
		}
		to = append(to, r)
	}
	return to
}

// losses gives the records of losses at exactly pos.
func (x *index) losses(pos int64) (list []Record) {
	if x == nil {
		return nil
	}
	for i := x.lower(pos); i < x.n; i++ {
		r := x.at(i)
		if r.Pos != pos {
			break
		}
		if r.Loss() {
			list = append(list, r)
		}
	}
	return list
}

// growing reports whether the last record is of a loss at pos that goes on.
func (x *index) growing(pos int64) bool {
	if x == nil {
		return false
	}
	r := x.at(x.n - 1)
	return r.Kind == KindLost && r.Pos == pos
}

// ended reports whether the last word of the index is that whoever printed up to pos has ended.
func (x *index) ended(pos int64) bool {
	if x == nil {
		return false
	}
	for i := x.n - 1; i >= 0; i-- {
		switch r := x.at(i); {
		case r.Pos != pos || r.Kind == KindStart || r.Kind == KindData:
			return false
		case r.Kind == KindEnd:
			return true
		}
	}
	return false
}

// cutsOf gives the positions of records that end a line, ascending, without doubles.
func cutsOf(recs []Record) (cuts []int64) {
	for _, r := range recs {
		if r.cuts() && !slices.Contains(cuts[max(0, len(cuts)-1):], r.Pos) {
			cuts = append(cuts, r.Pos)
		}
	}
	return cuts
}
