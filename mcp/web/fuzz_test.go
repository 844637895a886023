package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// theirs stands for the id of a session that is somebody else's, in what FuzzRequests sends.
const theirs = "THEIRS"

// FuzzRequests sends requests with all kinds of headers to an address that only reads: nothing falls over, nothing is changed,
// nobody gets into a session of somebody else, and what is answered is an answer.
func FuzzRequests(f *testing.F) {
	b := newBed(f)
	session := b.session("/")
	paint := `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"toys_paint","arguments":{"names":["car"],"color":"green"}}}`
	list := `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	for _, s := range []struct{ version, session, event, accept, body string }{
		{"", "", "", "application/json, text/event-stream", hello}, {"2025-11-25", theirs, "", "", list}, {"2025-11-25", theirs, "0-0", "text/event-stream", paint}, {"1999-01-01", "x", "1-", "*/*", list},
		{"2026-07-28", "", "", "application/json", modern("tools/list", "")}, {"2026-07-28", theirs, "", "", modern("tools/call", `,"name":"toys_paint","arguments":{"names":["car"],"color":"green"}`)},
		{"", theirs, "0--1", "text/event-stream;q=0, */*", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`}, {"2026-07-28", "", "0-99999999999999999999", ",,;", "{"}, {"\xff", "\x00", "-", "application/*", "[]"},
	} {
		for verb := range uint8(3) {
			f.Add(verb, s.version, s.session, s.event, s.accept, s.body)
		}
	}
	who := toolstest.Agent()
	who.Plane, who.Session, who.User, who.Token = "http", "", "mallory", "t-mallory"
	f.Fuzz(func(t *testing.T, verb uint8, version, named, event, accept, body string) {
		ctx, cancel := context.WithTimeout(op.WithCaller(t.Context(), who), 100*time.Millisecond)
		defer cancel()
		method := []string{http.MethodPost, http.MethodGet, http.MethodDelete}[verb%3]
		r := httptest.NewRequestWithContext(ctx, method, "/", nil)
		foreign := named == theirs
		if foreign {
			named = session
		}
		for name, value := range map[string]string{"Mcp-Protocol-Version": version, sessionHeader: named, eventHeader: event, "Accept": accept} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		b.handler.ServeMCP(w, r, []byte(body), mcp.Launch{Profile: "readonly"}, nil)
		if b.Box.Toys()[0].Color != "red" {
			t.Fatalf("%s %q has changed something", method, body)
		}
		switch kind := w.Result().Header.Get("Content-Type"); {
		case w.Body.Len() > 0 && kind == "application/json" && !json.Valid(w.Body.Bytes()):
			t.Fatalf("%s %q is answered %q", method, body, w.Body)
		case foreign && method != http.MethodPost && w.Code < 400:
			t.Fatalf("%s gets into the session of somebody else: %d %s", method, w.Code, w.Body)
		case w.Code >= 500:
			t.Fatalf("%s %q is answered %d %s", method, body, w.Code, w.Body)
		}
		b.handler.mu.Lock()
		c := b.handler.open[session]
		b.handler.mu.Unlock()
		if c == nil || c.life.Err() != nil {
			t.Fatalf("%s %q has ended the session of somebody else", method, body)
		}
	})
}
