// Command actor is the program that the fault scenarios supervise. It does one of a few things that real programs do
// badly or well, and writes down what nobody outside could know. Its second argument marks it in the process table.
//
//	actor ROLE MARK [KEY=VALUE]...
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// role is what the program was told to be.
type role struct {
	mark string
	opts map[string]string
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: actor sit|print|crash|tree|stray|leave MARK [KEY=VALUE]...")
		os.Exit(64)
	}
	r := role{mark: os.Args[2], opts: map[string]string{}}
	for _, a := range os.Args[3:] {
		k, v, _ := strings.Cut(a, "=")
		r.opts[k] = v
	}
	if file := os.Getenv("ACTOR_STRANGER"); file != "" { // the same command line, but somebody else
		r.stranger(file)
	}
	switch os.Args[1] {
	case "sit":
		r.sit()
	case "print":
		r.print()
	case "crash":
		r.crash()
	case "tree":
		r.tree()
	case "stray":
		r.stray()
	case "leave":
		r.leave()
	}
	fmt.Fprintf(os.Stderr, "there is no role %q\n", os.Args[1])
	os.Exit(64)
}

// must ends the program when something fails that always works.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "actor:", err)
		os.Exit(70)
	}
}

// stamp adds a line to the file of stamps, if there is one: what happened, and when.
func (r role) stamp(what string) {
	if r.opts["stamps"] == "" {
		return
	}
	f, err := os.OpenFile(r.opts["stamps"], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	must(err)
	_, err = fmt.Fprintf(f, "%s %s %d\n", r.mark, what, time.Now().UnixNano())
	must(err)
	must(f.Close())
}

func (r role) duration(key string) time.Duration {
	if r.opts[key] == "" {
		return 0
	}
	d, err := time.ParseDuration(r.opts[key])
	must(err)
	return d
}

// ready tells whoever listens that we are.
func ready() {
	fmt.Println("ready to serve")
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.Dial("unixgram", path)
	must(err)
	_, err = conn.Write([]byte("READY=1"))
	must(err)
	must(conn.Close())
}

// sit is a good program: it is ready at once and ends when asked. On SIGUSR1 it does what the file of orders says: the
// first word is an exit code, the rest is printed to stderr before.
func (r role) sit() {
	got := make(chan os.Signal, 4)
	signal.Notify(got, syscall.SIGTERM, syscall.SIGUSR1)
	r.stamp("start")
	if r.opts["child"] != "" {
		must(exec.Command(os.Args[0], "stray", r.mark+".child").Start())
	}
	if r.opts["mute"] == "" {
		ready()
	}
	for s := range got {
		if s == syscall.SIGTERM {
			r.stamp("term")
			<-time.After(r.duration("lag"))
			r.stamp("end")
			os.Exit(0)
		}
		order, err := os.ReadFile(r.opts["orders"])
		must(err)
		code, text, _ := strings.Cut(strings.TrimSpace(string(order)), " ")
		if text != "" {
			fmt.Fprintln(os.Stderr, text)
		}
		var n int
		_, err = fmt.Sscan(code, &n)
		must(err)
		os.Exit(n)
	}
}

// crash lives for a while and fails.
func (r role) crash() {
	r.stamp("start")
	<-time.After(r.duration("live"))
	fmt.Fprintln(os.Stderr, "crashing as told")
	os.Exit(1)
}

// tree ignores every polite signal and has descendants that are hard to find: double-forked, in sessions of their own,
// with no environment, every other one without a descriptor.
func (r role) tree() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	for i := range 4 {
		// The shell's child forks once more and leaves; setsid makes a session, env -i forgets whose they are. The shell
		// gets the mark by its environment, so that it does not look like one of them.
		sh := exec.Command("/bin/sh", "-c", `(setsid env -i "$PROG" stray "$MARK" ignore=1 "$MORE" &)`)
		sh.Env = append(os.Environ(), "PROG="+os.Args[0], fmt.Sprintf("MARK=%s.g%d", r.mark, i))
		if i%2 == 1 {
			sh.Env = append(sh.Env, "MORE=close=1")
		}
		must(sh.Run())
	}
	r.stamp("start")
	for {
		<-time.After(time.Hour)
	}
}

// stray is a descendant: it waits to be ended.
func (r role) stray() {
	if r.opts["ignore"] != "" {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	}
	if r.opts["close"] != "" {
		for fd := range 64 {
			_ = syscall.Close(fd) // also what the runtime has open: it will not be asked for anything any more
		}
	}
	for {
		<-time.After(time.Hour)
	}
}

// leave has a child that keeps standard output open, and ends on SIGUSR1 while the child lives on.
func (r role) leave() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	child := exec.Command(os.Args[0], "stray", r.mark+".child")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	must(child.Start())
	ready()
	<-told
	r.stamp("end")
	os.Exit(0)
}

// stranger has the pid of somebody who has died and writes down every signal that it gets.
func (r role) stranger(file string) {
	got := make(chan os.Signal, 64)
	signal.Notify(got)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	must(err)
	_, err = fmt.Fprintln(f, "here")
	must(err)
	for s := range got {
		if s == syscall.SIGURG { // the runtime's own
			continue
		}
		_, err := fmt.Fprintln(f, s)
		must(err)
	}
}
