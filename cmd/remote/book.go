// Package remote knows the daemons of other machines: where each is, the key by which it is known, and how to sign in. All
// of it lies in the home of whoever uses the command line, in files that nobody else can read.
package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

// DefaultPort is where a daemon listens unless told otherwise.
const DefaultPort = "9700"

// Remote is a daemon of another machine.
type Remote struct {
	Alias   string    `json:"alias"`
	Address string    `json:"address"`        // host:port
	User    string    `json:"user,omitempty"` // who is signed in
	Pin     string    `json:"pin"`
	Added   time.Time `json:"added"`
}

// credentials are what is shown to a remote daemon: a named token, or what a sign-in by password gave.
type credentials struct {
	Token   string    `json:"token,omitempty"`
	Access  string    `json:"access,omitempty"`
	Expires time.Time `json:"expires,omitzero"` // of Access
	Refresh string    `json:"refresh,omitempty"`
}

// entry is a file of the book.
type entry struct {
	Remote
	Credentials credentials `json:"credentials"`
}

// Book is the remotes of a home.
type Book struct{ dir string }

// Open gives the remotes of a home; it touches nothing.
func Open(home string) Book { return Book{filepath.Join(home, "remotes")} }

var aliasPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// CheckAlias refuses what cannot name a remote. Fault: invalid (bad_value).
func CheckAlias(alias string) error {
	if aliasPattern.MatchString(alias) {
		return nil
	}
	return fault.New(fault.Invalid, "%q cannot name a remote: lower case letters, digits, - and _", alias).WithReason("bad_value")
}

// Address completes what was typed as the address of a daemon. Fault: invalid (bad_value).
func Address(typed string) (string, error) {
	host, port, err := net.SplitHostPort(typed)
	if err != nil {
		host, port, err = net.SplitHostPort(net.JoinHostPort(strings.Trim(typed, "[]"), DefaultPort))
	}
	if err != nil || host == "" || port == "" || strings.ContainsAny(host, "/@ ") {
		return "", fault.New(fault.Invalid, "%q is no host and port", typed).WithReason("bad_value").WithHint("ops.example.com:9700")
	}
	return net.JoinHostPort(host, port), nil
}

func (b Book) path(alias string) string { return filepath.Join(b.dir, alias+".json") }

// get reads a remote. Faults: not_found (remote_unknown), invalid (bad_value).
func (b Book) get(alias string) (entry, error) {
	var e entry
	if err := CheckAlias(alias); err != nil {
		return e, err
	}
	text, err := store.OS.Read(b.path(alias))
	if errors.Is(err, fs.ErrNotExist) {
		f := fault.New(fault.NotFound, "there is no remote %q", alias).WithReason("remote_unknown").WithHint("omnitron remote add %s HOST:PORT", alias)
		var names []string
		all, _ := b.List()
		for _, r := range all {
			names = append(names, r.Alias)
		}
		if near := fault.Near(alias, names); near != "" {
			f = f.WithCandidates(near)
		}
		return e, f
	}
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	if err != nil {
		return e, fault.Wrap(err, fault.Invalid, "cannot read %s: %v", b.path(alias), err).WithReason("config_unreadable").WithHint("omnitron remote remove %s        then add it again", alias)
	}
	return e, nil
}

// put keeps a remote.
func (b Book) put(e entry) error {
	text, err := json.MarshalIndent(e, "", "  ")
	if err == nil {
		err = os.MkdirAll(b.dir, 0o700)
	}
	if err == nil {
		err = store.Put(store.OS, b.path(e.Alias), append(text, '\n'))
	}
	if err != nil {
		return fault.Wrap(err, fault.Conflict, "cannot keep the remote %s: %v", e.Alias, err).WithReason(store.NotDurable)
	}
	return nil
}

// List gives the remotes by name.
func (b Book) List() ([]Remote, error) {
	files, err := os.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Conflict, "cannot look into %s: %v", b.dir, err).WithReason("config_unreadable")
	}
	var all []Remote
	for _, f := range files {
		alias, is := strings.CutSuffix(f.Name(), ".json")
		if !is {
			continue
		}
		e, err := b.get(alias)
		if err != nil {
			return nil, err
		}
		all = append(all, e.Remote)
	}
	slices.SortFunc(all, func(a, b Remote) int { return strings.Compare(a.Alias, b.Alias) })
	return all, nil
}

// Remove forgets a remote, its key and its credentials. Faults: not_found (remote_unknown).
func (b Book) Remove(ctx context.Context, alias string) (Remote, error) {
	release, err := b.lock(ctx, alias)
	if err != nil {
		return Remote{}, err
	}
	defer release()
	e, err := b.get(alias)
	if err != nil && !fault.Is(err, fault.Invalid) {
		return Remote{}, err
	}
	if err := os.Remove(b.path(alias)); err != nil {
		return Remote{}, fault.Wrap(err, fault.Conflict, "cannot remove %s: %v", b.path(alias), err).WithReason(store.NotDurable)
	}
	return e.Remote, nil
}

// lock keeps every other process from changing a remote meanwhile: a refresh token is good once.
func (b Book) lock(ctx context.Context, alias string) (release func(), err error) {
	if err := CheckAlias(alias); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Conflict, "cannot make %s: %v", b.dir, err).WithReason("home_not_made")
	}
	f, err := os.OpenFile(filepath.Join(b.dir, alias+".lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the remote %s: %w", alias, err)
	}
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR): // a file system without locks: waiting does not help
			f.Close()
			return nil, fault.Wrap(err, fault.Conflict, "cannot lock the remote %s: %v", alias, err).WithReason("home_not_made")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-t.C:
		}
	}
}
