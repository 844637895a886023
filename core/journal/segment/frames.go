package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// FrameSize is how much of a log is compressed at once. Each frame stands alone and its header says how long it is
// compressed and plain, so that any position is reached by hopping over headers and unpacking one frame.
const FrameSize = 128 << 10

const (
	skipMagic = 0x184D2A55 // a zstd skippable frame: tools pass over it
	skipHead  = 16         // magic, length 8, compressed, plain
	gzipHead  = 24         // fixed header and the extra field "OJ": length of the member, plain length
	gzipTrail = 8
	maxFrame  = 1 << 20 // anything longer was not written by us
)

// frame is one independently compressed stretch.
type frame struct {
	plain int64 // offset of its first byte in the plain file
	off   int64 // offset of its payload in the compressed file
	comp  int   // length of the payload
	size  int   // plain length
}

var errFrame = errors.New("not a frame that this program wrote")

// readFrames hops over the headers of a compressed file.
func readFrames(f io.ReaderAt, format Format) (list []frame, err error) {
	var head [gzipHead]byte
	var off, plain int64
	n := skipHead
	if format == Gzip {
		n = gzipHead
	}
	for {
		k, err := f.ReadAt(head[:n], off)
		if k == 0 && err == io.EOF {
			return list, nil
		}
		if k < n {
			return nil, fmt.Errorf("cannot read frame at %d: %w", off, errFrame)
		}
		fr := frame{plain: plain, off: off + int64(n)}
		le := binary.LittleEndian
		switch {
		case format == Zstd && le.Uint32(head[:]) == skipMagic && le.Uint32(head[4:]) == 8:
			fr.comp, fr.size = int(le.Uint32(head[8:])), int(le.Uint32(head[12:]))
		case format == Gzip && bytes.Equal(head[:4], []byte{0x1f, 0x8b, 8, 4}) && bytes.Equal(head[10:16], []byte{12, 0, 'O', 'J', 8, 0}):
			fr.comp, fr.size = int(le.Uint32(head[16:]))-gzipHead, int(le.Uint32(head[20:]))
		default:
			return nil, fmt.Errorf("cannot read frame at %d: %w", off, errFrame)
		}
		if fr.comp <= 0 || fr.comp > 2*maxFrame || fr.size < 0 || fr.size > maxFrame {
			return nil, fmt.Errorf("cannot read frame at %d: %w", off, errFrame)
		}
		off, plain = fr.off+int64(fr.comp), plain+int64(fr.size)
		list = append(list, fr)
	}
}

var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxFrame))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}}

// unpack appends the plain bytes of a frame to dst.
func (fr frame) unpack(f io.ReaderAt, format Format, dst []byte) ([]byte, error) {
	comp := make([]byte, fr.comp)
	if _, err := f.ReadAt(comp, fr.off); errors.Is(err, io.EOF) {
		return dst, fmt.Errorf("cannot read frame at %d: %w", fr.off, errFrame) // it was cut off
	} else if err != nil {
		return dst, fmt.Errorf("cannot read frame at %d: %w", fr.off, err)
	}
	at := len(dst)
	var err error
	if format == Zstd {
		d := decoders.Get().(*zstd.Decoder)
		dst, err = d.DecodeAll(comp, dst)
		decoders.Put(d)
	} else {
		dst, err = unpackGzip(comp, dst, fr.size)
	}
	if err != nil || len(dst)-at != fr.size {
		return dst[:at], fmt.Errorf("cannot unpack frame at %d: %w", fr.off, errors.Join(errFrame, err))
	}
	return dst, nil
}

func unpackGzip(comp, dst []byte, size int) ([]byte, error) {
	if len(comp) < gzipTrail {
		return dst, errFrame
	}
	at, body := len(dst), len(comp)-gzipTrail
	dst = append(dst, make([]byte, size)...)
	if _, err := io.ReadFull(flate.NewReader(bytes.NewReader(comp[:body])), dst[at:]); err != nil {
		return dst, err
	}
	if crc32.ChecksumIEEE(dst[at:]) != binary.LittleEndian.Uint32(comp[body:]) {
		return dst, errors.New("checksum does not match")
	}
	return dst, nil
}

// packer compresses frames.
type packer struct {
	format Format
	zstd   *zstd.Encoder
	flate  *flate.Writer
	buf    bytes.Buffer
	out    []byte
}

func newPacker(format Format) (p *packer, err error) {
	p = &packer{format: format}
	if format == Zstd {
		p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(FrameSize))
	} else {
		p.flate, err = flate.NewWriter(nil, flate.DefaultCompression)
	}
	return p, err
}

// pack gives plain as a frame with its header. The result is valid until the next call.
func (p *packer) pack(plain []byte) ([]byte, error) {
	le := binary.LittleEndian
	if p.format == Zstd {
		p.out = append(p.out[:0], make([]byte, skipHead)...)
		p.out = p.zstd.EncodeAll(plain, p.out)
		le.PutUint32(p.out, skipMagic)
		le.PutUint32(p.out[4:], 8)
		le.PutUint32(p.out[8:], uint32(len(p.out)-skipHead))
		le.PutUint32(p.out[12:], uint32(len(plain)))
		return p.out, nil
	}
	p.buf.Reset()
	p.buf.Write([]byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 12, 0, 'O', 'J', 8, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	p.flate.Reset(&p.buf)
	if _, err := p.flate.Write(plain); err != nil {
		return nil, err
	}
	if err := p.flate.Close(); err != nil {
		return nil, err
	}
	b := le.AppendUint32(p.buf.Bytes(), crc32.ChecksumIEEE(plain))
	b = le.AppendUint32(b, uint32(len(plain)))
	le.PutUint32(b[16:], uint32(len(b)))
	le.PutUint32(b[20:], uint32(len(plain)))
	return b, nil
}

// toMedium returns when what was written to a file is on the medium. Tests see by it when that happens.
var toMedium = (*os.File).Sync

// Compress replaces the plain archive at path by a compressed one. The plain file goes only after the other is on disk,
// has its name, and was read back and found equal: a crash at any moment leaves one that is whole, and at most a file
// named Temporary. The index stays as it is. It gives up between two frames when ctx ends.
//
// The names change within swap, which is called once and calls what it is given; retention may go on until then. An
// archive that it has deleted meanwhile stays deleted.
func Compress(ctx context.Context, path string, format Format, swap func(func() error) error) (err error) {
	src, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	final := path + suffixes[format]
	if same, err := equal(ctx, src, final, format); err == nil && same { // a crash came between rename and remove
		return swap(func() error { return Unlink(path) })
	}
	tmp := final + Temporary
	dst, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		dst.Close()
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if err := packFile(ctx, src, dst, format); err != nil {
		return fmt.Errorf("cannot compress %s: %w", path, err)
	}
	if err := toMedium(dst); err != nil {
		return fmt.Errorf("cannot compress %s: %w", path, err)
	}
	if err := os.Chtimes(tmp, st.ModTime(), st.ModTime()); err != nil {
		return err
	}
	same, err := equal(ctx, src, tmp, format)
	if err != nil {
		return fmt.Errorf("cannot compress %s: %w", path, err)
	}
	if !same {
		return fmt.Errorf("cannot compress %s: what was written reads back differently", path)
	}
	return swap(func() error {
		if _, err := os.Stat(path); err != nil {
			return os.Remove(tmp)
		}
		if err := os.Rename(tmp, final); err != nil {
			return err
		}
		if err := SyncDir(path); err != nil {
			return err
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) { // the keeper deleted it just now: it stays deleted
			return Unlink(final)
		}
		return Unlink(path)
	})
}

func packFile(ctx context.Context, src io.ReaderAt, dst io.Writer, format Format) error {
	p, err := newPacker(format)
	if err != nil {
		return err
	}
	buf := make([]byte, FrameSize)
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := src.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return err
		}
		if n > 0 || off == 0 {
			out, err := p.pack(buf[:n])
			if err != nil {
				return err
			}
			if _, err := dst.Write(out); err != nil {
				return err
			}
		}
		if off += int64(n); err == io.EOF {
			return nil
		}
	}
}

// equal reports whether the compressed file at path holds exactly the bytes of src.
func equal(ctx context.Context, src io.ReaderAt, path string, format Format) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	frames, err := readFrames(f, format)
	if err != nil {
		return false, err
	}
	var got, want []byte
	end := int64(0)
	for _, fr := range frames {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if got, err = fr.unpack(f, format, got[:0]); err != nil {
			return false, err
		}
		want = append(want[:0], got...)
		if n, err := src.ReadAt(want, fr.plain); n < len(want) || (err != nil && err != io.EOF) || !bytes.Equal(got, want) {
			return false, nil
		}
		end = fr.plain + int64(fr.size)
	}
	n, err := src.ReadAt(make([]byte, 1), end)
	return n == 0 && err == io.EOF, nil
}

// SyncDir makes the names in the folder of path durable.
func SyncDir(path string) error {
	d, err := os.Open(folder(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
