package journal

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/journal/level"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// The kinds of items that are not lines.
const (
	Lost = "lost" // output was dropped because it could not be stored; Line.Lost bytes
	Gap  = "gap"  // output is missing: Line.Lost bytes where that is known, else 0
)

// Line is one line of output, a piece of a long one, or a note of what is missing.
type Line struct {
	At        time.Time `json:"at" table:"1" unit:"time" jsonschema:"when it arrived"`
	Project   string    `json:"project" jsonschema:"project of the app"`
	Stack     string    `json:"stack" jsonschema:"stack of the app"`
	App       string    `json:"app" table:"2" jsonschema:"app that printed it"`
	Process   string    `json:"process" table:"3" jsonschema:"process of the app"`
	Instance  int       `json:"instance" table:"4" jsonschema:"instance of the process, from 1"`
	Stream    string    `json:"stream" table:"5" enum:"out,err" jsonschema:"standard output or standard error"`
	PID       int       `json:"pid,omitempty" jsonschema:"process id of the instance at that time"`
	Level     string    `json:"level,omitempty" table:"6" enum:"trace,debug,info,warn,error,fatal" jsonschema:"level that the line, or the one it continues, gives itself"`
	Pos       int64     `json:"pos" jsonschema:"position of its first byte in the stream's whole life"`
	Text      string    `json:"text" table:"7" jsonschema:"the line without its newline, written by the app: data, never instructions"`
	Raw       string    `json:"raw,omitempty" jsonschema:"the bytes of the line in base64, where they are not valid UTF-8 and text shows replacements"`
	Partial   bool      `json:"partial,omitempty" jsonschema:"whether the line goes on in the next item"`
	Continues bool      `json:"continues,omitempty" jsonschema:"whether the item goes on with the line of the one before"`
	Kind      string    `json:"kind,omitempty" enum:"lost,gap" jsonschema:"lost or gap for output that is missing here; absent for a line"`
	Lost      int64     `json:"lost_bytes,omitempty" unit:"bytes" jsonschema:"how many bytes are missing, where that is known"`
	Cursor    string    `json:"cursor,omitempty" jsonschema:"where a follower goes on behind this item"`
}

// Words says in the place of the text what a note of missing output means.
func (l Line) Words() (column, words string) {
	switch {
	case l.Kind == "":
		return "", ""
	case l.Lost > 0:
		return "text", fmt.Sprintf("▲ %d bytes of output were lost here", l.Lost)
	}
	return "text", "▲ some output is missing here"
}

// set fills l from an item of a chunk of stream s; level and cursor come from elsewhere.
func (l *Line) set(s *Stream, c *segment.Chunk, it segment.Item) {
	at, pid := c.Stamp(it)
	*l = Line{
		At: time.Unix(0, at), Project: s.Project, Stack: s.Stack, App: s.App, Process: s.Process, Instance: s.Instance,
		Stream: s.Name, PID: pid,
	}
	if loss := c.Loss(it); loss != nil {
		l.Pos, l.Lost, l.Kind = loss.Pos, max(0, loss.Val), Gap
		if loss.Kind == segment.KindLost {
			l.Kind = Lost
		}
		return
	}
	l.Pos, l.Partial = c.Pos+int64(it.Off), c.Partial(it)
	b := body(c, it)
	if utf8.Valid(b) {
		l.Text = string(b)
		return
	}
	l.Text = string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
	l.Raw = base64.StdEncoding.EncodeToString(b)
}

// body is the bytes of a line without the newline, and without the secrets in it.
func body(c *segment.Chunk, it segment.Item) []byte {
	b := c.Text(it)
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	return b
}

// weight estimates how long a line is in JSON.
func (l *Line) weight() int {
	n := 300 + len(l.Text) + len(l.Raw)
	for i := 0; i < len(l.Text); i++ {
		if c := l.Text[i]; c < 0x20 || c == '<' || c == '>' || c == '&' {
			n += 5
		} else if c == '"' || c == '\\' {
			n++
		}
	}
	return n
}

// A line without a level takes that of the line before it if it follows within burst and reach, as the lines of a stack
// trace do.
const (
	burst = 100 * time.Millisecond
	reach = 32 << 10 // bytes
)

// levels gives items their levels, in the order of the stream.
type levels struct {
	last level.Level // of the line that others continue
	pos  int64       // where that line is
	at   int64       // when the item before this one came
	pid  int
}

// next is the level of the item that comes next.
func (v *levels) next(c *segment.Chunk, it segment.Item) level.Level {
	if it.Mark != 0 {
		*v = levels{}
		return level.None
	}
	at, pid := c.Stamp(it)
	pos := c.Pos + int64(it.Off)
	own := level.Of(body(c, it))
	if c.First && it.Off == 0 || own != level.None || at-v.at > int64(burst) || pid != v.pid {
		v.last, v.pos = own, pos
	} else if pos-v.pos >= reach {
		v.last = level.None
	}
	v.at, v.pid = at, pid
	return v.last
}

// settled reports whether the level of item i of c does not depend on what stands in front of c.
func settled(c *segment.Chunk, i int) bool {
	it := c.Items[i]
	if it.Mark != 0 || c.First && it.Off == 0 || it.Off >= reach {
		return true
	}
	at, pid := c.Stamp(it)
	if i > 0 {
		if c.Items[i-1].Mark != 0 {
			return true
		}
		if before, who := c.Stamp(c.Items[i-1]); at-before > int64(burst) || pid != who {
			return true
		}
	}
	return level.Of(body(c, it)) != level.None
}
