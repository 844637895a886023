package boot

import (
	"os"
	"path/filepath"

	"github.com/omnitron-dev/omnitron/core/proc"
)

// Keeper gives the path of the keeper. The embedded one is put into the home, by the hash of its bytes; without
// one, a link to this program takes its place.
func Keeper(home string) (string, error) {
	if len(embeddedKeeper) > 0 {
		return proc.Binary(home, embeddedKeeper)
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	link := filepath.Join(home, "bin", "omnitron-keeper-whole")
	if to, err := os.Readlink(link); err == nil && to == exe {
		return link, nil
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		return "", err
	}
	_ = os.Remove(link) // another program was here, or nothing
	return link, os.Symlink(exe, link)
}

// keeperCommand gives the keeper's path and the arguments with which it runs a home's daemon.
func keeperCommand(home string) (string, []string, error) {
	path, err := Keeper(home)
	if err != nil {
		return "", nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	return path, proc.RunArgs(home, exe), nil
}
