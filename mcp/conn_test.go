package mcp

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestProgressOrder: a thousand notifications in their order, none lost, none behind the answer.
func TestProgressOrder(t *testing.T) {
	p := newBed(t).peer(t)
	for range 2 { // an answer has room for some five hundred of the items
		progress(t, p, 500)
	}
}

func progress(t *testing.T, p *peer, count int) {
	p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"apps_follow","_meta":{"progressToken":"tok"},"arguments":{"count":%d,"max_items":1000}}}`, count))
	for i := 1; i <= count; i++ {
		var n struct {
			Method string
			Params struct {
				ProgressToken   string
				Progress, Total int
			}
		}
		l := p.next()
		if err := json.Unmarshal([]byte(l), &n); err != nil || n.Method != "notifications/progress" || n.Params.Progress != i || n.Params.Total != 1000 || n.Params.ProgressToken != "tok" {
			t.Fatalf("notification %d is %.300s", i, l)
		}
	}
	if r := p.reply(); string(r.ID) != "1" || r.Result.IsError {
		t.Errorf("after the progress comes %.300s", r.line)
	}
}

// TestProgressBeforeAnswer: many short streams at once, the progress of each before its answer.
func TestProgressBeforeAnswer(t *testing.T) {
	p := newBed(t).peer(t)
	const calls = 200
	for i := range calls {
		p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"apps_follow","_meta":{"progressToken":%d},"arguments":{"count":5}}}`, i, i))
	}
	seen := map[int]int{}
	for answers := 0; answers < calls; {
		var m struct {
			ID     *int
			Params struct{ ProgressToken, Progress int }
		}
		if err := json.Unmarshal([]byte(p.next()), &m); err != nil {
			t.Fatal(err)
		}
		if m.ID == nil {
			if seen[m.Params.ProgressToken]++; seen[m.Params.ProgressToken] != m.Params.Progress {
				t.Fatalf("call %d: progress %d comes as number %d", m.Params.ProgressToken, m.Params.Progress, seen[m.Params.ProgressToken])
			}
			continue
		}
		if answers++; seen[*m.ID] != 5 {
			t.Fatalf("call %d is answered after %d of 5 notifications", *m.ID, seen[*m.ID])
		}
	}
}

// TestCancel cancels 200 calls in the same write that makes them: none is answered, all of them stop.
func TestCancel(t *testing.T) {
	b := newBed(t)
	b.began, b.ended = make(chan string, 200), make(chan string, 200)
	p := b.peer(t)
	for i := range 200 {
		p.send(call(i, "apps_wait", "{}"), fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, i))
	}
	p.send(`{"jsonrpc":"2.0","id":"after","method":"ping"}`)
	if r := p.reply(); string(r.ID) != `"after"` {
		t.Errorf("something is sent after the cancellations: %s", r.line)
	}
	quiet(t, b)
	if n, m := len(b.began), len(b.ended); n != m {
		t.Errorf("%d calls began, %d ended", n, m)
	}
	p.send(`{"jsonrpc":"2.0","id":"last","method":"ping"}`)
	if r := p.reply(); string(r.ID) != `"last"` {
		t.Errorf("a cancelled call was answered: %s", r.line)
	}
}

// quiet waits until no call is in flight.
func quiet(t *testing.T, b *testbed) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for {
		flying := int64(0)
		for _, s := range b.kernel.Sessions.List() {
			flying += s.InFlight
		}
		if flying == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d calls do not stop", flying)
		}
	}
}

// TestIDs: a number and a string of the same digits are two ids, and a second request with an id in flight is refused.
func TestIDs(t *testing.T) {
	b := newBed(t)
	b.began = make(chan string, 2)
	p := b.peer(t)
	p.send(call(7, "apps_wait", "{}"), call("7", "apps_wait", "{}"))
	<-b.began
	<-b.began
	p.send(call(7, "apps_list", "{}"))
	if r := p.reply(); r.Error == nil || r.Error.Code != -32600 {
		t.Errorf("an id in flight is taken twice: %s", r.line)
	}
	p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\u0037"}}`, call("7", "apps_list", "{}"))
	if r := p.reply(); string(r.ID) != `"7"` || r.Error != nil {
		t.Errorf("after the cancellation of \"7\" its id is not free: %s", r.line)
	}
	p.send(call(7, "apps_list", "{}"))
	if r := p.reply(); r.Error == nil {
		t.Errorf("the cancellation of \"7\" has stopped 7: %s", r.line)
	}
}

// TestFull: what finds no place is told at once; ping, cancellation and the daemon's status get through.
func TestFull(t *testing.T) {
	b := newBed(t, func(o *Options) { o.MaxFlight = 4 })
	b.began = make(chan string, 4)
	p := b.peer(t)
	for i := range 4 {
		p.send(call(i, "apps_wait", "{}"))
		<-b.began
	}
	p.send(call(4, "apps_list", "{}"))
	if r := p.reply(); !r.Result.IsError || !strings.Contains(string(r.Result.Meta[MetaError]), `"limited"`) {
		t.Errorf("the fifth call is not limited: %s", r.line)
	}
	p.send(`{"jsonrpc":"2.0","id":5,"method":"tools/list"}`)
	if r := p.reply(); r.Error == nil || r.Error.Code != -32013 {
		t.Errorf("the list is not limited: %s", r.line)
	}
	p.send(`{"jsonrpc":"2.0","id":6,"method":"ping"}`)
	if r := p.reply(); string(r.ID) != "6" || r.Error != nil {
		t.Errorf("no ping: %s", r.line)
	}
	p.send(call(7, "daemon_status", "{}")) // unknown here, but it had a place
	if r := p.reply(); r.Error == nil || r.Error.Code != -32602 {
		t.Errorf("the status finds no place: %s", r.line)
	}
	p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`, call(8, "apps_list", "{}"))
	if r := p.reply(); string(r.ID) != "8" {
		t.Errorf("the cancellation has made no room: %s", r.line)
	}
}

// TestSlowReader: a client that reads nothing is cut off, and its calls end.
func TestSlowReader(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Stall = 100 * time.Millisecond })
	c := b.dial(t)
	many := call(1, "apps_big", `{"text":15000}`)
	_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
	for i := 0; ; i++ {
		if _, err := io.WriteString(c, strings.Replace(many, `"id":1`, fmt.Sprintf(`"id":%d`, i), 1)+"\n"); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatal("the client was not cut off")
			}
			break
		}
	}
	quiet(t, b)
}

// TestLeaving: calls in flight end with their client, whether it says goodbye or not.
func TestLeaving(t *testing.T) {
	b := newBed(t)
	b.began, b.ended = make(chan string, 8), make(chan string, 8)
	p := b.peer(t)
	for i := range 8 {
		p.send(call(i, "apps_wait", "{}"))
		<-b.began
	}
	p.c.Close()
	for range 8 {
		select {
		case <-b.ended:
		case <-time.After(5 * time.Second):
			t.Fatal("a call outlives its client")
		}
	}
}

// TestLastAnswers: a client that only stops sending still gets what it asked for.
func TestLastAnswers(t *testing.T) {
	p := newBed(t).peer(t)
	p.send(call(1, "apps_list", "{}"), call(2, "apps_get", `{"name":"web"}`))
	if err := p.c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for range 2 {
		got[string(p.reply().ID)] = true
	}
	if !got["1"] || !got["2"] {
		t.Errorf("answers: %v", got)
	}
}

// TestTwoConnections: each has its own ids, launch and session.
func TestTwoConnections(t *testing.T) {
	b := newBed(t)
	one := b.peer(t)
	one.send(hello(`{"profile":"readonly"}`))
	one.next()
	two := b.peer(t)
	two.send(hello(""))
	two.next()
	one.send(call(1, "apps_list", "{}"))
	two.send(call(1, "apps_start", `{"names":["web"]}`))
	if r := two.reply(); r.Result.IsError || r.Error != nil {
		t.Errorf("two: %s", r.line)
	}
	if r := one.reply(); r.Result.IsError || r.Error != nil {
		t.Errorf("one: %s", r.line)
	}
	list := b.kernel.Sessions.List()
	if len(list) != 2 || list[0].Client != "test/0" || list[0].ID == list[1].ID {
		t.Errorf("sessions: %+v", list)
	}
	if n, err := b.kernel.Sessions.Disconnect(list[0].ID); n != 1 || err != nil {
		t.Errorf("disconnect: %d %v", n, err)
	}
	if last := one.next(); !strings.Contains(last, Dismissed) {
		t.Errorf("the first connection ends with %s", last)
	}
	if line, err := one.in.ReadString('\n'); err == nil {
		t.Errorf("the first connection goes on: %s", line)
	}
	two.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	two.next()
}

// TestDismissed: what a dismissed client has in flight stops, and nothing more is taken from it, although it is still
// being told.
func TestDismissed(t *testing.T) {
	b := newBed(t)
	b.began, b.ended = make(chan string, 1), make(chan string, 1)
	p := b.peer(t)
	p.send(call(1, "apps_wait", "{}"))
	<-b.began
	if n, err := b.kernel.Sessions.Disconnect(b.kernel.Sessions.List()[0].ID); n != 1 || err != nil {
		t.Fatalf("disconnect: %d %v", n, err)
	}
	_, _ = io.WriteString(p.c, call(2, "apps_start", `{"names":["web"]}`)+"\n") // it may have been closed already
	select {
	case <-b.ended:
	case <-time.After(5 * time.Second):
		t.Error("the call in flight goes on")
	}
	var last string
	for line, err := p.in.ReadString('\n'); err == nil; line, err = p.in.ReadString('\n') {
		if last = line; !strings.Contains(line, Dismissed) {
			t.Errorf("a dismissed client is told %s", line)
		}
	}
	if last == "" {
		t.Error("a dismissed client is not told so")
	}
	quiet(t, b)
}

// TestPause: a paused agent may look and not change.
func TestPause(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	p.send(hello(""))
	p.next()
	info := b.kernel.Sessions.List()[0]
	if _, err := b.kernel.Sessions.Pause(info.ID); err != nil {
		t.Fatal(err)
	}
	p.send(call(1, "apps_start", `{"names":["web"]}`))
	if r := p.reply(); !r.Result.IsError || !strings.Contains(r.line, "paused") {
		t.Errorf("a paused client changes things: %s", r.line)
	}
	p.send(call(2, "apps_list", "{}"))
	if r := p.reply(); r.Result.IsError {
		t.Errorf("a paused client cannot look: %s", r.line)
	}
}

// TestNamesWithoutHandshake: a client that makes no handshake is known by what its requests call it.
func TestNamesWithoutHandshake(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	for id, name := range []string{"first", "second\x1b"} {
		meta := map[string]any{"io.modelcontextprotocol/protocolVersion": modernEra, "io.modelcontextprotocol/clientCapabilities": map[string]any{},
			"io.modelcontextprotocol/clientInfo": map[string]any{"name": name, "version": "2"}}
		line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": "tools/list", "params": map[string]any{"_meta": meta}})
		if err != nil {
			t.Fatal(err)
		}
		p.send(string(line))
		if r := p.reply(); r.Error != nil {
			t.Fatal(r.line)
		}
		want := []string{"first/2", `second\u001b/2`}[id]
		if got := b.kernel.Sessions.List()[0].Client; got != want {
			t.Errorf("the client is called %q, want %q", got, want)
		}
	}
}

// TestErrorsHideNothing: an error repeats what the client said only with every hidden rune made visible.
func TestErrorsHideNothing(t *testing.T) {
	p := newBed(t).peer(t)
	p.send(hello(""))
	p.next()
	bad := "\u202ex\x1b[2J\u180b\U000e0041"
	for _, c := range []struct {
		method string
		params map[string]any
	}{
		{"prompts/get", map[string]any{"name": bad}},
		{"resources/read", map[string]any{"uri": "omnitron://" + bad}},
		{"tools/call", map[string]any{"name": bad}},
		{bad + "/x", map[string]any{}},
	} {
		line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": c.method, "params": c.params})
		if err != nil {
			t.Fatal(err)
		}
		p.send(string(line))
		r := p.reply()
		if r.Error == nil {
			t.Fatalf("%s: %s", c.method, r.line)
		}
		if strings.ContainsAny(r.Error.Message, bad[:3]+"\x1b\u180b\U000e0041") || strings.ContainsAny(r.line, bad[:3]+"\u180b\U000e0041") {
			t.Errorf("%s: %+q in %+q", c.method, r.Error.Message, r.line)
		}
	}
}
