package launch

import (
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
)

// TestGenerationNames: whatever a daemon must know to adopt a generation survives in its name.
func TestEnvironment(t *testing.T) {
	app := &config.App{Key: "shop/dev/api", Name: "api"}
	for _, c := range []struct {
		name  string
		def   config.Process
		who   account.Account
		ports map[string]int
		want  string
	}{
		{"what is ours", config.Process{}, account.Account{}, nil, ""},
		{"what is ours is the strongest", config.Process{Env: map[string]string{"A": "1", "OMNITRON_APP": "x", "PORT": "1"}, Ports: []config.Port{{Name: "http"}}}, account.Account{},
			map[string]int{"http": 80}, "A=1 PORT=80 PORT_HTTP=80"},
		{"several ports", config.Process{Env: map[string]string{"PORT": "mine"}, Ports: []config.Port{{Name: "http"}, {Name: "my-admin"}}}, account.Account{},
			map[string]int{"http": 80, "my-admin": 81}, "PORT=mine PORT_HTTP=80 PORT_MY_ADMIN=81"},
		{"another user", config.Process{Env: map[string]string{"USER": "me"}}, account.Account{Name: "www", Home: "/var/www", Shell: "/bin/nologin"}, nil,
			"HOME=/var/www LOGNAME=www SHELL=/bin/nologin USER=me"},
		{"what the file takes away stays away", config.Process{Unset: []string{"HOME", "SHELL"}}, account.Account{Name: "www", Home: "/var/www", Shell: "/bin/sh"}, nil, "LOGNAME=www USER=www"},
		{"a user without a shell", config.Process{}, account.Account{Name: "www", Home: "/"}, nil, "HOME=/ LOGNAME=www USER=www"},
	} {
		p := Program{App: app, Def: &c.def, Process: "web", Number: 3, Ports: c.ports}
		var got, ours []string
		for _, v := range p.Environment(c.who) {
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
