package wire

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrTooLong is a line over the limit. What follows it cannot be framed, so the connection has to end.
var ErrTooLong = errors.New("line too long")

const (
	firstBuffer = 8 << 10  // what an idle connection costs
	keepBuffer  = 64 << 10 // the largest buffer that whatever is idle keeps
	largeBuffer = MaxLine + firstBuffer
)

// Reader cuts a stream into lines and never holds more than one line of the limit and a buffer.
type Reader struct {
	src    io.Reader
	max    int
	buf    []byte
	mapped bool // buf is one of large
	r, w   int  // buf[r:w] has been read and not yet returned
	seen   int  // bytes of it that hold no newline
	err    error
}

// NewReader reads lines of at most limit bytes from src. Whoever is done calls Release.
func NewReader(src io.Reader, limit int) *Reader { return &Reader{src: src, max: limit} }

// Next gives the next line without its newline; it is valid until the next call. A last line that lacks its newline is
// given too when the source has ended: a message that was cut is no JSON, so nothing is taken for what it is not. After it
// comes io.EOF; any other error of the source comes at once. ErrTooLong comes as soon as the limit is passed, whether or not the line has an end.
func (r *Reader) Next() ([]byte, error) {
	r.shrink()
	for {
		if k := bytes.IndexByte(r.buf[r.r+r.seen:r.w], '\n'); k >= 0 {
			k += r.seen
			if k > r.max {
				return nil, ErrTooLong
			}
			line := r.buf[r.r : r.r+k]
			r.r, r.seen = r.r+k+1, 0
			return line, nil
		}
		r.seen = r.w - r.r
		if r.seen > r.max {
			return nil, ErrTooLong
		}
		if r.err != nil {
			line := r.buf[r.r:r.w]
			r.r, r.seen = r.w, 0
			if len(line) > 0 && errors.Is(r.err, io.EOF) {
				return line, nil
			}
			return nil, r.err
		}
		r.fill()
	}
}

// More reports whether something has been read beyond the last line.
func (r *Reader) More() bool { return r.r < r.w }

// Rest gives what was read beyond the last line, and forgets it.
func (r *Reader) Rest() []byte {
	rest := bytes.Clone(r.buf[r.r:r.w])
	r.r, r.w, r.seen = 0, 0, 0
	return rest
}

// Release gives the reader's memory back when it is done. Lines that it gave are not valid any more.
func (r *Reader) Release() {
	r.r, r.w, r.seen = 0, 0, 0
	r.giveBack()
	r.err = io.EOF
}

func (r *Reader) shrink() {
	if r.r == r.w {
		r.r, r.w, r.seen = 0, 0, 0
		r.giveBack()
	}
}

func (r *Reader) giveBack() {
	if r.mapped {
		putLarge(r.buf)
		r.buf, r.mapped = nil, false
	}
	if len(r.buf) > keepBuffer {
		r.buf = nil
	}
}

// large buffers lie outside the heap: one of them would treble it, and the collector would let the heap become twice as
// large again before it looked. Those that wait here have an address and no memory; they are never unmapped, so that
// whoever keeps a line for too long reads nonsense and brings nothing down.
var large struct {
	mu   sync.Mutex
	free [][]byte
}

func putLarge(b []byte) {
	if unix.Madvise(b, unix.MADV_DONTNEED) != nil {
		return
	}
	large.mu.Lock()
	defer large.mu.Unlock()
	large.free = append(large.free, b)
}

// takeLarge gives a large buffer, or nil where none can be had.
func takeLarge() []byte {
	large.mu.Lock()
	defer large.mu.Unlock()
	if n := len(large.free); n > 0 {
		b := large.free[n-1]
		large.free = large.free[:n-1]
		return b
	}
	b, err := unix.Mmap(-1, 0, largeBuffer, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

// grow makes the buffer longer, which is full.
func (r *Reader) grow() {
	var grown []byte
	mapped := false
	switch most := r.max + firstBuffer; {
	case len(r.buf) == 0:
		grown = make([]byte, min(firstBuffer, most))
	case most >= largeBuffer && len(r.buf) < largeBuffer:
		if grown = takeLarge(); grown == nil {
			grown = make([]byte, largeBuffer)
		} else {
			mapped = true
		}
	default:
		grown = make([]byte, min(2*len(r.buf), most))
	}
	copy(grown, r.buf[:r.w])
	r.giveBack()
	r.buf, r.mapped = grown, mapped
}

func (r *Reader) fill() {
	if r.w == len(r.buf) {
		if r.r > 0 {
			copy(r.buf, r.buf[r.r:r.w])
			r.r, r.w = 0, r.w-r.r
		} else {
			r.grow()
		}
	}
	for range 16 {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		r.err = err
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}
