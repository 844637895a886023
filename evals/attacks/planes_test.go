package attacks

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// plane is a column of the table.
type plane int

const (
	unix plane = iota
	tcp
	rest
	agents // MCP over HTTP
	columns
)

var names = [columns]string{"unix", "tcp", "http REST", "http MCP"}

// line is a connection that carries lines.
type line struct {
	w *world
	net.Conn
	r *bufio.Reader
}

// open connects to a plane of lines as somebody who may do everything.
func (w *world) open(p plane) *line {
	w.T.Helper()
	if p == unix {
		c, err := net.Dial("unix", filepath.Join(w.Home, "daemon.sock"))
		if err != nil {
			w.T.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(15 * time.Second))
		l := &line{w, c, bufio.NewReader(c)}
		if got := l.ask(ping); got != "granted" { // the first message says which dialect it is
			w.T.Fatalf("the socket: %s", got)
		}
		return l
	}
	c := w.stranger()
	if got := c.ask(hello(w.good)); got != "granted" {
		w.T.Fatalf("the hello of the good token: %s", got)
	}
	return c
}

const ping = `{"jsonrpc":"2.0","id":0,"method":"daemon.ping"}`

// stranger connects to the TCP plane and says nothing yet.
func (w *world) stranger() *line {
	c := w.secure()
	return &line{w, c, bufio.NewReader(c)}
}

func hello(bearer string) string {
	raw, _ := json.Marshal(bearer)
	return `{"jsonrpc":"2.0","id":"h","method":"auth.hello","params":{"token":` + string(raw) + `}}`
}

// ask sends a line and names the answer. A connection that is over is "cut".
func (l *line) ask(text string) string {
	if _, err := io.WriteString(l.Conn, text+"\n"); err != nil && !errors.Is(err, net.ErrClosed) {
		_ = err // what was answered before the end is still to be read
	}
	return l.hear()
}

// hear names the next answer.
func (l *line) hear() string {
	for {
		raw, err := l.r.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return "silence"
			}
			return "cut"
		}
		var a struct {
			Method string
			Error  *wire.Error
		}
		if err := json.Unmarshal(raw, &a); err != nil {
			return fmt.Sprintf("no JSON: %.60q", raw)
		}
		switch {
		case a.Method != "":
			continue
		case a.Error == nil:
			return "granted"
		case a.Error.Code == wire.CodeParse || a.Error.Code == wire.CodeInvalidRequest || a.Error.Code == wire.CodeMethodNotFound || len(a.Error.Data) == 0:
			return strconv.Itoa(a.Error.Code)
		}
		return code(a.Error.Fault())
	}
}

// raw sends bytes to the HTTP plane and names the answer.
func (w *world) raw(text string) string { return w.from(strings.NewReader(text)) }

// from is raw with bytes that are made as they are sent.
func (w *world) from(text io.Reader) string {
	w.T.Helper()
	c := w.dial(w.web)
	defer c.Close()
	sent := make(chan struct{})
	go func() { defer close(sent); _, _ = io.Copy(c, text) }() // it ends with the connection
	got := heard(bufio.NewReader(c))
	_ = c.Close()
	<-sent
	return got
}

// heard names an HTTP answer: its status, and the code in its body.
func heard(r *bufio.Reader) string {
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "silence"
		}
		return "cut"
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return named(strconv.Itoa(res.StatusCode), body)
}

// named is how an answer stands in the table.
func named(status string, body []byte) string {
	var a struct {
		Error  json.RawMessage
		Result *struct {
			IsError bool `json:"isError"`
			Meta    struct {
				Fault *fault.Error `json:"omnitron/error"`
			} `json:"_meta"`
			Structured *struct{ Status string } `json:"structuredContent"`
		}
	}
	text := strings.TrimSpace(string(body))
	if i := strings.LastIndex(text, "\ndata: "); i >= 0 { // a stream of events
		text = text[i+7:]
	}
	if json.Unmarshal([]byte(text), &a) != nil {
		return status
	}
	var f fault.Error
	var e wire.Error
	switch {
	case a.Result != nil && a.Result.Meta.Fault != nil:
		return status + " " + code(a.Result.Meta.Fault)
	case len(a.Error) == 0:
		return status
	case json.Unmarshal(a.Error, &e) == nil && e.Code != 0:
		if len(e.Data) > 0 && e.Code > wire.CodeMethodNotFound {
			return status + " " + code(e.Fault())
		}
		return status + " " + strconv.Itoa(e.Code)
	case json.Unmarshal(a.Error, &f) == nil && f.Code != "":
		return status + " " + code(&f)
	}
	return status
}

const modern = "2026-07-28"

// meta is what a message of the era without a handshake says of itself.
const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

// tool is the same effect for a client of MCP.
const tool = `{` + meta + `,"name":"apps_restart","arguments":` + effect + `}`

// post is a request to the HTTP plane.
func (w *world) post(path, bearer, body string, headers ...string) string {
	return w.request("POST", path, bearer, len(body), headers...) + body
}

func (w *world) request(method, path, bearer string, length int, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n", method, path, w.web)
	if bearer != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", bearer)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	if length >= 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	}
	return b.String() + "\r\n"
}

const (
	api      = "/api/v1/apps/restart"
	endpoint = "/mcp/full"
)

// standard are the headers that go with a call of the tool.
var standard = []string{"Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "apps_restart"}

// try makes the call that has the effect with a bearer.
func (w *world) try(p plane, bearer string) string {
	w.T.Helper()
	switch p {
	case tcp:
		c := w.stranger()
		defer c.Close()
		if got := c.ask(hello(bearer)); got != "granted" {
			return got
		}
		return c.ask(message{"apps.restart", effect}.String())
	case rest:
		return w.raw(w.post(api, bearer, effect))
	case agents:
		return w.raw(w.post(endpoint, bearer, message{"tools/call", tool}.String(), standard...))
	}
	c := w.open(unix)
	defer c.Close()
	return c.ask(message{"apps.restart", effect}.String())
}

// message is a call of JSON-RPC.
type message struct{ method, params string }

func (m message) String() string {
	return `{"jsonrpc":"2.0","id":1,"method":"` + m.method + `","params":` + m.params + `}`
}
