package proc_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/omnitron-dev/omnitron/core/keeper/launch"
)

// TestStepOfADeadKeeper: a program whose keeper died before it was executed is not executed any more: the next keeper could
// not know of it, and would start it again.
func TestStepOfADeadKeeper(t *testing.T) {
	for _, died := range []bool{false, true} {
		dir := t.TempDir()
		order, err := os.Create(filepath.Join(dir, "order"))
		if err != nil {
			t.Fatal(err)
		}
		mark := filepath.Join(dir, "executed")
		p := launch.Program{Path: "/usr/bin/touch", Argv: []string{"touch", mark}, Dir: "/", UID: -1, GID: -1, Umask: 0o022}
		if err := json.NewEncoder(order).Encode(p); err != nil {
			t.Fatal(err)
		}
		heard, told, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if died {
			heard.Close()
		}
		cmd := exec.Command(keeperBinary, "exec")
		cmd.ExtraFiles = []*os.File{order, told}
		err = cmd.Run()
		told.Close()
		heard.Close()
		order.Close()
		_, missing := os.Stat(mark)
		if x, failed := errors.AsType[*exec.ExitError](err); failed != died || (missing != nil) != died || failed && x.ExitCode() != 127 {
			t.Errorf("its keeper has died: %v; %v, %v", died, err, missing)
		}
	}
}
