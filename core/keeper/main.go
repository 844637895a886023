package keeper

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/ident"

	"github.com/omnitron-dev/omnitron/core/keeper/launch"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/keeper/stub"
)

const usage = `usage:
  omnitron-keeper run --home DIR --daemon PATH [--adopt-fd N | --takeover | --sweep] [--contain auto|v2|v1|stub]
  omnitron-keeper version
  omnitron-keeper stub … | exec     used by the keeper itself
`

// Main is the whole program. It returns the exit status: that of the daemon after a shutdown, 1 when another keeper has
// the home, 64 for wrong usage.
func Main(args []string, version string) int {
	// The garbage collector's usual appetite is for programs that compute: this one keeps still.
	debug.SetGCPercent(25)
	debug.SetMemoryLimit(24 << 20)
	switch {
	case len(args) > 1 && args[1] == "run":
		return run(args[2:], version)
	case len(args) > 1 && args[1] == "stub":
		return stub.Main()
	case len(args) > 1 && args[1] == "exec":
		return launch.Step(args[2:])
	case len(args) > 1 && args[1] == "version":
		fmt.Printf("omnitron-keeper %s protocol %d\n", version, protocol.Version)
		return 0
	}
	fmt.Fprint(os.Stderr, usage)
	return 64
}

type arguments struct {
	Options
	adopt, resume int
	takeover      bool
	sweep         bool // end what earlier keepers left behind, and nothing else
}

func parse(args []string) (arguments, error) {
	a := arguments{adopt: -1, resume: -1}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		switch name {
		case "--takeover":
			a.takeover = true
			continue
		case "--sweep":
			a.sweep = true
			continue
		}
		if !inline {
			if i+1 >= len(args) {
				return a, fmt.Errorf("%s needs a value", name)
			}
			i++
			value = args[i]
		}
		var err error
		switch name {
		case "--home":
			a.Home = value
		case "--daemon":
			a.Daemon = value
		case "--contain":
			a.Contain = value
		case "--adopt-fd":
			a.adopt, err = strconv.Atoi(value)
		case "--resume-fd":
			a.resume, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("unknown flag %s", name)
		}
		if err != nil {
			return a, err
		}
	}
	if a.Home == "" || a.Daemon == "" {
		return a, fmt.Errorf("--home and --daemon are needed")
	}
	return a, nil
}

func run(args []string, version string) int {
	a, err := parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "omnitron-keeper: %v\n%s", err, usage)
		return 64
	}
	inheritNothing(a.resume < 0)
	a.Version = version
	k, err := open(a)
	if err != nil {
		(&keeper{}).log("error", "cannot start the keeper", "home", a.Home, "err", err.Error())
		return 1
	}
	return k.run()
}

// open gets everything ready for the loop.
func open(a arguments) (*keeper, error) {
	home, err := filepath.EvalSymlinks(a.Home)
	if err == nil {
		home, err = filepath.Abs(home)
	}
	if err != nil {
		return nil, err
	}
	a.Home = home
	if n := len(home) + len("/keeper.sock"); n > maxSocketPath {
		return nil, fmt.Errorf("%s/keeper.sock has %d bytes, a socket's path may have %d: set OMNITRON_HOME to a shorter path", home, n, maxSocketPath)
	}
	k, err := newKeeper(a.Options)
	if err != nil {
		return nil, err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot become subreaper: %w", err)
	}
	k.wake = k.relaySignals() // from here on there may be a daemon that has to hear of them
	switch {
	case a.resume >= 0:
		k.settleIn()
		return k, k.resumeFrom(a.resume)
	case a.takeover:
		if took, err := k.takeOver(); took || err != nil {
			k.settleIn()
			return k, err
		}
	}
	if err := k.takeLock(); err != nil {
		return nil, err
	}
	k.settleIn() // only who has the home tries groups in its place
	if a.sweep {
		k.sweep(false)
		k.clean()
		k.finish(0)
		return k, nil
	}
	if err := k.listen(); err != nil {
		return nil, err
	}
	switch {
	case a.adopt >= 0:
		k.adopting = true
		if err := unix.SetNonblock(a.adopt, true); err != nil {
			return nil, fmt.Errorf("cannot use the descriptor that was handed over: %w", err)
		}
		if cred, err := unix.GetsockoptUcred(a.adopt, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			k.setDaemon(int(cred.Pid)) // who made the pair
		}
		k.serve(a.adopt)
	case k.livingDaemon():
		k.log("info", "the daemon lives: waiting for what it holds", "daemon", k.daemon.pid)
		k.adopting = true
	default:
		k.sweep(true)
		k.startDaemon()
	}
	return k, nil
}

// settleIn finds the place for what it starts.
func (k *keeper) settleIn() {
	k.pickContainment()
	k.log("info", "keeper", "version", k.o.Version, "home", k.o.Home, "contain", k.contain)
}

// takeLock becomes the only keeper of the home. A predecessor that is just dying is waited for, one that answers is not.
func (k *keeper) takeLock() error {
	fd, err := unix.Open(k.path("keeper.lock"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: k.path("keeper.lock"), Err: err}
	}
	mine := false
	waitUntil(time.Second, func() bool {
		mine = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil
		return mine || k.another()
	})
	if !mine {
		unix.Close(fd)
		return fmt.Errorf("another keeper has the home %s", k.o.Home)
	}
	k.lock = fd
	return nil
}

// another reports whether a keeper of this home answers. A child that a dying one was just starting holds its socket, and
// its lock, until it is another program: then whoever listens lives no more.
func (k *keeper) another() bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: k.path("keeper.sock")}); err != nil {
		return err == unix.EAGAIN // it has much to do
	}
	who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || who.Pid <= 0 {
		return true
	}
	s, err := ident.Read(int(who.Pid))
	return err == nil && s.State != 'Z'
}

// inheritNothing lets nothing of who started us reach the programs: descriptors, umask, blocked and ignored signals. A
// blocked mask is deep in Go's threads by now and needs a second beginning. again is false when that would lose
// descriptors which are meant to be there.
func inheritNothing(again bool) {
	unix.Umask(0o077)
	blocked, ignored := maskOf("SigBlk:"), maskOf("SigIgn:")
	if blocked != 0 && again {
		runtime.LockOSThread()
		var none unix.Sigset_t
		if unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil) == nil {
			_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ()) // else we go on as we are
		}
		runtime.UnlockOSThread()
	}
	for sig := uintptr(1); sig <= 64; sig++ {
		if ignored&(1<<(sig-1)) != 0 {
			var byDefault [4]uint64 // struct sigaction of the kernel: handler, flags, restorer, mask
			_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
		}
	}
	signal.Reset()
	if unix.CloseRange(3, ^uint(0)>>1&0xffffffff, unix.CLOSE_RANGE_CLOEXEC) != nil { // before Linux 5.11
		es, _ := os.ReadDir("/proc/self/fd") // none is no worse than before
		for _, e := range es {
			if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
				unix.CloseOnExec(fd)
			}
		}
	}
}

// maskOf reads a set of signals from /proc/self/status.
func maskOf(field string) uint64 {
	b, _ := os.ReadFile("/proc/self/status") // nothing is the empty set
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(rest), 16, 64)
			return n
		}
	}
	return 0
}
