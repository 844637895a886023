package journal

import (
	"regexp"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal/level"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// Bounds of a query.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
	maxWeight    = 2 << 20 // bytes of JSON a page
	queryBudget  = 1500 * time.Millisecond
)

// Filter says which lines are wanted.
type Filter struct {
	// Keys are the apps: project/stack/app, project/stack/app:process, project/stack/app:process#2. None means all.
	Keys []string `json:"-"`

	Since  time.Time `json:"since,omitzero" jsonschema:"only lines that arrived then or later"`
	Until  time.Time `json:"until,omitzero" jsonschema:"only lines that arrived then or earlier"`
	Level  string    `json:"level,omitempty" enum:"trace,debug,info,warn,error,fatal" jsonschema:"only lines of this level or a higher one; a line without a level counts as info"`
	Grep   string    `json:"grep,omitempty" jsonschema:"only lines that match this regular expression (RE2)"`
	Stream string    `json:"stream,omitempty" enum:"out,err" jsonschema:"only standard output or standard error"`

	// Limit is how many lines a page has, or how many stored ones come before new ones: 0 means 100, and in a follow a
	// negative one means none.
	Limit int `json:"-"`
	// Cursor is where to go on: next of the page before, or Line.Cursor of the last item seen of a follow.
	Cursor string `json:"cursor,omitempty" jsonschema:"where to go on: next_cursor of the answer before"`
}

// query is a filter that has been read.
type query struct {
	keys         []selector
	since, until int64 // Unix nanoseconds; 0: none
	level        level.Level
	grep         *regexp.Regexp
	stream       string
	limit        int
	only         map[Stream]int64 // Watch: nothing but these streams
}

// Validate reports what is wrong with the filter: code invalid.
func (f Filter) Validate() error {
	_, err := f.compile()
	return err
}

func (f Filter) compile() (*query, error) {
	q := &query{stream: f.Stream, limit: f.Limit}
	for _, k := range f.Keys {
		s, err := parseKey(k)
		if err != nil {
			return nil, err
		}
		q.keys = append(q.keys, s)
	}
	if f.Stream != "" && f.Stream != "out" && f.Stream != "err" {
		return nil, fault.New(fault.Invalid, "there is no stream %q: expected out or err", f.Stream)
	}
	if f.Level != "" {
		l, ok := level.Parse(f.Level)
		if !ok {
			return nil, fault.New(fault.Invalid, "there is no level %q", f.Level).WithCandidates(level.Names()...)
		}
		q.level = l
	}
	if f.Grep != "" {
		re, err := regexp.Compile(f.Grep)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "cannot read the regular expression %q: %v", f.Grep, err).WithReason("bad_regexp")
		}
		q.grep = re
	}
	if !f.Since.IsZero() {
		q.since = f.Since.UnixNano()
	}
	if !f.Until.IsZero() {
		q.until = f.Until.UnixNano()
	}
	if q.since != 0 && q.until != 0 && q.until < q.since {
		return nil, fault.New(fault.Invalid, "the time until which lines are wanted lies before the one since which they are")
	}
	if q.limit > MaxLimit {
		return nil, fault.New(fault.Invalid, "%d lines are too many at once: at most %d, then go on with the cursor", q.limit, MaxLimit)
	}
	if q.limit == 0 {
		q.limit = DefaultLimit
	}
	return q, nil
}

// wants reports whether the stream is one of those asked for.
func (q *query) wants(s Stream) bool {
	if _, ok := q.only[s]; q.only != nil && !ok {
		return false
	}
	return (q.stream == "" || q.stream == s.Name) &&
		(len(q.keys) == 0 || slices.ContainsFunc(q.keys, func(k selector) bool { return k.matches(s) }))
}

// loss reports whether notes of missing output are wanted: always but where the caller looks for a text.
func (q *query) loss() bool { return q.grep == nil }

// passes reports whether an item is wanted; lvl is called only if its level matters.
func (q *query) passes(c *segment.Chunk, it segment.Item, lvl func() level.Level) bool {
	if q.since != 0 || q.until != 0 {
		if at, _ := c.Stamp(it); at < q.since || q.until != 0 && at > q.until {
			return false
		}
	}
	if it.Mark != 0 {
		return q.loss()
	}
	if q.grep != nil && !q.grep.Match(body(c, it)) {
		return false
	}
	if q.level != level.None {
		l := lvl()
		if l == level.None {
			l = level.Info
		}
		return l >= q.level
	}
	return true
}
