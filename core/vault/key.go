package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/omnitron-dev/omnitron/core/store"
)

// CredentialName is the name of systemd's credential that holds the vault's key.
const CredentialName = "omnitron-vault-key"

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// writeKeys gives the text of a key file: one key a line in base64, the one in use first.
func writeKeys(keys ...[]byte) []byte {
	var b bytes.Buffer
	for _, k := range keys {
		b.WriteString(base64.StdEncoding.EncodeToString(k))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// readKeys finds the vault's keys: those of the credential if there is one, else those of vault.key. A credential's folder
// is guarded by systemd, with access lists that look like group rights.
func (v *Vault) readKeys() (keys [][]byte, err error) {
	return readKeys(v.keyPath(), v.disk, v.credential == "")
}

// readKeys reads a file of keys, which must be one that nobody else can read if it is private. No file is no error.
func readKeys(path string, disk store.Disk, private bool) (keys [][]byte, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot look at %s: %w", path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case private && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be used by others (mode %04o): chmod 600 it, and think about who has read it", path, info.Mode().Perm())
	}
	text, err := disk.Read(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		key, err := base64.StdEncoding.Strict().DecodeString(string(line))
		if err != nil || len(key) != keySize {
			return nil, fmt.Errorf("%s is damaged: each line must be %d bytes in base64", path, keySize)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	return keys, nil
}

// Lasting is nil, or says why the next start would find the vault sealed although it is open now: its key is where it was read
// from no longer.
func (v *Vault) Lasting() error {
	c := v.open.Load()
	if c == nil {
		return nil
	}
	v.mu.Lock() // not in the middle of a rotation
	defer v.mu.Unlock()
	c = v.open.Load()
	keys, err := v.readKeys()
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return fmt.Errorf("%s is missing", v.keyPath())
	case !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, c.kek) }):
		return fmt.Errorf("%s holds another key than the vault is sealed with", v.keyPath())
	}
	return nil
}

// Credential reports whether the key is a credential of systemd, which the daemon cannot write.
func (v *Vault) Credential() bool { return v.credential != "" }

func (v *Vault) keyPath() string {
	if v.credential != "" {
		return v.credential
	}
	return filepath.Join(v.home, "vault.key")
}
