// Package vault keeps bytes sealed at rest: what users store as secrets, and the keys that the daemon has for itself. A
// key in vault.key, or in a credential of systemd, wraps the data key in secrets.enc, which seals every value bound to its
// name and version. Without the key the vault is sealed: every call says so, and finds the key again when it comes back.
package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

// Options say where a vault lies.
type Options struct {
	Home        string // holds secrets.enc, and vault.key unless there is a credential
	Credentials string // $CREDENTIALS_DIRECTORY; its omnitron-vault-key is the key if it is there
	Disk        store.Disk
	Log         *slog.Logger
	Now         func() time.Time
	Count       Count // of changes, kept elsewhere; nil: an older file in place of the newer one is not noticed
}

// Count remembers which change of the vault was the last, apart from its files: whoever puts older ones back does not put that
// back too, unless he restores the whole home, and then nothing is amiss.
type Count interface {
	Last() (int64, error) // 0: none
	Made(n int64) error   // durable when it returns; a smaller one than the last is none
}

// Vault is safe for concurrent use. Reads never wait for the disk, but for the first and while it is sealed.
type Vault struct {
	home       string
	credential string // path of the credential, or ""
	disk       store.Disk
	log        *slog.Logger
	now        func() time.Time
	count      Count

	open    atomic.Pointer[contents] // nil until the vault could be opened
	mu      sync.Mutex               // one change at a time, and the loading
	notices atomic.Pointer[[]string] // what was wrong with the files and could be mended; written with mu held
	noticed func(text string)        // called for each, with mu held
	why     atomic.Pointer[error]    // why it is sealed
	changed func()                   // called after every change of the values, with mu held
}

// New makes a vault and reads nothing yet.
func New(o Options) *Vault {
	v := &Vault{home: o.Home, disk: o.Disk, log: o.Log, now: o.Now, count: o.Count, changed: func() {}, noticed: func(string) {}}
	if o.Credentials != "" {
		path := filepath.Join(o.Credentials, CredentialName)
		if _, err := o.Disk.Read(path); !errors.Is(err, fs.ErrNotExist) {
			v.credential = path
		}
	}
	return v
}

// OnChange sets what is called after every change of the values and once they are known. It must come before the vault is
// used, return soon, and may call Values only.
func (v *Vault) OnChange(fn func()) { v.changed = fn }

func (v *Vault) path() string { return filepath.Join(v.home, "secrets.enc") }

// Err is nil if the vault can be used. Faults: unavailable (vault_sealed, vault_damaged), as of every method below.
func (v *Vault) Err() error {
	_, err := v.contents()
	return err
}

// Notices says what was wrong with the files and has been mended, or is older than it should be. It never waits.
func (v *Vault) Notices() []string {
	if all := v.notices.Load(); all != nil {
		return slices.Clone(*all)
	}
	return nil
}

// OnNotice sets what is called for each notice, and calls it for those that there are. It must return soon and not use the
// vault.
func (v *Vault) OnNotice(fn func(text string)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, text := range v.Notices() {
		fn(text)
	}
	v.noticed = fn
}

// contents gives what is in the vault, and opens it if that has not been done; nil in a home that has none yet.
func (v *Vault) contents() (*contents, error) {
	if c := v.open.Load(); c != nil {
		return c, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.load()
}

// load is contents with mu held.
func (v *Vault) load() (*contents, error) {
	if c := v.open.Load(); c != nil {
		return c, nil
	}
	c, err := v.read()
	if err != nil {
		if before := v.why.Swap(&err); before == nil || (*before).Error() != err.Error() {
			v.log.Error("the vault cannot be opened", "err", err)
		}
		return nil, err
	}
	v.why.Store(nil)
	if c != nil {
		v.compare(c)
		v.open.Store(c)
		v.changed()
	}
	return c, nil
}

// read opens the files. nil: there is no vault yet.
func (v *Vault) read() (*contents, error) {
	keys, keyErr := v.readKeys()
	main, mainErr := v.decode(v.path(), keys)
	if errors.Is(mainErr, errDamaged) || errors.Is(mainErr, fs.ErrNotExist) {
		return v.recover(keys, keyErr, mainErr)
	}
	if mainErr != nil {
		return nil, v.sealed(keys, keyErr, mainErr)
	}
	for _, half := range []string{v.path(), filepath.Join(v.home, "vault.key")} { // of a write that was killed
		_ = v.disk.Remove(half + ".tmp") // if it cannot be removed, the next write replaces it
	}
	return v.settle(main, keys), nil
}

func (v *Vault) decode(path string, keys [][]byte) (*contents, error) {
	file, err := v.disk.Read(path)
	if err != nil {
		return nil, err
	}
	return decode(file, keys)
}

// recover deals with a file that is damaged or missing: the copy before it, or what a creation left half done, is used.
func (v *Vault) recover(keys [][]byte, keyErr, mainErr error) (*contents, error) {
	missing := errors.Is(mainErr, fs.ErrNotExist)
	tmp := v.path() + ".tmp"
	c, bakErr := v.decode(v.path()+".bak", keys)
	if bakErr == nil {
		what := v.path() + " is missing"
		if !missing {
			aside := v.path() + ".corrupt-" + v.now().UTC().Format("20060102T150405.000000000")
			if err := v.disk.Rename(v.path(), aside); err != nil {
				return nil, v.failed(err)
			}
			what = fmt.Sprintf("%s is %v; it is kept as %s", v.path(), mainErr, aside)
		}
		if err := v.write(c); err != nil {
			return nil, err
		}
		v.note(what + "; the copy before it was used, so the last change may be missing")
		return v.settle(c, keys), nil
	}
	switch {
	case keyErr != nil:
		return nil, v.sealed(keys, keyErr, mainErr)
	case missing && errors.Is(bakErr, fs.ErrNotExist) && (keys == nil || v.credential != ""):
		return nil, nil // a new home
	case missing && errors.Is(bakErr, fs.ErrNotExist):
		if c, err := v.decode(tmp, keys); err == nil { // made, and then killed before it had its name
			if err := errors.Join(v.disk.Rename(tmp, v.path()), v.disk.SyncDir(v.home)); err != nil {
				return nil, v.failed(err)
			}
			return c, nil
		}
		return nil, fault.Wrap(mainErr, fault.Unavailable, "%s is missing although its key is there", v.path()).WithReason("vault_damaged").
			WithHint("restore it from a backup; or begin anew without the secrets in it: move %s aside", v.keyPath())
	case missing || errors.Is(bakErr, errNoFit) || errors.Is(bakErr, errLater):
		return nil, v.sealed(keys, keyErr, bakErr)
	}
	return nil, fault.Wrap(mainErr, fault.Unavailable, "%s is %v, and there is no usable copy", v.path(), mainErr).WithReason("vault_damaged").
		WithHint("restore it from a backup; or begin anew without the secrets in it: move %s, secrets.enc.bak and %s aside", v.path(), v.keyPath())
}

// sealed says why the vault cannot be opened although it is there.
func (v *Vault) sealed(keys [][]byte, keyErr, err error) error {
	anew := fmt.Sprintf("or begin anew without the secrets in it: move %s and secrets.enc.bak aside", v.path())
	f := fault.Wrap(err, fault.Unavailable, "the vault is sealed: the key of %s does not fit", v.path()).
		WithHint("put the right key into %s; %s, and %s", v.keyPath(), anew, v.keyPath())
	switch {
	case keyErr != nil:
		f.Message, f.Hint = fmt.Sprintf("the vault is sealed: %v", keyErr), fmt.Sprintf("mend the key; %s, and %s", anew, v.keyPath())
	case keys == nil:
		f.Message = fmt.Sprintf("the vault is sealed: its key %s is missing", v.keyPath())
		f.Hint = fmt.Sprintf("put the key back, with mode 0600; %s", anew)
	case errors.Is(err, errLater):
		f.Message, f.Hint = fmt.Sprintf("the vault is sealed: %s was %v", v.path(), err), "run the later version"
	case !errors.Is(err, errNoFit):
		f.Message, f.Hint = fmt.Sprintf("the vault is sealed: cannot read %s: %v", v.path(), err), ""
	}
	return f.WithReason("vault_sealed")
}

// settle brings to its end what a kill has interrupted, or a new credential has begun: the vault comes under the first of
// the keys, and the others are forgotten.
func (v *Vault) settle(c *contents, keys [][]byte) *contents {
	settled := len(keys) == 1
	if v.credential != "" {
		settled = bytes.Equal(c.kek, keys[0])
	}
	if settled {
		return c
	}
	next, err := v.rekey(c, keys[0])
	if err != nil {
		v.log.Error("cannot bring the vault under its new key; it can be used all the same", "err", err)
	}
	return next
}

// compare says when the files are older than what was last made of them. They are used all the same: who restores a backup
// needs what is in it.
func (v *Vault) compare(c *contents) {
	last, err := v.last()
	switch {
	case err != nil:
		v.log.Error("cannot tell whether the vault is the last one that was written", "err", err)
	case c.Serial < last && len(v.Notices()) == 0: // else it was said that the copy before it is used
		v.note(fmt.Sprintf("%s is older than the one that this home had: it is that of change %d, and the last was change %d, so somebody has put another file in its place; what was set, deleted or rotated since is not in it",
			v.path(), c.Serial, last))
	}
}

// last is the number of the last change that was made here; 0 where nobody counts.
func (v *Vault) last() (int64, error) {
	if v.count == nil {
		return 0, nil
	}
	return v.count.Last()
}

// next numbers a change of c, so that it is above all before it.
func (v *Vault) next(c *contents) {
	last, err := v.last()
	if err != nil {
		v.log.Error("cannot tell which change of the vault was the last", "err", err)
	}
	c.Serial = max(c.Serial, last) + 1
}

// made remembers the number of c once it is durable. A death before that leaves the file ahead, which is no harm.
func (v *Vault) made(c *contents) {
	if v.count == nil {
		return
	}
	if err := v.count.Made(c.Serial); err != nil {
		v.log.Error("cannot remember which change of the vault was the last: that an older file is put in its place may not be noticed", "err", err)
	}
}

func (v *Vault) note(text string) {
	all := append(v.Notices(), text)
	v.notices.Store(&all)
	v.noticed(text)
	v.log.Error("the vault was not as it should be", "err", text)
}

// failed is the fault of a change that the disk refused.
func (v *Vault) failed(err error) error {
	return fault.Wrap(err, fault.Internal, "cannot write the vault %s: %v", v.path(), err).WithReason(store.NotDurable)
}

// write makes c durable.
func (v *Vault) write(c *contents) error {
	file, err := c.encode()
	if err != nil {
		return err
	}
	if err := store.Replace(v.disk, v.path(), file); err != nil {
		return v.failed(err)
	}
	return nil
}

// begin makes the first vault of a home. It has its name last: a key without a vault is one that was lost.
func (v *Vault) begin() (*contents, error) {
	keys, err := v.readKeys()
	if err != nil {
		return nil, err
	}
	if keys == nil {
		keys = [][]byte{newKey()}
	}
	c := fresh(keys[0], v.now(), v.now())
	v.next(c)
	file, err := c.encode()
	if err != nil {
		return nil, err
	}
	tmp := v.path() + ".tmp"
	err = v.disk.Write(tmp, file)
	if err == nil {
		err = v.disk.SyncDir(v.home)
	}
	if err == nil && v.credential == "" {
		err = store.Put(v.disk, v.keyPath(), writeKeys(keys...))
	}
	if err == nil {
		err = v.disk.Rename(tmp, v.path())
	}
	if err == nil {
		err = v.disk.SyncDir(v.home)
	}
	if err != nil {
		return nil, v.failed(err)
	}
	return c, nil
}

// change replaces the entries by what fn makes of them; fn must not touch those it is given. Without a change nothing is
// written.
func (v *Vault) change(fn func(now time.Time, entries []entry) (next []entry, changed bool, err error)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, err := v.load()
	if err != nil {
		return err
	}
	if c == nil {
		if c, err = v.begin(); err != nil {
			return err
		}
		v.open.Store(c)
	}
	entries, changed, err := fn(v.now().UTC(), c.Entries)
	if err != nil || !changed {
		return err
	}
	next := c.with(entries)
	v.next(next)
	if err := v.write(next); err != nil {
		return err
	}
	v.made(next)
	v.open.Store(next)
	v.changed()
	return nil
}
