package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// serve answers on the socket that it was given, with what it was told and who it is; on SIGTERM it stops accepting and finishes
// what it has. /shut has it shut the socket down for everybody, /slow takes a while.
func serve(what string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 71
	}
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" || os.Getenv("LISTEN_FDNAMES") != "http" {
		return fail(fmt.Errorf("I am %d and was told: %s %s %s", os.Getpid(), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")))
	}
	for fd := 4; fd < 9; fd++ {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); strings.Contains(to, "memfd") || strings.HasPrefix(to, "pipe") {
			return fail(fmt.Errorf("descriptor %d is the keeper's: %s", fd, to))
		}
	}
	l, err := net.FileListener(os.NewFile(3, "http"))
	if err != nil {
		return fail(err)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/shut":
			_ = unix.Shutdown(3, unix.SHUT_RDWR)
		case "/slow":
			time.Sleep(300 * time.Millisecond) // a request that takes so long
		}
		fmt.Fprintf(w, "%s %d", what, os.Getpid())
	})}
	var open sync.WaitGroup
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Done()
		}
	}
	over := make(chan struct{})
	go func() { defer close(over); _ = s.Serve(l) }()
	if c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET")); err == nil {
		_, _ = c.Write([]byte("READY=1"))
		c.Close()
	}
	<-asked
	l.Close() // not Shutdown, which closes connections whose first request it has not read yet
	<-over
	s.SetKeepAlivesEnabled(false)
	open.Wait()
	return 0
}

// free gives an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// get asks over a connection of its own.
func get(address, path string) (string, error) {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}}
	res, err := c.Get("http://app" + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// served is the pid that answers.
func served(t *testing.T, address string) int {
	t.Helper()
	text, err := get(address, "/")
	if err != nil {
		t.Fatal(err)
	}
	_, pid, _ := strings.Cut(text, " ")
	n, _ := strconv.Atoi(pid)
	return n
}

// pids gives the main processes of an app.
func (w *world) mains(name string) (out []int) {
	for _, i := range w.app(name).Instances {
		out = append(out, i.PID)
	}
	return out
}

func refused(address string) bool {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	c, err := net.Dial(network, address)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT)
}

// TestSocketStaysOpen: one socket for all instances and generations; whatever dies, whoever connects is served, until a stop.
func TestSocketStaysOpen(t *testing.T) {
	for _, kind := range []string{"tcp", "unix"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			at := free(t)
			spelled := at
			if kind == "unix" {
				at = filepath.Join(w.home, "web.sock")
				spelled = "{path: web.sock, mode: 600}"
			}
			w.up("project: shop\napps:\n  - {name: web, ready: notify, instances: 2, sockets: {http: " + spelled + "}, restart: {maxRestarts: 9, backoff: {initial: 700ms, factor: 1, jitter: 0}}, command: " + w.prog("serve:1") + "}\n")
			if !slices.Contains(w.mains("web"), served(t, at)) {
				t.Error("a stranger answers")
			}
			if kind == "unix" {
				if st, err := os.Stat(at); err != nil || st.Mode().Perm() != 0o600 {
					t.Errorf("the socket is %v, %v", st.Mode(), err)
				}
			}
			if open := w.Listens()["shop/dev/web"]; len(open) != 1 || open[0].Address != at || open[0].Shut != 0 {
				t.Errorf("shown as %+v", open)
			}
			keeper := w.k.Info().PID
			for what, happen := range map[string]func(){
				"both crash and wait": func() {
					for _, pid := range w.mains("web") {
						must(t, syscall.Kill(pid, syscall.SIGKILL))
					}
					w.is("web", view.Backoff)
				},
				"the daemon is another one": func() { w.end(); w.begin() },
				"they are restarted": func() {
					if _, err := w.restart("web"); err != nil {
						t.Error(err)
					}
				},
				"the keeper dies": func() {
					kill(t, keeper)
					eventually(t, "another keeper", func() bool { return w.k.Info().PID != keeper && w.k.Ping(t.Context()) == nil })
				},
			} {
				happen()
				if pid := served(t, at); pid == 0 { // what came while nobody ran waited
					t.Errorf("%s: nobody answers", what)
				}
				w.is("web", view.Running)
			}
			if _, err := w.stop("web"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the socket to be closed", func() bool { return refused(at) && len(w.Listens()) == 0 })
			if _, err := w.start("web"); err != nil || !slices.Contains(w.mains("web"), served(t, at)) {
				t.Errorf("started again: %v", err)
			}
		})
	}
}

// TestSocketOfAStranger: who sits where a socket should be is named, and it is got once they are gone.
func TestSocketOfAStranger(t *testing.T) {
	w := newWorld(t)
	w.begin()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := l.Addr().String()
	path := filepath.Join(w.home, "taken.sock")
	p, err := net.Listen("unix", path)
	must(t, err)
	defer p.Close()
	file := func(restart string) string {
		return "project: shop\napps:\n  - {name: web, restart: " + restart + ", ready: notify, sockets: {http: " + at + "}, command: " + w.prog("serve:1") + "}\n" +
			"  - {name: other, restart: never, ready: notify, sockets: {http: " + path + "}, command: " + w.prog("serve:1") + "}\n"
	}
	if _, err := w.apply(file("never")); err != nil {
		t.Fatal(err)
	}
	self := fmt.Sprintf("(pid %d)", os.Getpid())
	for name, where := range map[string]string{"web": at, "other": path} {
		_, err = w.start(name)
		if f := fault.From(err); f == nil || !strings.Contains(f.Message, self) || !strings.Contains(f.Message, where) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.Close()
	if _, err := w.start("web"); err != nil || served(t, at) != w.pid("web") {
		t.Errorf("once it is free: %v", err)
	}
}

// TestSocketShutDown: a program that calls shutdown(2) on the socket of all is noticed, and the next ones are served.
func TestSocketShutDown(t *testing.T) {
	w := newWorld(t)
	w.begin()
	at, path := free(t), filepath.Join(w.home, "s.sock")
	w.up("project: shop\napps:\n  - {name: web, ready: notify, instances: 2, sockets: {http: " + at + "}, command: " + w.prog("serve:1") + "}\n" +
		"  - {name: local, ready: notify, sockets: {http: " + path + "}, command: " + w.prog("serve:1") + "}\n")
	for _, where := range []string{at, path} {
		if _, err := get(where, "/shut"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both to be noticed", func() bool {
		a, b := w.Listens()["shop/dev/web"], w.Listens()["shop/dev/local"]
		return len(a) == 1 && a[0].Shut > 0 && !a[0].Broken && len(b) == 1 && b[0].Shut > 0 && b[0].Broken
	}, func() string { return fmt.Sprintf("%+v", w.Listens()) })
	if refused(at) {
		t.Error("nobody listens any more, though another instance lives")
	}
	if _, err := w.restart("local"); err != nil || served(t, path) != w.pid("local") { // one of the file system is made anew by the next start
		t.Errorf("restarted: %v", err)
	}
}
