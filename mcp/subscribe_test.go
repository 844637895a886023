package mcp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/op"
)

func appEvent(key string) bus.Event { return bus.Event{Topic: "apps", Type: "state", Key: key} }

// nothing checks that the server has nothing to say before it answers a ping.
func (p *peer) nothing(t *testing.T) {
	t.Helper()
	p.send(`{"jsonrpc":"2.0","id":"quiet","method":"ping"}`)
	if r := p.reply(); string(r.ID) != `"quiet"` {
		t.Errorf("unexpected: %s", r.line)
	}
}

// TestSubscribe: in the era with a handshake a change is told for the address that was subscribed, and for no other.
func TestSubscribe(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	p.send(hello(""))
	p.next()
	for _, uri := range []string{"omnitron://apps/shop/dev/web", "omnitron://apps/web"} {
		p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":%q}}`, uri))
		if r := p.reply(); r.Error != nil {
			t.Fatal(r.line)
		}
	}
	b.bus.Publish(appEvent("shop/dev/api"))
	b.bus.Publish(bus.Event{Topic: "logs", Key: "shop/dev/web"})
	b.bus.Publish(appEvent("shop/dev/web"))
	for _, uri := range []string{"omnitron://apps/shop/dev/web", "omnitron://apps/web"} {
		want := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, uri)
		if l := p.next(); l != want {
			t.Errorf("got  %s\nwant %s", l, want)
		}
	}
	p.send(`{"jsonrpc":"2.0","id":2,"method":"resources/unsubscribe","params":{"uri":"omnitron://apps/shop/dev/web"}}`)
	p.next()
	b.bus.Publish(appEvent("blog/dev/web"))
	if l := p.next(); !strings.Contains(l, `"omnitron://apps/web"`) {
		t.Errorf("got %s", l)
	}
	p.nothing(t)
}

// TestSubscribeBurst: a thousand events are a few notifications, and the last change is always told.
func TestSubscribeBurst(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	p.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"omnitron://apps"}}`)
	p.next()
	start := time.Now()
	for range 1000 {
		b.bus.Publish(appEvent("shop/dev/web"))
	}
	p.next() // at once
	p.next() // for all the others
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the last one was told after %s", d)
	}
	p.nothing(t)
}

// TestUnsubscribe: a change that was to be told a little later is not told to who has left meanwhile.
func TestUnsubscribe(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	p.send(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"omnitron://apps"}}`)
	p.next()
	b.bus.Publish(appEvent("shop/dev/web"))
	p.next()
	b.bus.Publish(appEvent("shop/dev/web"))
	p.send(`{"jsonrpc":"2.0","id":2,"method":"resources/unsubscribe","params":{"uri":"omnitron://apps"}}`)
	p.next()
	_ = p.c.SetReadDeadline(time.Now().Add(2 * settleFor))
	if l, err := p.in.ReadString('\n'); err == nil {
		t.Errorf("told all the same: %s", l)
	}
}

// TestListen: in the era without a handshake what is told carries the id of the request that listens, and ends with it.
func TestListen(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	listen := func(id, uri string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"subscriptions/listen","params":{%s,"notifications":{"resourceSubscriptions":[%q,"omnitron://nope"]}}}`, id, modernMeta, uri)
	}
	p.send(listen(`9007199254740993`, "omnitron://apps"), listen(`"9007199254740993"`, "omnitron://apps/shop/dev/web"))
	acks := p.next() + p.next()
	for _, want := range []string{
		`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":9007199254740993},"notifications":{"resourceSubscriptions":["omnitron://apps"]}}}`,
		`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"9007199254740993"},"notifications":{"resourceSubscriptions":["omnitron://apps/shop/dev/web"]}}}`,
	} {
		if !strings.Contains(acks, want) {
			t.Errorf("no %s in %s", want, acks)
		}
	}
	b.bus.Publish(appEvent("shop/dev/web"))
	told := p.next() + p.next()
	for _, want := range []string{
		`"_meta":{"io.modelcontextprotocol/subscriptionId":9007199254740993},"uri":"omnitron://apps"}`,
		`"_meta":{"io.modelcontextprotocol/subscriptionId":"9007199254740993"},"uri":"omnitron://apps/shop/dev/web"}`,
	} {
		if !strings.Contains(told, want) {
			t.Errorf("no %s in %s", want, told)
		}
	}
	p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9007199254740993}}`)
	p.nothing(t)
	b.bus.Publish(appEvent("shop/dev/web"))
	if l := p.next(); !strings.Contains(l, `"9007199254740993"`) {
		t.Errorf("the other one hears nothing: %s", l)
	}
	p.nothing(t)
}

// TestSubscribeWithinAScope: who is limited to a project hears nothing of others, not even that something has changed.
func TestSubscribeWithinAScope(t *testing.T) {
	was := owner
	owner.Scope = op.Scope{Projects: []string{"shop"}}
	defer func() { owner = was }()
	b := newBed(t)
	p := b.peer(t)
	p.send(hello(""))
	p.next()
	for _, uri := range []string{"omnitron://apps/blog/dev/web", "omnitron://apps/web"} {
		p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":%q}}`, uri))
		if r := p.reply(); r.Error != nil {
			t.Fatal(r.line)
		}
	}
	b.bus.Publish(appEvent("blog/dev/web")) // events keep their order: it would be told of first
	b.bus.Publish(appEvent("shop/dev/web"))
	if l := p.next(); !strings.Contains(l, `"omnitron://apps/web"`) {
		t.Errorf("got %s", l)
	}
	p.nothing(t)
	b.bus.Publish(bus.Event{Topic: "apps", Type: "changed"}) // of no app
	for range 4 * eventRoom {                                // nor do they push its own out, after which it would be told that all may have changed
		b.bus.Publish(appEvent("blog/dev/web"))
	}
	p.nothing(t)

	held := func(targets ...string) bus.Event {
		return bus.Event{Topic: "approvals", Type: "created", Data: map[string]any{"targets": targets}}
	}
	limited, free := &conn{caller: owner}, &conn{caller: was}
	for what, c := range map[string]struct {
		ev   bus.Event
		sees bool
	}{
		"a held call about nothing":        {held(), false},
		"about an app of others":           {held("blog/dev/web"), false},
		"about one of others too":          {held("blog/dev/web", "shop/dev/web"), false},
		"about an app of its own":          {held("shop/dev/web"), true},
		"an event of no app":               {bus.Event{Topic: "agents"}, false},
		"a stack of its own":               {appEvent("shop/dev"), true},
		"an app of others that names ours": {bus.Event{Key: "blog/dev/web", Data: map[string]any{"targets": []string{"shop/dev/web"}}}, false},
	} {
		if limited.sees(c.ev) != c.sees || !free.sees(c.ev) {
			t.Errorf("%s: seen %v, without limits %v", what, limited.sees(c.ev), free.sees(c.ev))
		}
	}
}
