package agents

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp"
)

// message is one line from omnitron.
type message struct {
	line    string
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Result  json.RawMessage `json:"result"`
	Error   *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
}

// carrier is the byte stream to omnitron. Whoever reads it, every line is looked at: nothing but messages may come.
type carrier struct {
	t     testing.TB
	in    io.Reader
	out   io.Writer
	close func()
	pid   int  // of omnitron mcp
	deaf  bool // does not read, so that its last line may be torn

	reading sync.Mutex

	mu      sync.Mutex
	rest    []byte
	seen    []message
	answers map[string]message // by id
	changed chan struct{}      // closed and replaced when a message comes or the stream ends
	ended   bool
}

func newCarrier(t testing.TB, in io.Reader, out io.Writer, end func()) *carrier {
	c := &carrier{t: t, in: in, out: out, answers: map[string]message{}, changed: make(chan struct{})}
	c.close = sync.OnceFunc(end)
	t.Cleanup(func() { c.close() })
	return c
}

// stdio starts `omnitron mcp`. Closing it ends its input, after which it has to exit within a second, in good order.
func (w *world) stdio(t testing.TB, args ...string) *carrier {
	t.Helper()
	c, ended := w.bridge(t, args...)
	c.close = sync.OnceFunc(func() {
		_ = c.out.(io.Closer).Close() // it may have ended already, which shows below
		began := time.Now()
		code, said := ended()
		if took := time.Since(began); took > time.Second || code != 0 {
			t.Errorf("omnitron mcp %v: exit %d %s after the end of its input\n%s", args, code, took, said)
		}
	})
	return c
}

// bridge starts `omnitron mcp` and gives what waits for its end and tells its exit code and what it said to people.
func (w *world) bridge(t testing.TB, args ...string) (c *carrier, ended func() (code int, said string)) {
	t.Helper()
	cmd := w.Command(t.Context(), append([]string{"mcp"}, args...)...)
	cmd.Cancel = nil // it is ended by the end of its input, also when the test is over
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended = func() (int, string) {
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		c.drain()      // the last lines are looked at too
		_ = cmd.Wait() // the code says how it ended
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.rest) > 0 && !c.deaf {
			t.Errorf("standard output ends in the middle of a line: %q", c.rest)
		}
		return cmd.ProcessState.ExitCode(), errs.String()
	}
	ended = sync.OnceValues(ended)
	c = newCarrier(t, out, in, func() { _ = in.Close(); ended() })
	c.pid = cmd.Process.Pid
	return c, ended
}

// socket connects to the daemon itself. A launch is said in a first message, as omnitron mcp does.
func (w *world) socket(t testing.TB, launch string) *carrier {
	t.Helper()
	conn, err := net.Dial("unix", w.socketPath())
	if err != nil {
		t.Fatal(err)
	}
	c := newCarrier(t, conn, conn, func() { _ = conn.Close() })
	if launch != "" {
		c.write(`{"jsonrpc":"2.0","id":"launch","method":"ping","params":{"_meta":{"omnitron/launch":` + launch + `}}}`)
		for line := make([]byte, 1); ; { // byte by byte: what follows belongs to whoever reads next
			if _, err := io.ReadFull(c, line); err != nil {
				t.Fatalf("launch %s: %v", launch, err)
			}
			if line[0] == '\n' {
				break
			}
		}
	}
	return c
}

// Read implements io.Reader. Two may read; the lines are looked at in their order.
func (c *carrier) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.in.Read(p)
	c.look(p[:n], err != nil)
	return n, err
}

// Write implements io.Writer.
func (c *carrier) Write(p []byte) (int, error) { return c.out.Write(p) }

// Close implements io.Closer.
func (c *carrier) Close() error { c.close(); return nil }

func (c *carrier) write(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		c.t.Fatalf("cannot send %.200s: %v", line, err)
	}
}

func (c *carrier) look(p []byte, end bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, p...)
	for {
		line, rest, whole := bytes.Cut(c.rest, []byte("\n"))
		if !whole {
			break
		}
		c.rest = rest
		m := c.parse(string(line))
		if c.seen = append(c.seen, m); m.Method == "" {
			c.answers[string(m.ID)] = m
		}
	}
	c.ended = c.ended || end
	close(c.changed)
	c.changed = make(chan struct{})
}

// parse reads a line, which has to be a message of JSON-RPC with nothing in it that hides.
func (c *carrier) parse(line string) message {
	m := message{line: line}
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	err := d.Decode(&m)
	answers := m.ID != nil && (m.Result != nil) != (m.Error != nil) && m.Method == ""
	asks := m.Method != "" && m.Result == nil && m.Error == nil
	if err != nil || d.More() || m.JSONRPC != "2.0" || !answers && !asks {
		c.t.Errorf("not a message: %.500q (%v)", line, err)
	}
	if at := strings.IndexFunc(line, hides); at >= 0 {
		c.t.Errorf("a rune that hides is on the wire: %+q", line[max(0, at-60):min(len(line), at+60)])
	}
	return m
}

// hides reports runes that a reader does not see or that change what the reader sees.
func hides(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// wait waits until ok, which may look at what came, is true. It gives up after d, or when the stream has ended.
func (c *carrier) wait(d time.Duration, ok func() bool) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	for {
		c.mu.Lock()
		good, ended, changed := ok(), c.ended, c.changed
		c.mu.Unlock()
		if good || ended {
			return good
		}
		select {
		case <-changed:
		case <-late.C:
			return false
		}
	}
}

// await waits until what came satisfies ok.
func (c *carrier) await(d time.Duration, what string, ok func([]message) bool) {
	c.t.Helper()
	if !c.wait(d, func() bool { return ok(c.seen) }) {
		c.t.Fatalf("not within %s, or before the end of the stream: %s (%d messages)", d, what, len(c.messages()))
	}
}

// drain reads to the end of the stream. Lines are looked at as they come.
func (c *carrier) drain() { _, _ = io.Copy(io.Discard, c) }

// messages are those that came so far.
func (c *carrier) messages() []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]message(nil), c.seen...)
}

// gone waits until the stream has ended, and reports whether it has.
func (c *carrier) gone(d time.Duration) bool {
	var ended bool
	c.wait(d, func() bool { ended = c.ended; return ended })
	return ended
}

// peer is a client that says what it wants, line by line.
type peer struct {
	*carrier
	era  string
	name string // as JSON
	caps string // capabilities, as JSON
	n    int
}

// peer begins to speak over a carrier: in the era with a handshake it makes one.
func (c *carrier) peer(era, name string) *peer { return c.capable(era, name, "{}") }

func (c *carrier) capable(era, name, caps string) *peer {
	c.t.Helper()
	p := &peer{carrier: c, era: era, name: encode(c.t, name), caps: caps}
	go c.drain()
	if era != modern {
		m := p.call("initialize", fmt.Sprintf(`{"protocolVersion":%q,"capabilities":%s,"clientInfo":{"name":%s,"version":"1"}}`, era, caps, p.name))
		if m.Error != nil {
			c.t.Fatalf("initialize: %s", m.line)
		}
		p.write(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	return p
}

// meta is params with what a request of the modern era has to carry, and with a token for progress if there is one.
func (p *peer) meta(params, token string) string {
	var members []string
	if token != "" {
		members = append(members, `"progressToken":`+token)
	}
	if p.era == modern {
		members = append(members, fmt.Sprintf(`"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientCapabilities":%s,"io.modelcontextprotocol/clientInfo":{"name":%s,"version":"1"}`, modern, p.caps, p.name))
	}
	if len(members) == 0 {
		return params
	}
	meta := `{"_meta":{` + strings.Join(members, ",") + `}`
	if rest := strings.TrimPrefix(params, "{"); rest != "}" {
		return meta + "," + rest
	}
	return meta + "}"
}

// begin sends a request and gives its id.
func (p *peer) begin(method, params string) string {
	p.t.Helper()
	p.n++
	id := fmt.Sprint(p.n)
	p.write(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%s,"params":%s}`, id, encode(p.t, method), p.meta(params, "")))
	return id
}

// reply waits for the answer to a request, and reports whether it came.
func (p *peer) reply(id string) (m message, ok bool) {
	p.wait(30*time.Second, func() bool { m, ok = p.answers[id]; return ok })
	return m, ok
}

// answer is reply for those who cannot go on without.
func (p *peer) answer(id string) message {
	p.t.Helper()
	m, ok := p.reply(id)
	if !ok {
		p.t.Fatalf("no answer to %s (%d messages)", id, len(p.messages()))
	}
	return m
}

func (p *peer) call(method, params string) message {
	p.t.Helper()
	return p.answer(p.begin(method, params))
}

// result is that of a tool call.
type result struct {
	raw       string
	IsError   bool                                        `json:"isError"`
	Content   []struct{ Type, Text, URI, Name string }    `json:"content"`
	Value     json.RawMessage                             `json:"structuredContent"`
	Type      string                                      `json:"resultType"`
	State     string                                      `json:"requestState"`
	Questions map[string]struct{ Params json.RawMessage } `json:"inputRequests"`
	Meta      map[string]json.RawMessage                  `json:"_meta"`
	fault     *fault.Error
}

// outcome is what a changing call answers.
type outcome struct {
	Status string
	Result json.RawMessage
	Plan   *struct {
		Items []struct{ Target, From, To string }
	}
	Approval *struct{ ID string }
	Confirm  *struct{ Token string }
}

func readResult(t testing.TB, raw json.RawMessage) result {
	t.Helper()
	r := result{raw: string(raw)}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%v: %.500s", err, raw)
	}
	if r.IsError {
		r.fault = &fault.Error{}
		if err := json.Unmarshal(r.Meta[mcp.MetaError], r.fault); err != nil {
			t.Errorf("an error without its fault: %.500s", raw)
		}
	}
	return r
}

// outcome reads the answer of a changing call.
func (r result) outcome(t testing.TB) (o outcome) {
	t.Helper()
	if err := json.Unmarshal(r.Value, &o); r.IsError || err != nil {
		t.Errorf("no outcome (%v): %.500s", err, r.raw)
	}
	return o
}

// tool calls a tool with arguments in JSON.
func (p *peer) tool(name, args string) result {
	p.t.Helper()
	return p.done(name, p.begin("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, name, args)))
}

func (p *peer) done(name, id string) result {
	p.t.Helper()
	m := p.answer(id)
	if m.Error != nil {
		p.t.Fatalf("%s: %s", name, m.line)
	}
	return readResult(p.t, m.Result)
}
