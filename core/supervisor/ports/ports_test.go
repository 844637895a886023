package ports

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

func TestPorts(t *testing.T) {
	var p Pool
	def := &config.Process{Ports: []config.Port{{Name: "a", Auto: true}, {Name: "b", Base: 8000}, {Name: "c", Auto: true}}}
	var mu sync.Mutex
	var drawn []map[string]int
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			got, err := p.Draw(def, n+1)
			if err != nil || got["b"] != 8000+n {
				t.Errorf("instance %d: %v %v", n+1, got, err)
			}
			mu.Lock()
			defer mu.Unlock()
			drawn = append(drawn, got)
		})
	}
	all.Wait()
	var numbers []int
	for _, got := range drawn {
		numbers = append(numbers, got["a"], got["b"], got["c"])
	}
	slices.Sort(numbers)
	if len(slices.Compact(numbers)) != 150 || p.Taken() != 150 {
		t.Errorf("%d numbers for 150 ports, %d taken", len(numbers), p.Taken())
	}
	again := map[string]int{"b": drawn[0]["b"]} // a generation is being followed by the next one
	p.Keep(again)
	for _, got := range drawn {
		p.Free(got)
	}
	if p.Taken() != 1 {
		t.Errorf("%v are left", p.taken)
	}
	p.Free(again)
	if _, err := p.Draw(&config.Process{Ports: []config.Port{{Name: "a", Auto: true}, {Name: "b", Base: 65535}}}, 2); reason(err) != "invalid/no_such_port" {
		t.Errorf("beyond the last port: %v", err)
	}
	if p.Taken() != 0 {
		t.Errorf("%v are left", p.taken)
	}
	if got, err := p.Draw(&config.Process{}, 1); got != nil || err != nil {
		t.Errorf("no ports: %v %v", got, err)
	}
}

// TestStranger: a port on which somebody else would answer a probe is not given out, and none is promised for it.
func TestStranger(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var p Pool
	def := &config.Process{Ports: []config.Port{{Name: "a", Auto: true}, {Name: "b", Base: l.Addr().(*net.TCPAddr).Port}}, Ready: config.Ready{Probe: config.Probe{TCP: "b"}}}
	if got, err := p.Draw(def, 1); reason(err) != "conflict/port_in_use" || p.Taken() != 0 {
		t.Errorf("%v %v, %d promised", got, err, p.Taken())
	}
}

// reason gives the code and the reason of a fault.
func reason(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return string(e.Code) + "/" + e.Reason
}
