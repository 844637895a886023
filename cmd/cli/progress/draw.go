package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/render"
)

// A painter shows a board. Its methods are called from several places at once.
type painter interface {
	changed(c change)
	tick()
	note(text string) // until the next change
	close()
}

// lines tells a line a change, and every ten seconds who is still waited for.
type lines struct {
	mu    sync.Mutex
	w     io.Writer
	board *board
	style render.Style
	last  time.Time
}

// beat is how long nothing may be said while something is waited for.
const beat = 10 * time.Second

func (l *lines) changed(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = l.board.now()
	name := c.Key[strings.LastIndexByte(c.Key, '/')+1:]
	if c.Slot != "" && c.Slot != name && c.Slot != name+":"+name+"#1" {
		name = c.Slot
	}
	step := c.To
	if c.From != "" && c.From != c.To && known(c.To) {
		step = c.From + " → " + c.To
	}
	switch {
	case strings.HasPrefix(c.Text, c.To): // it says more of the same: exited 1 after 2ms
		step = render.Escape(c.Text)
	case c.Text != "":
		step += " (" + render.Escape(c.Text) + ")"
	}
	_, color := render.Symbol(c.To)
	fmt.Fprintf(l.w, "%s %s %s\n", l.style.Paint(render.Dim, c.At.In(l.last.Location()).Format(time.TimeOnly)), render.Escape(name), l.style.Paint(color, step))
}

func (l *lines) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.board.now()
	if now.Sub(l.last) < beat {
		return
	}
	if names := l.board.waiting(); len(names) > 0 {
		l.last = now
		fmt.Fprintf(l.w, "%s still waiting: %s\n", now.Format(time.TimeOnly), strings.Join(names, ", "))
	}
}

func (l *lines) note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = l.board.now()
	fmt.Fprintf(l.w, "%s %s\n", l.last.Format(time.TimeOnly), text)
}

func (l *lines) close() {}

// documents writes a change as a line of JSON.
type documents struct {
	mu sync.Mutex
	w  io.Writer
}

func (d *documents) changed(c change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if raw, err := json.Marshal(c); err == nil {
		fmt.Fprintf(d.w, "%s\n", raw)
	}
}
func (d *documents) tick()       {}
func (d *documents) note(string) {}
func (d *documents) close()      {}

// tree draws all apps, over itself.
type tree struct {
	mu    sync.Mutex
	w     io.Writer
	board *board
	style render.Style
	size  func() (int, int)
	drawn int    // lines on the screen
	said  string // below the apps
}

func (t *tree) changed(change)   { t.draw("") }
func (t *tree) tick()            { t.draw(t.standing()) }
func (t *tree) note(text string) { t.draw(text) }
func (t *tree) close()           { t.draw("") }

func (t *tree) standing() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said
}

func (t *tree) draw(note string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = note
	width, height := t.size()
	out := t.board.picture(width, max(3, height-3), t.style)
	if note != "" {
		out = append(out, " "+t.style.Paint(render.Warn, "▲")+" "+render.Clip(note, width-4))
	}
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", t.drawn)
	}
	for _, line := range out {
		b.WriteString("\r" + line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	t.drawn = len(out)
	io.WriteString(t.w, b.String())
}

// picture gives the board as lines of at most width columns. When there are more apps than height, those that need
// looking at come first and the rest is counted.
func (b *board) picture(width, height int, style render.Style) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys, hidden := b.order, 0
	if len(keys) > height {
		keys = nil
		for _, calm := range []bool{false, true} {
			for _, key := range b.order {
				if over, good := settled(b.rows[key].state); (over && good) == calm {
					keys = append(keys, key)
				}
			}
		}
		hidden = len(keys) - (height - 1)
		keys = keys[:height-1]
	}
	name, state := 0, 0
	for _, key := range keys {
		name, state = max(name, render.Width(render.Escape(b.rows[key].name))), max(state, len(b.rows[key].state))
	}
	name = min(name, max(16, width*2/5)) // what it does has to be seen too
	var out []string
	for _, key := range keys {
		r := b.rows[key]
		end := r.ended
		if end.IsZero() {
			end = b.now()
		}
		symbol, color := render.Symbol(r.state)
		took := render.Span(end.Sub(r.began).Truncate(100 * time.Millisecond))
		if r.state == "stopped" {
			took = ""
		}
		called := render.Clip(render.Escape(r.name), name)
		called += strings.Repeat(" ", name-render.Width(called))
		rest := fmt.Sprintf("%s  %-*s  %6s  %s", called, state, r.state, took, render.Escape(r.text))
		out = append(out, " "+style.Paint(color, symbol)+" "+render.Clip(strings.TrimRight(rest, " "), width-4))
	}
	if hidden > 0 {
		out = append(out, fmt.Sprintf("   … %d more", hidden))
	}
	return out
}
