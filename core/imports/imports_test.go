package imports_test

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/imports"
	"github.com/omnitron-dev/omnitron/core/imports/importtest"
)

// FuzzImport has any text as any format: it is refused, or what comes of it is right.
func FuzzImport(f *testing.F) {
	dirs, err := filepath.Glob("*/testdata/*/*/import.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range dirs {
		files, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			if text, err := config.ReadFile(file); err == nil {
				for i := range imports.Formats() {
					f.Add(i, text)
				}
			}
		}
	}
	f.Add(0, "web: \x1b[31m\u0085\u2028 ${a} $$ $${ '\"\\ # : - [x]\n")
	formats := imports.Formats()
	f.Fuzz(func(t *testing.T, which int, text string) {
		w := imports.World{Dir: "/p", Home: "/home/me", Glob: func(string) ([]string, error) { return nil, nil }, Read: func(string) (string, error) { return "", fs.ErrNotExist }}
		from := formats[uint(which)%uint(len(formats))][0]
		r, err := imports.Import(w, from, config.File{Path: "/p/source", Text: text})
		if err != nil {
			return
		}
		importtest.Right(t, w, r.YAML)
	})
}

func TestRefused(t *testing.T) {
	importtest.Refused(t, [3]string{"what.is.this", "x", "cannot be told"})
}
