package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	mcplib "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// serveCalls is a server that omnitron's calls are held against, in a process of its own: program serve KIND SOCKET FILE.
// Those that listen on an address write it where the socket would be. FILE holds the answer of omnitron that it gives too.
func serveCalls(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if len(args) != 3 {
		return 64
	}
	if err := serveKind(ctx, args[0], args[1], args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveKind(ctx context.Context, kind, sock, file string) error {
	if kind == "pipe" {
		return pipe(sock)
	}
	answer, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	serve := func(ctx context.Context, c net.Conn) { echo(c, answer) }
	if kind == "mcp-go" {
		if serve, err = bare(answer); err != nil {
			return err
		}
	}
	var ln net.Listener
	switch kind {
	case "echo-tls":
		ln, err = secure(sock)
	case "echo-http":
		ln, err = local(sock)
	default:
		ln, err = net.Listen("unix", sock)
	}
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	if kind == "echo-http" {
		_ = http.Serve(ln, echoes(answer)) // until it is asked to end
		return nil
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil // asked to end
		}
		go serve(ctx, c)
	}
}

// pipe is the least that a bridge from standard streams to a socket can do: copy bytes.
func pipe(sock string) error {
	c, err := net.Dial("unix", sock)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(c, os.Stdin)
		c.Close()
	}()
	_, _ = io.Copy(os.Stdout, c) // until either end has had enough
	return nil
}

// message is a request as far as the echo looks at it, and its answer.
type message struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result"`
}

// echo answers every line with the same result, after reading and writing JSON as anybody has to. It is the floor.
func echo(c net.Conn, result []byte) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(line, &m) != nil {
			return
		}
		m.Result = result
		out, err := json.Marshal(m)
		if err != nil {
			return
		}
		if _, err := c.Write(append(out, '\n')); err != nil {
			return
		}
	}
}

// echoes is echo over HTTP: the library with a handler that reads JSON and gives the answer.
func echoes(answer []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in map[string]any
		if err != nil || json.Unmarshal(body, &in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer) // a client that has gone is no news
	})
}

// bare is mcp-go with one tool that gives the same answer as ours, without validation, record or policy. The connection is
// as plain as it can be.
func bare(result []byte) (func(context.Context, net.Conn), error) {
	var r struct {
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		Structured view.App `json:"structuredContent"`
	}
	if err := json.Unmarshal(result, &r); err != nil || len(r.Content) == 0 {
		return nil, fmt.Errorf("cannot read the answer to give: %w", err)
	}
	lib := server.NewMCPServer("bare", "1")
	lib.AddTool(mcplib.NewTool("apps_get", mcplib.WithString("name", mcplib.Required())), func(_ context.Context, req mcplib.CallToolRequest) (*mcplib.CallToolResult, error) {
		if _, err := req.RequireString("name"); err != nil {
			return nil, err
		}
		return mcplib.NewToolResultStructured(r.Structured, r.Content[0].Text), nil
	})
	return func(ctx context.Context, c net.Conn) {
		defer c.Close()
		in := bufio.NewReaderSize(c, 64<<10)
		var mu sync.Mutex
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			go func() {
				out, err := json.Marshal(lib.HandleMessage(ctx, line))
				if err != nil || string(out) == "null" {
					return // a notification
				}
				mu.Lock()
				defer mu.Unlock()
				_, _ = c.Write(append(out, '\n')) // a client that has gone is no news
			}()
		}
	}, nil
}
