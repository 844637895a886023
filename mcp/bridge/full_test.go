package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/mcp"
)

// TestFull: a daemon that reads nothing for a while gets everything in its order when it reads on, and does not keep the
// bridge from seeing that its client has left.
func TestFull(t *testing.T) {
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprint("reads ", reads), func(t *testing.T) {
			mine, theirs := socketpair(t)
			c := newClient(t, Daemon{Version: "9", Dial: func(context.Context) (io.ReadWriteCloser, error) { return mine, nil }}, mcp.Launch{})
			in := bufio.NewReader(theirs)
			written := make(chan struct{})
			go func() {
				defer close(written)
				for i := range 12 {
					if _, err := fmt.Fprintf(c.in, `{"jsonrpc":"2.0","id":%d,"method":"x","params":{"pad":"%s"}}`+"\n", i, strings.Repeat("x", 100<<10+i)); err != nil {
						t.Error(err)
					}
				}
			}()
			greeting, err := in.ReadString('\n')
			if err != nil || !strings.Contains(greeting, mcp.MetaLaunch) {
				t.Fatalf("%v: %.200s", err, greeting)
			}
			var m struct{ ID string }
			decode(t, greeting, &m)
			if _, err := fmt.Fprintf(theirs, `{"jsonrpc":"2.0","id":%q,"result":{}}`+"\n", m.ID); err != nil {
				t.Fatal(err)
			}
			<-written // beyond what the socket holds: it waits in the bridge
			for i := 0; reads && i < 12; i++ {
				line, err := in.ReadString('\n')
				if want := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"x","params":{"pad":"%s"}}`+"\n", i, strings.Repeat("x", 100<<10+i)); err != nil || line != want {
					t.Fatalf("line %d: %v, %d bytes for %d: %.80s", i, err, len(line), len(want), line)
				}
			}
			c.close()
		})
	}
}

// socketpair gives the two ends of a unix socket.
func socketpair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	path := t.TempDir() + "/s"
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("unix", path); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return a, b
}

func decode(t *testing.T, line string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(line), into); err != nil {
		t.Fatal(err)
	}
}
