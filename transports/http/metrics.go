package http

import (
	"bytes"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Metrics gathers figures in the text format of Prometheus.
type Metrics struct{ b bytes.Buffer }

// Gauge begins a figure that goes up and down.
func (m *Metrics) Gauge(name, help string) Figure { return m.family(name, help, "gauge") }

// Counter begins a figure that only grows; its name ends in _total.
func (m *Metrics) Counter(name, help string) Figure { return m.family(name, help, "counter") }

func (m *Metrics) family(name, help, kind string) Figure {
	name = "omnitron_" + name
	m.b.WriteString("# HELP " + name + " " + escapeHelp.Replace(help) + "\n# TYPE " + name + " " + kind + "\n")
	return Figure{m, name}
}

// Figure is a family of samples that differ in their labels.
type Figure struct {
	m    *Metrics
	name string
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// Is adds a sample; labels are pairs of a name and a value.
func (f Figure) Is(value float64, labels ...string) Figure {
	b := &f.m.b
	b.WriteString(f.name)
	for i := 0; i+1 < len(labels); i += 2 {
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0] + labels[i] + `="` + escapeLabel.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
	}
	if len(labels) > 1 {
		b.WriteByte('}')
	}
	b.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
	return f
}

// figuresOf is the method that tells what the figures tell: whose token does not let it be called sees none of them.
const figuresOf = "daemon.status"

// metrics answers a scraper.
func (x *exchange) metrics() {
	if !x.caller.Ceiling.Covers(op.Viewer) {
		x.challenge("insufficient_scope", op.Viewer.String())
		x.answer(http.StatusForbidden, fault.New(fault.Denied, "/metrics needs the role viewer").WithReason("role"))
		return
	}
	if scope := x.caller.Scope; scope.Bounded() || !scope.Allows(figuresOf) {
		x.challenge("insufficient_scope", op.Viewer.String())
		x.answer(http.StatusForbidden, fault.New(fault.Denied, "/metrics speaks of the whole daemon, as %s does, and the token is limited to less", figuresOf).WithReason("scope"))
		return
	}
	m := &Metrics{}
	m.process()
	m.plane(x.s)
	x.s.Metrics(x.r.Context(), m)
	x.raw(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", m.b.Bytes())
}

// process adds what the runtime knows of the daemon.
func (m *Metrics) process() {
	read := func(name string) float64 {
		s := []metrics.Sample{{Name: name}}
		metrics.Read(s)
		switch s[0].Value.Kind() {
		case metrics.KindUint64:
			return float64(s[0].Value.Uint64())
		case metrics.KindFloat64:
			return s[0].Value.Float64()
		}
		return 0
	}
	m.Gauge("daemon_goroutines", "Goroutines of the daemon.").Is(float64(runtime.NumGoroutine()))
	m.Gauge("daemon_heap_bytes", "Memory that objects of the daemon take.").Is(read("/memory/classes/heap/objects:bytes"))
	m.Gauge("daemon_memory_bytes", "Memory that the daemon has from the system.").Is(read("/memory/classes/total:bytes"))
	m.Counter("daemon_gc_total", "Garbage collections of the daemon.").Is(read("/gc/cycles/total:gc-cycles"))
}

// plane adds what goes on here.
func (m *Metrics) plane(s *Server) {
	requests := m.Counter("http_requests_total", "Requests that were answered, by the first digit of the status.")
	for i := 1; i < len(s.served.total); i++ {
		requests.Is(float64(s.served.total[i].Load()), "status", strconv.Itoa(i)+"xx")
	}
	m.Counter("http_refused_total", "Requests that were refused before they reached a method.").Is(float64(s.served.refused.Load()))
	m.Gauge("http_requests", "Requests in flight, this one included.").Is(float64(s.served.open.Load()))
}
