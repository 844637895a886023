package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/omnitron-dev/omnitron/core/redact"
)

// TestDaemonLogRotates: it begins anew when it has grown, a few old ones are kept, and a folder that does not let it costs
// neither lines nor old files.
func TestDaemonLogRotates(t *testing.T) {
	w := &logFile{hide: new(atomic.Pointer[redact.Live]), path: filepath.Join(t.TempDir(), "daemon.log")}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	defer func() { w.f.Close() }()
	half := func(c string) {
		t.Helper()
		if _, err := w.Write([]byte(strings.Repeat(c, daemonLogSize/2) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	first := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			return "none"
		}
		return string(data[:1])
	}
	files := func(want string) {
		t.Helper()
		got := first(w.path)
		for i := range daemonLogFiles + 1 {
			got += " " + first(w.numbered(i+1))
		}
		if got != want {
			t.Errorf("files begin with %s, want %s", got, want)
		}
	}
	for _, c := range []string{"a", "b", "c", "d"} {
		half(c)
	}
	files("d c b a none")
	half("e")
	files("e d c b none")
	if err := os.Remove(w.path); err != nil { // by somebody who clears away
		t.Fatal(err)
	}
	half("f")
	half("g")
	files("g f d c none")
}
