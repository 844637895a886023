// Package project holds the short forms that begin with the files of a project: what they say, its apps, its secrets.
package project

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// overrides are merged behind the file beside them, unless files were named.
var overrides = []string{"omnitron.override.yaml", "omnitron.override.yml"}

// read gathers a project's configuration: the files named, else those found, the env files that they name, and the
// shell's environment. Faults: not_found, when there is no file; invalid.
func read(s *session.Session, named []string) (config.Source, error) {
	src := config.Source{Env: environment(s), Stack: s.Stack, Dir: s.Dir, EnvFiles: map[string]string{}}
	src.Home = src.Env["HOME"]
	if src.Stack == "" {
		src.Stack = s.Getenv("OMNITRON_STACK")
	}
	paths := named
	if len(paths) == 0 {
		found := s.FindConfig()
		if found == "" {
			return src, fault.New(fault.NotFound, "there is no omnitron.yaml in %s or above", s.Dir).WithReason("no_config").
				WithHint("omnitron up -c path/to/omnitron.yaml\nomnitron demo        see it work without a project")
		}
		paths = []string{found}
		for _, name := range overrides {
			path := filepath.Join(filepath.Dir(found), name)
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				paths = append(paths, path)
			}
		}
	}
	for _, path := range paths {
		if path == "-" {
			return src, fault.New(fault.Invalid, "a configuration is a file, because paths in it count from its folder; standard input is none").
				WithReason("config_unreadable").WithHint("name the file: omnitron.yaml, or -c path/to/omnitron.yaml")
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		text, err := config.ReadFile(path)
		if err != nil {
			return src, fault.New(fault.Invalid, "cannot read the configuration: %v", err).WithReason("config_unreadable")
		}
		src.Files = append(src.Files, config.File{Path: filepath.Clean(path), Text: text})
	}
	if s.Config.References == nil {
		return src, nil
	}
	refs, err := s.Config.References(src)
	if err != nil {
		return src, err
	}
	for _, path := range refs {
		text, err := config.ReadFile(path)
		if os.IsNotExist(err) {
			continue // whether it has to exist is said with its line by whoever understands the file
		}
		if err != nil {
			return src, fault.New(fault.Invalid, "cannot read an env file: %v", err).WithReason("config_unreadable")
		}
		src.EnvFiles[path] = text
	}
	return src, nil
}

// environment is the shell's, by name.
func environment(s *session.Session) map[string]string {
	env := map[string]string{}
	if s.Environ == nil {
		return env
	}
	for _, e := range s.Environ() {
		if name, value, ok := strings.Cut(e, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}
