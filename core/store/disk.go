package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Disk is what StateFile needs of a file system. OS is the real one, faulty.Disk one that fails on demand.
type Disk interface {
	// Read gives the content of a file; fs.ErrNotExist where there is none.
	Read(name string) ([]byte, error)
	// Write makes or replaces a file of mode 0600 and returns when its content is durable (not its name).
	Write(name string, data []byte) error
	// Link gives a file a second name that must not exist yet.
	Link(from, to string) error
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

func (osDisk) Link(from, to string) error   { return os.Link(from, to) }
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
	if err == nil && backup {
		err = keep(d, path)
	}
	if err == nil {
		err = d.Rename(tmp, path)
	}
	if err != nil {
		_ = d.Remove(tmp) // so that half a file does not fill the disk of others
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// keep makes the file its .bak by a second name for it, so that at no moment there is no file. A rename between two
// names of one file does nothing, which happens after a kill between the two steps: hence the removal.
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
