package imports

import (
	"math"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// field is a key of the source on its way into an app.
type field struct {
	*reading
	app  *draft.App
	key  string
	from source.Place
	node *source.Node
	all  *source.Node // the map that it stands in
}

// rule is what becomes of a key: one of the two.
type rule struct {
	to  func(f field)
	why string // it is not carried over, for this reason
}

func no(why string) rule { return rule{why: why} }

// apply sends the keys of a map through a table. What the table does not have is listed too.
func (r *reading) apply(a *draft.App, keys *source.Node, table map[string]rule) {
	done := map[string]bool{}
	for _, p := range keys.Pairs {
		f := field{r, a, p.Key, p.Place, p.Value, keys}
		t, ok := table[p.Key]
		switch {
		case !ok:
			f.left("this key is not known here")
		case t.to != nil:
			if !done[p.Key] { // a rule of a key that may come more than once looks at all of them
				t.to(f)
			}
			done[p.Key] = true
		case t.why != "":
			f.left(t.why)
		}
	}
}

// done is a key that another one has used.
var done = rule{to: func(field) {}}

func (f field) left(why string)    { f.app.Left(f.from, f.key, why) }
func (f field) changed(why string) { f.app.Changed(f.from, f.key, why) }

func (f field) set(key string, v draft.Value) *draft.Setting { return f.app.Set(f.from, f.key, key, v) }

// text takes a scalar as it is.
func text(key string) rule {
	return rule{to: func(f field) {
		if f.node.Kind != source.Scalar {
			f.left("it is " + f.node.Kind.String() + ", and a text is understood here")
			return
		}
		f.set(key, draft.Text(f.node.Text))
	}}
}

// yesno takes true or false.
func yesno(fn func(f field, on bool)) rule {
	return rule{to: func(f field) {
		if on, ok := f.node.Bool(); ok {
			fn(f, on)
			return
		}
		f.left("it is neither true nor false")
	}}
}

// number takes a number of at least 0.
func number(fn func(f field, n float64)) rule {
	return rule{to: func(f field) {
		n, err := strconv.ParseFloat(strings.TrimSpace(f.node.Text), 64)
		if f.node.Kind != source.Scalar || err != nil || n < 0 || n > math.MaxInt32 {
			f.left("it is no number that is understood here")
			return
		}
		fn(f, n)
	}}
}

// duration writes seconds.
func seconds(n float64) draft.Word {
	text := unit.FormatDuration(secondsOf(n))
	return draft.Word(text)
}

// whole takes a whole number.
func whole(key string) rule {
	return number(func(f field, n float64) {
		if n != math.Trunc(n) {
			f.left("it is no whole number")
			return
		}
		f.set(key, integer(n))
	})
}

func integer(n float64) draft.Word { return draft.Word(strconv.FormatInt(int64(n), 10)) }

// argv makes words into an argv list.
func argv(words []string) draft.Argv {
	out := make(draft.Argv, len(words))
	for i, w := range words {
		out[i] = draft.Text(w)
	}
	return out
}

// port gives an app that has PORT in its environment that number as its port, which sets PORT too.
func port(a *draft.App, from source.Place, what, value string) bool {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != value {
		return false
	}
	a.Set(from, what, "ports.http", draft.Word(value))
	return true
}

// signed takes a whole number that may be below 0.
func signed(key string) rule {
	return rule{to: func(f field) {
		n, err := strconv.ParseInt(f.node.Text, 10, 32)
		if err != nil {
			f.left("it is no whole number")
			return
		}
		f.set(key, draft.Word(strconv.FormatInt(n, 10)))
	}}
}
