package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	mcplib "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// echo answers every line with one of the size of a real answer, after reading and writing JSON as anybody has to.
func echo(_ context.Context, c net.Conn) {
	in := bufio.NewReaderSize(c, 64<<10)
	result := json.RawMessage(`{"content":[{"type":"text","text":"{\"name\":\"web\",\"state\":\"running\",\"note\":\"plain\"}"}],"structuredContent":{"name":"web","state":"running","note":"plain"}}`)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct {
			JSONRPC string          `json:"jsonrpc"`
			ID      json.RawMessage `json:"id"`
			Result  json.RawMessage `json:"result"`
		}
		if json.Unmarshal(line, &m) != nil {
			return
		}
		m.Result = result
		out, _ := json.Marshal(m)
		if _, err := c.Write(append(out, '\n')); err != nil {
			return
		}
	}
}

// bare is mcp-go without anything of ours: no validation, no record, no policy. The connection is as plain as it can be.
func bare() func(context.Context, net.Conn) {
	lib := server.NewMCPServer("bare", "1")
	lib.AddTool(mcplib.NewTool("apps_get", mcplib.WithString("name", mcplib.Required())), func(_ context.Context, req mcplib.CallToolRequest) (*mcplib.CallToolResult, error) {
		return mcplib.NewToolResultStructured(app{req.GetString("name", ""), "running", "plain"}, `{"name":"web","state":"running","note":"plain"}`), nil
	})
	return func(ctx context.Context, c net.Conn) {
		in := bufio.NewReaderSize(c, 64<<10)
		var mu sync.Mutex
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			go func() {
				out, _ := json.Marshal(lib.HandleMessage(ctx, line))
				mu.Lock()
				defer mu.Unlock()
				_, _ = c.Write(append(out, '\n'))
			}()
		}
	}
}

// rate gives the calls a second of a server at so many in flight on one unix socket.
func rate(b *testing.B, serve func(context.Context, net.Conn), flight int, d time.Duration) float64 {
	b.Helper()
	ln, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	end, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() { serve(ctx, end) })
	defer func() {
		c.Close()
		cancel()
		wg.Wait()
	}()
	line := func(i int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"apps_get","arguments":{"name":"web"}}}`+"\n", i)
	}
	in := bufio.NewReaderSize(c, 256<<10)
	for i := range flight {
		_, _ = io.WriteString(c, line(i))
	}
	start, n := time.Now(), 0
	for time.Since(start) < d {
		answer, err := in.ReadBytes('\n')
		if err != nil || !bytes.Contains(answer, []byte(`"result"`)) {
			b.Fatalf("%v %s", err, answer)
		}
		n++
		if _, err := io.WriteString(c, line(flight+n)); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}

// BenchmarkAgainst measures a tool call in this process with validation and record beside bare mcp-go and an echo, in turns,
// so that the ratios hold whatever else the machine does. The limits of agents are lifted.
func BenchmarkAgainst(b *testing.B) {
	for _, flight := range []int{1, 32} {
		b.Run(fmt.Sprint(flight, "-in-flight"), func(b *testing.B) {
			bed := newBed(b)
			ours := func(ctx context.Context, c net.Conn) { _ = bed.ServeConn(ctx, c, nil, owner) }
			lib := bare()
			var our, their, raw float64
			for range b.N {
				our += rate(b, ours, flight, 300*time.Millisecond)
				their += rate(b, lib, flight, 300*time.Millisecond)
				raw += rate(b, echo, flight, 300*time.Millisecond)
			}
			b.ReportMetric(our/float64(b.N), "calls/s")
			b.ReportMetric(our/their, "×mcp-go")
			b.ReportMetric(our/raw, "×echo")
			b.ReportMetric(0, "ns/op")
		})
	}
}
