// Package project holds the short forms that begin with the files of a project: what they say, its apps, its secrets.
package project

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/config/setting"
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
	beside := filepath.Join(filepath.Dir(src.Files[0].Path), ".env")
	if text, err := config.ReadFile(beside); err == nil { // which other files there are may be said by a variable of it
		src.EnvFiles[beside] = text
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

// settingsRight looks at config.yaml of the home, when no file is named or it is among those that are, which it gives without
// it. Without such a file nothing was looked at. Faults: invalid (config_invalid, config_unreadable).
func settingsRight(s *session.Session, named []string) (path string, looked bool, rest []string, err error) {
	home := cmp.Or(s.Home, config.Home(s.Getenv))
	if home == "" {
		return "", false, named, nil
	}
	if path, err = filepath.Abs(filepath.Join(home, "config.yaml")); err != nil {
		return "", false, named, nil //nolint:nilerr // then it cannot be meant
	}
	for _, n := range named {
		if abs, err := filepath.Abs(filepath.Join(s.Dir, n)); filepath.IsAbs(n) && filepath.Clean(n) == path || err == nil && abs == path {
			looked = true
			continue
		}
		rest = append(rest, n)
	}
	if len(named) > 0 && !looked {
		return path, false, rest, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && len(named) == 0 {
		return path, false, rest, nil
	}
	if err != nil {
		return path, false, rest, fault.Wrap(err, fault.Invalid, "cannot read %s: %v", path, err).WithReason("config_unreadable")
	}
	var methods []string
	for _, spec := range s.Specs {
		methods = append(methods, spec.ID())
	}
	_, err = setting.Load(string(text), path, methods)
	if e, is := errors.AsType[*config.Errors](err); is {
		return path, true, rest, e.Fault()
	}
	return path, true, rest, err
}
