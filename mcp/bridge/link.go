package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// maxAnswer is the longest line in bytes that is taken from the daemon; its answers are far shorter.
const maxAnswer = 8 << 20

// ownID begins the ids of the bridge's own requests, whose answers no client may see. No client has such ids by chance.
var ownID = `"omnitron-bridge-` + rand.Text() + "-"

// link is one connection to the daemon.
type link struct {
	rwc  io.ReadWriteCloser
	in   *wire.Reader
	subs map[string]string // the bridge's own requests to subscribe: id → address

	mu   sync.Mutex
	last int
}

// send writes one line, or the rest of one. That it fails shows in the reading, which then ends.
func (l *link) send(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.rwc.Write(line); err != nil {
		_ = l.rwc.Close()
	}
}

// try writes what there is room for now and gives the rest.
func (l *link) try(line []byte) (rest []byte) {
	c, ok := l.rwc.(syscall.Conn)
	if !ok {
		return line
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return line // send will see what is wrong
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	_ = raw.Write(func(fd uintptr) bool { // what is wrong is left to send
		n, _ = syscall.Write(int(fd), line)
		return true
	})
	return line[max(n, 0):]
}

// ask sends a request of the bridge's own and gives its id.
func (l *link) ask(method string, params []byte) string {
	l.mu.Lock()
	l.last++
	id := fmt.Sprintf(`%s%d"`, ownID, l.last)
	l.mu.Unlock()
	b := answer.AppendString([]byte(`{"jsonrpc":"2.0","id":`+id+`,"method":`), method)
	l.send(append(append(append(b, `,"params":`...), params...), "}\n"...))
	return id
}

// await gives the connection, and has one made when there is none.
func (b *bridge) await(ctx context.Context) (*link, error) {
	late := time.After(connectIn)
	b.mu.Lock()
	tried := b.tried
	b.mu.Unlock()
	for {
		b.mu.Lock()
		l, why, failed, changed := b.link, b.why, b.tried > tried, b.changed
		b.mu.Unlock()
		switch {
		case l != nil:
			return l, nil
		case failed:
			return nil, why
		}
		select {
		case b.want <- struct{}{}:
		default:
		}
		select {
		case <-changed:
		case <-late:
			return nil, errors.New("no connection in time")
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// connect keeps a connection: the first, and one after the daemon has ended on purpose, when somebody needs it; one
// that was lost as soon as the daemon is there again, because the client may be waiting for news. It fails when the
// daemon refuses the launch, and when a person has disconnected the client.
func (b *bridge) connect(ctx context.Context) error {
	wait := time.Duration(0) // until the next attempt that nobody asked for; 0: none
	for {
		var again <-chan time.Time
		if wait > 0 {
			again = time.After(wait)
		}
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-b.want:
			asked = true
		case <-again:
			wait = min(2*wait, lastWait)
		}
		l, err := b.dial(ctx, asked)
		if err == nil {
			err = b.greet(ctx, l)
		}
		var refused *refusal
		switch {
		case errors.As(err, &refused):
			b.lost(nil, err, true)
			return err
		case err != nil:
			b.log.Debug("cannot connect", "err", err)
			b.lost(nil, err, asked)
			continue
		}
		err = b.pump(ctx, l)
		b.log.Debug("the connection has ended", "err", err)
		b.lost(l, err, false)
		if errors.Is(err, errDismissed) {
			return err
		}
		wait = firstWait
	}
}

// dial connects; when somebody needs the daemon it is started.
func (b *bridge) dial(ctx context.Context, asked bool) (*link, error) {
	rwc, err := b.Dial(ctx)
	if err != nil && asked && b.Ensure != nil {
		if err = b.Ensure(ctx); err == nil {
			rwc, err = b.Dial(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	return &link{rwc: rwc, in: wire.NewReader(rwc, maxAnswer), subs: map[string]string{}}, nil
}

// errDismissed is the end that a person has put to the connection.
var errDismissed = fault.New(fault.Denied, "a person has disconnected this client").WithReason("disconnected").
	WithHint("ask before you connect again")

// refusal is a launch that the daemon does not grant.
type refusal struct{ text string }

func (r *refusal) Error() string { return "the daemon refuses this connection: " + r.text }

// greet tells a new connection what it was launched with and what the client has said before. The first message is the
// bridge's own, so that the launch never depends on what a client sends first.
func (b *bridge) greet(ctx context.Context, l *link) error {
	defer context.AfterFunc(ctx, func() { _ = l.rwc.Close() })()
	defer time.AfterFunc(greetIn, func() { _ = l.rwc.Close() }).Stop()
	launch, err := json.Marshal(map[string]any{"_meta": map[string]any{mcp.MetaLaunch: b.launch}})
	if err != nil {
		return fmt.Errorf("cannot write the launch: %w", err)
	}
	l.ask("ping", launch)
	line, err := l.in.Next()
	if err != nil {
		_ = l.rwc.Close()
		return fmt.Errorf("cannot greet the daemon: %w", err)
	}
	var p wire.Parser
	m, bad := p.Parse(line)
	if bad != nil || m.Error != nil {
		_ = l.rwc.Close()
		var e wire.Error
		_ = json.Unmarshal(m.Error, &e) // what cannot be read has no message
		return &refusal{e.Message}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.greeting != nil {
		l.ask("initialize", object.Get(b.greeting, "params"))
		if b.greeted {
			l.send([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"))
		}
	}
	for uri, params := range b.subs {
		l.subs[l.ask("resources/subscribe", params)] = uri
	}
	for _, r := range b.open {
		if r.sent {
			l.send(r.line)
		}
	}
	b.link = l
	b.turn()
	return nil
}

// pump passes the daemon's lines on until the connection ends.
func (b *bridge) pump(ctx context.Context, l *link) error {
	defer context.AfterFunc(ctx, func() { _ = l.rwc.Close() })()
	defer l.in.Release()
	var p wire.Parser
	for {
		line, err := l.in.Next()
		if err != nil {
			return err
		}
		m, bad := p.Parse(line)
		switch {
		case bad != nil:
			return bad
		case m.Method == mcp.Dismissed:
			return errDismissed
		case m.Method == "" && strings.HasPrefix(string(m.ID), ownID):
			if uri, ok := l.subs[string(m.ID)]; ok {
				b.say(stale(uri, nil))
			}
			continue
		case m.Method == "" && m.ID != nil && !b.answered(m.ID):
			continue // told of already
		case m.Method == "notifications/subscriptions/acknowledged" && b.standsAgain(m):
			continue
		}
		b.say(line)
	}
}

// standsAgain reports whether a stream of news has been acknowledged before, on an earlier connection. The client is not
// told so, but of all that may have changed meanwhile.
func (b *bridge) standsAgain(m wire.Message) bool {
	id := object.Get(object.Get(m.Params, "_meta"), "io.modelcontextprotocol/subscriptionId")
	b.mu.Lock()
	r, open := b.open[string(id)]
	again := open && r.stands
	if r.stands = true; open {
		b.open[string(id)] = r
	}
	b.mu.Unlock()
	var uris []string
	if list := object.Get(object.Get(m.Params, "notifications"), "resourceSubscriptions"); !again || list == nil || json.Unmarshal(list, &uris) != nil {
		return again
	}
	for _, uri := range uris {
		b.say(stale(uri, id))
	}
	return again
}

// stale tells a client that what stands at an address may have changed while the daemon was away.
func stale(uri string, stream json.RawMessage) []byte {
	b := []byte(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{`)
	if stream != nil {
		b = append(append(append(b, `"_meta":{"io.modelcontextprotocol/subscriptionId":`...), stream...), "},"...)
	}
	return append(answer.AppendString(append(b, `"uri":`...), uri), "}}"...)
}

// lost ends a connection. What was in flight on it is answered; waiting starts over for what a new connection takes over.
func (b *bridge) lost(l *link, err error, asked bool) {
	if l != nil {
		_ = l.rwc.Close()
	}
	b.mu.Lock()
	b.link = nil
	if asked {
		b.tried++
		b.why = err
	}
	var ended []request
	for id, r := range b.open {
		if r.sent && r.Method != "subscriptions/listen" {
			ended = append(ended, r)
			delete(b.open, id)
		}
	}
	b.turn()
	b.mu.Unlock()
	for _, r := range ended {
		why := errDismissed
		if !errors.Is(err, errDismissed) {
			why = fault.New(fault.Unavailable, "the connection to the daemon broke while %s was in flight; what it began may have happened", r.Method).
				WithReason("connection_lost").WithHint("look at the state, then call again").WithRetryAfter(1)
		}
		b.say(mcp.FaultLine(r.Message, b.Version, why))
	}
}

// turn wakes those who wait for a connection. It is called with the lock held.
func (b *bridge) turn() {
	close(b.changed)
	b.changed = make(chan struct{})
}
