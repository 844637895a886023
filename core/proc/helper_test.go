package proc_test

import (
	"bufio"
	"fmt"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// helper is a program of many talents, for keepers to run.
func helper(name string, args []string) int {
	num := func(i int) int { n, _ := strconv.Atoi(args[i]); return n }
	switch name {
	case "lines": // numbered lines on both streams, of random length, in random portions
		var wg sync.WaitGroup
		for i, f := range []*os.File{os.Stdout, os.Stderr} {
			wg.Go(func() { writeLines(f, num(0), int64(i)) })
		}
		wg.Wait()
	case "ticks": // numbered lines for ever
		w := bufio.NewWriterSize(os.Stdout, 512)
		t := time.NewTicker(time.Millisecond)
		for i := 0; ; i++ {
			fmt.Fprintf(w, "%09d tick\n", i)
			w.Flush()
			<-t.C
		}
	case "bytes": // n bytes without a newline
		b := make([]byte, 64<<10)
		for i := range b {
			b[i] = byte('a' + i%26)
		}
		for n := num(0); n > 0; {
			k, err := os.Stdout.Write(b[:min(n, len(b))])
			if err != nil {
				return 1
			}
			n -= k
		}
	case "notify": // sends args, with a barrier after the last, then waits for a line on a fifo or for ever
		term := make(chan os.Signal, 1)
		signal.Notify(term, unix.SIGTERM) // before it says that it is ready
		for _, m := range args {
			if err := sendNotice(os.Getenv("NOTIFY_SOCKET"), strings.ReplaceAll(m, `\n`, "\n")); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		if err := barrier(os.Getenv("NOTIFY_SOCKET")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("barrier passed")
		<-term
	case "stranger": // sends to the socket of somebody else
		if err := sendNotice(args[0], "READY=1"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		fmt.Println("sent")
	case "knock": // at a keeper's socket
		fmt.Print(knock(args[0], args[1]))
	case "bequeath": // the lock and the socket of a keeper to a child, and dies
		lock, err := os.OpenFile(args[0]+"/keeper.lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		l, err := net.Listen("unix", args[0]+"/keeper.sock")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		socket, err := l.(*net.UnixListener).File()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		heir := exec.Command("/bin/sleep", "0.3")
		heir.ExtraFiles = []*os.File{lock, socket}
		if err := heir.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	case "eat": // so many MB of memory
		for n := num(0); n > 0; n-- {
			b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return 1
			}
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
		}
	case "burn":
		for ru := (unix.Rusage{}); time.Duration(ru.Utime.Nano()+ru.Stime.Nano()) < time.Duration(num(0))*time.Millisecond; {
			if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
				return 1
			}
		}
	}
	return 0
}

func writeLines(f *os.File, n int, seed int64) {
	r := rand.New(rand.NewSource(seed))
	pad := strings.Repeat("x", 100)
	var b []byte
	for i := range n {
		b = fmt.Appendf(b, "%09d %s\n", i, pad[:r.Intn(100)])
		if len(b) > r.Intn(9000) {
			f.Write(b)
			b = b[:0]
		}
	}
	f.Write(b)
}

func sendNotice(path, text string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(text))
	return err
}

// barrier is sd_notify_barrier: it returns when the other side has read everything up to here.
func barrier(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(fd, []byte("BARRIER=1"), unix.UnixRights(int(w.Fd())), &unix.SockaddrUnix{Name: path}, 0); err != nil {
		return err
	}
	w.Close()
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
		return fmt.Errorf("barrier: read %d, %v", n, err)
	} else if os.IsTimeout(err) {
		return err
	}
	return nil
}
