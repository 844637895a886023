package segment

import (
	"slices"

	"github.com/omnitron-dev/omnitron/core/redact"
)

// Text is the text of a line or a piece, with its newline, without the secrets in it.
func (c *Chunk) Text(i Item) []byte {
	b := c.Data[i.Off:i.End]
	if len(c.hidden) == 0 {
		return b
	}
	from, _ := slices.BinarySearchFunc(c.hidden, int(i.Off), func(s redact.Span, off int) int {
		if s.End <= off {
			return -1
		}
		return 1
	})
	if from == len(c.hidden) || c.hidden[from].Off >= int(i.End) {
		return b
	}
	return redact.Cut(b, int(i.Off), c.hidden[from:])
}

// Hides reports whether the chunk was read to hide these secrets.
func (c *Chunk) Hides(m *redact.Matcher) bool { return c.secrets == m }

// hide finds the secrets in the chunk. It looks a little way beyond both ends: a secret may go over several lines, or over
// the edge between two pieces of one line.
func (c *Chunk) hide(m *redact.Matcher, o *opened) error {
	if c.secrets = m; m == nil || len(c.Data) == 0 {
		return nil
	}
	end := c.Pos + int64(len(c.Data))
	before := int(min(c.Pos-o.Base, int64(m.Reach(c.Pos%MaxLine != 0))))
	after := int(min(o.end-end, int64(m.Reach(c.Data[len(c.Data)-1] == '\n'))))
	text := c.Data
	if before+after > 0 {
		text = make([]byte, before+len(c.Data)+after)
		copy(text[before:], c.Data)
		if err := o.read(text[:before], c.Pos-int64(before)); err != nil {
			return err
		}
		if err := o.read(text[before+len(c.Data):], end); err != nil {
			return err
		}
	}
	spans := m.Spans(text)
	if o.Live && end+int64(after) == o.end && text[len(text)-1] != '\n' {
		if s, ok := m.Ending(text); ok {
			spans = redact.Join(spans, s)
		}
	}
	for _, s := range spans {
		s.Off, s.End = max(s.Off-before, 0), min(s.End-before, len(c.Data))
		if s.Off < s.End {
			c.hidden = append(c.hidden, s)
		}
	}
	return nil
}
