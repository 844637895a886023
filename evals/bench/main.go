// Command bench measures omnitron beside runit and supervisord, doing the same work in the same run, and its calls beside
// bare mcp-go and an echo. It prints one table: each row has what design asks for and whether that is reached.
//
// Absolute figures move with the machine and with what else runs on it, so the load is printed too; what counts is the
// comparison within one run. Everything that is started lives below one temporary folder and has ended when bench ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/evals/bench/role"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
	"github.com/omnitron-dev/omnitron/evals/descent"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "program" {
		if os.Args[2] == "serve" {
			os.Exit(serveCalls(os.Args[3:]))
		}
		os.Exit(role.Run(os.Args[2], os.Args[3:]))
	}
	var o options
	flag.BoolVar(&o.quick, "quick", false, "smaller counts: a look, not a measurement")
	flag.StringVar(&o.binary, "omnitron", os.Getenv("OMNITRON_BINARY"), "the omnitron `binary`; default bin/omnitron")
	flag.StringVar(&o.only, "only", "", "comma-separated `parts` to run: "+strings.Join(partNames(), ", "))
	flag.StringVar(&o.peers, "peers", "runit,supervisord,omnitron", "comma-separated `names` to measure")
	flag.IntVar(&o.restarts, "restarts", 500, "how many restarts memory and descriptors are watched over")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options is what the command line says.
type options struct {
	quick       bool
	binary      string
	only, peers string
	restarts    int
}

// bench is one run.
type bench struct {
	options
	dir   string        // everything is below it
	self  string        // this program, for roles
	tree  *descent.Tree // the processes of this run
	peers []maker
	table table.Table
	seq   int // of worlds
}

// part is a group of rows that can be run by itself.
type part struct {
	name string
	run  func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"fleet", fleet}, {"respawn", respawns}, {"loop", crashLoop}, {"death", deaths}, {"stop", stops}, {"restart", restarts},
		{"flood", floods}, {"readers", readers}, {"line", longLine}, {"full", fullDisk}, {"calls", calls},
		{"tcp", tcpCalls}, {"http", httpCalls}, {"crowd", crowds}, {"signin", signIns}, {"records", records}, {"cli", commandLine}, {"remote", remoteCommands},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func run(ctx context.Context, o options) (err error) {
	b := &bench{options: o}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.binary == "" {
		b.binary = "bin/omnitron"
	}
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if _, err := os.Stat(b.binary); err != nil {
		return fmt.Errorf("cannot find omnitron: %w: run make build, or say -omnitron PATH", err)
	}
	if b.peers, err = makers(o.peers); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "ob"); err != nil {
		return err
	}
	if b.tree, err = descent.Grow(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.clean()) }()
	b.table.Columns = names(b.peers)
	began, before := time.Now(), load()
	for _, p := range parts() {
		if o.only != "" && !contains(o.only, p.name) {
			continue
		}
		b.say("%s", p.name)
		if err := p.run(ctx, b); err != nil {
			b.table.Print(os.Stdout)
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	fmt.Printf("%s; load before %s, after %s; %s\n\n", machine(), before, load(), time.Since(began).Round(time.Second))
	b.table.Print(os.Stdout)
	return nil
}

// say tells on stderr what is going on.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// count is how often something is done: n, or fewer in a quick run.
func (b *bench) count(n, quick int) int {
	if b.quick {
		return quick
	}
	return n
}

// clean ends everything and takes the folder away.
func (b *bench) clean() error {
	left := b.tree.Sweep()
	b.tree.End()
	if len(left) > 0 {
		b.say("ended what was left: %v", left)
	}
	return errors.Join(descent.Unmount(b.dir), os.RemoveAll(b.dir))
}

func contains(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(w) == word {
			return true
		}
	}
	return false
}

// load is the load average of the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown machine"
	}
	return fmt.Sprintf("%s %s, %d cores", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), runtime.NumCPU())
}

// pause waits unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// until looks every few milliseconds whether a condition holds.
func until(ctx context.Context, within time.Duration, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !ok() {
		if pause(ctx, 3*time.Millisecond) != nil {
			return fmt.Errorf("not within %s: %s", within, what)
		}
	}
	return nil
}
