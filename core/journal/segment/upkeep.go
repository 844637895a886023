package segment

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// Archives gives the rotated files, oldest first, without one whose index still has the live file's name.
func (set Set) Archives() []File {
	n := len(set.Files)
	for n > 0 && (set.Files[n-1].Live || set.Files[n-1].moving) {
		n--
	}
	return set.Files[:n]
}

// Settled reports whether the archives may be compressed and removed. They may not while the keeper, or its next start,
// still has to learn from the newest of them where the stream goes on.
func (set Set) Settled() bool { return set.Sure }

// Strays gives indexes whose archives are gone.
func (set Set) Strays(dir string, s Stream) (paths []string) {
	for _, n := range set.stray {
		if last := len(set.Files) - 1; last >= 0 && set.Sure && n.base < set.Files[last].Base {
			paths = append(paths, Archive(Path(dir, s), n.base)+".idx")
		}
	}
	return paths
}

// Remove deletes an archive, then its index, and gives how many bytes it had held when printed: none if the keeper has
// deleted it already.
func Remove(f File) (int64, error) {
	end, err := fileEnd(f)
	if errors.Is(err, errFrame) || errors.Is(err, fs.ErrNotExist) {
		end = f.Base
	} else if err != nil {
		return 0, err
	}
	return end - f.Base, errors.Join(Unlink(f.Path), Unlink(f.Index))
}

// Unlink removes a file that the keeper may have removed already.
func Unlink(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Seal turns the live file, which nobody has open, into an archive, as the keeper would, and leaves an index without a
// log: whoever opens the stream next goes on at the position that stands there. It may be repeated after a crash.
func Seal(dir string, s Stream, now time.Time) error {
	path := Path(dir, s)
	set, err := Load(dir, s)
	if err != nil || len(set.Files) == 0 {
		return err
	}
	last := set.Files[len(set.Files)-1]
	next, err := fileEnd(last)
	if err != nil {
		return err
	}
	next = max(next, set.Next)
	name := Archive(path, last.Base)
	if last.Live {
		if err := os.Rename(path, name); err != nil {
			return err
		}
	}
	if last.Live || last.moving {
		if err := os.Rename(last.Index, name+".idx"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if set.Sure {
		return nil // sealed already
	}
	return writeBase(path+".idx", Record{Time: now.UnixNano(), Pos: next, Kind: KindBase})
}

// writeBase makes an index of one record, durably.
func writeBase(path string, r Record) error {
	tmp := path + Temporary
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(r.Append(nil))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return SyncDir(path)
}

// Extent is what is known of a file.
type Extent struct {
	Base, End      int64
	Disk           int64 // bytes on disk, with the index
	Oldest, Newest time.Time
	Records        int
}

// Measure looks at a file.
func Measure(f File) (e Extent, err error) {
	o, err := open(f, nil)
	if err != nil {
		return e, err
	}
	defer o.close()
	x, err := o.index()
	if err != nil {
		return e, err
	}
	e = Extent{Base: o.Base, End: o.end, Disk: o.disk, Oldest: o.mod, Newest: o.mod}
	if x != nil {
		e.Disk += int64(x.n) * RecordSize
		e.Records = x.n
		e.Oldest, e.Newest = time.Unix(0, x.at(0).Time), time.Unix(0, x.at(x.n-1).Time)
	}
	return e, nil
}

// Losses is what an index tells of missing output.
type Losses struct {
	Records int // how many records were looked at
	Bytes   int64
	Gaps    int // of unknown size
}

func (l *Losses) add(r Record) {
	l.Records++
	switch r.Kind {
	case KindLost:
		l.Bytes += r.Val
	case KindGap:
		l.Gaps++
	}
}

// Count adds up the losses in a file's index, going on from an earlier count. The last record may still grow, so what to
// go on from leaves it out.
func Count(f File, from Losses) (all, next Losses, err error) {
	x, err := f.index()
	if x == nil || err != nil {
		return Losses{}, Losses{}, err
	}
	defer x.close()
	if next = from; next.Records >= x.n {
		next = Losses{} // a power loss has cut the index
	}
	for next.Records < x.n-1 {
		next.add(x.at(next.Records))
	}
	all = next
	all.add(x.at(x.n - 1))
	return all, next, nil
}

// Moved reports whether an error means that the files have changed under a look at them: look again.
func Moved(err error) bool { return errors.Is(err, errMoved) || errors.Is(err, fs.ErrNotExist) }
