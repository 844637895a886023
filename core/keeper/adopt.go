package keeper

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/logfile"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// adopt goes on with a generation that another keeper started. child says that its processes are our children, as after
// an upgrade.
func (k *keeper) adopt(rec protocol.Generation, fds []int, child bool) {
	if k.gens[rec.ID] != nil {
		protocol.CloseAll(fds)
		return
	}
	g := &gen{pidfd: -1, notify: -1, stdin: -1, rec: rec, child: child && rec.StubPID == 0}
	g.rec.Handles = nil
	l := stubLink{fd: -1, pidfd: -1, pid: rec.StubPID, child: child}
	for i, fd := range fds {
		name := ""
		if i < len(rec.Handles) {
			name = rec.Handles[i]
		}
		switch name {
		case protocol.HandlePidfd:
			g.pidfd = fd
		case protocol.HandleOut:
			g.out = k.newStream(g, fd)
		case protocol.HandleErr:
			g.errs = k.newStream(g, fd)
		case protocol.HandleNotify:
			g.notify = fd
		case protocol.HandleStdin:
			g.stdin = fd
		case protocol.HandleStub:
			l.fd = fd
		case protocol.HandleStubPidfd:
			l.pidfd = fd
		default:
			unix.Close(fd)
		}
	}
	k.gens[rec.ID] = g
	if l.fd >= 0 {
		g.stub = &l
		k.watchStub(g)
		l.ask(k, protocol.State, func(f protocol.Frame) { k.stubState(g, f) })
	} else {
		k.drop(&l.pidfd)
	}
	k.startStreams(g, false)
	k.watchNotify(g)
	switch {
	case g.rec.Exit != nil:
	case g.pidfd < 0:
		id := ident.Identity{PID: rec.PID, Start: rec.Start, Boot: rec.Boot, NS: rec.NS}
		fd, err := id.Open()
		if err != nil {
			k.ended(g, protocol.Exit{At: k.now, Note: "lost"})
			return
		}
		g.pidfd = fd
		k.watchMain(g)
	default:
		k.watchMain(g)
	}
	if g.lostStub() {
		k.kill(g, func() {}) // its stub went when nobody looked
	}
}

// adopted ends the adoption: what the daemon did not tell of is nobody's.
func (k *keeper) adopted() {
	k.log("info", "adopted", "generations", len(k.gens))
	k.sweep(false)
}

// sweep ends what earlier keepers of this home left behind and nobody knows any more. lost says that the daemon died too:
// then what the last record tells of is kept, with an unknown end and a gap in its log.
func (k *keeper) sweep(lost bool) {
	k.adopting = false
	old := k.load()
	mine := map[string]bool{}
	for _, g := range k.gens {
		mine[g.rec.Cgroup] = true
		for _, dir := range g.rec.Bounds {
			mine[dir] = true
		}
	}
	dirs := map[string]bool{}
	for _, p := range cage.Candidates("omnitron-" + k.homeID) {
		dirs[p.Dir] = true
	}
	for _, p := range cage.Bounders("omnitron-" + k.homeID) {
		dirs[p.Dir] = true
	}
	for _, g := range old.Generations {
		for _, dir := range append(g.Bounds, g.Cgroup) {
			if dir != "" {
				dirs[filepath.Dir(dir)] = true
			}
		}
	}
	for dir := range dirs {
		es, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range es {
			if path := filepath.Join(dir, e.Name()); e.IsDir() && !mine[path] {
				k.endGroup(path)
			}
		}
		if dir != k.place.Dir {
			_ = os.Remove(dir) // only if it is empty
		}
	}
	k.endRecorded(old)
	k.endMarked(old)
	for _, rec := range old.Generations {
		if k.gens[rec.ID] != nil {
			continue
		}
		if rec.NotifyPath != "" {
			_ = os.Remove(rec.NotifyPath) // may not be there
			rec.NotifyPath = ""
		}
		if lost {
			k.mourn(rec)
		}
	}
	k.save()
}

// sweepTime bounds how long the start of a keeper waits for killed processes.
const sweepTime = 5 * time.Second

func (k *keeper) endGroup(dir string) {
	if pids := cage.PIDs(dir); len(pids) > 0 {
		k.log("warn", "ending what an earlier keeper left behind", "dir", dir, "pids", pids)
	}
	ok := waitUntil(sweepTime, func() bool {
		err := cage.Kill(dir)
		return err == nil && !cage.Populated(dir) && cage.Remove(dir) == nil
	})
	if !ok {
		k.log("error", "cannot end a control group", "dir", dir, "pids", cage.PIDs(dir))
	}
}

// waitUntil asks every other millisecond until ok or the time is over. It holds the loop up and is for its beginning only.
func waitUntil(d time.Duration, ok func() bool) bool {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	end := time.Now().Add(d)
	for !ok() {
		if time.Now().After(end) {
			return false
		}
		<-t.C
	}
	return true
}

// endRecorded kills mains and stubs of the record by their identity. A stub is asked to end first: it takes its tree along.
func (k *keeper) endRecorded(old stateFile) {
	var fds []int
	for _, rec := range old.Generations {
		if k.gens[rec.ID] != nil {
			continue
		}
		stub := ident.Identity{PID: rec.StubPID, Start: rec.StubStart, Boot: rec.Boot, NS: rec.NS}
		if fd, err := stub.Open(); err == nil { // it ends by itself: the other end of its socket is gone
			fds = append(fds, fd)
			continue
		}
		main := ident.Identity{PID: rec.PID, Start: rec.Start, Boot: rec.Boot, NS: rec.NS}
		if fd, err := main.Open(); err == nil && rec.Exit == nil {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // gone is as good
			fds = append(fds, fd)
		}
	}
	waitGone(fds)
	protocol.CloseAll(fds)
}

func waitGone(fds []int) bool {
	return waitUntil(sweepTime, func() bool {
		for _, fd := range fds {
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err == nil && n == 0 {
				return false
			}
		}
		return true
	})
}

// endMarked kills what carries the mark of this home in its environment, or a tag of the record, and belongs to no
// generation that we know.
func (k *keeper) endMarked(old stateFile) {
	tags := map[uint64]bool{}
	for _, rec := range old.Generations {
		if id := (ident.Identity{PID: rec.PID, Start: rec.Start, Boot: rec.Boot, NS: rec.NS}); k.gens[rec.ID] == nil && id.Local() {
			tags[rec.Tag] = true
		}
	}
	tags = telling(tags)
	all := ident.All()
	byPID := map[int]ident.Stat{}
	for _, s := range all {
		byPID[s.PID] = s
	}
	spared := map[int]bool{k.daemon.pid: true}
	for pid := os.Getpid(); pid > 0; pid = byPID[pid].PPID { // who started us from within an app
		spared[pid] = true
	}
	for _, s := range ident.Below(k.daemon.pid, all) {
		spared[s.PID] = k.daemon.pid != 0
	}
	var fds []int
	ok := waitUntil(sweepTime, func() bool {
		fresh := false
		for _, s := range ident.All() {
			if spared[s.PID] || s.State == 'Z' || s.State == 'X' {
				continue
			}
			home, has := ident.Environ(s.PID, "OMNITRON_HOME_ID")
			id, marked := ident.Environ(s.PID, "OMNITRON_GENERATION")
			marked = marked && has && home == k.homeID && k.gens[id] == nil
			if !marked && (len(tags) == 0 || !tags[tagOf(s.PID)]) {
				continue
			}
			boot, ns := ident.Here()
			fd, err := ident.Identity{PID: s.PID, Start: s.Start, Boot: boot, NS: ns}.Open()
			if err != nil {
				continue
			}
			if len(fds) == 0 {
				k.log("warn", "ending what carries a mark of this home", "id", id, "found", s.PID)
			}
			if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); errors.Is(err, unix.EPERM) {
				unix.Close(fd)
				continue
			}
			fresh = true
			fds = append(fds, fd)
		}
		return !fresh
	})
	if !waitGone(fds) || !ok {
		k.log("error", "cannot end everything that carries a mark of this home")
	}
	protocol.CloseAll(fds)
}

// mourn keeps the record of a generation that died unseen, until the daemon has taken note.
func (k *keeper) mourn(rec protocol.Generation) {
	if rec.Exit == nil {
		rec.Exit, rec.Ending = &protocol.Exit{At: k.now, Note: "lost"}, protocol.BothDied
		for i, path := range []string{rec.Out, rec.Err} {
			if path == "" || i == 1 && path == rec.Out {
				continue
			}
			f := logfile.New(path, 0)
			f.Mark(logfile.Gap, rec.PID, 0, k.now)
			f.Mark(logfile.End, rec.PID, 0, k.now)
			f.Close()
		}
	}
	rec.Cgroup, rec.Bounds, rec.StubPID, rec.Handles = "", nil, 0, nil
	k.gens[rec.ID] = &gen{pidfd: -1, notify: -1, stdin: -1, rec: rec}
}

// stateFile is keeper.json: what the next keeper needs when nobody lives who could tell.
type stateFile struct {
	Version     int                   `json:"version"`
	HomeID      string                `json:"home_id"`
	Keeper      ident.Identity        `json:"keeper"`
	Daemon      ident.Identity        `json:"daemon"`
	Contain     string                `json:"contain"`
	Generations []protocol.Generation `json:"generations"`
}

func (k *keeper) load() stateFile {
	var s stateFile
	b, err := os.ReadFile(k.path("keeper.json"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil && !os.IsNotExist(err) {
		k.log("error", "cannot read keeper.json, going by groups and marks alone", "err", err.Error())
		return stateFile{}
	}
	return s
}

// saveTime is how long changes may gather before keeper.json is written.
const saveTime = 50 * time.Millisecond

// save has keeper.json written soon.
func (k *keeper) save() {
	if k.dirty == nil && !k.adopting {
		k.dirty = k.after(saveTime, func() {
			k.dirty = nil
			if err := k.write(); err != nil {
				k.log("error", "cannot write keeper.json", "err", err.Error())
				k.after(time.Second, k.save)
			}
		})
	}
}

func (k *keeper) write() error {
	boot, ns := ident.Here()
	s := stateFile{Version: 1, HomeID: k.homeID, Contain: k.contain, Daemon: ident.Identity{PID: k.daemon.pid, Start: k.daemon.start, Boot: boot, NS: ns}}
	s.Keeper, _ = ident.Of(os.Getpid()) // without it nothing is lost but a hint
	for _, g := range k.gens {
		rec := g.rec
		rec.Handles = nil
		s.Generations = append(s.Generations, rec)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tmp := k.path("keeper.json.tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, k.path("keeper.json")) // not synced: it tells of this boot only
}
