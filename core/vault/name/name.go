// Package name says what a secret may be called. It stands apart so that whoever only reads names needs no vault.
package name

import (
	"regexp"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Max bounds a name, in bytes.
const Max = 200

// Pattern is what a name looks like, for schemas; Check also refuses the segments . and ..
const Pattern = `^[a-z0-9._-]+(/[a-z0-9._-]+)*$`

var shape = regexp.MustCompile(Pattern)

// Hint says what a name looks like, for people.
const Hint = "a path of lower case letters, digits, dots, dashes and underscores, such as db/password"

// Valid reports whether a secret may have the name.
func Valid(name string) bool {
	return len(name) <= Max && shape.MatchString(name) && !slices.ContainsFunc(strings.Split(name, "/"), func(s string) bool { return s == "." || s == ".." })
}

// Check is Valid as a fault: invalid (bad_name).
func Check(name string) error {
	if Valid(name) {
		return nil
	}
	return fault.New(fault.Invalid, "%.80q cannot be the name of a secret: it must be %s, at most %d characters", name, Hint, Max).
		WithReason("bad_name").WithHint("for example shop/db/password, or shared/smtp for all projects")
}
