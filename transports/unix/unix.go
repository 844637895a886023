// Package unix is the management plane: a socket in the private home directory on which the owner and root, known by
// their peer credentials, speak either of two dialects. The first message of a connection decides which, for good: one
// that began as MCP never speaks the native dialect and carries an agent's rights.
package unix

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/transports/wire"
	"github.com/omnitron-dev/omnitron/transports/wire/door"
)

const reserveConns = 8 // connections beyond MaxConns that may only look

// Server takes in connections and hands each to the plane of its dialect, with its caller in the context. The planes
// own the connection they are given; first is the message that was read already.
type Server struct {
	Path  string // of the socket
	Owner int    // uid of the home's owner

	Native func(ctx context.Context, conn net.Conn, first []byte) error
	MCP    func(ctx context.Context, conn net.Conn, first []byte) error
	Log    *slog.Logger

	OnListen     func()                          // called once, when clients can connect; may be nil
	Refused      func(uid int, why *fault.Error) // called for each peer that may not come in; may be nil
	MaxConns     int                             // default 1024
	FirstTimeout time.Duration                   // for the first message; default 10 s

	group   wire.Group
	users   users
	refused door.Quiet // peers of another uid
	full    door.Quiet // no descriptor, or no place
}

// Run listens until ctx ends and all connections have ended. The faults before it listens are invalid
// (socket_path_too_long), denied (home_not_private) and conflict (socket_path_taken). Who owns the home has been
// decided before, by its lock: a socket that a dead daemon left is replaced.
func (s *Server) Run(ctx context.Context) error {
	if s.MaxConns <= 0 {
		s.MaxConns = 1024
	}
	if s.FirstTimeout <= 0 {
		s.FirstTimeout = 10 * time.Second
	}
	s.group.Limit = s.MaxConns + reserveConns
	l, err := listen(ctx, s.Path, s.Owner)
	if err != nil {
		return err
	}
	defer l.remove()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	if s.OnListen != nil {
		s.OnListen()
	}
	err = door.Accept(ctx, l, &s.full, s.Log, nil, func(c net.Conn) { s.take(ctx, c.(*net.UnixConn)) })
	_ = l.Close() // closed already when ctx has ended
	s.group.Wait()
	return err
}

// take starts serving a connection, or refuses it.
func (s *Server) take(ctx context.Context, c *net.UnixConn) {
	if door.Scarce(c) {
		s.full.Log(s.Log, "refusing connections: few file descriptors are left")
		s.refuse(c, fault.New(fault.Limited, "the daemon has few file descriptors left").
			WithReason("descriptors").WithHint("raise the limit of open files (ulimit -n), or close some connections").WithRetryAfter(1))
		return
	}
	if s.group.Len() >= s.MaxConns {
		ctx = wire.Reserved(ctx)
	}
	if !s.group.Go(func() { s.serve(ctx, c) }) {
		s.full.Log(s.Log, "refusing connections: too many are open", "limit", s.MaxConns)
		s.refuse(c, fault.New(fault.Limited, "%d connections are open", s.MaxConns).
			WithReason("connections").WithHint("close some connections, then try again").WithRetryAfter(1))
	}
}

// refuse says why in one line and closes. The line fits the socket's buffer, so this never waits for the peer.
func (s *Server) refuse(c *net.UnixConn, why *fault.Error) {
	s.say(c, wire.ErrorLine(nil, wire.FromFault(why)))
	_ = c.Close()
}

// say writes a line to a peer that may not read: its loss is the peer's.
func (s *Server) say(c *net.UnixConn, line []byte) {
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(line)
	_ = c.SetWriteDeadline(time.Time{})
}

// serve is the life of one connection.
func (s *Server) serve(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	defer func() {
		if r := recover(); r != nil {
			s.Log.Error("connection panicked", "err", r, "stack", string(debug.Stack()))
		}
	}()
	peer, err := credentials(c)
	if err != nil {
		s.Log.Error("cannot tell who connected", "err", err)
		return
	}
	if int(peer.Uid) != s.Owner && peer.Uid != 0 {
		s.refused.Log(s.Log, "refusing a connection of another user", "uid", peer.Uid, "pid", peer.Pid)
		why := fault.New(fault.Denied, "only the owner of this daemon's home and root may use it").
			WithReason("peer_uid").WithHint("start a daemon of your own: omnitron up")
		if s.Refused != nil {
			s.Refused(int(peer.Uid), why)
		}
		s.refuse(c, why)
		return
	}
	first, rest := s.first(ctx, c)
	if first == nil {
		return
	}
	caller := op.Caller{
		User: s.users.name(int(peer.Uid)), UID: int(peer.Uid), PID: int(peer.Pid),
		Channel: op.Person, Session: rand.Text(), Plane: "unix", Ceiling: op.Admin, Role: op.Admin,
	}
	if err := s.speak(ctx, &conn{Conn: c, unixConn: c, rest: rest}, first, caller); err != nil {
		s.Log.Info("connection ended", "caller", caller.Principal(), "err", err)
	}
}

// speak hands the connection to the dialect of its first message.
func (s *Server) speak(ctx context.Context, c *conn, first []byte, caller op.Caller) error {
	var p wire.Parser
	m, _ := p.Parse(first)
	switch DialectOf(m) {
	case Native:
		return s.Native(op.WithCaller(ctx, caller), c, first)
	case MCP:
		if wire.IsReserved(ctx) {
			full := fault.New(fault.Limited, "%d connections are open", s.MaxConns).WithReason("connections").WithRetryAfter(1)
			s.say(c.unixConn, wire.ErrorLine(m.ID, wire.FromFault(full)))
			return nil
		}
		return s.MCP(op.WithCaller(ctx, agent(caller)), c, first)
	}
	s.say(c.unixConn, wire.ErrorLine(m.ID, &wire.Error{Code: wire.CodeInvalidRequest,
		Message: "the first message must be initialize, ping, a method of MCP, or service.verb"}))
	return nil
}

// first reads the first message, and what came right behind it. Lines that are no JSON are answered and passed over.
func (s *Server) first(ctx context.Context, c *net.UnixConn) (line, rest []byte) {
	_ = c.SetReadDeadline(time.Now().Add(s.FirstTimeout))
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	r := wire.NewReader(c, wire.MaxLine)
	defer r.Release()
	var p wire.Parser
	for {
		line, err := r.Next()
		switch {
		case errors.Is(err, wire.ErrTooLong):
			r.Release() // before the answer, after which the next of its kind may come
			s.say(c, wire.ErrorLine(nil, &wire.Error{Code: wire.CodeInvalidRequest,
				Message: fmt.Sprintf("the message is longer than %d bytes", wire.MaxLine)}))
			wire.Linger(c)
			return nil, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			s.refuse(c, fault.New(fault.Deadline, "no message within %s", s.FirstTimeout).WithReason("first_message"))
			return nil, nil
		case err != nil:
			return nil, nil // it went away, or the daemon does
		}
		m, bad := p.Parse(line)
		switch {
		case bad == nil:
			if stop() {
				_ = c.SetReadDeadline(time.Time{})
			}
			return bytes.Clone(line), r.Rest()
		case bad.Code == wire.CodeParse:
			s.say(c, wire.ErrorLine(nil, bad))
		default:
			s.say(c, wire.ErrorLine(m.ID, bad))
			return nil, nil
		}
	}
}
