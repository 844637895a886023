package schema

import (
	"fmt"
	"reflect"
	"regexp"

	"github.com/omnitron-dev/omnitron/core/op"
)

// pattern is a regular expression that means the same in RE2 and in JSON Schema (ECMA 262).
type pattern struct {
	text string
	re   *regexp.Regexp
	says string // what it asks for, in words
}

func compile(text, says string) (*pattern, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("bad pattern %q: %w", text, err)
	}
	return &pattern{text, re, says}, nil
}

// The grammars of product names. A name is [a-z0-9][a-z0-9_-]{0,62}; slash, colon, hash and star belong to selectors.
const (
	namePattern = `[a-z0-9][a-z0-9_-]{0,62}`
	globPattern = `[a-z0-9*][a-z0-9_*-]{0,62}`
)

// named are the types of core/op that name things.
var named = map[reflect.Type]struct {
	pattern *pattern
	names   int
}{
	reflect.TypeFor[op.Selector](): {grammar(`^`+globPattern+`(/`+globPattern+`){0,2}(:`+globPattern+`)?(#[1-9][0-9]{0,3})?$`,
		"app, stack/app, project/stack/app, app:process or app:process#2, in lower case; * matches any part"), selector},
	reflect.TypeFor[op.ProjectRef](): {grammar(`^(`+namePattern+`|/[^\x00-\x1f\x7f]*)$`,
		"the name of a project, or the absolute path of its folder"), project},
	reflect.TypeFor[op.StackRef](): {grammar(`^`+namePattern+`$`, "the name of a stack"), stack},
}

func grammar(text, says string) *pattern {
	return &pattern{text, regexp.MustCompile(text), says}
}
