package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// Run serves the connection until ctx ends. When the keeper dies it starts a new one and hands it everything; when the
// keeper was replaced it connects to the new one.
func (k *Keeper) Run(ctx context.Context) error {
	defer k.wg.Wait()
	defer k.letGoSockets()
	for {
		err := k.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		k.mu.Lock()
		k.link = nil
		quitting := k.quitting
		k.mu.Unlock()
		if quitting {
			<-ctx.Done()
			return nil
		}
		k.o.Log.Warn("the keeper is gone", "err", err)
		if err := k.reconnect(ctx); err != nil {
			return nil // only ctx ends it
		}
		k.tell(Event{Kind: "keeper_replaced"})
		i := k.Info()
		k.o.Log.Info("the keeper is back", "pid", i.PID, "version", i.Version)
	}
}

// serve reads from the link until it breaks or ctx ends.
func (k *Keeper) serve(ctx context.Context) error {
	k.mu.Lock()
	l := k.link
	k.mu.Unlock()
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	defer l.dec.Close()
	defer l.close()
	for {
		f, fds, err := l.next()
		if err != nil {
			return err
		}
		k.handle(f, fds)
	}
}

func (k *Keeper) handle(f protocol.Frame, fds []int) {
	if f.Re != 0 {
		c := k.take(f.Re) // first: whoever gave up before this moment has left the id in abandoned, for record
		a := answer{body: f.Body}
		var g protocol.Generation
		switch {
		case f.Err != nil:
			protocol.CloseAll(fds)
			a.err = faultOf(f.Err)
			k.refused(f.Re)
		case f.Type == protocol.Listen:
			k.keep(f, fds)
		case json.Unmarshal(f.Body, &g) == nil && g.ID != "": // a spawn; if its caller has gone, record deals with that
			a.process = k.record(g, fds)
		default:
			protocol.CloseAll(fds)
		}
		if c != nil {
			c.answer <- a
		}
		return
	}
	if f.Type == protocol.Record {
		var g protocol.Generation
		if json.Unmarshal(f.Body, &g) == nil {
			k.record(g, fds)
			return
		}
	}
	if f.Type == protocol.Socket {
		k.keep(f, fds)
		return
	}
	protocol.CloseAll(fds)
	k.event(f)
}

// refused notes that a call was: if it was a spawn that its caller gave up, there is nothing to end.
func (k *Keeper) refused(seq uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.abandoned, func(_ string, s uint64) bool { return s == seq })
}

func (k *Keeper) event(f protocol.Frame) {
	var err error
	switch f.Type {
	case protocol.Exited:
		var b protocol.ExitBody
		if err = json.Unmarshal(f.Body, &b); err == nil {
			if p := k.find(b.ID); p != nil {
				p.finish(b.Exit)
			}
		}
	case protocol.Noticed:
		var b protocol.NoticeBody
		if err = json.Unmarshal(f.Body, &b); err == nil {
			if p := k.find(b.ID); p != nil {
				p.notice(b.Notice)
			}
		}
	case protocol.Log:
		var b protocol.LogBody
		if err = json.Unmarshal(f.Body, &b); err == nil {
			k.tell(Event{Kind: b.Kind, Path: b.Path, Archive: b.Archive, ID: b.ID, Lost: b.Lost, Policy: b.Policy, Error: b.Error})
		}
	}
	if err != nil {
		k.o.Log.Error("cannot read what the keeper says", "type", f.Type, "err", err)
	}
}

func (k *Keeper) find(id string) *Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.procs[id]
}

// reconnect gets a keeper: the one that listens now, else a new one. It gives up only when ctx ends.
func (k *Keeper) reconnect(ctx context.Context) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		l, err := dial(ctx, k.sock)
		if err != nil && k.o.KeeperPath != "" {
			l, err = k.start()
		}
		if err == nil {
			if err = k.greet(ctx, l); err == nil {
				return nil
			}
			l.dec.Close()
			l.close()
		}
		k.o.Log.Warn("no keeper yet", "err", err)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// start runs a new keeper. It lives in a session of its own: it must survive us.
func (k *Keeper) start() (*link, error) {
	l, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(k.o.KeeperPath, append(RunArgs(k.o.Home, k.o.Daemon), append([]string{"--adopt-fd", "3"}, k.o.Args...)...)...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		l.close()
		return nil, fmt.Errorf("cannot start the keeper: %w", err)
	}
	go func() {
		if err := cmd.Wait(); err != nil { // reaped; that it is gone is seen on the connection
			k.o.Log.Warn("a keeper that was started here has ended", "pid", cmd.Process.Pid, "err", err)
		}
	}()
	return l, nil
}

// greetTime bounds how long a keeper may take to introduce itself and take over what we hold.
const greetTime = 15 * time.Second

// greet introduces us, hands over what we hold if the keeper is new, and learns what it has. When it returns nil the
// link is in use and every call in flight has been sent again.
func (k *Keeper) greet(ctx context.Context, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	me := protocol.HelloBody{Role: "daemon", PID: os.Getpid(), Version: k.o.Version, Capabilities: protocol.Capabilities}
	h, err := hello(l, me)
	if err != nil {
		return err
	}
	if h.Adopting {
		if err := k.handDown(l); err != nil {
			return err
		}
	}
	return k.learn(l, h)
}

// hello introduces us, and gives what the keeper says of itself.
func hello(l *link, me protocol.HelloBody) (h protocol.HelloBody, err error) {
	if err := l.send(protocol.Frame{Type: protocol.Hello}, me, nil); err != nil {
		return h, err
	}
	f, fds, err := l.next()
	protocol.CloseAll(fds)
	if err != nil {
		return h, err
	}
	if f.Err != nil {
		return h, f.Err
	}
	if err := json.Unmarshal(f.Body, &h); err != nil || f.Type != protocol.Hello {
		return h, fmt.Errorf("the keeper began with %q: %v", f.Type, err)
	}
	return h, nil
}

// handDown gives a new keeper everything that we hold.
func (k *Keeper) handDown(l *link) error {
	for _, p := range k.Processes() {
		g, fds := p.snapshot()
		err := l.send(protocol.Frame{Type: protocol.Adopt}, g, fds)
		protocol.CloseAll(fds)
		if err != nil {
			return err
		}
	}
	if err := k.handDownSockets(l); err != nil {
		return err
	}
	return l.send(protocol.Frame{Type: protocol.AdoptEnd}, nil, nil)
}

// learn takes in the keeper's records and makes the link the one in use.
func (k *Keeper) learn(l *link, h protocol.HelloBody) error {
	known := map[string]bool{}
	for {
		f, fds, err := l.next()
		if err != nil {
			return err
		}
		if f.Type == protocol.Listed {
			break
		}
		var g protocol.Generation
		if f.Type == protocol.Record && json.Unmarshal(f.Body, &g) == nil {
			known[g.ID] = true
		}
		k.handle(f, fds)
	}
	for _, p := range k.Processes() {
		if !known[p.id] { // the keeper does not have it: it was forgotten there, or both died
			p.finish(protocol.Exit{At: time.Now(), Note: "lost"})
		}
	}
	k.mu.Lock()
	k.link = l
	k.info = infoOf(h)
	again := make(map[uint64]*call, len(k.calls))
	for seq, c := range k.calls {
		again[seq] = c
	}
	k.mu.Unlock()
	for seq, c := range again {
		if c.typ == protocol.Upgrade { // the keeper that answers now is the answer
			if k.take(seq) != nil {
				c.answer <- answer{}
			}
			continue
		}
		if err := l.send(protocol.Frame{Type: c.typ, Seq: seq}, c.body, nil); err != nil && !errors.Is(err, errUnsendable) {
			return err
		}
	}
	return nil
}
