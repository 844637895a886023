// Package account finds out who a program runs as.
package account

import (
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Account is who a program runs as.
type Account struct {
	UID, GID int // -1: as the keeper
	Groups   []int
	Name     string // "" where only a group is given, or nothing
	Home     string
	Shell    string
}

// Of finds the user and group of a program. Faults: invalid, reason no_such_user, no_such_group, not_permitted.
func Of(p *config.Process) (Account, error) {
	a := Account{UID: -1, GID: -1}
	if p.User == "" && p.Group == "" {
		return a, nil
	}
	if os.Geteuid() != 0 {
		who := "user " + strconv.Quote(p.User)
		if p.User == "" {
			who = "group " + strconv.Quote(p.Group)
		}
		return a, fault.New(fault.Invalid, "cannot run as %s: the daemon does not run as root", who).WithReason("not_permitted").
			WithHint("drop user: and group:, or run the daemon as root")
	}
	if p.User != "" {
		u, err := user.Lookup(p.User)
		if err != nil {
			u, err = user.LookupId(p.User)
		}
		if err != nil {
			return a, fault.New(fault.Invalid, "there is no user %q", p.User).WithReason("no_such_user").WithHint("getent passwd shows who there is")
		}
		a.UID, _ = strconv.Atoi(u.Uid)
		a.GID, _ = strconv.Atoi(u.Gid)
		a.Name, a.Home, a.Shell = u.Username, u.HomeDir, shellOf(u.Username)
		if ids, err := u.GroupIds(); err == nil {
			for _, id := range ids {
				if n, err := strconv.Atoi(id); err == nil {
					a.Groups = append(a.Groups, n)
				}
			}
		}
	}
	if p.Group != "" {
		g, err := user.LookupGroup(p.Group)
		if err != nil {
			g, err = user.LookupGroupId(p.Group)
		}
		if err != nil {
			return a, fault.New(fault.Invalid, "there is no group %q", p.Group).WithReason("no_such_group").WithHint("getent group shows which there are")
		}
		a.GID, _ = strconv.Atoi(g.Gid)
		if a.UID < 0 {
			a.Groups = []int{a.GID}
		}
	}
	return a, nil
}

// shellOf gives the shell of a user as /etc/passwd names it, or "".
func shellOf(name string) string {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 && f[0] == name {
			return f[6]
		}
	}
	return ""
}
