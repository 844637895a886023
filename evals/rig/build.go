package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Full says whether scenarios run with their full counts: OMNITRON_E2E=1, as `make e2e` sets it.
func Full() bool { return os.Getenv("OMNITRON_E2E") != "" }

// Count is how often a scenario repeats: full counts under make e2e, fewer in make test.
func Count(few, full int) int {
	if Full() {
		return full
	}
	return few
}

var build struct {
	once sync.Once
	path string
	err  error
}

// Binary builds omnitron with its keeper, once a test process, and gives its path. The build cache makes all but the
// first build of a tree cheap.
func Binary(t testing.TB) string {
	t.Helper()
	build.once.Do(func() { build.path, build.err = compile() })
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// Root is the folder of the module.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(out))), err
}

func compile() (string, error) {
	if p := os.Getenv("OMNITRON_BINARY"); p != "" { // the one that make has built already
		return p, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("make", "-s", "build")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build omnitron: %w\n%s", err, out)
	}
	return filepath.Join(root, "bin", "omnitron"), nil
}
