package format

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// OwnLogs is why no log file of another supervisor comes over.
const OwnLogs = "the output is kept by Omnitron: omnitron logs"

// Field is a key of the source on its way into an app.
type Field struct {
	*Reading
	App  *draft.App
	Key  string
	From source.Place
	Node *source.Node
	All  *source.Node // the map that it stands in
}

// Below is a key of the map that the field is.
func (f Field) Below(p source.Pair) Field {
	return Field{f.Reading, f.App, f.Key + "." + p.Key, p.Place, p.Value, f.Node}
}

// Left lists the key as one that does not come over.
func (f Field) Left(why string) { f.App.Left(f.From, f.Key, why) }

// Changed lists the key as one that has become something else.
func (f Field) Changed(why string) { f.App.Changed(f.From, f.Key, why) }

// Set gives the app a setting that the key says.
func (f Field) Set(key string, v draft.Value) *draft.Setting {
	return f.App.Set(f.From, f.Key, key, v)
}

// Rule is what becomes of a key: one of the two.
type Rule struct {
	To  func(f Field)
	Why string // it is not carried over, for this reason
}

// Apply sends the keys of a map through a table. What the table does not have is listed too.
func (r *Reading) Apply(a *draft.App, keys *source.Node, table map[string]Rule) {
	done := map[string]bool{}
	for _, p := range keys.Pairs {
		f := Field{r, a, p.Key, p.Place, p.Value, keys}
		t, ok := table[p.Key]
		switch {
		case !ok:
			f.Left("this key is not known here")
		case t.To != nil:
			if !done[p.Key] { // a rule of a key that may come more than once looks at all of them
				t.To(f)
			}
			done[p.Key] = true
		case t.Why != "":
			f.Left(t.Why)
		}
	}
}

// Drops sends keys that no app is made of through a table: they are listed, unless something has used them.
func (r *Reading) Drops(keys *source.Node, table map[string]Rule) {
	for _, p := range keys.Pairs {
		switch t, ok := table[p.Key]; {
		case !ok:
			r.Drop(p.Place, p.Key, "this key is not known here")
		case t.Why != "":
			r.Drop(p.Place, p.Key, t.Why)
		}
	}
}

// Done is a key that another one has used.
var Done = Rule{To: func(Field) {}}

// No is a key that does not come over.
func No(why string) Rule { return Rule{Why: why} }

// Text takes a scalar as it is.
func Text(key string) Rule {
	return Rule{To: func(f Field) {
		if f.Node.Kind != source.Scalar {
			f.Left("it is " + f.Node.Kind.String() + ", and a text is understood here")
			return
		}
		f.Set(key, draft.Text(f.Node.Text))
	}}
}

// YesNo takes true or false.
func YesNo(fn func(f Field, on bool)) Rule {
	return Rule{To: func(f Field) {
		if on, ok := f.Node.Bool(); ok {
			fn(f, on)
			return
		}
		f.Left("it is neither true nor false")
	}}
}

// Number takes a number of at least 0.
func Number(fn func(f Field, n float64)) Rule {
	return Rule{To: func(f Field) {
		n, err := strconv.ParseFloat(strings.TrimSpace(f.Node.Text), 64)
		if f.Node.Kind != source.Scalar || err != nil || n < 0 || n > math.MaxInt32 {
			f.Left("it is no number that is understood here")
			return
		}
		fn(f, n)
	}}
}

// Whole takes a whole number of at least 0.
func Whole(key string) Rule {
	return Number(func(f Field, n float64) {
		if n != math.Trunc(n) {
			f.Left("it is no whole number")
			return
		}
		f.Set(key, Integer(n))
	})
}

// Signed takes a whole number that may be below 0.
func Signed(key string) Rule {
	return Rule{To: func(f Field) {
		n, err := strconv.ParseInt(f.Node.Text, 10, 32)
		if err != nil {
			f.Left("it is no whole number")
			return
		}
		f.Set(key, draft.Word(strconv.FormatInt(n, 10)))
	}}
}

// Port gives an app that has PORT in its environment that number as its port, which sets PORT too. false where it is none.
func Port(a *draft.App, from source.Place, what, value string) bool {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != value {
		return false
	}
	a.Set(from, what, "ports.http", draft.Word(value))
	return true
}

// Seconds makes a duration of seconds.
func Seconds(n float64) draft.Word {
	return draft.Word(unit.FormatDuration(time.Duration(n * float64(time.Second))))
}

// Integer writes a whole number.
func Integer(n float64) draft.Word { return draft.Word(strconv.FormatInt(int64(n), 10)) }

// Argv makes an argv list of words.
func Argv(words []string) draft.Argv {
	out := make(draft.Argv, len(words))
	for i, w := range words {
		out[i] = draft.Text(w)
	}
	return out
}
