package op

import (
	"path"
	"slices"
	"strings"
)

// Scope is what a token is limited to: globs of which one has to match; what is empty does not limit. Whatever lies outside
// of its projects and stacks is not there for it, and a method that it does not name is denied.
type Scope struct {
	Projects []string `json:"projects,omitempty"`
	Stacks   []string `json:"stacks,omitempty"`
	Methods  []string `json:"methods,omitempty"`
}

// Bounded reports whether it keeps to some projects or stacks.
func (s Scope) Bounded() bool { return len(s.Projects)+len(s.Stacks) > 0 }

// Covers reports whether a stack of a project lies within it.
func (s Scope) Covers(project, stack string) bool {
	return matches(s.Projects, project) && matches(s.Stacks, stack)
}

// CoversKey is Covers for the key of an app, project/stack/app, or of a stack. What is neither lies outside, unless
// nothing does.
func (s Scope) CoversKey(key string) bool {
	if !s.Bounded() {
		return true
	}
	project, rest, ok := strings.Cut(key, "/")
	stack, _, _ := strings.Cut(rest, "/")
	return ok && s.Covers(project, stack)
}

// Allows reports whether it lets a method be called.
func (s Scope) Allows(method string) bool { return matches(s.Methods, method) }

// matches reports whether one of the globs matches; none at all match everything. One that is no glob matches nothing.
func matches(globs []string, text string) bool {
	for _, g := range globs {
		if ok, err := path.Match(g, text); ok && err == nil {
			return true
		}
	}
	return len(globs) == 0
}

// Within reports whether everything that lies within s lies within outer too, as far as their patterns tell: each one of s has
// to be one of outer's, or a plain name that one of outer's matches.
func (s Scope) Within(outer Scope) bool {
	return narrower(s.Projects, outer.Projects) && narrower(s.Stacks, outer.Stacks) && narrower(s.Methods, outer.Methods)
}

func narrower(globs, outer []string) bool {
	if len(outer) == 0 {
		return true
	}
	for _, g := range globs {
		if !slices.Contains(outer, g) && (strings.ContainsAny(g, `*?[\`) || !matches(outer, g)) {
			return false
		}
	}
	return len(globs) > 0
}
