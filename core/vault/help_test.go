package vault

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func at(home string) *Vault { return on(home, store.OS) }

func on(home string, disk store.Disk) *Vault {
	return New(Options{Home: home, Disk: disk, Log: quiet, Now: time.Now})
}

func set(t *testing.T, v *Vault, name, value string) Secret {
	t.Helper()
	s, _, err := v.Set(name, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// value is the current value of a secret, "" if there is none.
func value(t *testing.T, v *Vault, name string) string {
	t.Helper()
	s, err := v.Get(name, 0)
	if err != nil && !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	return string(s.Value)
}

// refused sees that an error is a fault of a code and a reason, with something to do about it.
func refused(t *testing.T, err error, code fault.Code, reason string) {
	t.Helper()
	if f := fault.From(err); f == nil || f.Code != code || f.Reason != reason || f.Hint == "" && code == fault.Unavailable {
		t.Fatalf("got %+v, want %s %s with a hint", f, code, reason)
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	_ = os.Remove(path)
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
