package store

import (
	"os"
	"path/filepath"
	"testing"
)

// What the promise of durability rests on can only be seen on a machine whose power fails; so it is counted.
func TestWritesReachTheMedium(t *testing.T) {
	var synced []string
	disk := osDisk{func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		what := "dir"
		if !info.IsDir() {
			what = filepath.Base(f.Name())
			if info.Size() == 0 {
				what += " (empty)"
			}
		}
		synced = append(synced, what)
		return f.Sync()
	}}
	f, err := OpenState(filepath.Join(t.TempDir(), "state.json"), disk, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(synced) != 2 || synced[0] != "state.json.tmp" || synced[1] != "dir" {
		t.Errorf("fsync was called for %q, want the whole file, then its directory", synced)
	}
}
