package policy

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
)

// Keys gives the secret keys of this home by their names; each is made on first use.
type Keys interface {
	Key(name string) ([]byte, error)
}

// StoredKeys keeps keys among the settings of db.
func StoredKeys(db database) Keys { return storedKeys{db} }

type storedKeys struct{ db database }

const keySize = 32

// Key implements Keys.
func (k storedKeys) Key(name string) (key []byte, err error) {
	err = k.db.Update(context.Background(), func(tx *sql.Tx) error {
		fresh := make([]byte, keySize)
		rand.Read(fresh) //nolint:errcheck // it never fails: the program ends first
		if _, err := tx.Exec("INSERT OR IGNORE INTO settings (name, value) VALUES (?, ?)", name, fresh); err != nil {
			return err
		}
		return tx.QueryRow("SELECT value FROM settings WHERE name = ?", name).Scan(&key)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot get the key %s: %w", name, err)
	}
	return key, nil
}
