package rig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// LogPath is the live log file of one stream of an app's first process and instance; app is project/stack/app.
func (r *Rig) LogPath(app, stream string) string {
	return filepath.Join(r.Home, "logs", filepath.FromSlash(app), filepath.Base(app)+".1."+stream+".log")
}

// LogFiles gives the files of a stream without their indexes, oldest first, the live one last. An archive of which both
// forms are there, as while it is being compressed, is given once.
func LogFiles(live string) ([]string, error) {
	found, err := filepath.Glob(live + ".[0-9]*")
	if err != nil {
		return nil, err
	}
	var files []string // Glob sorts: a plain archive comes before its compressed form
	for _, f := range found {
		if strings.HasSuffix(f, ".idx") || strings.HasSuffix(f, ".tmp") {
			continue
		}
		if n := len(files); n > 0 && strings.HasPrefix(f, files[n-1]) {
			continue
		}
		files = append(files, f)
	}
	if _, err := os.Stat(live); err == nil {
		files = append(files, live)
	}
	return files, nil
}

// Stored copies everything that is stored of a stream, archives and live file, in order, and gives how much that was.
// Nobody may print or compress meanwhile: see Settled.
func Stored(to io.Writer, live string) (int64, error) {
	files, err := LogFiles(live)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, f := range files {
		n, err := unpack(to, f)
		if total += n; err != nil {
			return total, fmt.Errorf("cannot read %s: %w", f, err)
		}
	}
	return total, nil
}

func unpack(to io.Writer, path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	switch filepath.Ext(path) {
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return 0, err
		}
		defer z.Close()
		return io.Copy(to, z)
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(to, z)
		return n, errors.Join(err, z.Close())
	}
	return io.Copy(to, f)
}
