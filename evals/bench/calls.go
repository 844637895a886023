package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
	"io"
	"net"
	"os"
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

// figures are what a measurement of calls gives.
type figures struct {
	rate float64      // calls a second
	took table.Spread // each call, from its writing to its answer
}

// rate makes calls with so many in flight on one connection.
func (t *talk) rate(call func(int) string, flight int, d time.Duration) (f figures, err error) {
	var sent []time.Time
	send := func() error {
		line := call(len(sent))
		sent = append(sent, time.Now())
		_, err := io.WriteString(t.out, line)
		return err
	}
	start := time.Now()
	for range flight {
		if err := send(); err != nil {
			return f, err
		}
	}
	for n := 0; n < len(sent); n++ {
		line, err := t.in.ReadBytes('\n')
		if err != nil {
			return f, err
		}
		now := time.Now()
		id, ok := answered(line)
		if !ok || id >= len(sent) {
			return f, fmt.Errorf("refused: %s", tail(string(line)))
		}
		f.took = append(f.took, now.Sub(sent[id]))
		f.rate = float64(n+1) / now.Sub(start).Seconds()
		if now.Sub(start) < d {
			if err := send(); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// answered gives the id of a call that was answered and not refused.
func answered(line []byte) (id int, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte(`"id":`))
	for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
		id, rest = 10*id+int(rest[0]-'0'), rest[1:]
	}
	return id, ok && bytes.Contains(rest, []byte(`"result"`)) && !bytes.Contains(rest, []byte(`"isError":true`))
}

// target is a server to call, connected to anew for each measurement.
type target struct {
	column string
	calls  func(ctx context.Context, flight int, d time.Duration) (figures, error)
}

// lines is a target that is spoken to in lines.
func lines(column string, call func(int) string, mcp bool, open func(context.Context) (*talk, error)) target {
	return target{column, func(ctx context.Context, flight int, d time.Duration) (figures, error) {
		c, err := open(ctx)
		if err != nil {
			return figures{}, err
		}
		defer c.end()
		if mcp {
			if _, err := c.ask(shake); err != nil {
				return figures{}, err
			}
			if _, err := io.WriteString(c.out, shook); err != nil {
				return figures{}, err
			}
		}
		if _, err := c.rate(call, flight, d/10); err != nil { // warm
			return figures{}, err
		}
		return c.rate(call, flight, d)
	}}
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
	socks := map[string]string{}
	var sizes []int
	for _, f := range []struct{ name, kind, before, call string }{{"mcp-go", "mcp-go", shake + shook, toolCall(1)}, {"echo", "echo", shake + shook, toolCall(1)}, {"native", "echo", "", nativeCall(1)}} {
		answer, err := sample(sock, f.before, f.call)
		if err != nil {
			return err
		}
		at, end, err := w.floor(ctx, f.kind, answer)
		if err != nil {
			return err
		}
		defer end()
		socks[f.name], sizes = at, append(sizes, len(answer))
	}
	direct := func(at string) func(context.Context) (*talk, error) {
		return func(context.Context) (*talk, error) { return dial(at) }
	}
	bridge := func(at string) func(context.Context) (*talk, error) {
		return func(ctx context.Context) (*talk, error) {
			return w.spawn(ctx, nil, b.self, "program", "serve", "pipe", at, "-")
		}
	}
	own := func(ctx context.Context) (*talk, error) { return w.spawn(ctx, o.env(), b.binary, "mcp") }
	for _, g := range []struct {
		what    string
		size    int
		targets []target
	}{
		{"tools/call on the socket", sizes[1], []target{
			lines("omnitron", toolCall, true, direct(sock)), lines("mcp-go", toolCall, true, direct(socks["mcp-go"])), lines("echo", toolCall, false, direct(socks["echo"]))}},
		{"tools/call through a stdio bridge", sizes[1], []target{
			lines("omnitron", toolCall, true, own), lines("mcp-go", toolCall, true, bridge(socks["mcp-go"])), lines("echo", toolCall, false, bridge(socks["echo"]))}},
		{"native calls on the socket", sizes[2], []target{
			lines("omnitron", nativeCall, false, direct(sock)), lines("echo", nativeCall, false, direct(socks["native"]))}},
	} {
		if err := compare(ctx, b, fmt.Sprintf("%s, %d B", g.what, g.size), g.targets, 0); err != nil {
			return err
		}
	}
	b.table.Row("… the rate that agents are limited to", "").Set("omnitron", true, "1 000 000/s here, 200/s by default")
	return nil
}

// compare measures the targets in turns with one call in flight and with 32, and keeps the best of each: what disturbs one of
// them seldom disturbs it each time. least is the share of the echo's rate that omnitron has to reach; 0: that of mcp-go, if it is
// there.
func compare(ctx context.Context, b *bench, what string, targets []target, least float64) error {
	for _, flight := range []int{1, 32} {
		what := fmt.Sprintf("%s, %d in flight: calls/s (of the floor's), p99", what, flight)
		best := map[string]figures{}
		for range b.count(5, 2) {
			for _, t := range targets {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				f, err := t.calls(ctx, flight, time.Duration(b.count(1000, 300))*time.Millisecond)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", what, t.column, err)
				}
				if f.rate > best[t.column].rate {
					best[t.column] = f
				}
			}
		}
		floor := ""
		if best["mcp-go"].rate > 0 {
			floor = "≥ mcp-go"
		}
		if least > 0 {
			floor = fmt.Sprintf("≥ %.2f of the floor", least)
		}
		r := b.table.Row(what, floor)
		for _, t := range targets {
			f, raw := best[t.column], best["echo"].rate
			r.Set(t.column, f.rate >= max(best["mcp-go"].rate, least*raw), "%.0f (%.2f), %s", f.rate, f.rate/raw, table.Millis(f.took.At(.99)))
		}
	}
	return nil
}

// floor starts a server that gives an answer and does no more than it must, and says where it listens.
func (w *world) floor(ctx context.Context, kind string, answer []byte) (at string, end func(), err error) {
	w.floors++
	path := filepath.Join(w.dir, fmt.Sprintf("f%d", w.floors)) // a socket, or the name of a file with an address
	file := path + ".answer"
	if err := os.WriteFile(file, answer, 0o600); err != nil {
		return "", nil, err
	}
	server, err := w.server(w.self, "program", "serve", kind, path, file)
	if err != nil {
		return "", nil, err
	}
	end = func() {
		_ = server.Process.Kill() // gone is as good
		_ = w.tree.Wait(server)
	}
	if err := until(ctx, 5*time.Second, kind+" listens", func() bool { _, err := os.Stat(path); return err == nil }); err != nil {
		end()
		return "", nil, err
	}
	if s, err := os.Stat(path); err == nil && s.Mode()&os.ModeSocket != 0 {
		return path, end, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		end()
		return "", nil, err
	}
	return string(text), end, nil
}

// sample gives the result that omnitron answers a call with.
func sample(sock, before, call string) ([]byte, error) {
	c, err := dial(sock)
	if err != nil {
		return nil, err
	}
	defer c.end()
	line, err := c.ask(before + call)
	for err == nil && before != "" && bytes.Contains(line, []byte(`"id":"i"`)) { // of the handshake
		line, err = c.in.ReadBytes('\n')
	}
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
		b.table.Row("tools/list, profile "+profile+": tools, tokens", asked).Set("omnitron", n > 0 && bytes/4 <= most, "%d, %d", n, bytes/4)
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
			var took table.Spread
			for range b.count(50, 10) {
				began := time.Now()
				if _, err := o.run(ctx, strings.Fields(c.args)...); err != nil {
					return err
				}
				took = append(took, time.Since(began))
			}
			b.table.Row(c.what, "≤ "+table.Millis(c.most)).Set("omnitron", took.Median() <= c.most, "%s", table.Millis(took.Median()))
		}
		return nil
	})
}
