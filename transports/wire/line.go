package wire

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"weak"
)

// ErrTooLong is a line over the limit. What follows it cannot be framed, so the connection has to end.
var ErrTooLong = errors.New("line too long")

const (
	firstBuffer = 8 << 10  // what an idle connection costs
	keepBuffer  = 64 << 10 // a larger buffer is given back once its line is done
	largeBuffer = MaxLine + firstBuffer
)

// Reader cuts a stream into lines and never holds more than one line of the limit and a buffer.
type Reader struct {
	src  io.Reader
	max  int
	buf  []byte
	r, w int // buf[r:w] has been read and not yet returned
	seen int // bytes of it that hold no newline
	err  error
}

// NewReader reads lines of at most limit bytes from src.
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
	if len(r.buf) == largeBuffer {
		putLarge((*[largeBuffer]byte)(r.buf))
	}
	if len(r.buf) > keepBuffer {
		r.buf = nil
	}
}

// spare is the buffer of the last long line until the next collection: clients that send such lines one after the other,
// for good or for evil, cost the memory of one. A sync.Pool would keep one a processor.
var spare struct {
	mu  sync.Mutex
	buf weak.Pointer[[largeBuffer]byte]
}

func putLarge(b *[largeBuffer]byte) {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	spare.buf = weak.Make(b)
}

func takeLarge() *[largeBuffer]byte {
	spare.mu.Lock()
	defer spare.mu.Unlock()
	b := spare.buf.Value()
	spare.buf = weak.Pointer[[largeBuffer]byte]{}
	if b == nil {
		b = new([largeBuffer]byte)
	}
	return b
}

// grown gives a buffer that is longer than the one that is full. Pages of a large one cost nothing until they are used.
func (r *Reader) grown() []byte {
	switch most := r.max + firstBuffer; {
	case len(r.buf) < keepBuffer:
		return make([]byte, min(max(firstBuffer, 8*len(r.buf)), most))
	case most < largeBuffer:
		return make([]byte, most)
	case len(r.buf) < largeBuffer:
		return takeLarge()[:]
	default:
		return make([]byte, min(2*len(r.buf), most))
	}
}

func (r *Reader) fill() {
	if r.w == len(r.buf) {
		if r.r > 0 {
			copy(r.buf, r.buf[r.r:r.w])
			r.r, r.w = 0, r.w-r.r
		} else {
			grown := r.grown()
			copy(grown, r.buf[:r.w])
			r.giveBack()
			r.buf = grown
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
