package vault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/store"
)

func TestBox(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revisions.key")
	b := NewBox(path, store.OS)
	if _, err := b.Open([]byte("nothing"), nil); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("without a key: %v", err)
	}
	sealed, err := b.Seal([]byte("text"), []byte("here"))
	if err != nil || strings.Contains(string(sealed), "text") {
		t.Fatal(string(sealed), err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, %v", st.Mode(), err)
	}
	again := NewBox(path, store.OS)
	if got, err := again.Open(sealed, []byte("here")); err != nil || string(got) != "text" {
		t.Errorf("opened %q, %v", got, err)
	}
	for what, bad := range map[string]func() error{
		"another binding": func() error { return second(again.Open(sealed, []byte("there"))) },
		"a changed text":  func() error { return second(again.Open(append([]byte{sealed[0] ^ 1}, sealed[1:]...), []byte("here"))) },
		"another key": func() error {
			write(t, path, writeKeys(newKey()), 0o600)
			return second(NewBox(path, store.OS).Open(sealed, []byte("here")))
		},
		"a key for everyone": func() error {
			write(t, path, writeKeys(newKey()), 0o644)
			return second(NewBox(path, store.OS).Seal([]byte("text"), nil))
		},
	} {
		if bad() == nil {
			t.Errorf("%s: it opens", what)
		}
	}
}
