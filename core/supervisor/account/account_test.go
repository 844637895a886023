package account

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func TestOf(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		for _, p := range []config.Process{{User: me.Username}, {Group: "root"}} {
			if _, err := Of(&p); reason(err) != "invalid/not_permitted" {
				t.Errorf("%+v: %v", p, err)
			}
		}
		return
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	daemon, err := user.LookupGroup("daemon")
	if err != nil {
		t.Fatal(err)
	}
	daemonGID, _ := strconv.Atoi(daemon.Gid)
	for _, c := range []struct {
		p      config.Process
		want   Account
		reason string
	}{
		{config.Process{}, Account{UID: -1, GID: -1}, ""},
		{config.Process{User: "nobody"}, Account{UID: uid, GID: gid, Groups: []int{gid}, Name: "nobody", Home: nobody.HomeDir, Shell: shellOf("nobody")}, ""},
		{config.Process{User: nobody.Uid}, Account{UID: uid, GID: gid, Groups: []int{gid}, Name: "nobody", Home: nobody.HomeDir, Shell: shellOf("nobody")}, ""},
		{config.Process{User: "nobody", Group: "daemon"}, Account{UID: uid, GID: daemonGID, Groups: []int{gid}, Name: "nobody", Home: nobody.HomeDir, Shell: shellOf("nobody")}, ""},
		{config.Process{Group: daemon.Gid}, Account{UID: -1, GID: daemonGID, Groups: []int{daemonGID}}, ""},
		{config.Process{User: "no-such-user"}, Account{}, "invalid/no_such_user"},
		{config.Process{User: "nobody", Group: "no-such-group"}, Account{}, "invalid/no_such_group"},
	} {
		got, err := Of(&c.p)
		if c.reason != "" {
			if reason(err) != c.reason {
				t.Errorf("%s:%s: %v", c.p.User, c.p.Group, err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s:%s: %+v %v, want %+v", c.p.User, c.p.Group, got, err, c.want)
		}
	}
	if shell := shellOf("root"); !strings.HasPrefix(shell, "/") {
		t.Errorf("root's shell is %q", shell)
	}
}

// reason gives the code and the reason of a fault.
func reason(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return string(e.Code) + "/" + e.Reason
}
