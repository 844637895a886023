package imports

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
)

// FuzzImport has any text as any format: it is refused, or what comes of it is right.
func FuzzImport(f *testing.F) {
	dirs, err := filepath.Glob("testdata/*/*/import.txt")
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
				for i := range formats {
					f.Add(i, text)
				}
			}
		}
	}
	f.Add(0, "web: \x1b[31m\u0085\u2028 ${a} $$ $${ '\"\\ # : - [x]\n")
	f.Fuzz(func(t *testing.T, which int, text string) {
		w := World{Dir: "/p", Home: "/home/me", Glob: func(string) ([]string, error) { return nil, nil }, Read: func(string) (string, error) { return "", fs.ErrNotExist }}
		from := formats[uint(which)%uint(len(formats))].name
		r, err := Import(w, from, config.File{Path: "/p/source", Text: text})
		if err != nil {
			return
		}
		right(t, w, r.YAML)
	})
}
