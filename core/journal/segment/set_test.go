package segment_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// TestPlainAndCompressed: of an archive that is there in both forms the plain one is read, and the compressed one is
// what may go.
func TestPlainAndCompressed(t *testing.T) {
	dir := t.TempDir()
	s := segment.Stream{Project: "p", Stack: "dev", App: "a", Process: "a", Instance: 1, Name: "out"}
	live := segment.Path(dir, s)
	if err := os.MkdirAll(filepath.Dir(live), 0o700); err != nil {
		t.Fatal(err)
	}
	plain := segment.Archive(live, 0)
	for _, f := range []string{live, plain, plain + ".zst"} {
		if err := os.WriteFile(f, []byte("line\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := segment.Load(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Twice) != 1 || set.Twice[0] != plain+".zst" {
		t.Errorf("what is there twice: %v, want the compressed one", set.Twice)
	}
	kept := set.Archives()
	if len(kept) != 1 || kept[0].Path != plain {
		t.Errorf("what is read: %v, want the plain one", kept)
	}
}
