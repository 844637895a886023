package ports

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
)

// TestOccupied: a stranger on a port that a probe asks is named, and nobody else is taken for one.
func TestOccupied(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		def := func(auto bool, ready, health config.Probe) *config.Process {
			return &config.Process{Ports: []config.Port{{Name: "http", Base: port, Auto: auto}}, Ready: config.Ready{Probe: ready}, Health: &config.Health{Probe: health}}
		}
		ports := map[string]int{"http": port}
		web, tcp := config.Probe{HTTP: "/", Port: "http"}, config.Probe{TCP: "http"}
		self := fmt.Sprintf("(pid %d)", os.Getpid())
		for _, p := range []*config.Process{def(false, web, config.Probe{}), def(false, config.Probe{}, tcp)} {
			if err := occupied(p, ports); reason(err) != "conflict/port_in_use" || !strings.Contains(err.Error(), self) {
				t.Errorf("%s: %v", address, err)
			}
		}
		for _, p := range []*config.Process{def(true, web, tcp), def(false, config.Probe{Exec: []string{"true"}}, config.Probe{}), {}} {
			if err := occupied(p, ports); err != nil {
				t.Errorf("%s, but no probe asks a fixed port: %v", address, err)
			}
		}
		l.Close()
		if err := occupied(def(false, web, tcp), ports); err != nil {
			t.Errorf("%s is free again: %v", address, err)
		}
	}
}
