package keeper

import (
	"encoding/json"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// maxQueue bounds in bytes what waits for a peer that does not read; beyond it the peer is cut off and asks again.
const maxQueue = 64 << 20

// conn is one connection to a daemon, a tool or a keeper that takes over.
type conn struct {
	k      *keeper
	fd     int
	dec    protocol.Decoder
	out    []chunk
	queued int
	hello  protocol.HelloBody
}

// chunk is a frame that waits to be sent. Its descriptors are duplicates of its own.
type chunk struct {
	p   []byte
	fds []int
}

func (k *keeper) listen() error {
	path := k.path("keeper.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_ = unix.Unlink(path) // an old one, or none: we hold the lock, so it is nobody's
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return &os.PathError{Op: "bind", Path: path, Err: err}
	}
	if err := unix.Listen(fd, 64); err != nil {
		unix.Close(fd)
		return err
	}
	k.listener = fd
	k.watchListener()
	return nil
}

func (k *keeper) watchListener() { k.watch(k.listener, unix.EPOLLIN, func(uint32) { k.accept() }) }

func (k *keeper) accept() {
	fd, _, err := unix.Accept4(k.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		if err == unix.EMFILE || err == unix.ENFILE { // not in a hurry: something has to be closed first
			k.unwatch(k.listener)
			k.after(100*time.Millisecond, k.watchListener)
		}
		return
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		k.log("warn", "refused a connection", "uid", cred.Uid)
		unix.Close(fd)
		return
	}
	k.serve(fd)
}

// serve begins to talk on a connected socket.
func (k *keeper) serve(fd int) *conn {
	c := &conn{k: k, fd: fd}
	k.conns[c] = true
	c.arm()
	return c
}

func (c *conn) arm() {
	ev := uint32(unix.EPOLLIN)
	if len(c.out) > 0 {
		ev |= unix.EPOLLOUT
	}
	c.k.watch(c.fd, ev, c.ready)
}

func (c *conn) ready(ev uint32) {
	if ev&unix.EPOLLOUT != 0 {
		c.flush()
	}
	if ev&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 || c.fd < 0 {
		return
	}
	n, m, _, _, err := unix.Recvmsg(c.fd, c.k.in, c.k.oob, unix.MSG_CMSG_CLOEXEC)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		c.close()
		return
	}
	c.dec.Feed(c.k.in[:n], protocol.Rights(c.k.oob[:m]))
	for c.fd >= 0 {
		f, fds, ok, err := c.dec.Next()
		if err != nil {
			c.k.log("warn", "a peer does not speak our language", "err", err.Error())
			c.close()
			return
		}
		if !ok {
			return
		}
		c.handle(f, fds)
	}
}

// send queues a frame. The descriptors stay the caller's.
func (c *conn) send(f protocol.Frame, body any, fds []int) {
	if c.fd < 0 {
		return
	}
	var dups []int
	for _, fd := range fds {
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			c.k.log("error", "cannot duplicate a descriptor", "err", err.Error())
			protocol.CloseAll(dups)
			c.close() // the peer asks again; half a set would be worse
			return
		}
		dups = append(dups, d)
	}
	f.FDs = len(dups)
	p, err := protocol.Encode(f, body)
	if err != nil {
		c.k.log("error", "cannot send", "err", err.Error())
		protocol.CloseAll(dups)
		return
	}
	c.out, c.queued = append(c.out, chunk{p, dups}), c.queued+len(p)
	if len(c.out) == 1 {
		c.flush()
	}
	if c.queued > maxQueue {
		c.k.log("warn", "a peer does not read", "queued", c.queued)
		c.close()
	}
}

func (c *conn) flush() {
	for len(c.out) > 0 {
		ch := &c.out[0]
		var oob []byte
		if len(ch.fds) > 0 {
			oob = unix.UnixRights(ch.fds...)
		}
		n, err := unix.SendmsgN(c.fd, ch.p, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			c.arm()
			return
		}
		if err != nil {
			c.hangUp()
			return
		}
		protocol.CloseAll(ch.fds)
		ch.fds, ch.p, c.queued = nil, ch.p[n:], c.queued-n
		if len(ch.p) == 0 {
			c.out = c.out[1:]
		}
	}
	c.out = nil
	c.arm()
}

// hangUp gives up sending to a peer that is gone. What it said before is still read to the end: it may be that a program
// is about to end because it was asked to.
func (c *conn) hangUp() {
	c.unqueue()
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // a peer that only stopped reading gets its end too
	c.arm()
}

func (c *conn) unqueue() {
	for _, ch := range c.out {
		protocol.CloseAll(ch.fds)
	}
	c.out, c.queued = nil, 0
}

func (c *conn) close() {
	if c.fd < 0 {
		return
	}
	c.k.drop(&c.fd)
	c.dec.Close()
	c.unqueue()
	delete(c.k.conns, c)
	if c.k.boss == c {
		c.k.boss = nil
	}
	if c.k.frozen == c {
		c.k.thaw()
	}
}

func (c *conn) reply(f protocol.Frame, body any, fds []int) {
	c.send(protocol.Frame{Type: f.Type, Re: f.Seq}, body, fds)
}

func (c *conn) refuse(f protocol.Frame, e *protocol.Error) {
	c.send(protocol.Frame{Type: f.Type, Re: f.Seq, Err: e}, nil, nil)
}

// handle acts on one frame; fds are its to close or keep.
func (c *conn) handle(f protocol.Frame, fds []int) {
	k := c.k
	if f.Type == protocol.Adopt && k.adopting && c == k.boss {
		var g protocol.Generation
		if json.Unmarshal(f.Body, &g) == nil {
			k.adopt(g, fds, false)
			return
		}
	}
	if f.Type == protocol.Socket && k.adopting && c == k.boss {
		k.takeSocket(f, fds)
		return
	}
	protocol.CloseAll(fds)
	switch {
	case f.Type == protocol.Hello:
		c.greet(f)
		return
	case c.hello.Role == "":
		c.refuse(f, &protocol.Error{Code: "invalid", Reason: "no_hello", Message: "the first message has to be hello"})
		return
	case k.frozen != nil && f.Type != protocol.Taken:
		c.refuse(f, &protocol.Error{Code: "unavailable", Reason: "handing_over", Message: "another keeper is taking over"})
		return
	}
	switch f.Type {
	case protocol.Hold:
		var b protocol.HoldBody
		if c.body(f, &b) {
			k.hold(b)
			c.reply(f, nil, nil)
		}
		return
	case protocol.HandOver:
		k.handOver(c)
		return
	case protocol.Taken:
		if k.frozen == c {
			k.log("info", "another keeper has taken over")
			k.finish(0)
		}
		return
	}
	if c != k.boss {
		c.refuse(f, &protocol.Error{Code: "denied", Reason: "not_the_daemon", Message: "only the daemon may ask for " + f.Type})
		return
	}
	c.serveDaemon(f)
}

func (c *conn) serveDaemon(f protocol.Frame) {
	k := c.k
	var id protocol.IDBody
	var path protocol.PathBody
	switch f.Type {
	case protocol.AdoptEnd:
		if k.adopting {
			k.adopted()
			c.list()
		}
	case protocol.Spawn:
		var s protocol.Spec
		if !c.body(f, &s) {
			return
		}
		g, e := k.spawn(s)
		if e != nil {
			c.refuse(f, e)
			return
		}
		rec, fds := g.record()
		c.reply(f, rec, fds)
	case protocol.Kill, protocol.Tree, protocol.Forget:
		if !c.body(f, &id) {
			return
		}
		g := k.gens[id.ID]
		if g == nil {
			c.refuse(f, &protocol.Error{Code: "not_found", Reason: "unknown_generation", Message: "the keeper runs no generation " + id.ID})
			return
		}
		switch f.Type {
		case protocol.Kill:
			k.kill(g, func() { c.reply(f, nil, nil) })
		case protocol.Tree:
			k.tree(g, func(pids []int) { c.reply(f, protocol.PIDsBody{PIDs: pids}, nil) })
		case protocol.Forget:
			if g.rec.Exit == nil {
				c.refuse(f, &protocol.Error{Code: "conflict", Reason: "running", Message: "the main process of " + id.ID + " is running"})
				return
			}
			k.kill(g, func() {
				k.forget(g)
				c.reply(f, nil, nil)
			})
		}
	case protocol.Listen, protocol.Unlisten:
		k.serveSocket(c, f)
	case protocol.Rotate:
		if c.body(f, &path) {
			if e := k.rotate(path.Path); e != nil {
				c.refuse(f, e)
				return
			}
			c.reply(f, nil, nil)
		}
	case protocol.Upgrade:
		if c.body(f, &path) {
			c.refuse(f, k.upgrade(path.Path)) // it returns only when it could not
		}
	case protocol.Ending:
		var b protocol.EndingBody
		if c.body(f, &b) {
			if g := k.gens[b.ID]; g != nil {
				g.rec.Ending = b.Why
				k.save()
			}
		}
	case protocol.Retain:
		var b protocol.RetainBody
		if c.body(f, &b) {
			if g := k.gens[b.ID]; g != nil && g.rec.MaxFiles != b.MaxFiles {
				k.retain(g, b.MaxFiles)
			}
		}
	case protocol.Quit:
		k.quit()
		c.reply(f, nil, nil)
	default:
		c.refuse(f, &protocol.Error{Code: "invalid", Reason: "unknown_message", Message: "this keeper does not know " + f.Type})
	}
}

func (c *conn) body(f protocol.Frame, v any) bool {
	if err := json.Unmarshal(f.Body, v); err != nil {
		c.refuse(f, &protocol.Error{Code: "invalid", Reason: "bad_message", Message: "cannot read " + f.Type + ": " + err.Error()})
		return false
	}
	return true
}

// greet answers a hello. The daemon gets to know everything that is here, unless it has to tell us.
func (c *conn) greet(f protocol.Frame) {
	k := c.k
	if json.Unmarshal(f.Body, &c.hello) != nil || c.hello.Role == "" {
		c.close()
		return
	}
	me := protocol.HelloBody{Role: "keeper", PID: os.Getpid(), Version: k.o.Version, Capabilities: protocol.Capabilities,
		Instance: k.instance, Contain: k.contain, HomeID: k.homeID, Held: k.daemon.held()}
	if c.hello.Role != "daemon" {
		c.send(protocol.Frame{Type: protocol.Hello}, me, nil)
		return
	}
	if k.boss != nil && k.boss != c {
		k.boss.close()
	}
	k.boss, me.Adopting = c, k.adopting
	c.send(protocol.Frame{Type: protocol.Hello}, me, nil)
	k.daemonConnected(c)
	if !k.adopting {
		c.list()
	}
}

func (c *conn) list() {
	for _, g := range c.k.gens {
		if !g.forgotten {
			rec, fds := g.record()
			c.send(protocol.Frame{Type: protocol.Record}, rec, fds)
		}
	}
	c.k.sendSockets(c)
	c.send(protocol.Frame{Type: protocol.Listed}, nil, nil)
}
