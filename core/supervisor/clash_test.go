package supervisor

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// TestClash: what several apps, or a stranger, want of one port is found before anything is started, and nothing else is
// taken for it.
func TestClash(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	w := newWorld(t)
	w.begin()
	done := func(_ []view.Result, err error) {
		t.Helper()
		must(t, err)
	}
	file := func(command string, n int) string {
		return fmt.Sprintf(`
project: shop
apps:
  - {name: first, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: web, command: %q, ready: {delay: 10ms}, ports: {http: %d}, instances: 2, dependsOn: [first]}
`, command, n)
	}
	if _, err := w.apply(file("exec sleep 1000", port)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.start("web"); reason(err) != "conflict/port_in_use" || !strings.Contains(err.Error(), "(pid ") {
		t.Errorf("a stranger: %v", err)
	}
	w.is("first", view.Stopped)
	l.Close()
	done(w.start("web"))
	if rs, err := w.start("web"); err != nil || rs[0].Changed {
		t.Errorf("again: %+v %v", rs, err)
	}
	done(w.restart("web")) // its own ports are no clash
	before := w.pid("web")

	other := w.load(fmt.Sprintf(`
project: other
apps:
  - {name: a, command: "exec sleep 1000", ready: {delay: 10ms}, ports: {one: %d}}
  - {name: b, command: "exec sleep 1000", ready: {delay: 10ms}, ports: {two: %d}}
`, port+1, port+2))
	other.Dir += "/other"
	done(w.Apply(w.ctx(), other, w.defs.add(other), Command{Seq: w.next(), Wait: true}))
	if _, err := w.start("a"); reason(err) != "conflict/port_in_use" || !strings.Contains(err.Error(), "is taken by shop/dev/web") {
		t.Errorf("another project: %v", err)
	}
	done(w.start("b"))
	// a definition whose programs would be started anew on a port that another has changes nothing
	if _, err := w.apply(file("exec sleep 2000", port+1)); reason(err) != "conflict/port_in_use" || !strings.Contains(err.Error(), "other/dev/b") {
		t.Errorf("renewed onto it: %v", err)
	}
	if w.pid("web") != before {
		t.Error("it was started anew all the same")
	}
	done(w.apply(file("exec sleep 2000", port-1))) // its own second port is not another's
	done(w.stop("web"))
	done(w.start("a"))
}
