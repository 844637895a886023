package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/evals/faults/lines"
)

const (
	sigBurst = unix.SIGUSR1
	sigOrder = unix.SIGUSR1
)

// signalTo sends a signal to exactly this process; one that is gone is left alone.
func signalTo(p process, sig syscall.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if st, ok := statusOf(p.pid); ok && st.start == p.start {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0) // gone meanwhile is as good
	}
}

// stored gives every byte that is stored of a stream: the archives in the order of their positions, then the live file.
func stored(t testing.TB, live string) []byte {
	t.Helper()
	found, err := filepath.Glob(live + ".[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	byBase := map[uint64]string{}
	for _, path := range found {
		if strings.HasSuffix(path, ".idx") || strings.HasSuffix(path, ".tmp") {
			continue
		}
		digits, ext, _ := strings.Cut(path[len(live)+1:], ".")
		base, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || len(digits) != 20 || ext != "" && ext != "zst" {
			t.Errorf("%s is no name of an archive", path)
			continue
		}
		if old, twice := byBase[base]; !twice || len(path) < len(old) { // a kill between writing the .zst and removing the original
			byBase[base] = path
		}
	}
	var all []byte
	bases := make([]uint64, 0, len(byBase))
	for b := range byBase {
		bases = append(bases, b)
	}
	slices.Sort(bases)
	for _, b := range bases {
		if uint64(len(all)) != b {
			t.Errorf("%s begins at %d, what is before it ends at %d", byBase[b], b, len(all))
		}
		all = append(all, unpacked(t, byBase[b])...)
	}
	last, err := os.ReadFile(live)
	if err != nil {
		t.Error(err)
	}
	return append(all, last...)
}

func unpacked(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return nil
	}
	if !strings.HasSuffix(path, ".zst") {
		return text
	}
	d, err := zstd.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Error(err)
		return nil
	}
	defer d.Close()
	text, err = io.ReadAll(d)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return text
}

// exact fails the test unless what is stored of each printer is, byte for byte, what it says that it has printed. The
// printers must have ended.
func (w *world) exact() {
	w.t.Helper()
	for _, app := range w.printer {
		var n struct{ Out, Err int }
		text, err := os.ReadFile(w.notes(app))
		if err == nil {
			err = json.Unmarshal(text, &n)
		}
		if err != nil {
			w.t.Errorf("%s has left no word of how much it printed: %v", app, err)
			continue
		}
		for stream, count := range map[string]int{"out": n.Out, "err": n.Err} {
			live := journal.Path(filepath.Join(w.r.Home, "logs"), journal.Stream{Project: "world", Stack: "dev", App: app, Process: app, Instance: 1, Name: stream})
			var want []byte
			for i := range count {
				want = lines.Append(want, stream, i)
			}
			got := stored(w.t, live)
			a, b := sha256.Sum256(want), sha256.Sum256(got)
			w.t.Logf("%s.%s: %d lines, %d bytes, sha256 %x", app, stream, count, len(want), a[:6])
			if a != b {
				w.t.Errorf("%s.%s: %d lines, %d bytes were printed, %d bytes are stored; %s", app, stream, count, len(want), len(got), difference(want, got))
			}
			if count == 0 {
				w.t.Errorf("%s.%s: nothing was printed: this proves nothing", app, stream)
			}
		}
	}
}

// difference tells where two texts part.
func difference(want, got []byte) string {
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	around := func(b []byte) string { return string(b[max(0, min(i, len(b))-40):min(len(b), i+60)]) }
	return fmt.Sprintf("they part at %d: wanted %q, got %q", i, around(want), around(got))
}
