package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	shake = `{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}` + "\n"
	shook = `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"
)

func toolCall(id int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"apps_get","arguments":{"name":"a000"}}}`+"\n", id)
}

func nativeCall(id int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"apps.get","params":{"name":"a000"}}`+"\n", id)
}

// talk is a conversation in lines.
type talk struct {
	in  *bufio.Reader
	out io.Writer
	end func()
}

func (t *talk) ask(line string) ([]byte, error) {
	if _, err := io.WriteString(t.out, line); err != nil {
		return nil, err
	}
	return t.in.ReadBytes('\n')
}

func dial(sock string) (*talk, error) {
	c, err := net.Dial("unix", sock)
	if err != nil {
		return nil, err
	}
	return &talk{bufio.NewReaderSize(c, 256<<10), c, func() { c.Close() }}, nil
}

// spawn talks to a command over its standard streams.
func (w *world) spawn(ctx context.Context, env []string, argv ...string) (*talk, error) {
	cmd := w.command(ctx, env, argv...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.tree.Start(cmd); err != nil {
		return nil, err
	}
	return &talk{bufio.NewReaderSize(out, 256<<10), in, func() {
		in.Close()
		_ = w.tree.Wait(cmd) // how it ended does not matter any more
	}}, nil
}

// rate gives the calls a second with so many in flight on one connection.
func (t *talk) rate(call func(int) string, flight int, d time.Duration) (float64, error) {
	for i := range flight {
		if _, err := io.WriteString(t.out, call(i)); err != nil {
			return 0, err
		}
	}
	start, n := time.Now(), 0
	var took time.Duration
	for end := flight; n < end; {
		line, err := t.in.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		if !bytes.Contains(line, []byte(`"result"`)) || bytes.Contains(line, []byte(`"isError":true`)) {
			return 0, fmt.Errorf("refused: %s", tail(string(line)))
		}
		n++
		if took = time.Since(start); took < d {
			if _, err := io.WriteString(t.out, call(end)); err != nil {
				return 0, err
			}
			end++
		}
	}
	return float64(n) / took.Seconds(), nil
}

// target is a server to call, made anew for each measurement.
type target struct {
	column string
	call   func(int) string
	mcp    bool
	open   func(ctx context.Context) (*talk, error)
}

func (t target) measure(ctx context.Context, flight int, d time.Duration) (float64, error) {
	c, err := t.open(ctx)
	if err != nil {
		return 0, err
	}
	defer c.end()
	if t.mcp {
		if _, err := c.ask(shake); err != nil {
			return 0, err
		}
		if _, err := io.WriteString(c.out, shook); err != nil {
			return 0, err
		}
	}
	if _, err := c.rate(t.call, flight, d/10); err != nil { // warm
		return 0, err
	}
	return c.rate(t.call, flight, d)
}

// calls measures tool calls and native ones of a daemon with apps, beside servers that do less.
func calls(ctx context.Context, b *bench) error {
	m := maker{"omnitron", func(w *world) contender {
		return &omnitron{world: w, more: "limits: {agentCalls: 1000000, agentChanges: 1000000}\n"}
	}}
	return b.in(ctx, m, beating(10, false), func(ctx context.Context, w *world) error {
		if err := w.super.up(ctx); err != nil {
			return err
		}
		o := w.super.(*omnitron)
		if err := rates(ctx, b, w, o); err != nil {
			return err
		}
		return tokens(ctx, b, w, o)
	})
}

func rates(ctx context.Context, b *bench, w *world, o *omnitron) error {
	sock := filepath.Join(o.home(), "daemon.sock")
	answer, err := sample(sock)
	if err != nil {
		return err
	}
	file := filepath.Join(w.dir, "answer.json")
	if err := os.WriteFile(file, answer, 0o600); err != nil {
		return err
	}
	socks := map[string]string{"omnitron": sock}
	for _, kind := range []string{"mcp-go", "echo"} {
		socks[kind] = filepath.Join(w.dir, kind)
		server, err := w.server(b.self, "program", "serve", kind, socks[kind], file)
		if err != nil {
			return err
		}
		defer w.over(server)
		if err := until(ctx, 5*time.Second, kind+" listens", func() bool { _, err := os.Stat(socks[kind]); return err == nil }); err != nil {
			return err
		}
	}
	direct := func(name string) func(context.Context) (*talk, error) {
		return func(context.Context) (*talk, error) { return dial(socks[name]) }
	}
	bridge := func(name string) func(context.Context) (*talk, error) {
		return func(ctx context.Context) (*talk, error) {
			if name == "omnitron" {
				return w.spawn(ctx, o.env(), b.binary, "mcp")
			}
			return w.spawn(ctx, nil, b.self, "program", "serve", "pipe", socks[name], file)
		}
	}
	groups := []struct {
		what    string
		targets []target
	}{
		{"tools/call on the socket", []target{
			{"omnitron", toolCall, true, direct("omnitron")}, {"mcp-go", toolCall, true, direct("mcp-go")}, {"echo", toolCall, false, direct("echo")}}},
		{"tools/call through a stdio bridge", []target{
			{"omnitron", toolCall, true, bridge("omnitron")}, {"mcp-go", toolCall, true, bridge("mcp-go")}, {"echo", toolCall, false, bridge("echo")}}},
		{"native calls on the socket", []target{
			{"omnitron", nativeCall, false, direct("omnitron")}, {"echo", nativeCall, false, direct("echo")}}},
	}
	for _, g := range groups {
		for _, flight := range []int{1, 32} {
			what := fmt.Sprintf("%s, %d B, %d in flight: calls/s", g.what, len(answer), flight)
			if err := compare(ctx, b, what, g.targets, flight); err != nil {
				return err
			}
		}
	}
	b.table.row("… the rate that agents are limited to", "").set("omnitron", true, "1 000 000/s here, 200/s by default")
	return nil
}

// compare measures the targets in turns and keeps the best of each: what disturbs one of them seldom disturbs it each time.
func compare(ctx context.Context, b *bench, what string, targets []target, flight int) error {
	return compareTo(ctx, b, what, targets, flight, 0)
}

// compareTo is compare with a share of the floor that omnitron has to reach; 0: none.
func compareTo(ctx context.Context, b *bench, what string, targets []target, flight int, least float64) error {
	best := map[string]float64{}
	for range b.count(5, 2) {
		for _, t := range targets {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			n, err := t.measure(ctx, flight, time.Duration(b.count(1000, 300))*time.Millisecond)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", what, t.column, err)
			}
			best[t.column] = max(best[t.column], n)
		}
	}
	floor := ""
	if best["mcp-go"] > 0 {
		floor = "≥ mcp-go"
	}
	if least > 0 {
		floor = fmt.Sprintf("≥ %.2f of the floor", least)
	}
	r := b.table.row(what, floor)
	for _, t := range targets {
		r.set(t.column, best[t.column] >= max(best["mcp-go"], least*best["echo"]), "%.0f (%.2f)", best[t.column], best[t.column]/best["echo"])
	}
	return nil
}

// over ends a server.
func (w *world) over(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // gone is as good
	_ = w.tree.Wait(cmd)
}

// sample gives the result that omnitron answers with.
func sample(sock string) ([]byte, error) {
	c, err := dial(sock)
	if err != nil {
		return nil, err
	}
	defer c.end()
	if _, err := c.ask(shake); err != nil {
		return nil, err
	}
	line, err := c.ask(shook + toolCall(1))
	if err != nil {
		return nil, err
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil || m.Result == nil {
		return nil, fmt.Errorf("no answer to give: %s", tail(string(line)))
	}
	return m.Result, nil
}

// tokens counts what a model sees of the tools, four bytes a token.
func tokens(ctx context.Context, b *bench, w *world, o *omnitron) error {
	for profile, most := range map[string]int{"core": 2000, "full": 0, "readonly": 0} {
		c, err := w.spawn(ctx, o.env(), b.binary, "mcp", "--profile", profile)
		if err != nil {
			return err
		}
		defer c.end()
		if _, err := c.ask(shake); err != nil {
			return err
		}
		line, err := c.ask(shook + `{"jsonrpc":"2.0","id":1,"method":"tools/list"}` + "\n")
		if err != nil {
			return err
		}
		var m struct {
			Result struct {
				Tools []struct {
					Name, Description string
					InputSchema       json.RawMessage
				}
			}
		}
		if err := json.Unmarshal(line, &m); err != nil {
			return err
		}
		bytes, n := 0, len(m.Result.Tools)
		for _, t := range m.Result.Tools {
			bytes += len(t.Name) + len(t.Description) + len(t.InputSchema)
		}
		asked := "≤ 2.0 k"
		if most == 0 { // 9 k for about 150
			most = 9000 * n / 150
			asked = fmt.Sprintf("≤ %d, its share of 9 k for 150", most)
		}
		b.table.row("tools/list, profile "+profile+": tools, tokens", asked).set("omnitron", n > 0 && bytes/4 <= most, "%d, %d", n, bytes/4)
	}
	return nil
}

// commandLine measures the start of the command line itself.
func commandLine(ctx context.Context, b *bench) error {
	n := b.count(100, 20)
	m := maker{"omnitron", func(w *world) contender { return &omnitron{world: w} }}
	return b.in(ctx, m, beating(n, false), func(ctx context.Context, w *world) error {
		if err := w.super.up(ctx); err != nil {
			return err
		}
		o := w.super.(*omnitron)
		for _, c := range []struct {
			args, what string
			most       time.Duration
		}{{"version", "omnitron version, median", 25 * time.Millisecond}, {"ls", fmt.Sprintf("omnitron ls with %d apps, median", n), 40 * time.Millisecond}} {
			var took spread
			for range b.count(50, 10) {
				began := time.Now()
				if _, err := o.run(ctx, strings.Fields(c.args)...); err != nil {
					return err
				}
				took = append(took, time.Since(began))
			}
			b.table.row(c.what, "≤ "+millis(c.most)).set("omnitron", took.median() <= c.most, "%s", millis(took.median()))
		}
		return nil
	})
}
