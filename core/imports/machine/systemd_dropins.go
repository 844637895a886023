package machine

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/format"
)

// unitFolders are where systemd looks for what adds to a unit, wherever the unit itself is; /lib is /usr/lib by now.
var unitFolders = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"}

// dropIns lists the files that add to a unit without being named in it. They are not read: systemctl cat shows the unit as it
// is with them.
func dropIns(r *format.Reading) error {
	folder, base := r.Folder(), filepath.Base(r.Path)
	folders := []string{folder}
	if slices.Contains(unitFolders, folder) || folder == "/lib/systemd/system" {
		folders = slices.DeleteFunc(slices.Clone(unitFolders), func(d string) bool { return folder == "/lib/systemd/system" && d == "/usr/lib/systemd/system" })
		if !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	for _, dir := range folders {
		for _, name := range unitNames(base) {
			for _, kind := range []struct{ pattern, why string }{
				{".d/*.conf", "a drop-in changes the unit, and is not read: systemctl cat " + base + " shows what it says"},
				{".wants/*", "links say what the unit waits for, and are not read"},
				{".requires/*", "links say what the unit waits for, and are not read"},
			} {
				found, err := r.Glob(filepath.Join(literal(dir), literal(name)+kind.pattern))
				if err != nil {
					return r.At(0).Wrong("cannot look for what adds to it: %v", err)
				}
				slices.Sort(found)
				for _, path := range found {
					r.Drop(r.Of(path, "").At(0), filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path)), kind.why)
				}
			}
		}
	}
	return nil
}

// unitNames are the names that a drop-in of a unit may be of: its own, that of its template, each beginning of it that ends
// with -, and its kind.
func unitNames(base string) []string {
	kind := filepath.Ext(base)
	bare := strings.TrimSuffix(base, kind)
	names := []string{base}
	prefix, instance, templated := strings.Cut(bare, "@")
	if templated && instance != "" {
		names = append(names, prefix+"@"+kind)
	}
	for i := len(prefix) - 2; i >= 0; i-- {
		if prefix[i] == '-' {
			names = append(names, prefix[:i+1]+kind)
		}
	}
	return append(names, strings.TrimPrefix(kind, "."))
}

var globbed = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

// literal is a path in a pattern.
func literal(path string) string { return globbed.Replace(path) }
