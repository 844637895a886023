package attacks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// storms are calls of bob's that are all right one by one. They end on a plane as the row says, and leave nothing behind.
func storms(w *world) (all []assault) {
	for _, p := range []plane{unix, tcp} {
		add := func(name, want string, do func(c *line, n int) string) {
			all = append(all, assault{name: name + ", " + names[p], want: want, flood: true, do: func(w *world) string {
				c := w.open(p)
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				return do(c, many()/4)
			}})
		}
		add("more calls at a time than are taken", "256 run, the others limited/in_flight, it goes on", (*line).crowd)
		add("calls that are cancelled at once", "each is answered once, it goes on", func(c *line, n int) string { return c.cancelling("apps.list", n) })
		add("streams that are cancelled at once", "each is answered once, it goes on", func(c *line, n int) string { return c.cancelling("events.follow", n) })
		add("cancels of what there is not", "it goes on", func(c *line, n int) string {
			for i := range n {
				_, _ = fmt.Fprintf(c.Conn, `{"jsonrpc":"2.0","method":"$/cancel","params":{"id":%d}}`+"\n", i)
			}
			return c.after("")
		})
	}
	add := func(name, want string, do func(w *world) string) {
		all = append(all, assault{name: name, want: want, flood: true, do: do})
	}
	follow := func(*world) string { return w.post("/api/v1/events/follow", w.bob, "{}") }
	listen := func(*world) string {
		body := message{"subscriptions/listen", `{` + meta + `,"notifications":{"resourceSubscriptions":["omnitron://apps"]}}`}.String()
		return w.post("/mcp", w.bob, body, "Mcp-Protocol-Version", modern, "Mcp-Method", "subscriptions/listen")
	}
	add("more calls at a time than are taken, http REST", "256 run, 64 get 429 limited/in_flight", func(w *world) string { return w.throng(320, follow(w)) })
	add("more listeners at a time than are taken, http MCP", "256 run, 64 get 429 limited/in_flight", func(w *world) string { return w.throng(320, listen(w)) })
	add("streams that are left at once, http REST", "over", func(w *world) string { return w.leaving(many()/40, func(int) string { return follow(w) }) })
	add("calls that are left at once, http REST", "over", func(w *world) string {
		return w.leaving(many()/40, func(int) string { return w.post("/api/v1/apps/list", w.bob, "{}") })
	})
	add("listeners that are left at once, http MCP", "over", func(w *world) string { return w.leaving(many()/40, func(int) string { return listen(w) }) })
	add("cancels, http MCP", "each is answered once, the session goes on", (*world).cancelled)
	add("subscribing and unsubscribing, http MCP", "200, the session goes on", func(w *world) string {
		s := w.session()
		defer s.end()
		for i := range many() / 40 {
			for _, method := range []string{"resources/subscribe", "resources/unsubscribe"} {
				if status, text := s.post(i, method, `{"uri":"omnitron://apps"}`); status != 200 || strings.Contains(text, `"error"`) {
					return fmt.Sprintf("%d %s", status, text)
				}
			}
		}
		return "200, " + s.after()
	})
	add("listening by GET and leaving, http MCP", "over, the session goes on", func(w *world) string {
		s := w.session()
		defer s.end()
		get := w.request("GET", "/mcp", w.bob, -1, "Mcp-Session-Id", s.id)
		return w.leaving(many()/40, func(int) string { return get }) + ", " + s.after()
	})
	add("sessions that are begun and left, http MCP", "every one is begun, 200", func(w *world) string {
		for i := range many() / 40 {
			if s := w.session(); s.id == "" {
				return fmt.Sprintf("%d are begun", i)
			}
		}
		return "every one is begun, " + w.raw(w.post("/api/v1/apps/list", w.bob, "{}"))
	})
	return all
}

// answers reads n answers and counts them by name; each call may have one.
func (l *line) answers(n int) (map[string]int, string) {
	count, seen := map[string]int{}, map[string]bool{}
	for range n {
		var a struct {
			ID     json.RawMessage
			Method string
			Error  json.RawMessage
		}
		for {
			raw, err := l.r.ReadBytes('\n')
			if err != nil {
				return count, err.Error()
			}
			a.ID, a.Method, a.Error = nil, "", nil
			if err := json.Unmarshal(raw, &a); err != nil {
				return count, err.Error()
			}
			if a.Method == "" { // no item of a stream
				break
			}
		}
		if seen[string(a.ID)] {
			return count, "answered twice: " + string(a.ID)
		}
		seen[string(a.ID)] = true
		switch {
		case a.Error == nil:
			count["granted"]++
		case bytes.Contains(a.Error, []byte(`"in_flight"`)):
			count["in_flight"]++
		case bytes.Contains(a.Error, []byte(`"cancelled"`)):
			count["cancelled"]++
		default:
			count[string(a.Error)]++
		}
	}
	return count, ""
}

// after says what comes of the connection.
func (l *line) after(so string) string {
	if got := l.ask(ping); got != "granted" {
		return so + "then " + got
	}
	return so + "it goes on"
}

// atATime is how many calls a connection, and a principal, may have in flight.
const atATime = 256

// crowd makes calls that last until no more are taken, and more.
func (l *line) crowd(n int) string {
	sent := make(chan struct{})
	go func() { // it ends with the connection
		defer close(sent)
		out := bufio.NewWriter(l.Conn)
		for i := range n {
			_, _ = fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%d,"method":"events.follow","params":{}}`+"\n", i+1)
		}
		_ = out.Flush()
	}()
	count, wrong := l.answers(n - atATime)
	<-sent
	if wrong != "" || count["in_flight"] != n-atATime {
		return fmt.Sprintf("%v %s", count, wrong)
	}
	return l.after("256 run, the others limited/in_flight, ")
}

// cancelling makes calls and cancels each at once.
func (l *line) cancelling(method string, n int) string {
	sent := make(chan struct{})
	go func() { // it ends with the connection
		defer close(sent)
		out := bufio.NewWriter(l.Conn)
		for i := range n {
			_, _ = fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":{}}`+"\n"+`{"jsonrpc":"2.0","method":"$/cancel","params":{"id":%d}}`+"\n", i+1, method, i+1)
		}
		_ = out.Flush()
	}()
	count, wrong := l.answers(n)
	<-sent
	if wrong != "" || count["granted"]+count["cancelled"]+count["in_flight"] != n {
		return fmt.Sprintf("%v %s", count, wrong)
	}
	return l.after("each is answered once, ")
}

// throng sends the same request so many times at once and counts what is refused; what is let in lasts.
func (w *world) throng(n int, request string) string {
	var all sync.WaitGroup
	var mu sync.Mutex
	count := map[string]int{}
	for range n {
		c := w.dial(w.web)
		_, _ = io.WriteString(c, request)
		all.Go(func() {
			defer c.Close()
			_ = c.SetReadDeadline(time.Now().Add(4 * time.Second))
			got := "run"
			r := bufio.NewReader(c)
			if head, err := r.Peek(12); err == nil && !strings.HasSuffix(string(head), "200") {
				got = heard(r)
			}
			mu.Lock()
			count[got]++
			mu.Unlock()
			_, _ = io.Copy(io.Discard, r) // until all have been counted
		})
	}
	all.Wait()
	got := fmt.Sprintf("%d run", count["run"])
	delete(count, "run")
	for _, why := range slices.Sorted(maps.Keys(count)) {
		got += fmt.Sprintf(", %d get %s", count[why], why)
	}
	return got
}

// leaving sends requests and hangs up.
func (w *world) leaving(n int, request func(i int) string) string {
	for i := range n {
		c := w.dial(w.web)
		_, _ = io.WriteString(c, request(i))
		if i%25 == 1 { // some are under way
			_, _ = c.Read(make([]byte, 1))
		}
		_ = c.Close()
	}
	return "over"
}

// session is one of the era with a handshake.
type session struct {
	w  *world
	id string
}

func (w *world) session() *session {
	w.T.Helper()
	s := &session{w: w}
	_, _ = s.post(0, "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}`)
	return s
}

func (s *session) post(id int, method, params string) (status int, text string) {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params)
	if strings.HasPrefix(method, "notifications/") {
		body = fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s}`, method, params)
	}
	return s.send(http.MethodPost, body)
}

func (s *session) send(verb, body string) (status int, text string) {
	c := s.w.dial(s.w.web)
	defer c.Close()
	more := []string{"Connection", "close"}
	if s.id != "" {
		more = append(more, "Mcp-Session-Id", s.id)
	}
	_, _ = io.WriteString(c, s.w.request(verb, "/mcp", s.w.bob, len(body), more...)+body)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	if s.id == "" {
		s.id = res.Header.Get("Mcp-Session-Id")
	}
	raw, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(raw)
}

func (s *session) end() { _, _ = s.send(http.MethodDelete, "") }

func (s *session) after() string {
	if status, text := s.post(1<<30, "tools/list", "{}"); status != 200 || !strings.Contains(text, `"tools"`) {
		return fmt.Sprintf("then %d %.200s", status, text)
	}
	return "the session goes on"
}

// cancelled makes calls in a session that last, and cancels each by a notification while it runs. A call that was cancelled has no
// answer: its stream ends.
func (w *world) cancelled() string {
	s := w.session()
	defer s.end()
	var all sync.WaitGroup
	var mu sync.Mutex
	wrong := ""
	for i := range many() / 40 {
		all.Go(func() {
			status, text := s.post(i+1, "tools/call", `{"name":"apps_list","arguments":{}}`)
			if status != 200 && status != 202 || strings.Count(text, `"jsonrpc"`) > 1 {
				mu.Lock()
				defer mu.Unlock()
				wrong = fmt.Sprintf("%d %.200s", status, text)
			}
		})
		if status, text := s.post(0, "notifications/cancelled", fmt.Sprintf(`{"requestId":%d}`, i+1)); status != http.StatusAccepted {
			wrong = fmt.Sprintf("the cancel: %d %s", status, text)
			break
		}
	}
	all.Wait()
	if wrong != "" {
		return wrong
	}
	return "each is answered once, " + s.after()
}

// TestStorms: more calls at a time than are taken, calls that are cancelled and streams that are left as soon as they are begun, on
// every plane. Somebody else is answered meanwhile, and afterwards the daemon holds what it held before.
func TestStorms(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	b := besiege(t, false)
	b.restart()
	b.warm()
	done, base, held := b.restarts(), b.settled(), b.figures()
	var table strings.Builder
	b.assail(t, storms(b.world), 1, held, &table)
	if now := b.restarts(); now != done {
		t.Errorf("%d restarts are on record", now-done)
	}
	b.unharmed(base, held)
	t.Log("\n" + table.String())
}
