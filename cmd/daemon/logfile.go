package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/redact"
)

// The daemon's own log is rotated at this size, and this many old files are kept.
const (
	daemonLogSize  = 10 << 20
	daemonLogFiles = 3
)

// daemonLog opens logs/daemon.log: one JSON object a line, from level on. Once there is something to hide, no line shows it.
func daemonLog(home string, level *slog.LevelVar, hide *atomic.Pointer[redact.Live]) (*slog.Logger, func(), error) {
	w := &logFile{hide: hide, path: filepath.Join(home, "logs", "daemon.log")}
	if err := os.MkdirAll(filepath.Dir(w.path), 0o700); err != nil {
		return nil, nil, fault.Wrap(err, fault.Conflict, "cannot make the folder of the logs: %v", err).WithReason("home_not_made")
	}
	if err := w.open(); err != nil {
		return nil, nil, fault.Wrap(err, fault.Conflict, "cannot write the daemon's log: %v", err).WithReason("home_not_made")
	}
	if settings, err := readSettings(home); err == nil {
		_ = level.UnmarshalText([]byte(settings.Logging.Level)) // the loader knows which levels there are
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), func() { w.f.Close() }, nil
}

// logFile is a file that begins anew when it has grown.
type logFile struct {
	path string
	hide *atomic.Pointer[redact.Live]
	mu   sync.Mutex
	f    *os.File
	size int64
}

func (w *logFile) open() error {
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	w.f, w.size = f, st.Size()
	return nil
}

// Write appends a record. What cannot be written is lost: a full disk must not stop the daemon.
func (w *logFile) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.size > 0 && w.size+int64(len(p)) > daemonLogSize {
		w.rotate()
	}
	n, err := w.f.Write(w.hide.Load().Matcher().Bytes(p))
	w.size += int64(n)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// rotate keeps the old file as daemon.log.1. When that fails the old one goes on, for as much again.
func (w *logFile) rotate() {
	w.size = 0                                 // whatever comes of it, it is not tried at every line
	if _, err := os.Stat(w.path); err != nil { // somebody took it away: a new one is begun, and the kept ones stay
		w.renew()
		return
	}
	for i := daemonLogFiles - 1; i > 0; i-- {
		_ = os.Rename(w.numbered(i), w.numbered(i+1)) // it may not be there
	}
	if os.Rename(w.path, w.numbered(1)) == nil {
		w.renew()
	}
}

// renew goes on in a new file, if one can be had.
func (w *logFile) renew() {
	old := w.f
	if w.open() == nil {
		old.Close()
	}
}

func (w *logFile) numbered(i int) string { return w.path + "." + string(rune('0'+i)) }
