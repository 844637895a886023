package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/store"
)

// secure is an echo behind TLS 1.3 with a certificate as a daemon's is. It writes its address into a file.
func secure(file string) (net.Listener, error) {
	seed := rand.Text()
	s, err := cert.New(cert.Options{Home: filepath.Dir(file) + "/echo-tls", Disk: store.OS, Log: slog.New(slog.DiscardHandler), Now: time.Now, Keys: func(name string) ([]byte, error) {
		sum := sha256.Sum256([]byte(seed + name))
		return sum[:], nil
	}}).Serve(cert.Use{})
	if err != nil {
		return nil, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.Config())
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file+".new", []byte(l.Addr().String()), 0o600); err != nil {
		return nil, err
	}
	return l, os.Rename(file+".new", file)
}

// overTLS talks to an address; token is said first, unless it is "".
func overTLS(address, token string) (*talk, error) {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	t := &talk{bufio.NewReaderSize(c, 256<<10), c, func() { c.Close() }}
	if token != "" {
		line, err := t.ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":"h","method":"auth.hello","params":{"token":%q}}`+"\n", token))
		if err != nil || !strings.Contains(string(line), `"result"`) {
			c.Close()
			return nil, fmt.Errorf("not let in: %s %w", tail(string(line)), err)
		}
	}
	return t, nil
}

// remotes measures calls over TCP with a token beside a floor with the same TLS, the command line with --remote, and what
// idle connections cost the daemon.
func remotes(ctx context.Context, b *bench) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := free.Addr().String()
	free.Close()
	m := maker{"omnitron", func(w *world) contender {
		return &omnitron{world: w, more: "limits: {agentCalls: 1000000, agentChanges: 1000000}\ntcp: {enabled: true, listen: \"" + address + "\"}\n"}
	}}
	return b.in(ctx, m, beating(10, false), func(ctx context.Context, w *world) error {
		if err := w.super.up(ctx); err != nil {
			return err
		}
		o := w.super.(*omnitron)
		token, err := o.remote(ctx, address)
		if err != nil {
			return err
		}
		for _, measure := range []func(context.Context, *bench, *world, *omnitron, string, string) error{remoteCalls, idleRemotes, remoteCommands} {
			if err := measure(ctx, b, w, o, address, token); err != nil {
				return err
			}
		}
		return nil
	})
}

// remote makes an account and a token, and adds the daemon to its own home as a remote.
func (o *omnitron) remote(ctx context.Context, address string) (token string, err error) {
	const script = `set -e
printf 'correct horse battery staple' | "$0" users create bench --role admin >/dev/null
"$0" tokens create bench --for bench --role admin --channel app --jq .result.token | tr -d '"' >token
"$0" remote add self "$1" --token-file token --pin "$("$0" status --jq '.planes[0].pin' | tr -d '"')" >/dev/null
cat token; rm token`
	out, err := o.do(ctx, o.env(), "sh", "-c", script, o.binary, address)
	return strings.TrimSpace(out), err
}

func remoteCalls(ctx context.Context, b *bench, w *world, o *omnitron, address, token string) error {
	answer, err := sample(filepath.Join(o.home(), "daemon.sock"))
	if err != nil {
		return err
	}
	file, at := filepath.Join(w.dir, "answer.json"), filepath.Join(w.dir, "echo-tls.address")
	if err := os.WriteFile(file, answer, 0o600); err != nil {
		return err
	}
	server, err := w.server(b.self, "program", "serve", "echo-tls", at, file)
	if err != nil {
		return err
	}
	defer w.over(server)
	if err := until(ctx, 5*time.Second, "the floor listens", func() bool { _, err := os.Stat(at); return err == nil }); err != nil {
		return err
	}
	echoes, err := os.ReadFile(at)
	if err != nil {
		return err
	}
	targets := []target{
		{"omnitron", nativeCall, false, func(context.Context) (*talk, error) { return overTLS(address, token) }},
		{"echo", nativeCall, false, func(context.Context) (*talk, error) { return overTLS(string(echoes), "") }},
	}
	for flight, least := range map[int]float64{1: .33, 32: .19} {
		if err := compareTo(ctx, b, fmt.Sprintf("native calls over TCP with a token, %d B, %d in flight: calls/s", len(answer), flight), targets, flight, least); err != nil {
			return err
		}
	}
	return nil
}

func idleRemotes(ctx context.Context, b *bench, w *world, o *omnitron, address, token string) error {
	const most = 64 << 20
	n := b.count(1000, 200)
	before, _ := memory([]int{o.main()})
	for range n {
		c, err := overTLS(address, token)
		if err != nil {
			return err
		}
		defer c.end()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	after, _ := memory([]int{o.main()})
	grown := after - before
	b.table.row(fmt.Sprintf("%d idle TCP connections: memory of the daemon", n), "≤ 64 MB").set("omnitron", grown <= most, "%+.1f MB", float64(grown)/(1<<20))
	return nil
}

func remoteCommands(ctx context.Context, b *bench, _ *world, o *omnitron, _, _ string) error {
	const most = 80 * time.Millisecond
	var took spread
	for range b.count(50, 10) {
		began := time.Now()
		if _, err := o.run(ctx, "ls", "--remote", "self"); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	b.table.row("omnitron ls --remote, median", "≤ "+millis(most)).set("omnitron", took.median() <= most, "%s", millis(took.median()))
	return nil
}
