// Package redact takes known secrets out of texts: as they are, in base64, in URLs, in JSON, and line by line.
//
// All forms of all secrets are looked for at once, in the manner of Wu and Manber: the four bytes that end a window of
// the shortest form's length say how far the window may move, which is nearly its whole length nearly always. A text
// without secrets costs a fraction of a nanosecond a byte.
package redact

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// Mark stands where a secret stood. It says nothing of its length.
const Mark = "[redacted]"

// Shortest is how many bytes a secret, or a line of one, must have to be looked for: shorter ones would take too much
// else with them.
const Shortest = 8

// least is how much of the beginning of a secret at the end of what is known of a text is taken for one.
const least = 4

const (
	gram    = 4
	buckets = 1 << 16
)

// Span is a part of a text that must not be shown.
type Span struct{ Off, End int }

// Matcher knows secrets. It is immutable and safe for concurrent use; nil knows none.
type Matcher struct {
	forms  []form
	window int // length of the shortest form
	reach  int // of the longest
	lines  int // of the longest that goes over several lines; 0: none does
	shift  [buckets]uint8
	heads  map[uint32][]int32 // the forms whose window ends with these bytes, the longest first
	starts map[string][]int32

	escaped bool // some form has a character that JSON escapes
}

// form is one way in which a secret may be written.
type form struct {
	text string
	wide bool // the inside of a base64 text: what stands beside it may hold bits of the secret
}

// New makes a matcher of the values. Those that are too short are left out.
func New(values [][]byte) *Matcher {
	seen := map[form]bool{}
	for _, v := range values {
		each(string(v), func(f form) {
			if len(f.text) >= Shortest {
				seen[f] = true
			}
		})
	}
	if len(seen) == 0 {
		return nil
	}
	m := &Matcher{window: math.MaxUint8, heads: map[uint32][]int32{}, starts: map[string][]int32{}}
	for f := range seen {
		m.forms = append(m.forms, f)
		m.window, m.reach = min(m.window, len(f.text)), max(m.reach, len(f.text))
		m.escaped = m.escaped || strings.ContainsAny(f.text, "\"\\\n\t")
		if strings.Contains(f.text, "\n") {
			m.lines = max(m.lines, len(f.text))
		}
	}
	slices.SortFunc(m.forms, func(a, b form) int {
		return cmp.Or(cmp.Compare(len(b.text), len(a.text)), cmp.Compare(a.text, b.text))
	})
	for i := range m.shift {
		m.shift[i] = uint8(m.window - gram + 1)
	}
	for i, f := range m.forms {
		for end := gram; end <= m.window; end++ {
			h := hash([]byte(f.text[end-gram : end]))
			m.shift[h] = min(m.shift[h], uint8(m.window-end))
			if end == m.window {
				m.heads[h] = append(m.heads[h], int32(i))
			}
		}
		m.starts[f.text[:least]] = append(m.starts[f.text[:least]], int32(i))
	}
	return m
}

func hash(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 0x9E3779B1 >> 16 }

// Reach is how many bytes before and behind a part of a text have to be looked at with it, so that no secret across that
// edge is missed: where the edge is one of a line, or within a line.
func (m *Matcher) Reach(ofLine bool) int {
	if ofLine {
		return m.lines
	}
	return m.reach
}

// Spans gives the secrets in a text, in order and joined where they touch.
func (m *Matcher) Spans(text []byte) []Span {
	if m == nil {
		return nil
	}
	var out []Span
	for i := m.window; i <= len(text); {
		h := hash(text[i-gram : i])
		if d := m.shift[h]; d > 0 {
			i += int(d)
			continue
		}
		at := i - m.window
		for _, k := range m.heads[h] {
			f := &m.forms[k]
			if n := len(f.text); n <= len(text)-at && string(text[at:at+n]) == f.text {
				out = Join(out, f.grow(text, Span{at, at + n}))
				break // the longest one
			}
		}
		i++
	}
	return out
}

// Ending gives the end of a text if it may be the beginning of a secret: for a text that goes on where nobody has looked
// yet.
func (m *Matcher) Ending(text []byte) (Span, bool) {
	if m == nil {
		return Span{}, false
	}
	for at := max(0, len(text)-m.reach+1); at+least <= len(text); at++ {
		for _, k := range m.starts[string(text[at:at+least])] {
			if strings.HasPrefix(m.forms[k].text, string(text[at:])) {
				return Span{at, len(text)}, true
			}
		}
	}
	return Span{}, false
}

// Join adds a span that ends behind the others.
func Join(list []Span, s Span) []Span {
	for n := len(list); n > 0 && s.Off <= list[n-1].End; n = len(list) {
		s.Off, s.End = min(s.Off, list[n-1].Off), max(s.End, list[n-1].End)
		list = list[:n-1]
	}
	return append(list, s)
}

// grow takes in the neighbours that may hold the rest of the secret's first and last bytes.
func (f *form) grow(text []byte, s Span) Span {
	if !f.wide {
		return s
	}
	for n := 0; n < 2 && s.Off > 0 && inBase64(text[s.Off-1]); n++ {
		s.Off--
	}
	for n := 0; n < 2 && s.End < len(text) && (inBase64(text[s.End]) || text[s.End] == '='); n++ {
		s.End++
	}
	return s
}

func inBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}

// Bytes gives a text without the secrets in it: itself if there is none.
func (m *Matcher) Bytes(text []byte) []byte {
	spans := m.Spans(text)
	if len(spans) == 0 {
		return text
	}
	return Cut(text, 0, spans)
}

// String is Bytes of a string.
func (m *Matcher) String(text string) string {
	if m == nil || len(text) < m.window {
		return text
	}
	b := []byte(text)
	spans := m.Spans(b)
	if len(spans) == 0 {
		return text
	}
	return string(Cut(b, 0, spans))
}

// Cut gives a text with Mark in the place of the spans. The text begins at off, counted as the spans are; what of them
// lies outside is of no matter. Newlines in a span stay: a text keeps its lines.
func Cut(text []byte, off int, spans []Span) []byte {
	var out bytes.Buffer
	at := 0
	for _, s := range spans {
		from, to := max(s.Off-off, 0), min(s.End-off, len(text))
		if from >= to {
			continue
		}
		out.Write(text[at:from])
		for i, line := range bytes.Split(text[from:to], []byte("\n")) {
			if i > 0 {
				out.WriteByte('\n')
			}
			if len(line) > 0 {
				out.WriteString(Mark)
			}
		}
		at = to
	}
	out.Write(text[at:])
	return out.Bytes()
}
