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
	"github.com/omnitron-dev/omnitron/evals/bench/measure"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
)

// planes are where a daemon with its network planes on is reached, and with what.
type planes struct{ tcp, http, token string }

// open runs a task with a daemon whose network planes are on and that has so many apps. With account, an account and a token
// are made before the task begins.
func (b *bench) open(ctx context.Context, apps int, account bool, task func(ctx context.Context, w *world, o *omnitron, at planes) error) error {
	var at planes
	free := make([]net.Listener, 2)
	for i, a := range []*string{&at.tcp, &at.http} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		free[i], *a = l, l.Addr().String()
	}
	for _, l := range free { // once both are known: no two are the same
		l.Close()
	}
	m := maker{"omnitron", func(w *world) contender {
		return &omnitron{world: w, more: fmt.Sprintf("limits: {agentCalls: 1000000, agentChanges: 1000000}\ntcp: {enabled: true, listen: %q}\nhttp: {enabled: true, listen: %q}\n", at.tcp, at.http)}
	}}
	return b.in(ctx, m, beating(apps, false), func(ctx context.Context, w *world) (err error) {
		if err := w.super.up(ctx); err != nil {
			return err
		}
		o := w.super.(*omnitron)
		if account {
			if at.token, err = o.account(ctx, at); err != nil {
				return err
			}
		}
		return task(ctx, w, o, at)
	})
}

// account makes an account and a token, and adds the daemon to its own home as a remote.
func (o *omnitron) account(ctx context.Context, at planes) (token string, err error) {
	const script = `set -e
printf 'correct horse battery staple' | "$0" users create bench --role admin >/dev/null
"$0" tokens create bench --for bench --role admin --channel app --jq .result.token | tr -d '"' >token
"$0" remote add self "$1" --token-file token --pin "$("$0" status --jq '.planes[] | select(.name == "tcp").pin' | tr -d '"')" >/dev/null
cat token; rm token`
	out, err := o.do(ctx, o.env(), "sh", "-c", script, o.binary, at.tcp)
	return strings.TrimSpace(out), err
}

// local listens on an address of this machine alone, and writes it into a file.
func local(file string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file+".new", []byte(l.Addr().String()), 0o600); err != nil {
		return nil, err
	}
	return l, os.Rename(file+".new", file)
}

// secure is local behind TLS 1.3 with a certificate as a daemon's is.
func secure(file string) (net.Listener, error) {
	seed := rand.Text()
	s, err := cert.New(cert.Options{Home: filepath.Dir(file) + "/echo-tls", Disk: store.OS, Log: slog.New(slog.DiscardHandler), Now: time.Now, Keys: func(name string) ([]byte, error) {
		sum := sha256.Sum256([]byte(seed + name))
		return sum[:], nil
	}}).Serve(cert.Use{})
	if err != nil {
		return nil, err
	}
	l, err := local(file)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, s.Config()), nil
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

// tcpCalls measures calls over TCP with a token beside an echo with the same TLS.
func tcpCalls(ctx context.Context, b *bench) error {
	return b.open(ctx, 10, true, func(ctx context.Context, w *world, o *omnitron, at planes) error {
		answer, err := sample(filepath.Join(o.home(), "daemon.sock"), "", nativeCall(1))
		if err != nil {
			return err
		}
		echo, end, err := w.floor(ctx, "echo-tls", answer)
		if err != nil {
			return err
		}
		defer end()
		return compare(ctx, b, fmt.Sprintf("native calls over TCP with a token, %d B", len(answer)), []target{
			lines("omnitron", nativeCall, false, func(context.Context) (*talk, error) { return overTLS(at.tcp, at.token) }),
			lines("echo", nativeCall, false, func(context.Context) (*talk, error) { return overTLS(echo, "") }),
		}, .33)
	})
}

// httpCalls measures calls over HTTP with a token beside the bare library, on as many connections as there are calls in flight.
func httpCalls(ctx context.Context, b *bench) error {
	return b.open(ctx, 10, true, func(ctx context.Context, w *world, _ *omnitron, at planes) error {
		p, err := visit(at.http, at.token)
		if err != nil {
			return err
		}
		answer, err := p.ask()
		p.close()
		if err != nil {
			return err
		}
		echo, end, err := w.floor(ctx, "echo-http", answer)
		if err != nil {
			return err
		}
		defer end()
		return compare(ctx, b, fmt.Sprintf("REST calls over HTTP with a token, %d B", len(answer)), []target{pages("omnitron", at.http, at.token), pages("echo", echo, at.token)}, .19)
	})
}

// crowds measures what connections cost that were let in and then sit.
func crowds(ctx context.Context, b *bench) error {
	const most = 64 << 20
	n := b.count(1000, 200)
	for _, plane := range []string{"TCP", "HTTP"} {
		err := b.open(ctx, 10, true, func(ctx context.Context, _ *world, o *omnitron, at planes) error {
			if err := pause(ctx, calmFor); err != nil {
				return err
			}
			before, _ := measure.Memory([]int{o.main()})
			for range n {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if plane == "TCP" {
					c, err := overTLS(at.tcp, at.token)
					if err != nil {
						return err
					}
					defer c.end()
					continue
				}
				p, err := visit(at.http, at.token)
				if err != nil {
					return err
				}
				defer p.close()
				if _, err := p.ask(); err != nil { // one that asks nothing is closed
					return err
				}
			}
			after, _ := measure.Memory([]int{o.main()})
			b.table.Row(fmt.Sprintf("%d idle %s connections: memory of the daemon", n, plane), "≤ 64 MB").Set("omnitron", after-before <= most, "%+.1f MB", float64(after-before)/(1<<20))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// calmFor is how long a daemon is left alone before its memory is looked at after a burst.
const calmFor = 5 * time.Second

// signIns measures what the network planes cost that nobody uses, and what is left of passwords that were hashed.
func signIns(ctx context.Context, b *bench) error {
	const most = 8_000_000
	n := b.count(100, 20)
	return b.open(ctx, n, false, func(ctx context.Context, _ *world, o *omnitron, at planes) error {
		if err := pause(ctx, calmFor); err != nil {
			return err
		}
		rss, pss := measure.Memory(o.own())
		b.table.Row(fmt.Sprintf("%d programs, TCP and HTTP on and idle: memory, RSS and PSS", n), "").Set("omnitron", true, "%s, %s", table.MB(rss), table.MB(pss))
		if _, err := o.account(ctx, at); err != nil {
			return err
		}
		for range 2 {
			if err := signIn(at.http); err != nil {
				return err
			}
		}
		if err := pause(ctx, calmFor); err != nil {
			return err
		}
		after, _ := measure.Memory(o.own())
		b.table.Row(fmt.Sprintf("… %s after three passwords: memory, RSS, beside before", calmFor), "≤ 8 MB").Set("omnitron", after-rss <= most, "%+.1f MB", float64(after-rss)/1e6)
		return nil
	})
}

// remoteCommands measures the command line with a daemon elsewhere.
func remoteCommands(ctx context.Context, b *bench) error {
	const most = 80 * time.Millisecond
	n := b.count(100, 20)
	return b.open(ctx, n, true, func(ctx context.Context, _ *world, o *omnitron, _ planes) error {
		var took table.Spread
		for range b.count(50, 10) {
			began := time.Now()
			if _, err := o.run(ctx, "ls", "--remote", "self"); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		b.table.Row(fmt.Sprintf("omnitron ls --remote with %d apps, median", n), "≤ "+table.Millis(most)).Set("omnitron", took.Median() <= most, "%s", table.Millis(took.Median()))
		return nil
	})
}
