package journal

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/omnitron-dev/omnitron/core/journal/journaltest"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// item is what the model expects of a stream: bytes from a position on, or a loss.
type item struct {
	pos  int64
	text string // with the newline, if it has one
	loss string
}

// model is one stream as it should be seen.
type model struct {
	s     Stream
	w     *journaltest.Writer
	items []item
	open  string // an unfinished line
	since int64  // position of open
	lost  int64  // a loss that still grows, the last of items; 0: none
	first int64  // what lies in front was deleted
	seen  int    // items that the follower has given
	at    int64  // position behind the last thing that it gave
}

func (m *model) write(text string) {
	m.lost = 0
	for text != "" {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			m.open += text
			for len(m.open) > segment.MaxLine {
				m.cut()
			}
			return
		}
		m.open += text[:i+1]
		m.close()
		text = text[i+1:]
	}
}

// close ends the unfinished line.
func (m *model) close() {
	for m.open != "" {
		m.cut()
	}
}

// cut ends a piece of the unfinished line.
func (m *model) cut() {
	n := len(m.open)
	if n > segment.MaxLine {
		n = int((m.since/segment.MaxLine+1)*segment.MaxLine - m.since)
	}
	m.items = append(m.items, item{pos: m.since, text: m.open[:n]})
	m.open, m.since = m.open[n:], m.since+int64(n)
}

// TestModel writes, rotates, compresses, retires, purges, tears and restarts at random, and compares what a follower and
// pages of queries say with what was written.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		w := newModel(rt, dir)
		ctx, cancel := context.WithCancel(context.Background())
		told := make(chan error, 1)
		go func() { told <- w.j.Run(ctx) }()
		defer func() { cancel(); <-told }()
		w.run()
	})
}

type world struct {
	rt      *rapid.T
	j       *Journal
	ms      int
	streams []*model
	next    func() (Line, error, bool)
	stop    func()
	cancel  context.CancelFunc
	cursor  string
}

func newModel(rt *rapid.T, dir string) *world {
	w := &world{rt: rt, j: New(dir, slog.New(slog.DiscardHandler)), ms: 1}
	for _, s := range []Stream{out1, err1, out2} {
		w.streams = append(w.streams, &model{s: s, w: journaltest.Open(rt, dir, s, epoch)})
	}
	w.j.SetRotate(func(_ context.Context, path string) (bool, error) {
		for _, m := range w.streams {
			if m.w.Path() == path {
				m.w.Rotate(at(w.ms))
				m.lost = 0
				m.close()
				return true, nil
			}
		}
		return false, nil
	})
	return w
}

func (w *world) follow() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // a follower that waits for ever owes something
	w.cancel = cancel
	f := Filter{Cursor: w.cursor, Limit: 1000}
	w.next, w.stop = iter.Pull2(w.j.Follow(ctx, f))
}

func (w *world) run() {
	w.follow()
	defer func() { w.cancel(); w.stop() }()
	for _, m := range w.streams {
		m.w.Write(at(w.ms), "first\n")
		m.write("first\n")
	}
	w.read(len(w.streams))
	text := rapid.OneOf(
		rapid.StringMatching(`([a-z\r\x00]{0,9}\n){1,5}`),
		rapid.StringMatching(`[a-z]{1,9}`),
		rapid.Map(rapid.IntRange(1, 3*segment.MaxLine), func(n int) string { return strings.Repeat("x", n) }),
		rapid.Map(rapid.IntRange(1, 3*segment.MaxLine), func(n int) string { return strings.Repeat("y", n) + "\n" }),
	)
	pick := func() *model { return rapid.SampledFrom(w.streams).Draw(w.rt, "stream") }
	w.rt.Repeat(map[string]func(*rapid.T){
		"write": func(rt *rapid.T) {
			m, b := pick(), text.Draw(rt, "text")
			w.ms += rapid.IntRange(0, 3).Draw(rt, "ms")
			m.w.Write(at(w.ms), b)
			m.write(b)
		},
		"rotate": func(rt *rapid.T) {
			if m := pick(); m.open == "" && m.w.Size() > 0 {
				m.w.Rotate(at(w.ms))
				m.lost = 0
			}
		},
		"restart": func(rt *rapid.T) {
			m := pick()
			m.w.PID++
			m.lost = 0
			m.w.Mark(at(w.ms), segment.KindEnd, 0)
			if rapid.Bool().Draw(rt, "torn") {
				m.w.Tear()
				m.w.Close()
				m.w = journaltest.Open(rt, w.j.Dir(), m.s, at(w.ms))
			}
			m.w.Mark(at(w.ms), segment.KindStart, 0)
			m.close()
		},
		"lose": func(rt *rapid.T) {
			m := pick()
			n := rapid.Int64Range(1, 99).Draw(rt, "lost")
			m.w.Mark(at(w.ms), segment.KindLost, n)
			m.close()
			if m.lost > 0 {
				m.items = m.items[:len(m.items)-1]
			}
			m.lost += n
			m.items = append(m.items, item{pos: m.w.Pos(), loss: fmt.Sprintf("lost %d", m.lost)})
		},
		"resume": func(*rapid.T) {
			m := pick()
			m.w.Mark(at(w.ms), segment.KindResumed, 0)
			m.lost = 0
		},
		"compress": func(rt *rapid.T) {
			p := Policy{MaxFiles: rapid.IntRange(1, 6).Draw(rt, "files"), Compress: rapid.SampledFrom([]string{"zstd", "gzip", "none"}).Draw(rt, "format")}
			w.j.SetPolicy(out1.Key(), p)
			if err := w.j.Maintain(context.Background()); err != nil {
				rt.Fatal(err)
			}
			w.retired()
		},
		"purge": func(rt *rapid.T) {
			if _, err := w.j.Purge(context.Background(), out1.Key()); err != nil {
				rt.Fatal(err)
			}
			w.retired()
		},
		"read": func(rt *rapid.T) { w.read(rapid.IntRange(1, 20).Draw(rt, "items")) },
		"reconnect": func(rt *rapid.T) {
			w.cancel()
			w.stop()
			w.follow()
		},
		"query": func(rt *rapid.T) { w.query(rapid.IntRange(1, 7).Draw(rt, "limit")) },
		"":      func(*rapid.T) {},
	})
	w.read(1 << 30)
	w.query(100)
}

// retired moves each model's beginning to what is still stored.
func (w *world) retired() {
	stats, err := w.j.Stats(context.Background())
	if err != nil {
		w.rt.Fatal(err)
	}
	for _, m := range w.streams {
		for _, st := range stats {
			if st.Instance == m.s.Instance && st.Stream == m.s.Name {
				m.first = st.First
			}
		}
	}
}

// pending reports whether the follower still owes something.
func (w *world) pending() bool {
	for _, m := range w.streams {
		owed := m.items[m.seen:]
		if m.lost > 0 {
			owed = owed[:len(owed)-1]
		}
		for _, it := range owed {
			if it.loss == "" || it.pos > m.first {
				return true
			}
		}
	}
	return false
}

// read takes items from the follower, as long as it owes some, and checks that each stream's come in order, once, or
// with an exact gap over what was deleted.
func (w *world) read(n int) {
	for ; n > 0 && w.pending(); n-- {
		l, err, ok := w.next()
		if err != nil || !ok {
			w.rt.Fatalf("the follower ended: %v", err)
		}
		w.cursor = l.Cursor
		for _, m := range w.streams {
			if l.Instance == m.s.Instance && l.Stream == m.s.Name {
				m.expect(w.rt, l)
			}
		}
	}
}

func (m *model) expect(rt *rapid.T, l Line) {
	if l.Kind == Gap {
		if l.Pos+l.Lost > m.first || l.Pos < m.at {
			rt.Fatalf("%s: a gap of %d at %d; stored from %d on, read up to %d", m.s, l.Lost, l.Pos, m.first, m.at)
		}
		m.at = l.Pos + l.Lost
		for m.seen < len(m.items) && (m.items[m.seen].pos < m.at) {
			m.seen++
		}
		return
	}
	if m.seen == len(m.items) {
		rt.Fatalf("%s: nothing more was to come, but %q at %d", m.s, l.Text, l.Pos)
	}
	// Losses that were recorded where files were deleted may be gone with them.
	lost := fmt.Sprintf("%s %d", l.Kind, l.Lost)
	for m.items[m.seen].loss != "" && m.items[m.seen].pos <= m.first && m.items[m.seen].loss != lost {
		if m.seen++; m.seen == len(m.items) {
			rt.Fatalf("%s: %+v was not to come", m.s, l)
		}
	}
	want := m.items[m.seen]
	m.seen++
	if l.Kind == Lost {
		if lost != want.loss || l.Pos != want.pos {
			rt.Fatalf("%s: %s at %d, want %+v", m.s, lost, l.Pos, want)
		}
		return
	}
	if l.Pos != want.pos || l.Text != strings.TrimSuffix(want.text, "\n") || want.loss != "" {
		rt.Fatalf("%s: %d bytes at %d, want %d at %d (%s)", m.s, len(l.Text), l.Pos, len(want.text), want.pos, want.loss)
	}
	m.at = l.Pos + int64(len(want.text))
}

// query compares all pages together with the model.
func (w *world) query(limit int) {
	var all []Line
	for cursor := ""; ; {
		lines, next, more, err := w.j.Query(context.Background(), Filter{Limit: limit, Cursor: cursor})
		if err != nil {
			w.rt.Fatal(err)
		}
		if more && next == "" || len(lines) > limit {
			w.rt.Fatalf("%d lines, more %v, next %q", len(lines), more, next)
		}
		all = append(lines, all...)
		if cursor = next; !more {
			break
		}
	}
	for i := 1; i < len(all); i++ {
		if all[i].At.Before(all[i-1].At) {
			w.rt.Fatalf("line %d came before line %d", i, i-1)
		}
	}
	for _, m := range w.streams {
		var got, want []string
		for _, l := range all {
			if l.Instance != m.s.Instance || l.Stream != m.s.Name {
				continue
			}
			if l.Kind != "" {
				got = append(got, fmt.Sprintf("%d %s %d", l.Pos, l.Kind, l.Lost))
			} else {
				got = append(got, fmt.Sprintf("%d %s", l.Pos, l.Text))
			}
		}
		c := *m
		c.close()
		for _, it := range c.items {
			switch {
			case it.pos < m.first:
			case it.loss != "":
				want = append(want, fmt.Sprintf("%d %s", it.pos, it.loss))
			default:
				want = append(want, fmt.Sprintf("%d %s", it.pos, strings.TrimSuffix(it.text, "\n")))
			}
		}
		// What was recorded at the very place up to which files were deleted may be gone with them.
		for len(want) > len(got) && strings.HasPrefix(want[0], fmt.Sprintf("%d lost", m.first)) {
			want = want[1:]
		}
		if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
			w.rt.Fatalf("%s: the pages say\n%.2000s\nwritten was\n%.2000s", m.s, a, b)
		}
	}
}
