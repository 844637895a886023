package supervisor

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
)

func TestEnvironment(t *testing.T) {
	app := &config.App{Key: "shop/dev/api", Name: "api"}
	for _, c := range []struct {
		name  string
		def   config.Process
		who   account
		ports map[string]int
		want  string
	}{
		{"what is ours", config.Process{}, account{}, nil, ""},
		{"what is ours is the strongest", config.Process{Env: map[string]string{"A": "1", "OMNITRON_APP": "x", "PORT": "1"}, Ports: []config.Port{{Name: "http"}}}, account{},
			map[string]int{"http": 80}, "A=1 PORT=80 PORT_HTTP=80"},
		{"several ports", config.Process{Env: map[string]string{"PORT": "mine"}, Ports: []config.Port{{Name: "http"}, {Name: "my-admin"}}}, account{},
			map[string]int{"http": 80, "my-admin": 81}, "PORT=mine PORT_HTTP=80 PORT_MY_ADMIN=81"},
		{"another user", config.Process{Env: map[string]string{"USER": "me"}}, account{name: "www", home: "/var/www", shell: "/bin/nologin"}, nil,
			"HOME=/var/www LOGNAME=www SHELL=/bin/nologin USER=me"},
		{"what the file takes away stays away", config.Process{Unset: []string{"HOME", "SHELL"}}, account{name: "www", home: "/var/www", shell: "/bin/sh"}, nil, "LOGNAME=www USER=www"},
		{"a user without a shell", config.Process{}, account{name: "www", home: "/"}, nil, "HOME=/ LOGNAME=www USER=www"},
	} {
		g := &generation{app: app, def: &c.def, ports: c.ports}
		var got, ours []string
		for _, v := range environment(g, c.who, "web", 3) {
			if strings.HasPrefix(v, "OMNITRON_") {
				ours = append(ours, v)
				continue
			}
			got = append(got, v)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		if want := "OMNITRON_APP=api OMNITRON_INSTANCE=3 OMNITRON_PROCESS=web OMNITRON_PROJECT=shop OMNITRON_STACK=dev"; strings.Join(ours, " ") != want {
			t.Errorf("%s: %v", c.name, ours)
		}
	}
}

func TestLookup(t *testing.T) {
	me, err := user.Current()
	must(t, err)
	if os.Geteuid() != 0 {
		for _, p := range []config.Process{{User: me.Username}, {Group: "root"}} {
			if _, err := lookup(&p); reason(err) != "invalid/not_permitted" {
				t.Errorf("%+v: %v", p, err)
			}
		}
		return
	}
	nobody, err := user.Lookup("nobody")
	must(t, err)
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	daemon, err := user.LookupGroup("daemon")
	must(t, err)
	daemonGID, _ := strconv.Atoi(daemon.Gid)
	for _, c := range []struct {
		p      config.Process
		want   account
		reason string
	}{
		{config.Process{}, account{uid: -1, gid: -1}, ""},
		{config.Process{User: "nobody"}, account{uid: uid, gid: gid, groups: []int{gid}, name: "nobody", home: nobody.HomeDir, shell: shellOf("nobody")}, ""},
		{config.Process{User: nobody.Uid}, account{uid: uid, gid: gid, groups: []int{gid}, name: "nobody", home: nobody.HomeDir, shell: shellOf("nobody")}, ""},
		{config.Process{User: "nobody", Group: "daemon"}, account{uid: uid, gid: daemonGID, groups: []int{gid}, name: "nobody", home: nobody.HomeDir, shell: shellOf("nobody")}, ""},
		{config.Process{Group: daemon.Gid}, account{uid: -1, gid: daemonGID, groups: []int{daemonGID}}, ""},
		{config.Process{User: "no-such-user"}, account{}, "invalid/no_such_user"},
		{config.Process{User: "nobody", Group: "no-such-group"}, account{}, "invalid/no_such_group"},
	} {
		got, err := lookup(&c.p)
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

func TestPorts(t *testing.T) {
	p := ports{taken: map[int]int{}}
	def := &config.Process{Ports: []config.Port{{Name: "a", Auto: true}, {Name: "b", Base: 8000}, {Name: "c", Auto: true}}}
	var mu sync.Mutex
	var drawn []map[string]int
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			got, err := p.draw(def, n+1)
			if err != nil || got["b"] != 8000+n {
				t.Errorf("instance %d: %v %v", n+1, got, err)
			}
			mu.Lock()
			defer mu.Unlock()
			drawn = append(drawn, got)
		})
	}
	all.Wait()
	var numbers []int
	for _, got := range drawn {
		numbers = append(numbers, got["a"], got["b"], got["c"])
	}
	slices.Sort(numbers)
	if len(slices.Compact(numbers)) != 150 || len(p.taken) != 150 {
		t.Errorf("%d numbers for 150 ports, %d taken", len(numbers), len(p.taken))
	}
	again := map[string]int{"b": drawn[0]["b"]} // a generation is being followed by the next one
	p.keep(again)
	for _, got := range drawn {
		p.free(got)
	}
	if len(p.taken) != 1 {
		t.Errorf("%v are left", p.taken)
	}
	p.free(again)
	if _, err := p.draw(&config.Process{Ports: []config.Port{{Name: "a", Auto: true}, {Name: "b", Base: 65535}}}, 2); reason(err) != "invalid/no_such_port" {
		t.Errorf("beyond the last port: %v", err)
	}
	if len(p.taken) != 0 {
		t.Errorf("%v are left", p.taken)
	}
	if got, err := p.draw(&config.Process{}, 1); got != nil || err != nil {
		t.Errorf("no ports: %v %v", got, err)
	}
}
