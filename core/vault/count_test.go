package vault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// TestAnOlderFileIsNoticed: a vault that was put back is used and told of, until the next change is made on top of it; one that
// is as it was left is not, whatever has happened to it by our own doing.
func TestAnOlderFileIsNoticed(t *testing.T) {
	home, db := t.TempDir(), faulty.Wrap(storetest.New(t))
	open := func() *Vault {
		return New(Options{Home: home, Disk: store.OS, Log: quiet, Now: time.Now, Count: CountIn(db)})
	}
	notices := func(v *Vault, want string) {
		t.Helper()
		if err := v.Err(); err != nil {
			t.Fatal(err)
		}
		if n := v.Notices(); (len(n) != 0) != (want != "") || want != "" && !strings.Contains(n[0], want) {
			t.Errorf("the notices are %q, want %q", n, want)
		}
	}
	path, key := filepath.Join(home, "secrets.enc"), filepath.Join(home, "vault.key")

	set(t, at(home), "a", "from before they were counted")
	notices(open(), "")
	v := open()
	set(t, v, "a", "one")
	older := read(t, path)
	set(t, v, "a", "two")
	set(t, v, "b", "three")
	notices(v, "")
	notices(open(), "")

	write(t, path, older, 0o600)
	v = open()
	notices(v, "it is that of change 3, and the last was change 5")
	if got := value(t, v, "a"); got != "one" {
		t.Errorf("it holds %q", got)
	}
	notices(open(), "change 3") // a restart does not mend it
	var told []string
	tell := func(text string) { told = append(told, text) }
	v = open()
	v.OnNotice(tell)
	notices(v, "change 3")
	v.OnNotice(tell)
	if len(told) != 2 || told[0] != told[1] || !strings.Contains(told[0], "change 3") {
		t.Errorf("told %q, want it as it is noticed, and once more for who comes later", told)
	}
	set(t, v, "b", "four")
	notices(open(), "")
	write(t, path, older, 0o600)
	notices(open(), "the last was change 6")

	v = open()
	if _, err := v.Rotate(); err != nil {
		t.Fatal(err)
	}
	notices(open(), "")
	oldKey, oldFile := read(t, key), read(t, path)
	if _, err := v.Rotate(); err != nil {
		t.Fatal(err)
	}
	write(t, key, oldKey, 0o600)
	write(t, path, oldFile, 0o600)
	notices(open(), "the last was change 8") // with its key, too

	full := errors.New("full")
	v = open()
	db.FailAll(full)
	set(t, v, "c", "the count cannot be kept, the secret can")
	db.FailAll(nil)
	notices(open(), "")
	for _, name := range []string{path, path + ".bak", key} { // begun anew on purpose
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	v = open()
	set(t, v, "a", "anew")
	notices(open(), "")
}
