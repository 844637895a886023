package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
)

type echoIn struct {
	Text string `json:"text"`
	N    int    `json:"n"`
}

// BenchmarkWire compares calls with what the same socket does without any of this: a raw echo of lines of the same
// size, and one that decodes and encodes them too.
func BenchmarkWire(b *testing.B) {
	text := strings.Repeat("x", 64)
	for _, inFlight := range []int{1, 32} {
		b.Run(fmt.Sprintf("raw-echo/%d", inFlight), func(b *testing.B) { benchRaw(b, inFlight, text, nil) })
		b.Run(fmt.Sprintf("json-echo/%d", inFlight), func(b *testing.B) {
			benchRaw(b, inFlight, text, func(line []byte) []byte {
				var m struct {
					JSONRPC string `json:"jsonrpc"`
					ID      int    `json:"id"`
					Method  string `json:"method"`
					Params  echoIn `json:"params"`
				}
				if err := json.Unmarshal(line, &m); err != nil {
					panic(err)
				}
				out, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": m.Params})
				if err != nil {
					panic(err)
				}
				return append(out, '\n')
			})
		})
		b.Run(fmt.Sprintf("call/%d", inFlight), func(b *testing.B) { benchCall(b, inFlight, text) })
	}
	b.Run("stream", benchStream)
}

func listen(tb testing.TB) (net.Listener, string) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l, path
}

func benchRaw(b *testing.B, inFlight int, text string, work func([]byte) []byte) {
	l, path := listen(b)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				return
			}
			if work != nil {
				line = work(line)
			}
			if _, err := conn.Write(line); err != nil {
				return
			}
		}
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	line := []byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"toy.echo","params":{"text":%q,"n":1}}`+"\n", text))
	slots := make(chan struct{}, inFlight)
	done := make(chan error, 1)
	go func() {
		r := bufio.NewReader(conn)
		for range b.N {
			if _, err := r.ReadSlice('\n'); err != nil {
				done <- err
				return
			}
			<-slots
		}
		done <- nil
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		slots <- struct{}{}
		if _, err := conn.Write(line); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func benchServer(b *testing.B, h Handler) *Client {
	l, path := listen(b)
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		served <- Serve(context.Background(), conn, nil, h, Options{})
	}()
	c, err := Dial(b.Context(), "unix", path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Close()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return c
}

func benchCall(b *testing.B, inFlight int, text string) {
	c := benchServer(b, func(_ context.Context, _ string, params json.RawMessage, _ op.Emit) (any, error) {
		var in echoIn
		err := json.Unmarshal(params, &in)
		return in, err
	})
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				var out echoIn
				if err := c.Call(b.Context(), "toy.echo", echoIn{text, 1}, &out); err != nil || out.N != 1 {
					b.Error(out, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func benchStream(b *testing.B) {
	item := echoIn{strings.Repeat("x", 200), 1}
	c := benchServer(b, func(_ context.Context, _ string, _ json.RawMessage, emit op.Emit) (any, error) {
		for range b.N {
			if err := emit(item); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	b.ReportAllocs()
	b.SetBytes(int64(len(item.Text)))
	n := 0
	for _, err := range c.Stream(b.Context(), "toy.items", nil) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n != b.N {
		b.Fatal(n, io.ErrUnexpectedEOF)
	}
}

func BenchmarkParse(b *testing.B) {
	line := []byte(`{"jsonrpc":"2.0","id":12,"method":"apps.restart","params":{"names":["shop/dev/api","web"],"wait":true,"timeout_s":30,"confirm":"x"}}`)
	var p Parser
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := p.Parse(line); err != nil {
			b.Fatal(err)
		}
	}
}
