// Package ports gives instances the numbers of their ports, and sees to it that no stranger sits there.
package ports

import (
	"errors"
	"net"
	"strings"
	"sync"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Pool hands out the numbers of ports, those of auto ports to one generation at a time. Its zero value is ready for use.
type Pool struct {
	mu    sync.Mutex
	taken map[int]int // number → generations that have it
}

// Highest is the highest port that there is.
const Highest = 65535

// Draw gives the ports of instance n: base + n - 1, or a free one. Free gives them back. Faults: invalid (no_such_port),
// limited (no_free_port), conflict (port_in_use: a stranger would answer a probe for the program).
func (p *Pool) Draw(def *config.Process, n int) (map[string]int, error) {
	if len(def.Ports) == 0 {
		return nil, nil
	}
	got := map[string]int{}
	for _, port := range def.Ports {
		number := port.Base + n - 1
		if port.Auto {
			var err error
			if number, err = p.unused(); err != nil {
				p.Free(got)
				return nil, fault.Wrap(err, fault.Limited, "cannot find a free port for %q: %v", port.Name, err).WithReason("no_free_port")
			}
		} else if number > Highest {
			p.Free(got)
			return nil, fault.New(fault.Invalid, "instance %d would get port %d for %q, but %d is the highest there is", n, number, port.Name, Highest).
				WithReason("no_such_port").WithHint("a lower base, fewer instances, or auto")
		} else {
			p.Keep(map[string]int{port.Name: number})
		}
		got[port.Name] = number
	}
	if err := occupied(def, got); err != nil {
		p.Free(got)
		return nil, err
	}
	return got, nil
}

// unused asks the kernel for a free port that no other generation was promised, and marks it as taken.
func (p *Pool) unused() (int, error) {
	for range 64 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		number := l.Addr().(*net.TCPAddr).Port
		l.Close()
		p.mu.Lock()
		free := p.taken[number] == 0
		if free {
			p.take(number)
		}
		p.mu.Unlock()
		if free {
			return number, nil
		}
	}
	return 0, errors.New("all that the kernel offered are promised already")
}

// Keep marks ports as taken.
func (p *Pool) Keep(got map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range got {
		p.take(n)
	}
}

// take counts one more generation that has a number. The caller holds mu.
func (p *Pool) take(number int) {
	if p.taken == nil {
		p.taken = map[int]int{}
	}
	p.taken[number]++
}

// Free takes back what Draw or Keep gave.
func (p *Pool) Free(got map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range got {
		if p.taken[n]--; p.taken[n] <= 0 {
			delete(p.taken, n)
		}
	}
}

// Taken is how many ports are promised to somebody.
func (p *Pool) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.taken)
}

// Variable is the name of the variable that carries a port's number.
func Variable(name string) string {
	return "PORT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
