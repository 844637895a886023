package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Checkup is what doctor found.
type Checkup struct {
	OK     bool    `json:"ok" jsonschema:"whether nothing is wrong"`
	Checks []Check `json:"checks" table:"1" jsonschema:"every check"`
}

// Check is one thing that was looked at.
type Check struct {
	Name   string     `json:"name" table:"1" jsonschema:"what was looked at"`
	Status string     `json:"status" table:"1" enum:"ok,warning,error" jsonschema:"how it stands"`
	What   string     `json:"what" table:"1" jsonschema:"what was found"`
	Why    string     `json:"why,omitempty" table:"3" jsonschema:"why it matters"`
	Fix    fault.Hint `json:"fix,omitempty" table:"2" jsonschema:"the call or command that mends it"`
}

// hint is a call as the fix of a check.
func hint(method string, input ...any) fault.Hint {
	return fault.Hint(fault.Do(method, input...).String())
}

// WithoutDaemon is the checkup of a home whose daemon does not answer; keeper says whether its keeper lives, hung
// whether the daemon is there all the same.
func WithoutDaemon(home string, keeper, hung bool) Checkup {
	if hung {
		return Checkup{Checks: append(machine(home), Check{Name: "daemon", Status: "error", What: "the daemon of " + home + " is there and does not answer",
			Why: "it is hung or was stopped: nothing is supervised", Fix: "omnitron kill, after which apps live on, then omnitron up"})}
	}
	ch := Check{Name: "daemon", Status: "error", What: "no daemon answers in " + home, Why: "nothing is supervised", Fix: "omnitron up"}
	if !keeper && leftBehind(home) {
		return Checkup{Checks: append(machine(home), Check{Name: "daemon", Status: "error",
			What: "neither daemon nor keeper runs in " + home + ", and what they ran may live on", Why: "both were killed, or the machine went down: nothing is supervised",
			Fix: "omnitron up, which starts everything anew, or omnitron down, which ends it"})}
	}
	if !Wanted(home) {
		ch.Status, ch.What = "warning", "no daemon runs in "+home+": it was taken down, or never started"
	}
	checks := machine(home)
	if checks[0].Status == "error" { // nothing starts before that is mended
		ch.Fix = checks[0].Fix
	}
	return Checkup{Checks: append(checks, ch)}
}

// leftBehind reports whether a keeper's record is there, which goes away with its orderly end.
func leftBehind(home string) bool {
	_, err := os.Lstat(filepath.Join(home, "keeper.json"))
	return err == nil
}

// Wanted reports whether a daemon should run in a home: there was one, and nobody has said down. What cannot be read is no
// word of anybody.
func Wanted(home string) bool {
	text, err := os.ReadFile(filepath.Join(home, "state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	var state struct {
		Down bool `json:"homeDown"`
	}
	return err != nil || json.Unmarshal(text, &state) != nil || !state.Down
}

// machine checks what can be seen without a daemon: the home, its disk, our limits.
func machine(home string) []Check {
	return []Check{checkHome(home), checkDisk(home), checkFiles()}
}

// Doctor looks at everything that can be wrong without anybody noticing.
func (s *Service) Doctor(ctx context.Context, _ Nothing) (Checkup, error) {
	c := Checkup{OK: true, Checks: []Check{}}
	add := func(ch Check) {
		if ch.Status != "ok" {
			c.OK = false
		}
		c.Checks = append(c.Checks, ch)
	}
	for _, ch := range machine(s.home) {
		add(ch)
	}
	add(s.checkRecord(ctx))
	stores := true
	for _, w := range s.warnings() {
		stores = stores && w.about != ""
		add(Check{Name: cmp.Or(w.about, "stores"), Status: "error", What: w.what, Why: w.why, Fix: w.fix})
	}
	if stores {
		add(Check{Name: "stores", Status: "ok", What: "state.json and omnitron.db are written"})
	}
	add(s.checkKeeper(ctx))
	for _, ch := range s.checkVault() {
		add(ch)
	}
	for _, v := range s.sup.Apps() {
		switch {
		case v.State == "crashed" || v.State == "failed" || v.State == "stuck":
			add(Check{Name: "app " + v.Name, Status: "error", What: v.Key + " is " + string(v.State) + ": " + v.Reason, Why: "it does not do its work, and it is not started again by itself", Fix: hint("apps.explain", "name", s.sup.Called(ctx, v.Key))})
		case v.Health == "unhealthy":
			add(Check{Name: "app " + v.Name, Status: "warning", What: v.Key + " is unhealthy", Why: "it runs, but its probe says that it does not work", Fix: hint("apps.explain", "name", s.sup.Called(ctx, v.Key))})
		}
	}
	return c, nil
}

// checkRecord looks at the whole record of calls.
func (s *Service) checkRecord(ctx context.Context) Check {
	v, err := s.ledger.Verify(ctx, "")
	switch {
	case err != nil:
		return Check{Name: "record", Status: "warning", What: "the record of calls cannot be verified: " + err.Error(), Why: "nobody would see that it was changed", Fix: hint("audit.verify")}
	case v.Broken != nil:
		return Check{Name: "record", Status: "error", What: "the record of calls is not whole: " + broken(v.Broken), Why: "somebody may have changed what it says", Fix: hint("audit.verify")}
	}
	what := "the record of calls is whole"
	if n := s.ledger.Ahead(); n > 0 {
		what += fmt.Sprintf("; %d rows were ahead of its head when the daemon started, as a death leaves them, and were verified", n)
	}
	if v.Unprotected > 0 {
		what += fmt.Sprintf("; %d rows have no seal of the present key, which it says itself", v.Unprotected)
	}
	return Check{Name: "record", Status: "ok", What: what}
}

func checkHome(home string) Check {
	if err := CheckHome(home); err != nil {
		f := fault.From(err)
		return Check{Name: "home", Status: "error", What: f.Message, Why: "nothing can be kept there, so that no daemon starts", Fix: fault.Hint(f.Hint)}
	}
	st, err := os.Stat(home)
	if err != nil { // what else there is to say of it has been said
		return Check{Name: "home", Status: "warning", What: home + " does not exist yet", Why: "nothing was ever kept there", Fix: "omnitron up"}
	}
	if m := st.Mode().Perm(); m&0o077 != 0 {
		return Check{Name: "home", Status: "warning", What: fmt.Sprintf("%s has mode %o", home, m), Why: "others can see what apps printed", Fix: fault.Hint("chmod 700 " + home)}
	}
	return Check{Name: "home", Status: "ok", What: home + " is private"}
}

// checkDisk looks at the disk that the home is on, or will be.
func checkDisk(home string) Check {
	dir := existing(home)
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return Check{Name: "disk", Status: "warning", What: "cannot measure the disk of " + dir + ": " + err.Error(), Why: "nobody sees it fill up", Fix: fault.Hint("df -h " + dir)}
	}
	free, all := fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
	what := fmt.Sprintf("%d MB of %d MB free", free>>20, all>>20)
	if all > 0 && free*20 < all || free < 256<<20 {
		return Check{Name: "disk", Status: "warning", What: what, Why: "logs are held back or dropped when it is full", Fix: fault.Hint("du -sh " + filepath.Join(home, "logs"))}
	}
	return Check{Name: "disk", Status: "ok", What: what}
}

func (s *Service) checkVault() []Check {
	if err := s.vault.Err(); err != nil {
		return []Check{{Name: "vault", Status: "error", What: err.Error(), Why: "apps that need a secret wait, and secrets can be neither read nor set", Fix: fault.Hint(fault.From(err).Hint)}}
	}
	checks := []Check{}
	if err := s.vault.Lasting(); err != nil {
		fix := hint("secrets.rotate")
		if s.vault.Credential() {
			fix = "put the credential back"
		}
		checks = append(checks, Check{Name: "vault", Status: "error", What: err.Error(), Why: "this daemon has the key in memory; the next one would find the vault sealed", Fix: fix})
	}
	for _, n := range s.vault.Notices() {
		checks = append(checks, Check{Name: "vault", Status: "warning", What: n, Why: "what was set last may be missing", Fix: hint("secrets.list")})
	}
	if len(checks) == 0 {
		checks = append(checks, Check{Name: "vault", Status: "ok", What: "secrets can be read and set"})
	}
	return checks
}

func (s *Service) checkKeeper(ctx context.Context) Check {
	k := s.keeper.Info()
	if what := s.hung(ctx); what != "" {
		return Check{Name: "keeper", Status: "error", What: what, Why: "nothing can be started, and output and exits wait",
			Fix: fault.Hint(fmt.Sprintf("kill -9 %d, after which the daemon starts another keeper that takes everything over", k.PID))}
	}
	switch {
	case k.PID == 0:
		return Check{Name: "keeper", Status: "error", What: "there is no keeper", Why: "programs cannot be started", Fix: hint("daemon.restart")}
	case k.Contain == "stub":
		return Check{Name: "keeper", Status: "ok", What: "no cgroup can be had here: each app has a stub of the keeper as its parent"}
	}
	return Check{Name: "keeper", Status: "ok", What: fmt.Sprintf("pid %d holds the programs by cgroup %s", k.PID, k.Contain)}
}

// checkFiles looks at the limit of descriptors: each app takes some in daemon and keeper.
func checkFiles() Check {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return Check{Name: "descriptors", Status: "warning", What: "cannot read the limit of descriptors: " + err.Error(), Why: "each app takes about six", Fix: "ulimit -n"}
	}
	if l.Cur < 1024 {
		return Check{Name: "descriptors", Status: "warning", What: fmt.Sprintf("at most %d descriptors", l.Cur), Why: "each app takes about six", Fix: "ulimit -n 65536"}
	}
	return Check{Name: "descriptors", Status: "ok", What: fmt.Sprintf("up to %d", l.Cur)}
}
