package store

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/omnitron-dev/omnitron/core/fault"
)

//go:embed migrations/*.sql
var embedded embed.FS

const (
	readers = 4 // connections of the read pool
	// checkLimit is the size up to which the whole structure is checked at every start; it takes about a second per GB,
	// and a daemon must be back within a second of its death.
	checkLimit = 64 << 20
)

// Open opens the database at path, makes it if there is none, and brings its schema up to date; before a file with
// content is migrated, a copy of it is kept as <path>.v<old version>. A damaged file is set aside as
// <path>.corrupt-<time> and an empty one takes its place: Warnings says so.
//
// Faults: conflict with reason state_too_new when a later version has written the file, which is then not touched;
// internal with reason state_not_durable when the disk does not let it be written.
func Open(path string, log *slog.Logger) (*Store, error) {
	migrations, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return nil, err
	}
	return open(path, log, migrations)
}

func open(path string, log *slog.Logger, migrations fs.FS) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot find %s: %w", path, err)
	}
	s := &Store{path: path, log: log}
	err = s.prepare(migrations)
	if damaged(err) {
		if err = s.setAside(err); err == nil {
			err = s.prepare(migrations)
		}
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

// prepare looks before it touches, then opens the connections and migrates. After an error nothing is left open.
func (s *Store) prepare(migrations fs.FS) (err error) {
	ctx := context.Background()
	if err := s.look(ctx, migrations); err != nil {
		return err
	}
	// SQLite gives its side files the mode of the database.
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if s.w, err = pool(s.path, 1, url.Values{"_txlock": {"immediate"}, "_pragma": {"synchronous(FULL)", "foreign_keys(1)", "journal_size_limit(16777216)"}}); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.w.Close())
		}
	}()
	if _, err = s.w.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	if err = s.migrate(ctx, migrations); err != nil {
		return err
	}
	if err := makeRoom(s.path + "-wal"); err != nil {
		s.log.Warn("the database will be a little slower", "err", err)
	}
	s.r, err = pool(s.path, readers, url.Values{"_query_only": {"1"}})
	return err
}

// pool opens connections to path. The path is escaped, so a home may have any name.
func pool(path string, size int, params url.Values) (*sql.DB, error) {
	params.Set("_busy_timeout", "5000")
	u := url.URL{Scheme: "file", Path: path, RawQuery: params.Encode()}
	c, err := sqlite.NewConnector(u.String())
	if err != nil {
		return nil, fmt.Errorf("cannot open the database: %w", err)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// look reads the file without changing a byte of it: is it sound, and does this version know its schema?
func (s *Store) look(ctx context.Context, migrations fs.FS) (err error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot open the database: %w", err)
	}
	params := url.Values{"mode": {"ro"}}
	if _, err := os.Stat(s.path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		params.Set("immutable", "1") // nothing to replay: then SQLite needs no side files
	}
	db, err := pool(s.path, 1, params)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, db.Close()) }()
	have, err := version(ctx, db)
	if err != nil {
		return err
	}
	known, err := latest(migrations)
	if err != nil {
		return err
	}
	if have > known {
		return fault.New(fault.Conflict, "%s was written by a later version of omnitron (schema %d, this one knows %d); nothing was touched", s.path, have, known).
			WithReason(TooNew).WithHint("use the later version, or another home (--home)")
	}
	if info.Size() > checkLimit {
		return nil
	}
	return check(ctx, db)
}

// check walks the structure of the file.
func check(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return &damage{verdict}
	}
	return nil
}

// version is the schema that the file has, 0 for none.
func version(ctx context.Context, db *sql.DB) (v int64, err error) {
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = ?", goose.DefaultTablename).Scan(&tables); err != nil || tables == 0 {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+goose.DefaultTablename+" WHERE is_applied").Scan(&v)
	return v, err
}

// latest is the newest schema among the migrations.
func latest(migrations fs.FS) (newest int64, err error) {
	names, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		v, err := goose.NumericComponent(name)
		if err != nil {
			return 0, fmt.Errorf("cannot read the number of migration %s: %w", name, err)
		}
		newest = max(newest, v)
	}
	return newest, nil
}

func (s *Store) migrate(ctx context.Context, migrations fs.FS) error {
	have, err := version(ctx, s.w)
	if err != nil {
		return err
	}
	known, err := latest(migrations)
	if err != nil || have == known {
		return err
	}
	if have > 0 {
		if err := s.copyTo(ctx, fmt.Sprintf("%s.v%d", s.path, have)); err != nil {
			return fmt.Errorf("cannot copy the database before migrating it: %w", err)
		}
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, s.w, migrations, goose.WithSlog(s.log))
	if err != nil {
		return fmt.Errorf("cannot read the migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("cannot migrate %s from schema %d to %d: %w", s.path, have, known, err)
	}
	return nil
}

// copyTo writes a durable copy of the whole content; it has its name only when it is complete.
func (s *Store) copyTo(ctx context.Context, name string) error {
	tmp := name + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := s.w.ExecContext(ctx, "VACUUM INTO ?", tmp); err != nil {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return OS.SyncDir(filepath.Dir(name))
}

// setAside moves the damaged file and its side files away, so that nothing of them is lost.
func (s *Store) setAside(cause error) error {
	aside := s.path + ".corrupt-" + stamp(time.Now())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(s.path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot set the damaged database aside: %w", err)
		}
	}
	text := fmt.Sprintf("%s was damaged (%v): it is kept as %s and an empty one was started; events, records of calls, approvals and old revisions in it are not shown any more",
		s.path, cause, aside)
	s.warnings = append(s.warnings, text)
	s.log.Error("the database was damaged: set aside, started an empty one", "file", s.path, "aside", aside, "err", cause)
	return nil
}

// stamp is a time as it stands in the name of a file that was set aside.
func stamp(t time.Time) string { return t.UTC().Format("20060102T150405.000000000Z") }
