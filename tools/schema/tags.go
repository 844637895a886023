package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// tags reads enum, pattern, min, max and default. enum and pattern of a list speak of its items, min and max of their
// number.
func (n *node) tags(tag reflect.StructTag) error {
	leaf := n
	if n.kind == list {
		leaf = n.elem
	}
	if v, ok := tag.Lookup("enum"); ok {
		if leaf.kind != text || len(leaf.enum) > 0 && v == "" {
			return errors.New("enum is for texts")
		}
		leaf.enum = strings.Split(v, ",")
	}
	if v, ok := tag.Lookup("pattern"); ok {
		if leaf.kind != text {
			return errors.New("pattern is for texts")
		}
		p, err := compile(v, "text that matches "+v)
		if err != nil {
			return err
		}
		leaf.pattern = p
	}
	for i, name := range []string{"min", "max"} {
		if v, ok := tag.Lookup(name); ok {
			if err := n.bound(i, v); err != nil {
				return fmt.Errorf("%s %q: %w", name, v, err)
			}
		}
	}
	if n.lo != nil && n.hi != nil && *n.lo > *n.hi || n.flo != nil && n.fhi != nil && *n.flo > *n.fhi {
		return errors.New("min is above max")
	}
	if v, ok := tag.Lookup("default"); ok {
		return n.assume(v)
	}
	return nil
}

func (n *node) bound(i int, v string) error {
	switch n.kind {
	case number:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return errors.New("not a number")
		}
		*[]**float64{&n.flo, &n.fhi}[i] = &f
	case integer, text, list:
		x, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return errors.New("not an integer")
		}
		*[]**int64{&n.lo, &n.hi}[i] = &x
		n.said[i] = true
	default:
		return errors.New("it has no size")
	}
	return nil
}

// assume sets the default, which has to pass the check that inputs pass.
func (n *node) assume(v string) error {
	raw := json.RawMessage(v)
	if n.kind == text {
		raw = quoted(nil, v)
	}
	switch n.kind {
	case text, integer, number, boolean:
	default:
		return errors.New("only a text, a number or a boolean can have a default")
	}
	w := walk{src: raw}
	if len(w.run(n)) > 0 {
		return fmt.Errorf("default %q does not fit its own schema", v)
	}
	n.initial = raw
	return nil
}
