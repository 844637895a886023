package imports

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// Found are the files that Look looks for, the first that is there counts.
var Found = []string{"Procfile.dev", "Procfile", "process-compose.yaml", "process-compose.yml", "compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml", "ecosystem.config.js", "ecosystem.config.cjs", "ecosystem.config.mjs", "ecosystem.json", "ecosystem.yaml", "pm2.json", "supervisord.conf", "package.json", "go.mod"}

// Look finds what a folder's omnitron.yaml can be made of, and what else there is. Faults: not_found (import_nothing);
// invalid (import_invalid).
func Look(w World) (files []config.File, others []string, err error) {
	for _, name := range Found {
		path := filepath.Join(w.Dir, name)
		text, err := w.Read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, source.Place{File: name}.Wrong("cannot read it: %v", err)
		}
		if len(files) > 0 {
			others = append(others, name)
			continue
		}
		files = append(files, config.File{Path: path, Text: text})
	}
	if len(files) == 0 {
		return nil, nil, fault.New(fault.NotFound, "%s has none of %s", w.Dir, strings.Join(Found, ", ")).WithReason("import_nothing").
			WithHint("name the file: omnitron import FILE\nor write it: omnitron explain config")
	}
	return files, others, nil
}
