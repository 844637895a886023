// Package journaltest writes log files the way the keeper does, for tests of those who read them: the bytes first, then
// the index; rotation by rename; and every state in which a kill can leave the two.
package journaltest

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// TB is what a test has to offer.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// Writer is the writing end of one stream.
type Writer struct {
	t    TB
	path string
	f    *os.File
	idx  *os.File
	base int64
	size int64
	lag  bool
	last segment.Record
	PID  uint32 // put into every record
}

// Open opens the stream's live file below dir as the keeper does after whatever happened before.
func Open(t TB, dir string, s segment.Stream, at time.Time) *Writer {
	t.Helper()
	w := &Writer{t: t, path: segment.Path(dir, s)}
	w.must(os.MkdirAll(filepath.Dir(w.path), 0o700))
	w.open(w.nextBase(), at)
	t.Cleanup(w.Close)
	return w
}

func (w *Writer) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// nextBase is the live file's position: what its index says, else the end of the newest archive.
func (w *Writer) nextBase() (base int64) {
	if b, err := os.ReadFile(w.path + ".idx"); err == nil && len(b) >= segment.RecordSize {
		return int64(binary.LittleEndian.Uint64(b[8:]))
	}
	names, err := filepath.Glob(w.path + ".*")
	w.must(err)
	for _, n := range names {
		at, err := strconv.ParseInt(strings.TrimPrefix(n, w.path+"."), 10, 64)
		if err != nil {
			continue
		}
		st, err := os.Stat(n)
		w.must(err)
		base = max(base, at+st.Size())
	}
	return base
}

func (w *Writer) open(base int64, at time.Time) {
	var err error
	w.base, w.last = base, segment.Record{}
	w.idx, err = os.OpenFile(w.path+".idx", os.O_RDWR|os.O_CREATE, 0o600)
	w.must(err)
	st, err := w.idx.Stat()
	w.must(err)
	w.must(w.idx.Truncate(st.Size() / segment.RecordSize * segment.RecordSize))
	if st.Size() < segment.RecordSize {
		w.record(segment.Record{Time: at.UnixNano(), Pos: base, Kind: segment.KindBase, PID: w.PID})
	}
	w.f, err = os.OpenFile(w.path, os.O_RDWR|os.O_CREATE, 0o600)
	w.must(err)
	st, err = w.f.Stat()
	w.must(err)
	w.size = st.Size()
	if known := w.known(); known < w.Pos() {
		w.record(segment.Record{Time: at.UnixNano(), Pos: known, Val: w.Pos() - known, Kind: segment.KindData, PID: w.PID})
	}
}

// known is the position up to which the index tells of bytes.
func (w *Writer) known() (pos int64) {
	b, err := os.ReadFile(w.path + ".idx")
	w.must(err)
	for ; len(b) >= segment.RecordSize; b = b[segment.RecordSize:] {
		pos = int64(binary.LittleEndian.Uint64(b[8:]))
		if binary.LittleEndian.Uint32(b[24:]) == segment.KindData {
			pos += int64(binary.LittleEndian.Uint64(b[16:]))
		}
	}
	return pos
}

// record appends a record, or lets the last one grow when it tells the same.
func (w *Writer) record(r segment.Record) {
	w.t.Helper()
	st, err := w.idx.Stat()
	w.must(err)
	off, l := st.Size(), &w.last
	same := r.Kind == l.Kind && r.PID == l.PID
	if same && r.Kind == segment.KindData && r.Time == l.Time && r.Pos == l.Pos+l.Val || same && r.Kind == segment.KindLost && r.Pos == l.Pos {
		r.Pos, r.Time, r.Val = l.Pos, l.Time, l.Val+r.Val
		off -= segment.RecordSize
	}
	_, err = w.idx.WriteAt(r.Append(nil), off)
	w.must(err)
	w.last = r
}

// Path is the live file.
func (w *Writer) Path() string { return w.path }

// Pos is the position of the next byte.
func (w *Writer) Pos() int64 { return w.base + w.size }

// Size is the length of the live file.
func (w *Writer) Size() int64 { return w.size }

// Write appends bytes that arrive at a moment.
func (w *Writer) Write(at time.Time, b string) {
	w.t.Helper()
	pos := w.Pos()
	_, err := w.f.WriteAt([]byte(b), w.size)
	w.must(err)
	w.size += int64(len(b))
	if !w.lag {
		w.record(segment.Record{Time: at.UnixNano(), Pos: pos, Val: int64(len(b)), Kind: segment.KindData, PID: w.PID})
	}
}

// Lag stops or resumes the writing of data records.
func (w *Writer) Lag(on bool) { w.lag = on }

// Mark appends a record of another kind at the end of what was written.
func (w *Writer) Mark(at time.Time, kind uint32, val int64) {
	w.t.Helper()
	w.record(segment.Record{Time: at.UnixNano(), Pos: w.Pos(), Val: val, Kind: kind, PID: w.PID})
}

// Tear leaves half a record at the end of the index.
func (w *Writer) Tear() {
	st, err := w.idx.Stat()
	w.must(err)
	_, err = w.idx.WriteAt(make([]byte, segment.RecordSize/2+1), st.Size())
	w.must(err)
}

// Rotate gives the live file its archive's name and begins a new one.
func (w *Writer) Rotate(at time.Time) {
	w.t.Helper()
	w.RotateIndex()
	w.RotateLog()
	w.Reopen(at)
}

// RotateLog is one half of Rotate: behind each of them the keeper may die.
func (w *Writer) RotateLog() { w.must(os.Rename(w.path, segment.Archive(w.path, w.base))) }

// RotateIndex is the other half; the keeper does it first.
func (w *Writer) RotateIndex() {
	err := os.Rename(w.path+".idx", segment.Archive(w.path, w.base)+".idx")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.must(err)
	}
}

// Reopen is what follows both.
func (w *Writer) Reopen(at time.Time) {
	w.t.Helper()
	next := w.Pos()
	w.Close()
	w.open(next, at)
}

// Close closes the files.
func (w *Writer) Close() {
	w.f.Close()
	w.idx.Close()
}
