package config

import (
	"io"
	"os"

	"github.com/omnitron-dev/omnitron/core/config/tree"
)

// ReadFile reads a file of a project for a Source: never more than a little beyond what Load accepts, so that a file
// without an end is refused and not read.
func ReadFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, tree.MaxBytes+1+int64(len("\ufeff"))))
	return string(text), err
}
