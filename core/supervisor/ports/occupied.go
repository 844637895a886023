package ports

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// occupied refuses a start while somebody else listens on a fixed port that a probe asks: the stranger would answer for
// the program. Faults: conflict (port_in_use).
func occupied(def *config.Process, ports map[string]int) error {
	for _, p := range def.Ports {
		if p.Auto || !probed(def, p.Name) {
			continue
		}
		number := ports[p.Name]
		if stranger := Stranger(number); stranger != "" {
			return fault.New(fault.Conflict, "port %d (%s) is taken by %s", number, p.Name, stranger).WithReason("port_in_use").
				WithHint("end it, or give the app another port, or auto")
		}
	}
	return nil
}

// Stranger names who listens on a port, as far as we may see it; "" when it can be had, or nobody but the program can find
// out.
func Stranger(number int) string {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(number)))
	switch {
	case err == nil:
		l.Close()
	case errors.Is(err, unix.EADDRINUSE):
		return Listener(number)
	}
	return ""
}

// probed reports whether a probe of the program asks a named port.
func probed(def *config.Process, port string) bool {
	probes := []config.Probe{def.Ready.Probe}
	if def.Health != nil {
		probes = append(probes, def.Health.Probe)
	}
	for _, p := range probes {
		if p.HTTP != "" && p.Port == port || p.TCP == port {
			return true
		}
	}
	return false
}

// PathListener names the process that listens at a path, as far as we may see it.
func PathListener(path string) string {
	wanted := map[string]bool{}
	text, _ := os.ReadFile("/proc/net/unix") // without it nobody is named
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 7 && f[7] == path {
			wanted["socket:["+f[6]+"]"] = true
		}
	}
	return holder(wanted)
}

// Listener names the process that listens on a port, as far as we may see it.
func Listener(port int) string {
	wanted := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table) // without it nobody is named
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				wanted["socket:["+f[9]+"]"] = true
			}
		}
	}
	return holder(wanted)
}

// holder names the process that has one of some sockets.
func holder(wanted map[string]bool) string {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is a good one
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || !wanted[to] {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm") // it may end at any moment
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
	}
	return "another process"
}
