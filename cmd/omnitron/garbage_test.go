package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// growth is how much memory rubbish may cost the daemon.
const growth = 8 << 20

// TestGarbage sends the daemon everything that is no message, in both dialects: one answer each, and neither the
// connection, where it can go on, nor the memory of the daemon suffers.
func TestGarbage(t *testing.T) {
	r := rig.New(t)
	r.Up("apps:\n  - {name: web, command: [sleep, \"1000\"], ready: {delay: 10ms}}\n")
	pid := r.DaemonPID()
	for _, d := range dialects { // what good calls cost is no growth
		conn := newTalk(t, r)
		conn.open(d)
		for range 200 {
			conn.good(d)
		}
	}
	before := memory(t, pid, "VmRSS")
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o200); err != nil { // the peak counts from here
		t.Fatal(err)
	}
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			conn := newTalk(t, r)
			conn.open(d)
			for what, line := range rubbish(t, d) {
				conn.say(line)
				if code := conn.code(); code != wire.CodeParse && code != wire.CodeInvalidRequest && code != wire.CodeOf(fault.Invalid) {
					t.Errorf("%s: code %d", what, code)
				}
				conn.good(d)
			}
			for what, c := range endless {
				conn := newTalk(t, r)
				if c.opened {
					conn.open(d)
				}
				sent := make(chan struct{})
				go func() { // the daemon may hang up before the line ends
					defer close(sent)
					_, _ = io.Copy(conn.Conn, io.LimitReader(xs{c.fill}, c.size))
					_, _ = io.WriteString(conn.Conn, c.end)
				}()
				if code := conn.code(); code != wire.CodeInvalidRequest {
					t.Errorf("%s: code %d", what, code)
				}
				conn.ended(what)
				conn.Close()
				<-sent
			}
			for _, half := range []string{d.hello[:len(d.hello)/2], `{"jsonrpc":"2.0","id":7,"method":"` + d.method, "{", "\"", "[", "\xff"} {
				conn := newTalk(t, r)
				conn.open(d)
				if _, err := io.WriteString(conn.Conn, half); err != nil {
					t.Fatal(err)
				}
				if err := conn.Conn.(*net.UnixConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if code := conn.code(); code != wire.CodeParse {
					t.Errorf("half a message (%q): code %d", half, code)
				}
				conn.ended(half)
			}
		})
	}
	peak, after := memory(t, pid, "VmHWM"), memory(t, pid, "VmRSS")
	t.Logf("%d kB before, %d kB at the peak, %d kB after", before>>10, peak>>10, after>>10)
	if after-before > growth || peak-before > growth+wire.MaxLine { // the peak holds one message of the greatest size
		t.Errorf("the daemon grew by %d kB, by %d kB at its peak", (after-before)>>10, (peak-before)>>10)
	}
	if r.DaemonPID() != pid {
		t.Error("it is another daemon now")
	}
	if a := r.App("web"); a.State != "running" {
		t.Errorf("web is %s", a.State)
	}
}

// dialect is one of the two that the socket speaks.
type dialect struct {
	name   string
	hello  string // opens the connection
	method string // of a good call
	params string // of a good call
}

var dialects = []dialect{
	{name: "native", hello: `{"jsonrpc":"2.0","id":"hello","method":"daemon.ping","params":{}}`, method: "daemon.ping", params: `{}`},
	{name: "mcp", hello: `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"g","version":"1"}}}`,
		method: "tools/call", params: `{"name":"daemon_status","arguments":{}}`},
}

// endless are lines that are longer than any message may be.
var endless = map[string]struct {
	size   int64
	fill   byte
	end    string
	opened bool
}{
	"one byte too many":         {wire.MaxLine + 1, ' ', "\n", true},
	"64 MB":                     {64 << 20, 'x', "\n", true},
	"64 MB as the first thing":  {64 << 20, 'x', "\n", false},
	"64 MB without an end":      {64 << 20, '[', "", true},
	"64 MB of space, and first": {64 << 20, ' ', "\n", false},
}

// rubbish are lines after which a connection goes on.
func rubbish(t *testing.T, d dialect) map[string]string {
	t.Helper()
	call := `{"jsonrpc":"2.0","id":1,"method":"` + d.method + `","params":`
	lines := map[string]string{
		"a batch":                     `[` + call + d.params + `}]`,
		"a long batch":                `[` + strings.Repeat(call+d.params+`},`, 20_000) + `1]`,
		"an empty batch":              `[]`,
		"a key twice":                 `{"jsonrpc":"2.0","id":1,"method":"` + d.method + `","method":"daemon.shutdown","params":{}}`,
		"a key twice, the other hid":  `{"jsonrpc":"2.0","id":1,"method":"` + d.method + `","m\u0065thod":"daemon.shutdown","params":{}}`,
		"a key twice, further inside": call + `{"a":{"b":1,"c":2,"b":3}}}`,
		"an id twice":                 `{"jsonrpc":"2.0","id":1,"id":2,"method":"` + d.method + `"}`,
		"bad UTF-8":                   `{"jsonrpc":"2.0","id":1,"method":"` + d.method + "\xff\xfe" + `"}`,
		"bad UTF-8 in a value":        call + "{\"name\":\"\xc3\x28\"}}",
		"half a surrogate":            call + `{"name":"\ud800"}}`,
		"a NUL":                       "{\x00}",
		"nothing":                     "",
		"half a message":              call + `{`,
		"300 000 keys":                call + "{" + keys(300_000) + "}}",
	}
	for _, depth := range []int{65, 10_000, 100_000} {
		lines[fmt.Sprint("lists, deep ", depth)] = call + `{"a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}}"
		lines[fmt.Sprint("objects, deep ", depth)] = strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
		lines[fmt.Sprint("open, deep ", depth)] = call + strings.Repeat("[", depth)
	}
	if d.name != "native" { // a notification is no rubbish there, and an empty line is passed over
		delete(lines, "nothing")
		return lines
	}
	corpus, err := os.ReadFile(filepath.Join(repo(), "transports", "unix", "testdata", "garbage.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(string(corpus)) {
		_, quoted, _ := strings.Cut(strings.TrimSuffix(row, "\n"), "\t")
		line, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		lines[quoted] = strings.ReplaceAll(line, "toy.echo", d.method)
	}
	return lines
}

func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%x":0,`, i)
	}
	return b.String() + `"z":0`
}

// talk is a connection to the daemon, by hand.
type talk struct {
	net.Conn
	t   *testing.T
	out *bufio.Reader
}

func newTalk(t *testing.T, r *rig.Rig) *talk {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(r.Home, "daemon.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &talk{conn, t, bufio.NewReader(conn)}
}

func (c *talk) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// code is that of the next answer, 0 for a result.
func (c *talk) code() int {
	c.t.Helper()
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	var m struct {
		Result json.RawMessage
		Error  *wire.Error
	}
	if err := json.Unmarshal(line, &m); err != nil || (m.Result == nil) == (m.Error == nil) {
		c.t.Fatalf("no answer of JSON-RPC: %.300s", line)
	}
	if m.Error == nil {
		return 0
	}
	return m.Error.Code
}

func (c *talk) open(d dialect) {
	c.t.Helper()
	c.say(d.hello)
	if code := c.code(); code != 0 {
		c.t.Fatalf("the first message fails with %d", code)
	}
}

// good makes a call that works: the answer before was the only one.
func (c *talk) good(d dialect) {
	c.t.Helper()
	c.say(`{"jsonrpc":"2.0","id":"good","method":"` + d.method + `","params":` + d.params + `}`)
	if code := c.code(); code != 0 {
		c.t.Fatalf("a good call fails with %d", code)
	}
}

// ended wants the connection to end without another word.
func (c *talk) ended(what string) {
	c.t.Helper()
	if rest, err := io.ReadAll(c.out); len(rest) > 0 {
		c.t.Errorf("%.40q: there is more: %.300s, %v", what, rest, err)
	}
}

// xs is a byte without end.
type xs struct{ c byte }

func (x xs) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = x.c
	}
	return len(b), nil
}

// memory gives a line of /proc/<pid>/status in bytes.
func memory(t *testing.T, pid int, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
