// Package progress shows how applications come up while a call that starts them is waited for: as a tree that redraws
// itself, as a line a change, or as JSON lines.
package progress

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
)

// row is what is known of one app.
type row struct {
	key, name string
	state     string
	text      string
	began     time.Time
	ended     time.Time // zero while the app is on its way
}

// change is one step of an app, as it is told.
type change struct {
	At   time.Time `json:"at"`
	Key  string    `json:"key"`
	Slot string    `json:"slot,omitempty"`
	From string    `json:"from,omitempty"`
	To   string    `json:"to"`
	Text string    `json:"text,omitempty"`
}

// board holds the apps that are watched. Events come in on one side, drawing happens on another.
type board struct {
	mu    sync.Mutex
	rows  map[string]*row
	order []string
	names []string          // the apps that the call is about; none: all of them
	calm  map[string]string // the others, as far as they did not do anything: once they do, it is for the call's sake
	began time.Time
	now   func() time.Time
}

func newBoard(now func() time.Time) *board {
	return &board{rows: map[string]*row{}, calm: map[string]string{}, began: now(), now: now}
}

// settled reports whether a state is one in which nobody waits for the app any more, and whether that is good.
func settled(state string) (over, good bool) {
	switch state {
	case "running", "ready", "completed", "healthy":
		return true, true
	case "crashed", "failed", "stuck":
		return true, false
	}
	return false, false
}

// app is an application as apps.list gives it.
type app struct {
	Key     string `json:"key"`
	State   string `json:"state"`
	Enabled *bool  `json:"enabled"`
	Reason  string `json:"reason"`
	Text    string `json:"text"`
}

// load takes the apps of a listing. Before the call their states are only where they come from.
func (b *board) load(raw json.RawMessage, before bool) {
	var list struct {
		Items []app `json:"items"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range list.Items {
		if a.Key == "" || a.Enabled != nil && !*a.Enabled && a.State == "stopped" {
			continue
		}
		if b.rows[a.Key] == nil && !b.concerns(a.Key) {
			switch a.State {
			case "stopped", "completed", "failed", "crashed":
				if before {
					b.calm[a.Key] = a.State
				}
			}
			continue
		}
		r := b.at(a.Key)
		r.state = a.State
		if before {
			continue
		}
		if t := a.Reason + a.Text; t != "" {
			r.text = t
		}
		if over, _ := settled(a.State); over && r.ended.IsZero() {
			r.ended = b.now()
		}
	}
}

// concerns reports whether the call names an app, as a whole or a part.
func (b *board) concerns(key string) bool {
	return len(b.names) == 0 || slices.ContainsFunc(b.names, func(name string) bool { return session.Means(name, key) })
}

// at gives the row of an app, new ones at the end.
func (b *board) at(key string) *row {
	r := b.rows[key]
	if r == nil {
		r = &row{key: key, name: key[strings.LastIndexByte(key, '/')+1:], began: b.began}
		b.rows[key] = r
		b.order = append(b.order, key)
	}
	return r
}

// event is one event of the topic apps.
type event struct {
	At   time.Time      `json:"at"`
	Type string         `json:"type"`
	Key  string         `json:"key"`
	Slot string         `json:"slot"`
	Text string         `json:"text"`
	Data map[string]any `json:"data"`
}

// take notes an event and gives the change that it is, if it concerns one of the apps.
func (b *board) take(raw json.RawMessage) (change, bool) {
	var e event
	if json.Unmarshal(raw, &e) != nil || e.Key == "" || e.Type == "" {
		return change{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	was, calm := b.calm[e.Key]
	if e.At.Before(b.began) || b.rows[e.Key] == nil && !calm && (len(b.rows) > 0 || !b.concerns(e.Key)) {
		return change{}, false
	}
	r := b.at(e.Key)
	if calm {
		r.state = was
		delete(b.calm, e.Key)
	}
	to := e.Type
	if s, ok := e.Data["to"].(string); ok && s != "" {
		to = s
	}
	c := change{At: e.At, Key: e.Key, Slot: e.Slot, From: r.state, To: to, Text: e.Text}
	if s, ok := e.Data["from"].(string); ok && s != "" {
		c.From = s
	}
	if c.Text = strings.TrimPrefix(c.Text, to+": "); c.Text == to { // the text of a change begins with the state
		c.Text = ""
	}
	r.text = c.Text
	if known(to) {
		r.state = to
		over, _ := settled(to)
		switch {
		case !over:
			r.ended = time.Time{}
		case r.ended.IsZero():
			r.ended = b.now()
		}
	}
	return c, true
}

// known reports whether a word is a state and no other kind of event.
func known(word string) bool {
	symbol, _ := render.Symbol(word)
	return symbol != "·" && word != "exited"
}

// waiting names the apps that are still on their way, with how long they have been.
func (b *board) waiting() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, key := range b.order {
		r := b.rows[key]
		if over, _ := settled(r.state); !over && r.state != "stopped" {
			names = append(names, r.name+" "+r.state+" "+render.Span(b.now().Sub(r.began).Truncate(time.Second)))
		}
	}
	return names
}

// failed gives the keys of the apps that gave up.
func (b *board) failed() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []string
	for _, key := range b.order {
		if over, good := settled(b.rows[key].state); over && !good {
			keys = append(keys, key)
		}
	}
	return keys
}

// standing gives the apps as they were seen last, as the results of a call that has no answer.
func (b *board) standing() []failure {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []failure
	for _, key := range b.order {
		_, good := settled(b.rows[key].state)
		out = append(out, failure{Key: key, State: b.rows[key].state, OK: good})
	}
	return out
}
