package vault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
)

// database is what a count needs of a store.
type database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// CountIn keeps the count of changes among the settings of db.
func CountIn(db database) Count { return count{db} }

type count struct{ db database }

const countName = "vault.changes"

// Last implements Count.
func (c count) Last() (n int64, err error) {
	err = c.db.View(context.Background(), func(tx *sql.Tx) (err error) {
		n, err = lastOf(tx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot read the count of changes of the vault: %w", err)
	}
	return n, nil
}

// Made implements Count.
func (c count) Made(n int64) error {
	err := c.db.Update(context.Background(), func(tx *sql.Tx) error {
		last, err := lastOf(tx)
		if err != nil || last >= n {
			return err
		}
		_, err = tx.Exec("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", countName, []byte(strconv.FormatInt(n, 10)))
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot write the count of changes of the vault: %w", err)
	}
	return nil
}

func lastOf(tx *sql.Tx) (n int64, err error) {
	var text []byte
	err = tx.QueryRow("SELECT value FROM settings WHERE name = ?", countName).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(text), 10, 64)
}
