package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestBoundOfCallsInFlight(t *testing.T) {
	h := newToys()
	p := serve(t, t.Context(), h.handle, Options{Priority: func(m string) bool { return m == "daemon.ping" }})
	var lines []string
	for i := range 300 {
		lines = append(lines, rpc(i, "toy.block", ""))
	}
	p.send(lines...)
	for i := 256; i < 300; i++ {
		a := p.read()
		if string(a.ID) != itoa(i) || a.code() != -32013 || a.Error.Fault().RetryAfter <= 0 {
			t.Fatalf("call %d: %s %d", i, a.ID, a.code())
		}
	}
	p.send(rpc(5, "toy.echo", ""))
	if a := p.read(); string(a.ID) != "null" || a.code() != CodeInvalidRequest {
		t.Fatalf("id in flight: %+v", a)
	}
	p.send(rpc("p", "daemon.ping", ""))
	if a := p.read(); string(a.ID) != `"p"` || a.Error != nil {
		t.Fatalf("ping: %+v", a)
	}
	p.send(`{"jsonrpc":"2.0","method":"$/cancel","params":{"id":17}}`)
	if a := p.read(); string(a.ID) != "17" || a.code() != -32800 {
		t.Fatalf("cancel: %+v", a)
	}
	p.send(rpc(17, "toy.block", "")) // its place and its id are free again
	until(t, "256 run", func() bool { return h.running.Load() == 256 })
	close(h.release)
	for range 256 {
		if a := p.read(); a.Error != nil {
			t.Fatalf("%s: %v", a.ID, a.Error)
		}
	}
	if most := h.most.Load(); most != 256 {
		t.Errorf("%d ran at once", most)
	}
}

func TestFullPipelineIsNeverLimited(t *testing.T) {
	p := serve(t, t.Context(), newToys().handle, Options{})
	slots := make(chan struct{}, 256)
	go func() {
		for i := range 20_000 {
			slots <- struct{}{}
			p.send(rpc(i, "toy.echo", ""))
		}
	}()
	for range 20_000 {
		if a := p.read(); a.Error != nil {
			t.Fatalf("%s: %v", a.ID, a.Error)
		}
		<-slots
	}
}

// TestAnAnswerFreesItsPlaceAtOnce: who has read an answer may use its id, and its place, again.
func TestAnAnswerFreesItsPlaceAtOnce(t *testing.T) {
	p := serve(t, t.Context(), newToys().handle, Options{InFlight: 1})
	for i := range 20_000 {
		p.send(rpc("same", "toy.echo", ""))
		if a := p.read(); a.Error != nil {
			t.Fatalf("call %d: %v", i, a.Error)
		}
	}
}

func TestReservedConnectionOnlyLooks(t *testing.T) {
	p := serve(t, Reserved(t.Context()), newToys().handle, Options{Priority: func(m string) bool { return m == "daemon.ping" }})
	p.send(rpc(1, "toy.echo", ""), rpc(2, "daemon.ping", ""))
	if a := p.read(); string(a.ID) != "1" || a.code() != -32013 || a.Error.Fault().Reason != "connections" {
		t.Fatalf("echo: %+v", a)
	}
	if a := p.read(); string(a.ID) != "2" || a.Error != nil {
		t.Fatalf("ping: %+v", a)
	}
}

func TestClientThatDoesNotReadIsCut(t *testing.T) {
	for _, c := range []struct{ name, line string }{
		{"stream", rpc(1, "toy.flood", "")},
		{"two streams", rpc(1, "toy.flood", "") + "\n" + rpc(2, "toy.flood", "")}, // one writes, the other queues
		{"answers", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newToys()
			p := serve(t, t.Context(), h.handle, Options{WriteTimeout: 200 * time.Millisecond})
			if c.line != "" {
				p.send(c.line)
			} else {
				line := rpc(1, "toy.echo", `{"text":"`+strings.Repeat("x", 10_000)+`"}`) + "\n"
				for range 10_000 {
					_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
					if _, err := io.WriteString(p.conn, line); err != nil {
						break
					}
				}
			}
			if err := p.wantServed(); !errors.Is(err, errCut) {
				t.Fatalf("ended with %v", err)
			}
			if h.running.Load() != 0 || h.most.Load() > 2000 {
				t.Errorf("%d run, %d items were taken from the stream", h.running.Load(), h.most.Load())
			}
		})
	}
}

func TestSlowReaderIsNotCut(t *testing.T) {
	p := serve(t, t.Context(), newToys().handle, Options{WriteTimeout: 300 * time.Millisecond})
	p.send(rpc(1, "toy.count", `{"n":40000}`))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := range 40_000 {
		if i%4000 == 0 {
			<-tick.C
		}
		if a := p.read(); a.Method != "$/item" {
			t.Fatalf("item %d: %+v", i, a)
		}
	}
}

func TestTooLongLine(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
		end  string
		good bool
	}{
		{"at the limit", MaxLine, "\n", true}, {"one more", MaxLine + 1, "\n", false}, {"64 MB", 64 << 20, "\n", false}, {"endless", 16 << 20, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := serve(t, t.Context(), newToys().handle, Options{})
			pre, post := `{"jsonrpc":"2.0","id":1,"method":"daemon.ping","params":{"x":"`, `"}}`
			go func() { // the end of the connection may come before the end of the line
				_, _ = io.WriteString(p.conn, pre)
				_, _ = io.Copy(p.conn, io.LimitReader(xs{}, int64(c.size-len(pre)-len(post))))
				_, _ = io.WriteString(p.conn, post+c.end)
			}()
			a := p.read()
			if c.good {
				if string(a.ID) != "1" || a.Error != nil {
					t.Fatalf("got %+v", a)
				}
				return
			}
			if string(a.ID) != "null" || a.code() != CodeInvalidRequest {
				t.Fatalf("got %+v", a)
			}
			p.wantEnd()
			if err := p.wantServed(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

type xs struct{}

func (xs) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}
