package segment

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompressReachesTheMedium: the original goes only after the compressed file is on the medium and holds the same.
func TestCompressReachesTheMedium(t *testing.T) {
	refused := errors.New("the medium refuses")
	for name, c := range map[string]struct {
		sync func(plain string, f *os.File) error
		fail bool
	}{
		"in order":    {func(_ string, f *os.File) error { return f.Sync() }, false},
		"refused":     {func(string, *os.File) error { return refused }, true},
		"other bytes": {func(_ string, f *os.File) error { return f.Truncate(100) }, true},
		"original grows": {func(plain string, f *os.File) error {
			o, err := os.OpenFile(plain, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = o.WriteString("more\n")
			return errors.Join(err, o.Close())
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			plain := filepath.Join(t.TempDir(), "a.log.00000000000000000000")
			if err := os.WriteFile(plain, []byte(strings.Repeat("a line\n", 20_000)), 0o600); err != nil {
				t.Fatal(err)
			}
			synced := 0
			defer func(was func(*os.File) error) { toMedium = was }(toMedium)
			toMedium = func(f *os.File) error {
				synced++
				if _, err := os.Stat(plain); err != nil || !strings.HasSuffix(f.Name(), Temporary) {
					t.Errorf("%s is synced when the original is gone or it has its name already: %v", f.Name(), err)
				}
				return c.sync(plain, f)
			}
			err := Compress(context.Background(), plain, Zstd, func(change func() error) error { return change() })
			_, left := os.Stat(plain)
			_, made := os.Stat(plain + ".zst")
			if synced != 1 || (err != nil) != c.fail || (left == nil) != c.fail || (made == nil) == c.fail {
				t.Errorf("synced %d times; compress: %v; original: %v; compressed: %v", synced, err, left, made)
			}
		})
	}
}
