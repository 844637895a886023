package descent

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnmount takes away what was mounted below a folder, one on top of the other, and nothing beside it.
func TestUnmount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this needs root: cannot mount")
	}
	dir := t.TempDir()
	for _, name := range []string{"in/a", "in/a/b", "inside"} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("descent", at, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
	}
	if err := Unmount(filepath.Join(dir, "in")); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "in")); err != nil { // a mount point cannot be removed
		t.Error(err)
	}
	if err := unix.Unmount(filepath.Join(dir, "inside"), 0); err != nil {
		t.Errorf("what lies beside it has gone too: %v", err)
	}
}
