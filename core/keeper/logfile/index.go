package logfile

import (
	"encoding/binary"
	"io"

	"golang.org/x/sys/unix"
)

// RecordSize is the size of one index record in bytes.
const RecordSize = 32

// Kind says what an index record tells.
type Kind uint32

// The kinds of index records.
const (
	Base    Kind = 1 // first record of each index: Pos is the position of the file's first byte
	Data    Kind = 2 // bytes from Pos on arrived at Time; Val is how many are known to have
	Start   Kind = 3 // a generation with this pid prints from Pos on
	End     Kind = 4 // the pid has ended
	Lost    Kind = 5 // Val bytes were dropped at Pos
	Gap     Kind = 6 // an unknown number of bytes may be missing at Pos
	Blocked Kind = 7 // the disk is full
	Resumed Kind = 8 // it is not any more
)

// Record is one entry of an index. Positions count the bytes of the stream's whole life, rotated files included.
type Record struct {
	Time int64 // unix nanoseconds
	Pos  uint64
	Val  uint64
	Kind Kind
	PID  uint32
}

func (r Record) encode(b []byte) {
	binary.LittleEndian.PutUint64(b[0:], uint64(r.Time))
	binary.LittleEndian.PutUint64(b[8:], r.Pos)
	binary.LittleEndian.PutUint64(b[16:], r.Val)
	binary.LittleEndian.PutUint32(b[24:], uint32(r.Kind))
	binary.LittleEndian.PutUint32(b[28:], r.PID)
}

// Decode reads a record from the first RecordSize bytes of b.
func Decode(b []byte) Record {
	return Record{Time: int64(binary.LittleEndian.Uint64(b[0:])), Pos: binary.LittleEndian.Uint64(b[8:]),
		Val: binary.LittleEndian.Uint64(b[16:]), Kind: Kind(binary.LittleEndian.Uint32(b[24:])), PID: binary.LittleEndian.Uint32(b[28:])}
}

// reserve is how much of an index is kept allocated ahead of its end, so that what was lost on a full disk can still be
// written down.
const reserve = 4096

// maxPending bounds the records that wait for a disk that takes none.
const maxPending = 1024

// index is the open index of one log file. What the disk refuses stays in pending and is written on a later flush.
type index struct {
	fd       int
	size     int64 // bytes written that are whole records
	reserved int64
	pending  []Record
	last     Record // last of pending, else of the file
	grown    Record // what the last record of the file should be, while dirty
	dirty    bool
}

// openIndex opens path and cuts off a torn record. first is the Base position for an index that is empty.
func openIndex(path string, first uint64, now int64) (*index, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	x := &index{fd: fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	x.size = st.Size - st.Size%RecordSize
	if x.size != st.Size {
		if err := unix.Ftruncate(fd, x.size); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	if x.size == 0 {
		x.add(Record{Time: now, Pos: first, Kind: Base})
		return x, nil
	}
	x.last = x.at(x.size - RecordSize)
	return x, nil
}

func (x *index) at(off int64) Record {
	var b [RecordSize]byte
	if n, err := unix.Pread(x.fd, b[:], off); n != RecordSize || err != nil {
		return Record{}
	}
	return Decode(b[:])
}

// base is the position that the file begins with.
func (x *index) base() (uint64, bool) {
	r := x.last
	if x.size > 0 {
		r = x.at(0)
	} else if len(x.pending) > 0 {
		r = x.pending[0]
	}
	return r.Pos, r.Kind == Base
}

// cutTo drops records that speak of bytes behind end, as after a power loss, and reports whether there were any.
func (x *index) cutTo(end uint64) bool {
	cut := false
	for x.size > RecordSize && (x.last.Pos > end || x.last.Kind == Data && x.last.Pos+x.last.Val > end) {
		if x.last.Pos <= end { // a part of it is there
			x.last.Val = end - x.last.Pos
			x.grown, x.dirty, cut = x.last, true, true
			break
		}
		x.size, cut = x.size-RecordSize, true
		x.last = x.at(x.size - RecordSize)
	}
	if cut && unix.Ftruncate(x.fd, x.size) != nil {
		return true // what is behind is overwritten record by record
	}
	return cut
}

// coalesce is the step of time in nanoseconds below which arrivals share a record.
const coalesce = 1_000_000

// add appends a record, or lets the last one grow when it tells the same. It does not write: see flush.
func (x *index) add(r Record) {
	l := &x.last
	switch {
	case r.Kind == Data && l.Kind == Data && r.PID == l.PID && r.Pos == l.Pos+l.Val && r.Time-l.Time < coalesce && r.Time >= l.Time,
		r.Kind == Lost && l.Kind == Lost && r.PID == l.PID && r.Pos == l.Pos,
		r.Kind == Data && l.Kind == Data && len(x.pending) >= maxPending:
		l.Val += r.Val
		if n := len(x.pending); n > 0 {
			x.pending[n-1] = *l
		} else {
			x.grown, x.dirty = *l, true
		}
	default:
		x.pending = append(x.pending, r)
		*l = r
	}
}

// flush writes what waits. A record that was written in part is written again at the same place.
func (x *index) flush() error {
	if x.dirty && x.size >= RecordSize { // lies within the file, so that a full disk does not refuse it
		if err := x.write(x.grown, x.size-RecordSize); err != nil {
			return err
		}
	}
	x.dirty = false
	for len(x.pending) > 0 {
		if err := x.write(x.pending[0], x.size); err != nil {
			return err
		}
		x.size += RecordSize
		x.pending = x.pending[1:]
	}
	if x.size+RecordSize > x.reserved-reserve/4 && unix.Fallocate(x.fd, unix.FALLOC_FL_KEEP_SIZE, x.size, reserve) == nil {
		x.reserved = x.size + reserve
	}
	return nil
}

func (x *index) write(r Record, off int64) error {
	var b [RecordSize]byte
	r.encode(b[:])
	n, err := unix.Pwrite(x.fd, b[:], off)
	if err == nil && n < RecordSize {
		err = io.ErrShortWrite
	}
	return err
}

func (x *index) close() { unix.Close(x.fd) }

// lastKnown is the position up to which a closed index tells of bytes, for finding where a stream stood.
func lastKnown(path string) (uint64, bool) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0, false
	}
	x := &index{fd: fd}
	for off := st.Size - st.Size%RecordSize - RecordSize; off >= 0; off -= RecordSize {
		if r := x.at(off); r.Kind != 0 {
			if r.Kind == Data {
				return r.Pos + r.Val, true
			}
			return r.Pos, true
		}
	}
	return 0, false
}
