package vault

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

func TestFilesAreOurs(t *testing.T) {
	home := t.TempDir()
	v := at(home)
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(home); len(names) != 0 {
		t.Fatal("a vault that nobody has used has files")
	}
	set(t, v, "a", "hush-hush-hush")
	set(t, v, "a", "another-value")
	for _, name := range []string{"vault.key", "secrets.enc", "secrets.enc.bak"} {
		info, err := os.Stat(filepath.Join(home, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		if text := read(t, home, name); bytes.Contains(text, []byte("hush")) || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString([]byte("hush-hush-hush")))) {
			t.Errorf("%s shows the value", name)
		}
	}
	if names, _ := os.ReadDir(home); len(names) != 3 {
		t.Errorf("there are %d files, want 3: %v", len(names), names)
	}
}

// TestSealed takes the key away in every way, sees that each is told, and that the vault opens when the key is back.
func TestSealed(t *testing.T) {
	for what, spoil := range map[string]struct {
		do   func(key string)
		says string
	}{
		"missing":      {func(key string) { _ = os.Remove(key) }, "is missing"},
		"another":      {func(key string) { write(t, key, writeKeys(newKey()), 0o600) }, "does not fit"},
		"for everyone": {func(key string) { _ = os.Chmod(key, 0o644) }, "chmod 600"},
		"for a group":  {func(key string) { _ = os.Chmod(key, 0o640) }, "chmod 600"},
		"damaged":      {func(key string) { write(t, key, []byte("hello\n"), 0o600) }, "is damaged"},
		"cut":          {func(key string) { write(t, key, writeKeys(newKey())[:20], 0o600) }, "is damaged"},
		"empty":        {func(key string) { write(t, key, nil, 0o600) }, "is empty"},
		"a symlink": {func(key string) {
			_ = os.Rename(key, key+".real")
			_ = os.Symlink(key+".real", key)
		}, "not a regular file"},
	} {
		t.Run(what, func(t *testing.T) {
			home := t.TempDir()
			set(t, at(home), "a", "kept")
			key := filepath.Join(home, "vault.key")
			good, file := read(t, key), read(t, home, "secrets.enc")
			spoil.do(key)
			v := at(home)
			for name, err := range map[string]error{
				"get":    second(v.Get("a", 0)),
				"list":   second(v.List()),
				"lookup": second(v.Lookup("p", "s", "a")),
				"key":    second(v.Key("audit")),
				"delete": second(v.Delete("a")),
				"rotate": second(v.Rotate()),
				"err":    v.Err(),
			} {
				refused(t, err, fault.Unavailable, "vault_sealed")
				if text := fault.From(err).Message + fault.From(err).Hint; !strings.Contains(text, spoil.says) {
					t.Errorf("%s says %q, want %q in it", name, text, spoil.says)
				}
			}
			_, _, err := v.Set("b", []byte("x"))
			refused(t, err, fault.Unavailable, "vault_sealed")
			if now := read(t, home, "secrets.enc"); !bytes.Equal(now, file) {
				t.Fatal("a sealed vault was changed")
			}
			write(t, key, good, 0o600)
			if got := value(t, v, "a"); got != "kept" {
				t.Fatalf("with the key back it holds %q", got)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestDamage(t *testing.T) {
	home := t.TempDir()
	v := at(home)
	set(t, v, "a", "one")
	set(t, v, "a", "two")
	path, key := filepath.Join(home, "secrets.enc"), filepath.Join(home, "vault.key")
	good := read(t, path)
	bad := bytes.Replace(good, []byte(`"version":1`), []byte(`"version":4`), 1)

	write(t, path, bad, 0o600) // the copy before the last change helps
	v = at(home)
	if got := value(t, v, "a"); got != "one" {
		t.Fatalf("from the copy: %q", got)
	}
	if n := v.Notices(); len(n) != 1 || !strings.Contains(n[0], "checksum") {
		t.Errorf("the notices are %q", n)
	}
	if kept, _ := filepath.Glob(path + ".corrupt-*"); len(kept) != 1 || !bytes.Equal(read(t, kept[0]), bad) {
		t.Errorf("the damaged file is not kept: %v", kept)
	}

	write(t, path, bad, 0o600)
	write(t, path+".bak", bad, 0o600)
	v = at(home)
	_, err := v.Get("a", 0)
	refused(t, err, fault.Unavailable, "vault_damaged")
	if now := read(t, path); !bytes.Equal(now, bad) {
		t.Error("the damaged file was touched")
	}

	_, _ = os.Remove(path), os.Remove(path+".bak") // a key alone is a vault that was lost, not a new one
	_, err = at(home).Get("a", 0)
	refused(t, err, fault.Unavailable, "vault_damaged")

	write(t, path, good, 0o600)
	if got := value(t, v, "a"); got != "two" { // a backup was restored: no restart needed
		t.Errorf("restored: %q", got)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
}

// TestBeginAnew does what the hint of a sealed vault and docs/secrets.md say when the key is lost for good.
func TestBeginAnew(t *testing.T) {
	home := t.TempDir()
	v := at(home)
	set(t, v, "a", "lost")
	before, err := v.Key("audit")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(home, "vault.key")); err != nil {
		t.Fatal(err)
	}
	v = at(home)
	refused(t, v.Err(), fault.Unavailable, "vault_sealed")
	for _, name := range []string{"secrets.enc", "secrets.enc.bak"} {
		if err := os.Rename(filepath.Join(home, name), filepath.Join(home, name+".lost")); err != nil {
			t.Fatal(err)
		}
	}
	if got := value(t, v, "a"); got != "" {
		t.Fatalf("a lost secret is %q", got)
	}
	after, err := v.Key("audit")
	if err != nil || bytes.Equal(before, after) {
		t.Fatalf("the daemon's keys: %v", err)
	}
	set(t, v, "a", "new")
	if got := value(t, at(home), "a"); got != "new" {
		t.Fatalf("the new vault holds %q", got)
	}
}

func TestCredential(t *testing.T) {
	home, credentials := t.TempDir(), t.TempDir()
	file := filepath.Join(credentials, CredentialName)
	open := func() *Vault {
		return New(Options{Home: home, Credentials: credentials, Disk: store.OS, Log: quiet, Now: time.Now})
	}
	first, next := newKey(), newKey()
	write(t, file, writeKeys(first), 0o440) // as systemd shows it to a user that is not root
	v := open()
	set(t, v, "a", "kept")
	if r, err := v.Rotate(); err != nil || r.Key || r.Values != 1 {
		t.Fatalf("rotated %+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(home, "vault.key")); err == nil {
		t.Fatal("there is a vault.key beside the credential")
	}
	write(t, file, writeKeys(next, first), 0o440)
	if got := value(t, open(), "a"); got != "kept" {
		t.Fatalf("with both keys: %q", got)
	}
	write(t, file, writeKeys(next), 0o440)
	if got := value(t, open(), "a"); got != "kept" {
		t.Fatalf("with the new key: %q", got)
	}
	write(t, file, writeKeys(first), 0o440)
	refused(t, open().Err(), fault.Unavailable, "vault_sealed")
	for _, name := range []string{"secrets.enc", "secrets.enc.bak"} { // neither opens with what was rotated away
		if _, err := decode(read(t, home, name), [][]byte{first}); err == nil {
			t.Errorf("%s opens with the former key", name)
		}
	}
}

// TestAKeyThatIsLostWhileTheVaultIsOpen is told before the next start finds the vault sealed, and a rotation saves what is in it.
func TestAKeyThatIsLostWhileTheVaultIsOpen(t *testing.T) {
	home := t.TempDir()
	v := at(home)
	if err := v.Lasting(); err != nil {
		t.Errorf("there is no vault yet: %v", err)
	}
	set(t, v, "a", "kept")
	if err := v.Lasting(); err != nil {
		t.Error(err)
	}
	path := filepath.Join(home, "vault.key")
	for what, spoil := range map[string]func() error{
		"is missing":     func() error { return os.Remove(path) },
		"another key":    func() error { return os.WriteFile(path, writeKeys(newKey()), 0o600) },
		"is damaged":     func() error { return os.WriteFile(path, []byte("junk\n"), 0o600) },
		"used by others": func() error { return os.Chmod(path, 0o644) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := v.Lasting(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := v.Rotate(); err != nil {
			t.Fatal(err)
		}
		if err := v.Lasting(); err != nil {
			t.Errorf("%s, and rotated: %v", what, err)
		}
		if got := value(t, at(home), "a"); got != "kept" {
			t.Errorf("%s: the next one finds %q", what, got)
		}
	}
}

func TestRotateForgetsTheKey(t *testing.T) {
	home := t.TempDir()
	v := at(home)
	set(t, v, "a", "kept")
	old := read(t, home, "vault.key")
	r, err := v.Rotate()
	if err != nil || !r.Key || r.Values != 1 {
		t.Fatalf("rotated %+v, %v", r, err)
	}
	if bytes.Contains(read(t, home, "vault.key"), bytes.TrimSpace(old)) {
		t.Error("vault.key still has the former key")
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(string(old)))
	for _, name := range []string{"secrets.enc", "secrets.enc.bak"} {
		if _, err := decode(read(t, home, name), [][]byte{key}); err == nil {
			t.Errorf("%s opens with the former key", name)
		}
	}
	set(t, v, "a", "more") // memory goes on under the new key
	if got := value(t, at(home), "a"); got != "more" {
		t.Errorf("after a rotation and a change: %q", got)
	}
}
