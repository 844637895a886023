package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// EnvVar is a variable of our own that a person may set, for the documentation.
type EnvVar struct{ Name, Doc string }

// EnvVars is every variable that Omnitron reads. An app may set these; every other OMNITRON_ name is reserved.
var EnvVars = []EnvVar{
	{"OMNITRON_HOME", "the home; default ~/.omnitron"},
	{"OMNITRON_OUTPUT", "the form of the output, as -o says it: table, json, jsonl, yaml, name"},
	{"OMNITRON_STACK", "the stack, as --stack says it"},
}

// Environment is a set of environment variables. This package is the only one that reads OMNITRON_ variables.
type Environment struct{ vars map[string]string }

// Environ is the environment of this process.
func Environ() Environment { return EnvironOf(os.Environ()) }

// EnvironOf reads KEY=VALUE entries; of a name given twice the later one wins.
func EnvironOf(entries []string) Environment {
	vars := make(map[string]string, len(entries))
	for _, e := range entries {
		if name, value, ok := strings.Cut(e, "="); ok && name != "" {
			vars[name] = value
		}
	}
	return Environment{vars}
}

// Vars gives a copy of all variables: what apps.apply hands to the daemon as the captured environment.
func (e Environment) Vars() map[string]string { return maps.Clone(e.vars) }

// Home is where the daemon keeps its files: OMNITRON_HOME, else ~/.omnitron. "" when neither is known.
func (e Environment) Home() string {
	if h := e.vars["OMNITRON_HOME"]; h != "" {
		return h
	}
	if h := e.UserHome(); h != "" {
		return filepath.Join(h, ".omnitron")
	}
	return ""
}

// UserHome is the person's own folder, HOME.
func (e Environment) UserHome() string { return e.vars["HOME"] }

// Output is the form of output that OMNITRON_OUTPUT asks for, or "".
func (e Environment) Output() string { return e.vars["OMNITRON_OUTPUT"] }

// Stack is the stack that OMNITRON_STACK names, or "".
func (e Environment) Stack() string { return e.vars["OMNITRON_STACK"] }

// Lookup gives one variable.
func (e Environment) Lookup(name string) (string, bool) {
	v, ok := e.vars[name]
	return v, ok
}

// baseNames are the variables of the shell that every app gets; LC_* besides.
var baseNames = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"}

// identityNames belong to the person: an app with another user gets that user's from the supervisor.
var identityNames = []string{"HOME", "USER", "LOGNAME", "SHELL"}

func isBase(name string) bool {
	return slices.Contains(baseNames, name) || strings.HasPrefix(name, "LC_")
}

// protocolNames are set by the supervisor where they apply, and mean the wrong process when inherited.
var protocolNames = []string{"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"}

// reserved reports whether a variable is the supervisor's to set.
func reserved(name string) bool {
	if slices.Contains(protocolNames, name) {
		return true
	}
	if !strings.HasPrefix(name, "OMNITRON_") {
		return false
	}
	// The stack is set for the app by us; the two others only steer our own command line.
	return name != "OMNITRON_HOME" && name != "OMNITRON_OUTPUT"
}
