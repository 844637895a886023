// Package role is what a supervised program does, and how the bench hears of it.
package role

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// LineSize is the length of a line of the flood, its end included.
const LineSize = 61

// Run is what bench is when it is supervised itself: program ROLE NAME BEATS [ARG].
func Run(role string, args []string) int {
	if len(args) < 2 {
		return 64
	}
	n := 0
	if len(args) > 2 {
		n, _ = strconv.Atoi(args[2])
	}
	done := func(word any) {
		f, err := os.OpenFile(args[1], os.O_WRONLY, 0)
		if err != nil {
			return // nobody is interested any more
		}
		fmt.Fprintf(f, "%s-done %v\n", args[0], word)
		f.Close()
	}
	switch role {
	case "flood":
		flood(n)
		done(n)
	case "line":
		line(n)
		done(n)
	case "drip":
		done(drip(n))
	case "count":
		return count()
	case "ignore": // one of the tree
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	case "tree":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		if err := forkTwice(args[0], args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		done(1)
	case "middle":
		if err := detach(args[0], args[1]); err != nil {
			return 1
		}
		return 0
	}
	sit()
	return 0
}

// sit waits for SIGTERM.
func sit() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGUSR1)
	defer stop()
	<-ctx.Done()
}

// Text is a numbered line of the flood.
func Text(b []byte, n int) []byte {
	const words = "the quick brown fox jumps over the lazy dog, and on and on"
	b = fmt.Appendf(b, "%010d ", n)
	return append(append(b, words[:LineSize-12]...), '\n')
}

func flood(n int) {
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	line := Text(nil, 0)
	for i := range n {
		copy(line, fmt.Appendf(nil, "%010d", i))
		_, _ = out.Write(line) // a supervisor that does not read is what is measured
	}
	_ = out.Flush()
}

// line prints n bytes without an end of line.
func line(n int) {
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = 'a' + byte(i%26)
	}
	for n > 0 {
		m, err := os.Stdout.Write(block[:min(n, len(block))])
		if err != nil {
			return
		}
		n -= m
	}
}

// drip prints two thousand lines a second for so many seconds, unless it is held up, and gives how many those were.
func drip(seconds int) int {
	end := time.After(time.Duration(seconds) * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-end:
			return n
		case <-tick.C:
			var b []byte
			for range 10 {
				b = append(b, Text(nil, n)...)
				n++
			}
			if _, err := os.Stdout.Write(b); err != nil {
				return n
			}
		}
	}
}

// count prints a numbered line every few milliseconds until SIGTERM.
func count() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return 0
		case <-tick.C:
			if _, err := os.Stdout.Write(Text(nil, n)); err != nil {
				return 1
			}
		}
	}
}

// forkTwice starts a child that starts a grandchild and ends, twice.
func forkTwice(name, beats string) error {
	for range 2 {
		if err := exec.Command(os.Args[0], "program", "middle", name, beats).Run(); err != nil {
			return err
		}
	}
	return nil
}

// detach starts a grandchild in a session of its own with nothing of ours: no environment, no descriptors.
func detach(name, beats string) error {
	cmd := exec.Command(os.Args[0], "program", "ignore", name, beats)
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}
