package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mcplib "github.com/mark3labs/mcp-go/mcp"

	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// What is kept of a session for a client that lost its connection.
const (
	keepEvents  = 1024
	keepBytes   = 1 << 20
	keepStreams = 16
)

// stream is the messages on the way back of one request, or those of a session that belong to none. Whoever reads follows; who
// comes back reads on.
type stream struct {
	id string // "": it cannot be taken up again

	mu      sync.Mutex
	first   int // number of the first that is kept
	events  [][]byte
	bytes   int
	sent    int  // number of the next that nobody has been told
	spoken  bool // there was more than the answer
	over    bool
	lacks   string        // rights that the caller would need
	changed chan struct{} // closed with every change
}

func newStream(id string) *stream { return &stream{id: id, changed: make(chan struct{})} }

func (s *stream) add(line []byte, last bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return context.Canceled
	}
	s.events, s.bytes = append(s.events, append([]byte(nil), line...)), s.bytes+len(line)
	for len(s.events) > keepEvents || s.bytes > keepBytes && len(s.events) > 1 {
		s.bytes -= len(s.events[0])
		s.events = s.events[1:]
		s.first++
	}
	s.spoken, s.over = s.spoken || !last, last
	s.wake()
	return nil
}

func (s *stream) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Write adds a notification or a question.
func (s *stream) Write(line []byte) error { return s.add(line, false) }

// Answer adds the last message.
func (s *stream) Answer(line []byte) error { return s.add(line, true) }

// Post is Answer: nobody waits for a reader here.
func (s *stream) Post(line []byte) { _ = s.add(line, true) }

// Lacks keeps which rights are missing; the answer follows.
func (s *stream) Lacks(scope string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lacks = scope
}

func (s *stream) lacking() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lacks
}

// refusing sets the headers of an answer that says which rights are missing.
func refusing(lacks func(scope string), s *stream) func() {
	return func() {
		if scope := s.lacking(); scope != "" && lacks != nil {
			lacks(scope)
		}
	}
}

// end says that nothing more comes, answered or not.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		s.wake()
	}
}

func (s *stream) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

func (s *stream) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

func (s *stream) last() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 {
		return nil
	}
	return s.events[len(s.events)-1]
}

// from gives the messages from a number on.
func (s *stream) from(n int) (next int, events [][]byte, over bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = max(n, s.first)
	if at := n - s.first; at < len(s.events) {
		events = s.events[at:len(s.events):len(s.events)]
	}
	return n, events, s.over, s.changed
}

// answer writes the answer as one JSON object when it is all there is (and reports that), and else everything as a stream of events. A client that
// waits for long gets a stream, so that nobody between takes the connection for dead. Nothing is written when the context ends
// first. The headers are for what sets more of them.
func (s *stream) answer(w http.ResponseWriter, r *http.Request, modern bool, headers func()) (whole bool) {
	if headers == nil {
		headers = func() {}
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	events := takes(r.Header.Get("Accept"), "text/event-stream")
	waited := late.C
	for {
		s.mu.Lock()
		spoken, over, changed := s.spoken, s.over, s.changed
		s.mu.Unlock()
		switch {
		case over && (!spoken || !events):
			if line := s.last(); line != nil && r.Context().Err() == nil {
				status := statusOf(line, modern)
				if s.lacking() != "" {
					status = http.StatusForbidden
				}
				headers()
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = w.Write(line) // who has gone needs none
			}
			return true
		case spoken && events:
			headers()
			s.pump(w, r, 0)
			return false
		}
		select {
		case <-changed:
		case <-waited:
			if waited = nil; events {
				headers()
				s.pump(w, r, 0)
				return false
			}
		case <-r.Context().Done():
			return false
		}
	}
}

// statusOf is the status of an answer of the era without a handshake; in the other one it is always 200.
func statusOf(line []byte, modern bool) int {
	failed := object.Get(json.RawMessage(line), "error")
	if !modern || failed == nil {
		return http.StatusOK
	}
	code, _ := strconv.Atoi(string(object.Get(failed, "code")))
	switch code {
	case mcplib.METHOD_NOT_FOUND:
		return http.StatusNotFound
	case mcplib.HEADER_MISMATCH, mcplib.MISSING_REQUIRED_CLIENT_CAPABILITY, mcplib.UNSUPPORTED_PROTOCOL_VERSION, mcplib.INVALID_REQUEST, mcplib.INVALID_PARAMS, mcplib.PARSE_ERROR:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// pump writes events from a number on until the stream or the request ends.
func (s *stream) pump(w http.ResponseWriter, r *http.Request, n int) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return
	}
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		next, events, over, changed := s.from(n)
		for i, line := range events {
			if !s.write(w, next+i, line) {
				return
			}
		}
		n = next + len(events)
		s.told(n)
		if len(events) > 0 && control.Flush() != nil || over {
			return
		}
		select {
		case <-changed:
		case <-alive.C:
			if _, err := fmt.Fprint(w, ": here\n\n"); err != nil || control.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// told marks what has gone out.
func (s *stream) told(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = max(s.sent, n)
}

func (s *stream) write(w http.ResponseWriter, n int, line []byte) bool {
	head := "event: message\n"
	if s.id != "" {
		head = fmt.Sprintf("id: %s-%d\n", s.id, n) + head
	}
	_, err := fmt.Fprintf(w, "%sdata: %s\n\n", head, line)
	return err == nil
}

// replay is the streams of a session that a client may come back for.
type replay struct {
	events *stream // what belongs to no request

	mu      sync.Mutex
	last    int
	streams []*stream // oldest first
}

func (p *replay) init() { p.events = newStream("0") }

// begin makes the stream of a request. Those that have ended make room for it.
func (p *replay) begin() *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	s := newStream(strconv.Itoa(p.last))
	bytes := 0
	for _, o := range p.streams {
		bytes += o.size()
	}
	for i := 0; i < len(p.streams) && (len(p.streams) >= keepStreams || bytes > keepBytes); {
		if o := p.streams[i]; o.ended() {
			bytes -= o.size()
			p.streams = slices.Delete(p.streams, i, i+1)
			continue
		}
		i++
	}
	p.streams = append(p.streams, s)
	return s
}

// find gives the stream of an event's id and the number of the next.
func (p *replay) find(id string) (*stream, int, bool) {
	name, number, ok := strings.Cut(id, "-")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 {
		return nil, 0, false
	}
	if name == p.events.id {
		return p.events, n + 1, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.streams {
		if s.id == name {
			return s, n + 1, true
		}
	}
	return nil, 0, false
}

// drop forgets a stream that has been told.
func (p *replay) drop(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams = slices.DeleteFunc(p.streams, func(o *stream) bool { return o == s })
}

func (p *replay) close() {
	p.events.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.streams {
		s.end()
	}
}

// listen answers GET: what belongs to no request, from now on, or what was missed of any stream.
func (c *client) listen(w http.ResponseWriter, r *http.Request) {
	if !takes(r.Header.Get("Accept"), "text/event-stream") {
		fail(w, http.StatusNotAcceptable, nil, wire.CodeInvalidRequest, "this is a text/event-stream: Accept it")
		return
	}
	s := c.replay.events
	s.mu.Lock()
	n := s.sent
	s.mu.Unlock()
	if id := r.Header.Get(eventHeader); id != "" {
		var ok bool
		if s, n, ok = c.replay.find(id); !ok {
			fail(w, http.StatusBadRequest, nil, wire.CodeInvalidRequest, "there is no such event, or it is not kept any more")
			return
		}
	}
	if s == c.replay.events { // each message is told once: the listener that came last hears it
		ctx, stop := context.WithCancel(r.Context())
		defer stop()
		c.mu.Lock()
		before := c.listener
		c.listener = stop
		c.mu.Unlock()
		if before != nil {
			before()
		}
		r = r.WithContext(ctx)
	}
	s.pump(w, r, n)
}
