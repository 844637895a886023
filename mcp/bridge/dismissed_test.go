package bridge

import (
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp"
)

// TestDismissed: when a person ends the connection, what was in flight is told so, and the bridge does not connect again.
func TestDismissed(t *testing.T) {
	d := newDaemon(t)
	c := newClient(t, d.reach(), mcp.Launch{})
	c.send(hello)
	c.expect(`"id":0`)
	c.send(call("slow", "ops_read", `{"method":"toys.fail","input":{"how":"wait"}}`))
	<-d.kernel.Box.Inside
	if n, err := d.kernel.Sessions.Disconnect(d.kernel.Sessions.List()[0].ID); n != 1 || err != nil {
		t.Fatalf("disconnect: %d %v", n, err)
	}
	c.expect(`"id":"slow"`, `"isError":true`, `"code":"denied"`, `"reason":"disconnected"`)
	select {
	case err := <-c.end:
		if !fault.Is(err, fault.Denied) {
			t.Errorf("the bridge ends with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the bridge goes on")
	}
	for l := range c.got {
		t.Errorf("the client is told %s", l)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.conns) != 1 {
		t.Errorf("%d connections were made", len(d.conns))
	}
}
