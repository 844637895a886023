package config

import (
	"slices"
	"testing"
)

// TestPlaces: each key is where the file that decides it says it.
func TestPlaces(t *testing.T) {
	src := Source{Dir: "/srv", Files: []File{{Path: "/srv/omnitron.yaml", Text: `project: shop
logging: {level: warn}
apps:
  - name: web
    command: [./web]
    restart: always
    env: {A: "1", B: "2"}
  - name: pool
    cwd: /tmp
    processes:
      - {name: one, command: [x]}
`}, {Path: "/srv/omnitron.override.yaml", Text: `apps:
  - name: web
    env:
      B: "3"
    stop: {timeout: 3s}
    restart: null
`}}}
	places := Locate(src)
	for _, c := range []struct{ app, path, want string }{
		{"web", "command", "omnitron.yaml:5"}, {"web", "env.A", "omnitron.yaml:7"}, {"web", "env.B", "omnitron.override.yaml:4"}, {"web", "env.C", ""}, {"web", "stop.timeout", "omnitron.override.yaml:5"},
		{"web", "stop.signal", "omnitron.override.yaml:5"}, {"web", "restart.policy", ""}, {"web", "logging.level", "omnitron.yaml:2"}, {"web", "umask", ""},
		{"pool", "processes[one].command", "omnitron.yaml:11"}, {"pool", "processes[one].cwd", "omnitron.yaml:9"}, {"", "project", "omnitron.yaml:1"},
	} {
		got := ""
		if p, ok := places.Of(c.app, c.path); ok {
			got = p.String()
		}
		if got != c.want {
			t.Errorf("%s %s is at %q, want %q", c.app, c.path, got, c.want)
		}
	}
	want := []string{"omnitron.override.yaml:4: apps.web.env.B", "omnitron.override.yaml:5: apps.web.stop", "omnitron.override.yaml:5: apps.web.stop.timeout"}
	if got := Origins(src); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Origins(Source{Files: src.Files[:1]}); got != nil {
		t.Errorf("of one file: %q", got)
	}
}
