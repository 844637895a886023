package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is what StateFile needs of a file system. OS is the real one, faulty.Disk one that fails on demand.
type Disk interface {
	// Read gives the content of a file; fs.ErrNotExist where there is none.
	Read(name string) ([]byte, error)
	// Write makes or replaces a file of mode 0600 and returns when its content is durable (not its name).
	Write(name string, data []byte) error
	// Link gives a file a second name that must not exist yet.
	Link(from, to string) error
	// Exchange gives each of two files the name of the other, in one step; errors.ErrUnsupported where that cannot be had.
	Exchange(a, b string) error
	// Rename replaces to.
	Rename(from, to string) error
	// Remove takes a name away; fs.ErrNotExist where there is none.
	Remove(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
}

// OS is the file system of the operating system.
var OS Disk = osDisk{(*os.File).Sync}

type osDisk struct{ sync func(*os.File) error }

func (osDisk) Read(name string) ([]byte, error) { return os.ReadFile(name) }

func (d osDisk) Write(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = d.sync(f)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

func (osDisk) Link(from, to string) error { return os.Link(from, to) }
func (osDisk) Exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if err == unix.EINVAL || err == unix.ENOSYS { // rename(2): the file system, or the kernel, does not know it
		err = unix.EOPNOTSUPP
	}
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) Remove(name string) error     { return os.Remove(name) }

func (d osDisk) SyncDir(dir string) error {
	f, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	err = d.sync(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// Put makes data the content of a file: at every moment the file holds the former content or the new one, and the new one
// is durable when Put returns.
func Put(d Disk, path string, data []byte) error { return replace(d, path, data, false) }

// Replace is Put that keeps the former content as <path>.bak.
func Replace(d Disk, path string, data []byte) error { return replace(d, path, data, true) }

func replace(d Disk, path string, data []byte, backup bool) error {
	tmp := path + ".tmp"
	err := d.Write(tmp, data)
	switch {
	case err != nil:
	case backup:
		err = swap(d, tmp, path)
	default:
		err = d.Rename(tmp, path)
	}
	if err != nil {
		_ = d.Remove(tmp) // so that half a file does not fill the disk of others
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// swap puts tmp in the place of path and keeps the former file as .bak. At no moment are the two names of one file: what
// harms the one would harm the other.
func swap(d Disk, tmp, path string) error {
	err := d.Exchange(tmp, path)
	switch {
	case err == nil:
		return d.Rename(tmp, path+".bak")
	case errors.Is(err, errors.ErrUnsupported):
		if err = keep(d, path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist): // else it is the first write
		return err
	}
	return d.Rename(tmp, path)
}

// keep makes the file its .bak by a second name for it, so that at no moment there is no file, for file systems that
// cannot exchange. A rename between two names of one file does nothing, which happens after a kill between the two steps:
// hence the removal.
func keep(d Disk, path string) error {
	bak := path + ".bak"
	link := bak + ".tmp"
	if err := d.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := d.Link(path, link)
	if err == nil {
		err = d.Rename(link, bak)
	}
	if errors.Is(err, fs.ErrNotExist) { // the first write
		return nil
	}
	return err
}
