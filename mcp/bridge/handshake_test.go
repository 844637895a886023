package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/mcp"
)

// heard is the daemon's end of one connection.
type heard struct {
	net.Conn
	in *bufio.Scanner
}

// next names the next messages, and answers those that are requests.
func (h heard) next(n int) string {
	var methods []string
	_ = h.SetDeadline(time.Now().Add(5 * time.Second)) // what does not come is missing in what was heard
	for range n {
		if !h.in.Scan() {
			break
		}
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct{ ClientInfo struct{ Name string } }
		}
		_ = json.Unmarshal(h.in.Bytes(), &m) // what is no message has no method
		methods = append(methods, m.Method+m.Params.ClientInfo.Name)
		if m.ID != nil {
			fmt.Fprintf(h, `{"jsonrpc":"2.0","id":%s,"result":{}}`+"\n", m.ID)
		}
	}
	return strings.Join(methods, " ")
}

// TestHandshakeIsRepeated: a new connection hears of the launch first, then what the client has said of itself, whole and in
// its order, and nothing that the client has not said yet.
func TestHandshakeIsRepeated(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	accept := func() heard {
		t.Helper()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return heard{c, bufio.NewScanner(c)}
	}
	hears := func(h heard, want string) {
		t.Helper()
		if got := h.next(strings.Count(want, " ") + 1); got != want {
			t.Errorf("the daemon hears %q, want %q", got, want)
		}
	}
	c := newClient(t, Daemon{Version: "9", Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "unix", ln.Addr().String())
	}}, mcp.Launch{})
	c.send(hello)
	conn := accept()
	hears(conn, "ping initializec")
	c.expect(`"id":0`)
	conn.Close()
	conn = accept()
	hears(conn, "ping initializec")
	c.send(ready)
	hears(conn, "notifications/initialized")
	conn.Close()
	hears(accept(), "ping initializec notifications/initialized")
	c.close()
}
