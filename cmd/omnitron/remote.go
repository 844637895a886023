package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/boot"
	"github.com/omnitron-dev/omnitron/cmd/cli"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/cmd/remote"
	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/life"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/mcp/bridge"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// remotes are the daemons of other machines, as the command line knows them.
func remotes() cli.Remotes {
	return cli.Remotes{
		Dial: func(ctx context.Context, home, alias string) (cli.Client, error) {
			b, err := book(home)
			if err != nil {
				return nil, err
			}
			c, err := b.Dial(ctx, alias, remote.Launch{})
			if err != nil {
				return nil, err // not a nil *Client
			}
			return c, nil
		},
		Key: func(ctx context.Context, address string) (session.RemoteKey, error) {
			address, err := remote.Address(address)
			if err != nil {
				return session.RemoteKey{}, err
			}
			pin, _, err := remote.Key(ctx, address)
			return session.RemoteKey{Address: address, Pin: pin}, err
		},
		Add: addRemote,
		List: func(home string) ([]session.Remote, error) {
			b, err := book(home)
			if err != nil {
				return nil, err
			}
			list, err := b.List()
			var all []session.Remote
			for _, r := range list {
				all = append(all, session.Remote(r))
			}
			return all, err
		},
		Remove: func(ctx context.Context, home, alias string) (session.Remote, error) {
			b, err := book(home)
			if err != nil {
				return session.Remote{}, err
			}
			r, err := b.Remove(ctx, alias)
			return session.Remote(r), err
		},
		Test: testRemote,
		MCP:  speakRemoteMCP,
	}
}

func book(home string) (remote.Book, error) {
	abs, err := boot.Home(home)
	return remote.Open(abs), err
}

func addRemote(ctx context.Context, home string, r session.NewRemote) (session.RemoteUser, error) {
	abs, err := boot.Home(home)
	if err != nil {
		return session.RemoteUser{}, err
	}
	if err := remote.CheckAlias(r.Alias); err != nil {
		return session.RemoteUser{}, err
	}
	if err := boot.Prepare(abs); err != nil {
		return session.RemoteUser{}, err
	}
	w, err := remote.Open(abs).Add(ctx, r.Alias, r.Address, r.Pin, remote.SignIn{Token: r.Token, User: r.User, Password: r.Password})
	return userOf(remote.Remote{Alias: r.Alias, Address: r.Address, Pin: r.Pin}, w), err
}

func userOf(r remote.Remote, w remote.Welcome) session.RemoteUser {
	return session.RemoteUser{Alias: r.Alias, Address: r.Address, Pin: r.Pin, User: w.User, Channel: w.Channel, Role: w.Role, Expires: w.Expires}
}

func testRemote(ctx context.Context, home, alias string) (session.RemoteTest, error) {
	b, err := book(home)
	if err != nil {
		return session.RemoteTest{}, err
	}
	began := time.Now()
	c, err := b.Dial(ctx, alias, remote.Launch{})
	if err != nil {
		return session.RemoteTest{}, err
	}
	defer c.Close()
	raw, err := c.Call(ctx, "daemon.version", struct{}{})
	if err != nil {
		return session.RemoteTest{}, err
	}
	var v struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return session.RemoteTest{}, fault.Wrap(err, fault.Internal, "the daemon's answer cannot be read").WithReason("bad_answer")
	}
	took := time.Since(began)
	list, err := b.List()
	if err != nil {
		return session.RemoteTest{}, err
	}
	t := session.RemoteTest{Version: v.Version, TookMS: took.Milliseconds()}
	for _, r := range list {
		if r.Alias == alias {
			t.RemoteUser = userOf(r, c.Welcome)
		}
	}
	return t, nil
}

// speakRemoteMCP serves MCP on standard input and output with the calls of a remote daemon: the binding runs in this
// process, and what goes over the network is the native dialect.
func speakRemoteMCP(ctx context.Context, home, alias string, l cli.Launch) error {
	out, err := putOutAside()
	if err != nil {
		return err
	}
	b, err := book(home)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	registry, welcome, err := b.Connect(ctx, alias, catalog.Specs(), remote.Launch{Role: l.Role, ReadOnly: l.ReadOnly || l.Profile == "readonly", Toolsets: l.Toolsets})
	if err != nil {
		return err
	}
	defer registry.Close()
	news := bus.New(1, 256)
	server, err := mcp.New(registry, mcp.Options{Version: version, Log: log, Bus: news})
	if err != nil {
		return err
	}
	caller := op.Caller{User: welcome.User, UID: -1, Channel: op.Channel(welcome.Channel), Token: welcome.Session, Plane: "stdio", Ceiling: op.ParseRole(welcome.Ceiling), Role: op.ParseRole(welcome.Role)}
	conns := make(chan net.Conn)
	daemon := bridge.Daemon{Version: version, Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		select {
		case conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	ctx, over := context.WithCancel(ctx)
	defer over()
	var ended error
	g := life.New(log)
	g.Add(life.Component{Name: "news", Run: func(ctx context.Context) error {
		return registry.Follow(ctx, news, pause)
	}})
	g.Add(life.Component{Name: "server", Run: func(ctx context.Context) error {
		for {
			select {
			case c := <-conns:
				_ = server.ServeConn(ctx, c, nil, caller) // the bridge tells how it ended
			case <-ctx.Done():
				return nil
			}
		}
	}})
	g.Add(life.Component{Name: "client", Run: func(ctx context.Context) error {
		defer over()
		ended = bridge.Run(ctx, os.Stdin, out, daemon, mcp.Launch{Role: l.Role, Profile: l.Profile, Toolsets: l.Toolsets, ReadOnly: l.ReadOnly}, log)
		return nil
	}})
	if err := g.Run(ctx, nil); err != nil {
		return fmt.Errorf("cannot end in order: %w", err)
	}
	return ended
}

// pause waits a second, or until ctx ends.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}
