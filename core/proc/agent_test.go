package proc_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/proc"
)

// fakeDaemon stands in for omnitron: what it does is in the file "daemon" of the home. By itself it waits until its keeper
// is gone.
func fakeDaemon() int {
	home := os.Args[len(os.Args)-1]
	if f, err := os.OpenFile(filepath.Join(home, "starts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		fmt.Fprintln(f, time.Now().UnixNano(), os.Getpid())
		f.Close()
	}
	b, _ := os.ReadFile(filepath.Join(home, "daemon"))
	verb, arg, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	switch verb {
	case "exit":
		n, _ := strconv.Atoi(arg)
		return n
	case "agent":
		return agent(home)
	}
	ppid := os.Getppid()
	parent, err := unix.PidfdOpen(ppid, 0)
	if err != nil || os.Getppid() != ppid || ppid == 1 {
		return 1
	}
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(parent), Events: unix.POLLIN}}, -1); err != unix.EINTR {
			return 0
		}
	}
}

// agent is a real daemon for tests that kill daemons: it answers the orders in the file "orders" of the home by writing
// to "answers".
func agent(home string) int {
	c := context.Background()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGHUP) // before the keeper hears of us, and may send some
	o := proc.Options{Home: home, KeeperPath: os.Getenv("OMNITRON_TEST_KEEPER"), Daemon: os.Args[0], Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	k, err := proc.Dial(c, proc.Socket(home), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		return 1
	}
	go k.Run(c)
	answers, err := os.OpenFile(filepath.Join(home, "answers"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	for _, p := range k.Processes() {
		fmt.Fprintf(answers, "has %s %d\n", p.ID(), p.Identity().PID)
	}
	fmt.Fprintf(answers, "ready %d\n", os.Getpid())
	go func() {
		for s := range signals {
			fmt.Fprintf(answers, "got %v\n", s)
			if s == unix.SIGTERM {
				if err := k.Quit(c); err != nil {
					os.Exit(1)
				}
				os.Exit(0)
			}
		}
	}()
	orders, err := os.OpenFile(filepath.Join(home, "orders"), os.O_RDWR, 0)
	if err != nil {
		return 1
	}
	for sc := bufio.NewScanner(orders); sc.Scan(); {
		verb, rest, _ := strings.Cut(sc.Text(), " ")
		switch verb {
		case "spawn":
			var s proc.Spec
			err := json.Unmarshal([]byte(rest), &s)
			if err == nil {
				_, err = k.Spawn(c, s)
			}
			fmt.Fprintf(answers, "spawned %v\n", err)
		case "exits":
			for _, p := range k.Processes() {
				select {
				case <-p.Done():
					fmt.Fprintf(answers, "exit %s %+v\n", p.ID(), p.Exit())
				default:
					fmt.Fprintf(answers, "running %s\n", p.ID())
				}
			}
			fmt.Fprintln(answers, "listed")
		case "quit":
			if err := k.Quit(c); err != nil {
				return 1
			}
			n, _ := strconv.Atoi(rest)
			return n
		}
	}
	return 1
}
