package vault

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Secret is one version of a secret.
type Secret struct {
	Name    string
	Version int
	Created time.Time
	Ended   time.Time // when it was replaced or deleted; zero: it is the current one
	Deleted bool      // the secret was deleted after it
	Size    int       // bytes
	Value   []byte
}

func (e *entry) secret() Secret {
	return Secret{e.Name, e.Version, e.Created, e.Ended, e.Deleted, len(e.value), e.value}
}

// secrets gives the versions of users' secrets, by name and version.
func (v *Vault) secrets() ([]Secret, error) {
	c, err := v.contents()
	if err != nil || c == nil {
		return nil, err
	}
	return secretsOf(c.Entries), nil
}

func secretsOf(entries []entry) (all []Secret) {
	for _, e := range entries {
		if e.Space == spaceSecret {
			all = append(all, e.secret())
		}
	}
	return all
}

// List gives the current version of every secret, by name.
func (v *Vault) List() ([]Secret, error) {
	all, err := v.secrets()
	return slices.DeleteFunc(all, func(s Secret) bool { return !s.Ended.IsZero() }), err
}

// Versions gives what is kept of a secret, oldest first, ended versions too. Faults: not_found (secret_missing).
func (v *Vault) Versions(name string) ([]Secret, error) {
	all, err := v.secrets()
	if err != nil {
		return nil, err
	}
	mine := slices.DeleteFunc(slices.Clone(all), func(s Secret) bool { return s.Name != name })
	if len(mine) == 0 {
		return nil, missing(name, all)
	}
	return mine, nil
}

// Get gives a version of a secret, the current one for 0. Faults: not_found (secret_missing, version_missing).
func (v *Vault) Get(name string, version int) (Secret, error) {
	all, err := v.secrets()
	if err != nil {
		return Secret{}, err
	}
	alive := false
	for _, s := range all {
		if s.Name != name || s.Deleted {
			continue
		}
		alive = true
		if version == s.Version || version == 0 && s.Ended.IsZero() {
			return s, nil
		}
	}
	if alive {
		return Secret{}, fault.New(fault.NotFound, "there is no version %d of the secret %q", version, name).WithReason("version_missing").
			WithHint("%s", fault.Do("secrets.versions", "name", name))
	}
	return Secret{}, missing(name, all)
}

func missing(name string, all []Secret) error {
	var names []string
	for _, s := range all {
		if s.Ended.IsZero() {
			names = append(names, s.Name)
		}
	}
	f := fault.New(fault.NotFound, "there is no secret %q", name).WithReason("secret_missing").WithHint("%s", fault.Do("secrets.set", "name", name))
	if near := fault.Near(name, names); near != "" {
		f.Candidates = []string{near}
	}
	return f
}

// Set stores a value under a name and gives its version. The value that is there already makes no new version: changed is
// false. Faults: invalid (bad_name, bad_value), limited (vault_full), internal (state_not_durable).
func (v *Vault) Set(name string, value []byte) (s Secret, changed bool, err error) {
	if err := Check(name, value); err != nil {
		return s, false, err
	}
	err = v.change(func(now time.Time, entries []entry) ([]entry, bool, error) {
		next := slices.Clone(entries)
		version := 1
		for i := range next {
			e := &next[i]
			if e.Space != spaceSecret || e.Name != name {
				continue
			}
			version = e.Version + 1
			if !e.Ended.IsZero() {
				continue
			}
			if string(e.value) == string(value) {
				s = e.secret()
				return nil, false, nil
			}
			e.Ended = now
		}
		if len(next) >= MaxValues {
			return nil, false, fault.New(fault.Limited, "the vault is full: it holds %d values, former versions counted", len(next)).WithReason("vault_full").
				WithHint("former versions go when no stored log line is as old as they are")
		}
		e := entry{Space: spaceSecret, Name: name, Version: version, Created: now, value: slices.Clone(value)}
		s, changed = e.secret(), true
		return append(next, e), true, nil
	})
	return s, changed && err == nil, err
}

// Delete ends a secret. Its values stay sealed and are given to nobody; logs that show them are redacted as before.
// Faults: not_found (secret_missing), internal (state_not_durable).
func (v *Vault) Delete(name string) (last Secret, err error) {
	err = v.change(func(now time.Time, entries []entry) ([]entry, bool, error) {
		next := slices.Clone(entries)
		for i := range next {
			e := &next[i]
			if e.Space != spaceSecret || e.Name != name {
				continue
			}
			e.Deleted = true
			if e.Ended.IsZero() {
				e.Ended = now
				last = e.secret()
			}
		}
		if last.Version == 0 {
			return nil, false, missing(name, secretsOf(entries))
		}
		return next, true, nil
	})
	return last, err
}

// Retire forgets versions that ended before a moment, and says how many: no log line is left that could show them.
func (v *Vault) Retire(before time.Time) (n int, err error) {
	c, err := v.contents()
	if err != nil || c == nil {
		return 0, err
	}
	old := func(e entry) bool { return e.Space == spaceSecret && !e.Ended.IsZero() && e.Ended.Before(before) }
	if !slices.ContainsFunc(c.Entries, old) {
		return 0, nil
	}
	err = v.change(func(_ time.Time, entries []entry) ([]entry, bool, error) {
		next := slices.DeleteFunc(slices.Clone(entries), old)
		n = len(entries) - len(next)
		return next, n > 0, nil
	})
	return n, err
}

// Shared begins the names of secrets that apps of every project see.
const Shared = "shared"

// Lookup finds the secret that an app means by a name: that of its stack, of its project, or shared by all. While the
// vault is sealed it repeats what the last look at the files has said, so that it never waits. Faults: not_found
// (secret_missing).
func (v *Vault) Lookup(project, stack, name string) (Secret, error) {
	c := v.open.Load()
	if c == nil {
		if why := v.why.Load(); why != nil {
			return Secret{}, *why
		}
		var err error
		if c, err = v.contents(); err != nil {
			return Secret{}, err
		}
	}
	places := []string{project + "/" + stack + "/" + name, project + "/" + name, Shared + "/" + name}
	for _, place := range places {
		if s, ok := c.current(place); ok {
			return s, nil
		}
	}
	return Secret{}, fault.New(fault.NotFound, "there is no secret %q for %s/%s: looked for %s", name, project, stack, strings.Join(places, ", ")).
		WithReason("secret_missing").WithHint("%s", fault.Do("secrets.set", "name", places[1]))
}

// current finds the version in force; c may be nil.
func (c *contents) current(name string) (Secret, bool) {
	if c == nil {
		return Secret{}, false
	}
	past, _ := slices.BinarySearchFunc(c.Entries, name, func(e entry, name string) int {
		if d := cmp.Or(cmp.Compare(e.Space, spaceSecret), cmp.Compare(e.Name, name)); d != 0 {
			return d
		}
		return -1 // behind all its versions
	})
	if past == 0 {
		return Secret{}, false
	}
	e := &c.Entries[past-1]
	return e.secret(), e.Space == spaceSecret && e.Name == name && e.Ended.IsZero()
}

// Value is what Lookup finds, as text.
func (v *Vault) Value(project, stack, name string) (string, error) {
	s, err := v.Lookup(project, stack, name)
	return string(s.Value), err
}

// Values gives every value that a text might show, former and deleted ones too, without waiting for anything.
func (v *Vault) Values() [][]byte {
	c := v.open.Load()
	if c == nil {
		return nil
	}
	var all [][]byte
	for _, e := range c.Entries {
		if e.Space == spaceSecret {
			all = append(all, e.value)
		}
	}
	return all
}
