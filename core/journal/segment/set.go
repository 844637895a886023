package segment

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func folder(path string) string { return filepath.Dir(path) }

// File is one file of a stream.
type File struct {
	Path   string
	Index  string // where its index lies, if it has one
	Base   int64  // position of its first byte
	Format Format
	Live   bool
	inode  uint64
	moving bool // its index is found where the live file's index lies, or lay a moment ago
}

// Set is what the disk holds of a stream at one moment, by position; the live file, if there is one, comes last.
type Set struct {
	Files []File
	Next  int64    // position that the next byte has if there is no live file
	Sure  bool     // whether the live file's position comes from its index
	Parts []string // files that were never finished
	Twice []string // compressed files whose plain one is still there
	stray []name   // indexes of archives that are gone
}

var errMoving = errors.New("the files of the stream keep moving")

// Load lists the files of a stream. While the keeper rotates, names change between two looks, so it looks until nothing
// has changed, or goes on from what it saw.
func Load(dir string, s Stream) (Set, error) {
	path := Path(dir, s)
	for range 1000 {
		set, inode, err := load(path)
		if err != nil {
			return Set{}, err
		}
		if now, _ := inodeOf(path); now == inode || set.catchUp(path) {
			return set, nil
		}
	}
	return Set{}, errMoving
}

// catchUp adds the files that rotation has made since the set was loaded: each begins where the one before it ends. That
// takes a look at each, where loading takes one at all there are. It reports whether the set is complete then.
func (set *Set) catchUp(path string) bool {
	files := set.Archives()
	if len(files) == 0 {
		return false
	}
	pos, err := fileEnd(files[len(files)-1])
	if err != nil {
		return false
	}
	for range 100 {
		inode, _ := inodeOf(path)
		x, base, err := openIndex(path+".idx", -1)
		if x.close(); err != nil || x == nil || inode == 0 { // in the middle of a rotation
			continue
		}
		for pos < base {
			f, end, ok := archived(path, pos)
			if !ok || end <= pos || end > base {
				return false
			}
			files, pos = append(files, f), end
		}
		if now, _ := inodeOf(path); now != inode {
			continue
		}
		if pos != base {
			return false
		}
		set.Files = append(files, File{Path: path, Index: path + ".idx", Base: base, Live: true, inode: inode, moving: true})
		set.Next, set.Sure = base, true
		return true
	}
	return false
}

// archived finds the archive that begins at base, in whatever format it is by now, and where it ends.
func archived(path string, base int64) (f File, end int64, ok bool) {
	name := Archive(path, base)
	for format, suffix := range suffixes {
		f = File{Path: name + suffix, Index: name + ".idx", Base: base, Format: Format(format)}
		if end, err := fileEnd(f); err == nil {
			return f, end, true
		}
	}
	return f, 0, false
}

func inodeOf(path string) (inode uint64, at time.Time) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, time.Time{}
	}
	return st.Ino, time.Unix(st.Mtim.Sec, st.Mtim.Nsec)
}

func load(path string) (set Set, inode uint64, err error) {
	inode, _ = inodeOf(path)
	entries, err := readNames(filepath.Dir(path))
	if err != nil {
		return set, 0, err
	}
	prefix := filepath.Base(path)
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e, prefix)
		if !ours || rest == "" || rest[0] != '.' {
			continue
		}
		n, ok := parseName(e)
		full := filepath.Join(filepath.Dir(path), e)
		switch {
		case !ok:
		case n.kind == temporary:
			set.Parts = append(set.Parts, full)
		case n.kind == archiveIndex:
			set.stray = append(set.stray, n)
		case n.kind == archive:
			set.Files = append(set.Files, File{Path: full, Index: Archive(path, n.base) + ".idx", Base: n.base, Format: n.format})
		}
	}
	slices.SortFunc(set.Files, func(a, b File) int {
		return int(max(-1, min(1, a.Base-b.Base)))*4 + int(a.Format) - int(b.Format)
	})
	set.Files = slices.CompactFunc(set.Files, func(later, kept File) bool { // the plain one comes first, and is kept
		if later.Base == kept.Base {
			set.Twice = append(set.Twice, later.Path)
		}
		return later.Base == kept.Base
	})
	set.stray = slices.DeleteFunc(set.stray, func(n name) bool {
		_, found := slices.BinarySearchFunc(set.Files, n.base, func(f File, base int64) int { return cmp.Compare(f.Base, base) })
		return found
	})
	set.place(path, inode)
	return set, inode, nil
}

// readNames lists a folder in one system call, up to a million names: an archive that gets another name between two
// calls could be in neither part of the list.
func readNames(dir string) (names []string, err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	for size, again := 32<<10, true; again; size *= 8 {
		buf := make([]byte, size)
		names, again = names[:0], false
		for calls := 0; ; calls++ {
			n, err := unix.ReadDirent(fd, buf)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, &os.PathError{Op: "readdir", Path: dir, Err: err}
			}
			if n <= 0 {
				break
			}
			if again = calls > 0 && size < 64<<20; again {
				if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
					return nil, &os.PathError{Op: "seek", Path: dir, Err: err}
				}
				break
			}
			_, _, names = unix.ParseDirent(buf[:n], -1, names)
		}
	}
	return names, nil
}

// place finds the position of the live file: from its index, else, where a kill came in the middle of a rotation, from
// what the rotated names say.
func (set *Set) place(path string, inode uint64) {
	idx := path + ".idx"
	base := int64(-1)
	if x, b, err := openIndex(idx, -1); err == nil && x != nil {
		x.close()
		base = b
	}
	if n := len(set.Files); n > 0 {
		last := &set.Files[n-1]
		if last.Base == base { // the log was renamed, its index not yet
			last.Index, last.moving, base = idx, true, -1
		}
		if set.Next = last.Base; base < 0 || inode == 0 {
			if end, err := fileEnd(*last); err == nil {
				set.Next = end
			}
		}
	}
	for _, n := range set.stray { // the index was renamed, the log not yet
		if n.base >= set.Next && inode != 0 && base < 0 {
			base, idx = n.base, Archive(path, n.base)+".idx"
		}
	}
	set.Sure = base >= 0
	if base < 0 {
		base = set.Next
	}
	set.Next = max(set.Next, base)
	if inode != 0 {
		set.Files = append(set.Files, File{Path: path, Index: idx, Base: base, Live: true, inode: inode, moving: set.Sure})
	}
}

// fileEnd is the position behind the last byte of f.
func fileEnd(f File) (int64, error) {
	if f.Format == Plain {
		st, err := os.Stat(f.Path)
		if err != nil {
			return 0, err
		}
		return f.Base + st.Size(), nil
	}
	o, err := open(f, nil)
	if err != nil {
		return 0, err
	}
	defer o.close()
	return o.end, nil
}

// opened is a file that is being read.
type opened struct {
	File
	f      *os.File
	end    int64
	disk   int64
	mod    time.Time
	frames []frame
	x      *index
	cached int // frame in plain, or -1
	plain  []byte
}

var errMoved = errors.New("the file was rotated away")

// open opens f; frames, where they are known, spares the hop over their headers.
func open(f File, frames []frame) (*opened, error) {
	h, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	o := &opened{File: f, f: h, cached: -1, frames: frames}
	st, err := h.Stat()
	if err == nil && f.Live && st.Sys().(*syscall.Stat_t).Ino != f.inode {
		err = errMoved
	}
	if err == nil && f.Format != Plain && frames == nil {
		o.frames, err = readFrames(h, f.Format)
	}
	if err == nil && f.moving {
		// A number of a deleted file is soon given to another one: only the index says that this is still the same.
		_, err = o.index()
	}
	if err != nil {
		o.close()
		return nil, err
	}
	o.mod, o.disk = st.ModTime(), st.Size()
	o.end = f.Base + st.Size()
	if f.Format != Plain {
		o.end = f.Base
		if n := len(o.frames); n > 0 {
			o.end += o.frames[n-1].plain + int64(o.frames[n-1].size)
		}
	}
	return o, nil
}

func (o *opened) close() {
	o.f.Close()
	o.x.close()
}

// index opens the index once; it is nil where there is none.
func (o *opened) index() (x *index, err error) {
	if o.x == nil {
		o.x, err = o.File.index()
	}
	return o.x, err
}

// index opens the file's index; nil where there is none. One that was there a moment ago has been renamed: look again.
func (f File) index() (*index, error) {
	x, _, err := openIndex(f.Index, f.Base)
	if x == nil && err == nil && f.moving {
		err = errMoved
	}
	return x, err
}

// read fills b with the bytes from position pos on; they exist.
func (o *opened) read(b []byte, pos int64) error {
	off := pos - o.Base
	if o.Format == Plain {
		_, err := o.f.ReadAt(b, off)
		return err
	}
	for len(b) > 0 {
		i := sort.Search(len(o.frames), func(i int) bool { return o.frames[i].plain > off }) - 1
		if o.cached != i {
			p, err := o.frames[i].unpack(o.f, o.Format, o.plain[:0])
			if err != nil {
				o.cached = -1
				return err
			}
			o.cached, o.plain = i, p
		}
		n := copy(b, o.plain[off-o.frames[i].plain:])
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// Written is when the live file last grew; the zero time where there is none.
func Written(dir string, s Stream) time.Time {
	_, at := inodeOf(Path(dir, s))
	return at
}

// Stamp changes whenever anything is written to a stream.
type Stamp struct {
	inode         uint64
	length, index int64
	at, indexed   int64
}

// Look gives the stamp of a stream as it is now.
func Look(dir string, s Stream) (stamp Stamp) {
	path := Path(dir, s)
	if st, err := os.Stat(path); err == nil {
		stamp.inode, stamp.length, stamp.at = st.Sys().(*syscall.Stat_t).Ino, st.Size(), st.ModTime().UnixNano()
	}
	if st, err := os.Stat(path + ".idx"); err == nil {
		stamp.index, stamp.indexed = st.Size(), st.ModTime().UnixNano()
	}
	return stamp
}
