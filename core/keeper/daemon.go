package keeper

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// notAgain is the exit status of a daemon that must not be started again by itself: another one owns the home, or a
// person has to mend something first.
const notAgain = 3

const (
	shortLife   = time.Second            // a daemon that lived less counts as failing
	quitTime    = 60 * time.Second       // how long a daemon that is about to end may take
	signalTime  = 10 * time.Second       // how long a signal waits for a daemon that is starting
	stopTime    = 10 * time.Second       // what programs get when there is no daemon to stop them
	longestWait = 10 * time.Second       // between two starts of a daemon that fails
	soon        = 500 * time.Millisecond // the same for one that had come up: killed in a row, it is back within a second each time
)

// daemon is what the keeper knows of its daemon.
type daemon struct {
	pid       int // 0: none is running
	start     uint64
	pidfd     int
	child     bool
	connected bool // has said hello: it then has its signal handlers
	since     time.Time
	fails     int  // short lives in a row
	came      bool // the one that died last had said hello
	restart   *timer
	pending   []unix.Signal
	hold      bool // stays down when it dies
	quit      bool // about to end, and we after it
	stopping  bool // we were told to end
}

// held reports whether there is no daemon because it was told to stay down; one that ends for good is another matter.
func (d *daemon) held() bool { return d.pid == 0 && d.hold && !d.quit && !d.stopping }

func (k *keeper) startDaemon() {
	d := &k.daemon
	if d.pid != 0 || k.exit != nil {
		return
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		k.restartDaemon(err)
		return
	}
	defer unix.Close(null)
	var env []string
	for _, v := range os.Environ() { // a keeper that was started from within an app is not a part of it
		if !strings.HasPrefix(v, "OMNITRON_GENERATION=") && !strings.HasPrefix(v, "OMNITRON_HOME_ID=") {
			env = append(env, v)
		}
	}
	pidfd := -1
	old := unix.Umask(0o022)
	pid, err := syscall.ForkExec(k.o.Daemon, []string{k.o.Daemon, "daemon", "serve", "--home", k.o.Home}, &syscall.ProcAttr{
		Env: env, Files: []uintptr{uintptr(null), 1, 2},
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	})
	unix.Umask(old)
	if err != nil {
		k.restartDaemon(err)
		return
	}
	s, err := ident.Read(pid)
	if err != nil {
		k.log("error", "cannot identify the daemon", "daemon", pid, "err", err.Error()) // our child: it is there
	}
	d.pid, d.start, d.pidfd, d.child, d.connected, d.since = pid, s.Start, pidfd, true, false, k.now
	k.log("info", "the daemon is started", "daemon", pid)
	k.save()
}

// restartDaemon starts it again after a pause that grows while it fails.
func (k *keeper) restartDaemon(err error) {
	d := &k.daemon
	if d.hold || k.exit != nil {
		return
	}
	wait := time.Duration(0)
	if d.fails > 0 {
		wait = min(50*time.Millisecond<<min(d.fails-1, 10), time.Second)
	}
	if d.fails > 5 {
		wait = min(time.Second<<min(d.fails-5, 10), longestWait)
	}
	if d.came {
		wait = min(wait, soon)
	}
	if err != nil { // it could not even be started
		d.fails, d.came = d.fails+1, false
		k.log("error", "cannot start the daemon", "path", k.o.Daemon, "err", err.Error(), "again_in", wait.String())
	}
	k.cancel(d.restart)
	d.restart = k.after(wait, k.startDaemon)
}

// daemonConnected notes who the daemon is; it need not be one that we started.
func (k *keeper) daemonConnected(c *conn) {
	d := &k.daemon
	k.cancel(d.restart)
	cred, err := unix.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	pid := c.hello.PID
	if err == nil && cred.Pid > 0 && pid == 0 {
		pid = int(cred.Pid)
	}
	if pid != d.pid {
		if err := k.setDaemon(pid); err != nil {
			k.log("error", "cannot identify the daemon", "daemon", pid, "err", err.Error())
			c.close()
			return
		}
	}
	d.connected, d.hold = true, false
	for _, s := range d.pending {
		k.signalDaemon(s)
	}
	d.pending = nil
	k.save()
}

// setDaemon makes a process that we did not start the daemon.
func (k *keeper) setDaemon(pid int) error {
	id, err := ident.Of(pid)
	if err != nil {
		return err
	}
	fd, err := id.Open()
	if err != nil {
		return err
	}
	d := &k.daemon
	k.drop(&d.pidfd)
	d.pid, d.start, d.pidfd, d.child, d.since = pid, id.Start, fd, false, k.now
	k.watchDaemon()
	return nil
}

// watchDaemon follows a daemon that is not our child.
func (k *keeper) watchDaemon() {
	d := &k.daemon
	k.watch(d.pidfd, unix.EPOLLIN, func(uint32) {
		boot, ns := ident.Here()
		status, _, ok := ident.Identity{PID: d.pid, Start: d.start, Boot: boot, NS: ns}.Exit(d.pidfd)
		k.daemonDied(status, ok)
	})
}

func (k *keeper) daemonDied(status int, known bool) {
	d := &k.daemon
	lived := k.now.Sub(d.since)
	k.drop(&d.pidfd)
	ws := unix.WaitStatus(status)
	code := 1
	switch {
	case known && ws.Exited():
		code = ws.ExitStatus()
	case known && ws.Signaled():
		code = 128 + int(ws.Signal())
	}
	k.log("info", "the daemon has ended", "daemon", d.pid, "status", code, "known", known, "lived", lived.String())
	d.came = d.connected
	d.pid, d.child, d.connected, d.pending = 0, false, false, nil
	switch d.fails++; {
	case lived >= shortLife:
		d.fails = 0
	case code == 0 && d.came: // it is being replaced, which is no failure; several in a row still leave time for others
		d.fails = min(d.fails, 1)
	}
	k.save()
	switch {
	case d.quit:
		k.endAll(code)
		return
	case d.stopping:
		k.stopAll(code)
		return
	}
	if k.adopting { // nobody is left who could tell
		k.sweep(true)
	}
	for _, g := range k.gens {
		if g.rec.DieWithDaemon && code != 0 { // a daemon that leaves in order is being replaced
			if g.rec.Exit == nil {
				g.rec.Ending = protocol.DaemonDied
			}
			k.kill(g, func() {})
		}
	}
	if code == notAgain {
		if !k.anyRunning() {
			k.clean()
			k.finish(1)
			return
		}
		k.log("error", protocol.WillNotRun)
		return
	}
	k.restartDaemon(nil)
}

func (k *keeper) anyRunning() bool {
	for _, g := range k.gens {
		if g.rec.Exit == nil {
			return true
		}
	}
	return false
}

// hold does what a tool asks: leave the daemon down when it dies, or get it up now.
func (k *keeper) hold(b protocol.HoldBody) {
	k.daemon.hold = b.Hold
	if b.Hold {
		k.cancel(k.daemon.restart)
	}
	if b.Start && k.daemon.pid == 0 {
		k.daemon.hold, k.daemon.fails = false, 0
		k.startDaemon()
	}
}

// quit is the daemon's word that it is about to end for good.
func (k *keeper) quit() {
	k.daemon.quit = true
	k.after(quitTime, func() {
		k.log("error", "the daemon said that it would end, and did not")
		k.signalDaemon(unix.SIGKILL)
	})
}

// forward gives a signal of ours to the daemon. One that is still starting would die of it, so it waits for hello.
func (k *keeper) forward(s unix.Signal) {
	d := &k.daemon
	if s != unix.SIGHUP {
		d.stopping = true
	}
	switch {
	case d.pid == 0 && s == unix.SIGHUP:
	case d.pid == 0:
		k.stopAll(128 + int(s))
	case d.connected:
		k.signalDaemon(s)
	default:
		d.pending = append(d.pending, s)
		k.after(signalTime, func() {
			for _, s := range d.pending {
				k.signalDaemon(s)
			}
			d.pending = nil
		})
	}
}

func (k *keeper) signalDaemon(s unix.Signal) {
	if k.daemon.pidfd >= 0 {
		if err := unix.PidfdSendSignal(k.daemon.pidfd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			k.log("error", "cannot signal the daemon", "signal", unix.SignalName(s), "err", err.Error())
		}
	}
}

// stopAll stops the programs without a daemon, in no order: it was told to end while there was none.
func (k *keeper) stopAll(code int) {
	k.cancel(k.daemon.restart)
	for _, g := range k.gens {
		if g.pidfd >= 0 && g.rec.Exit == nil {
			_ = unix.PidfdSendSignal(g.pidfd, unix.SIGTERM, nil, 0) // gone is as good
		}
	}
	deadline := k.now.Add(stopTime)
	var look func()
	look = func() {
		if k.anyRunning() && k.now.Before(deadline) {
			k.after(20*time.Millisecond, look)
			return
		}
		k.endAll(code)
	}
	look()
}

// endAll ends whatever is left, cleans up and ends the keeper.
func (k *keeper) endAll(code int) {
	k.daemon.hold = true
	k.cancel(k.daemon.restart)
	left := len(k.gens)
	done := func() {
		if left--; left <= 0 && k.exit == nil {
			k.clean()
			k.finish(code)
		}
	}
	for _, g := range k.gens {
		k.kill(g, func() {
			k.forget(g)
			done()
		})
	}
	if left == 0 {
		left = 1
		done()
		return
	}
	k.after(stopTime, func() {
		for _, g := range k.gens {
			k.log("error", "cannot end everything", "id", g.rec.ID, "pids", cage.PIDs(g.rec.Cgroup))
		}
		k.clean()
		k.finish(code)
	})
}

func (k *keeper) finish(code int) {
	if k.exit == nil {
		k.exit = &code
	}
}

// clean removes what only a running keeper needs. The lock's file stays: it is what later keepers lock.
func (k *keeper) clean() {
	k.abandon()
	for _, s := range k.sinks {
		s.Close()
	}
	for _, s := range k.sockets {
		s.Close()
	}
	if k.contain == cage.Stub { // stubs that were let go take a moment
		waitUntil(time.Second, func() bool {
			_, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			return err == unix.ECHILD
		})
	}
	for _, name := range []string{"keeper.sock", "keeper.json"} {
		_ = os.Remove(k.path(name)) // may not be there
	}
	for _, dir := range k.runDirs() {
		_ = os.Remove(dir) // only if it is empty
	}
	if k.contain != cage.Stub {
		_ = cage.Remove(k.place.Dir) // only if it is empty
	}
	for _, p := range k.bounders {
		_ = cage.Remove(p.Dir) // only if it is empty; most never were
	}
}
