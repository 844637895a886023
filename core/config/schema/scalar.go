package schema

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Mistake is what a parse function says about a value.
type Mistake struct {
	Message string // %s stands for the name of the value
	Hint    string
	Near    string
	Meaning bool // beyond what a JSON Schema sees
}

func (m *Mistake) Error() string { return m.Message }

// scalar is a kind of one value.
type scalar[T any] struct {
	label  string
	kinds  []tree.Kind // what it may be in the file; a value with ${} in it may be any
	schema map[string]any
	open   bool // every text will do, so that the schema needs no way out for ${}
	words  []string
	parse  func(string) (T, error)
}

func (s *scalar[T]) Label() string   { return s.label }
func (s *scalar[T]) Keys() []*Key    { return nil }
func (s *scalar[T]) Words() []string { return s.words }

func (s *scalar[T]) Schema() map[string]any {
	own := map[string]any{}
	for k, v := range s.schema {
		own[k] = v
	}
	if s.open {
		return own
	}
	return map[string]any{"anyOf": []any{own, map[string]any{"type": "string", "pattern": `\$\{`}}}
}

func (s *scalar[T]) Decode(d *Decoder, n *tree.Node) (v T, ok bool) {
	if n.Broken {
		return v, false
	}
	if !n.Scalar() || n.Kind == tree.Null || !n.Expanded && !slices.Contains(s.kinds, n.Kind) {
		p := wrongKind(d, n, s.label)
		s.advise(p, n)
		return v, false
	}
	v, err := s.parse(n.Text)
	if err == nil {
		return v, true
	}
	p := wrongKind(d, n, s.label)
	m, isMistake := errors.AsType[*Mistake](err)
	if !isMistake {
		return v, false
	}
	if m.Message != "" && !n.Expanded {
		p.Message = strings.Replace(m.Message, "%s", called(n), 1)
	}
	if p.Hint, p.Near = m.Hint, m.Near; m.Meaning || n.Expanded {
		p.Class = tree.Meaning
	}
	if n.Expanded && n.Text != "" && strings.Contains(p.Hint, n.Text) { // a suggestion made of the value
		p.Hint = ""
	}
	if p.Near == "" && p.Hint == "" {
		p.Allowed = s.words
	}
	return v, false
}

// advise helps with a value of the wrong type.
func (s *scalar[T]) advise(p *tree.Problem, n *tree.Node) {
	switch {
	case !n.Scalar() || n.Kind == tree.Null:
	case slices.Contains(s.kinds, tree.Text):
		var m *Mistake
		if _, err := s.parse(n.Text); err == nil {
			p.Hint = fmt.Sprintf("put it in quotes: %q", n.Text)
		} else if errors.As(err, &m) {
			p.Hint, p.Near = m.Hint, m.Near
		}
	case n.Quoted:
		if _, err := s.parse(n.Text); err == nil {
			p.Hint = "without quotes: " + n.Text
		}
	case n.Kind == tree.Text && slices.Contains(s.kinds, tree.Bool):
		switch strings.ToLower(n.Text) {
		case "yes", "on", "y":
			p.Hint = "write true"
		case "no", "off", "n":
			p.Hint = "write false"
		}
	}
}

var textOnly = []tree.Kind{tree.Text}

// Text is any text but the empty one.
func Text(label string) Kind[string] {
	return &scalar[string]{label: label, kinds: textOnly, open: true, schema: map[string]any{"type": "string", "minLength": 1}, parse: func(t string) (string, error) {
		if t == "" {
			return "", &Mistake{Message: "%s must be " + label + ", not empty"}
		}
		return t, nil
	}}
}

// Pattern is text of a regular expression that Go and JSON Schema read alike.
func Pattern(label, pattern, hint string) Kind[string] {
	re := regexp.MustCompile(pattern)
	return &scalar[string]{label: label, kinds: textOnly, schema: map[string]any{"type": "string", "pattern": pattern}, parse: func(t string) (string, error) {
		if !re.MatchString(t) {
			return "", &Mistake{Hint: hint}
		}
		return t, nil
	}}
}

// Name is the name of an app, a process, a rule: what people and agents type.
func Name(what string) Kind[string] {
	return Pattern("the name of "+what, `^[a-z0-9][a-z0-9_-]{0,62}$`, "lower-case letters, digits, - and _, up to 63, beginning with a letter or digit")
}

// Written is any scalar, taken as it is written: true stays "true", 0755 stays "0755".
func Written(label string) Kind[string] {
	return &scalar[string]{label: label, open: true, kinds: []tree.Kind{tree.Text, tree.Int, tree.Float, tree.Bool},
		schema: map[string]any{"type": []string{"string", "number", "boolean"}}, parse: func(t string) (string, error) { return t, nil }}
}

// Bool is true or false.
func Bool() Kind[bool] {
	return &scalar[bool]{label: "true or false", kinds: []tree.Kind{tree.Bool}, schema: map[string]any{"type": "boolean"}, parse: func(t string) (bool, error) {
		switch strings.ToLower(t) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, &Mistake{Hint: "write true or false"}
	}}
}

// True is true and nothing else.
func True() Kind[bool] {
	return &scalar[bool]{label: "true", kinds: []tree.Kind{tree.Bool}, schema: map[string]any{"const": true}, parse: func(t string) (bool, error) {
		if strings.EqualFold(t, "true") {
			return true, nil
		}
		return false, &Mistake{Hint: "write true, or remove the key"}
	}}
}

// Int is a whole number within bounds.
func Int(low, high int) Kind[int] {
	label := fmt.Sprintf("a whole number from %d to %d", low, high)
	return &scalar[int]{label: label, kinds: []tree.Kind{tree.Int}, schema: map[string]any{"type": "integer", "minimum": low, "maximum": high}, parse: func(t string) (int, error) {
		n, err := strconv.Atoi(t)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return 0, &Mistake{}
		case err != nil:
			return 0, odd(t, float64(low), float64(high))
		case len(t) > 1 && t[0] == '0':
			return 0, odd(t, float64(low), float64(high))
		case n < low || n > high:
			return 0, &Mistake{}
		}
		return n, nil
	}}
}

// odd is about hexadecimal, octal and digits with underscores: numbers for YAML, not for us. A schema sees no more of
// them than whether their value is within bounds.
func odd(text string, low, high float64) *Mistake {
	n, err := strconv.ParseInt(text, 0, 64)
	return &Mistake{Hint: "write it in plain decimal digits", Meaning: err != nil || float64(n) >= low && float64(n) <= high}
}

// Float is a number within bounds.
func Float(low, high float64) Kind[float64] {
	label := fmt.Sprintf("a number from %v to %v", low, high)
	return &scalar[float64]{label: label, kinds: []tree.Kind{tree.Int, tree.Float}, schema: map[string]any{"type": "number", "minimum": low, "maximum": high}, parse: func(t string) (float64, error) {
		f, err := strconv.ParseFloat(t, 64)
		switch {
		case err != nil && !errors.Is(err, strconv.ErrRange), f != f, len(t) > 1 && t[0] == '0' && t[1] != '.':
			return 0, odd(t, low, high)
		case f < low || f > high:
			return 0, &Mistake{}
		}
		return f, nil
	}}
}

// Enum is one of a few words.
func Enum(label string, words ...string) Kind[string] {
	return &scalar[string]{label: label, kinds: textOnly, words: words, schema: map[string]any{"type": "string", "enum": words}, parse: func(t string) (string, error) {
		if !slices.Contains(words, t) {
			return "", &Mistake{Near: fault.Near(t, words)}
		}
		return t, nil
	}}
}

// Duration is a duration from low on.
func Duration(low time.Duration) Kind[time.Duration] {
	const label = "a duration such as 15s or 1m30s"
	return &scalar[time.Duration]{label: label, kinds: textOnly, schema: map[string]any{"type": "string", "pattern": unit.DurationPattern}, parse: func(t string) (time.Duration, error) {
		v, err := unit.Duration(t)
		if err == nil && v < low {
			return 0, &Mistake{Message: "%s is too short", Hint: "at least " + unit.FormatDuration(low), Meaning: true}
		}
		return v, unitMistake(err, "units: ms s m h d w")
	}}
}

// Size is a number of bytes from low on.
func Size(low int64) Kind[int64] {
	const label = "a size such as 50MB"
	return &scalar[int64]{label: label, kinds: textOnly, schema: map[string]any{"type": "string", "pattern": unit.SizePattern}, parse: func(t string) (int64, error) {
		v, err := unit.Size(t)
		if err == nil && v < low {
			return 0, &Mistake{Message: "%s is too small", Hint: "at least " + unit.FormatSize(low), Meaning: true}
		}
		return v, unitMistake(err, "units: B KB MB GB TB (1000) or KiB MiB GiB TiB (1024)")
	}}
}

func unitMistake(err error, units string) error {
	e, ok := errors.AsType[*unit.Error](err)
	if !ok {
		return err
	}
	switch {
	case errors.Is(err, unit.ErrRange):
		return &Mistake{Message: "%s is out of all bounds", Hint: units, Meaning: true}
	case e.Meant != "":
		return &Mistake{Hint: "write " + e.Meant}
	}
	return &Mistake{Hint: units}
}

// Parsed is text that a function reads; what it refuses is beyond a schema.
func Parsed[T any](label string, parse func(string) (T, *Mistake)) Kind[T] {
	return &scalar[T]{label: label, kinds: textOnly, open: true, schema: map[string]any{"type": "string"}, parse: beyond(parse)}
}

// AnyNumber is a number whose digits a function reads; what it refuses is beyond a schema.
func AnyNumber[T any](label string, parse func(string) (T, *Mistake)) Kind[T] {
	return &scalar[T]{label: label, kinds: []tree.Kind{tree.Int, tree.Float}, open: true, schema: map[string]any{"type": "number"}, parse: beyond(parse)}
}

// WordOrInt is a word, which stands for 0, or the digits of a number.
func WordOrInt(label, word string, low, high int) Kind[int] {
	pattern := "^(" + word + "|[0-9]+)$"
	re := regexp.MustCompile(pattern)
	return &scalar[int]{label: label, kinds: textOnly, words: []string{word}, schema: map[string]any{"type": "string", "pattern": pattern}, parse: func(t string) (int, error) {
		if !re.MatchString(t) {
			return 0, &Mistake{Near: fault.Near(t, []string{word}), Hint: label}
		}
		if t == word {
			return 0, nil
		}
		if n, err := strconv.Atoi(t); err == nil && n >= low && n <= high {
			return n, nil
		}
		return 0, &Mistake{Hint: label, Meaning: true}
	}}
}

// beyond marks what a function refuses as invisible to a schema.
func beyond[T any](parse func(string) (T, *Mistake)) func(string) (T, error) {
	return func(t string) (v T, err error) {
		v, m := parse(t)
		if m == nil {
			return v, nil
		}
		m.Meaning = true
		return v, m
	}
}
