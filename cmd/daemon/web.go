package daemon

import (
	"context"
	"net/http"
	"slices"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/life"
	"github.com/omnitron-dev/omnitron/mcp"
	mcpweb "github.com/omnitron-dev/omnitron/mcp/web"
	"github.com/omnitron-dev/omnitron/tools"
	web "github.com/omnitron-dev/omnitron/transports/http"
)

// agents lets the plane and the handler of MCP know each other.
type agents struct{ *mcpweb.Handler }

func (a agents) ServeMCP(w http.ResponseWriter, r *http.Request, body []byte, l web.Launch, lacks func(string)) {
	a.Handler.ServeMCP(w, r, body, mcp.Launch{Profile: l.Profile, Toolsets: l.Toolsets}, lacks)
}

// http adds the network plane for browsers, programs and agents, which follows config.yaml.
func (d *daemon) http(registry *tools.Registry, certs *cert.Certificates, m *mcp.Server) {
	h := &d.host
	handler := mcpweb.New(m, d.log)
	p := &web.Plane{
		Server: web.Server{Authority: h.Tokens, Browser: h.Tokens, Registry: registry, Sessions: h.Sessions, Agents: agents{handler}, Log: d.log, Version: d.version,
			Keys: h.Tokens.JWKS, Ready: d.ready, Metrics: d.figures, Refused: d.refuse("http")},
		Ready: h.Tokens.Ready,
		Secures: func(names []string, file, key string) (web.Shown, error) {
			served, err := certs.Serve(cert.Use{Names: names, Cert: file, Key: key})
			if err != nil {
				return web.Shown{}, err
			}
			return web.Shown{TLS: served.Config(), Pin: served.Pin, Trouble: served.Trouble}, nil
		},
		Stopped: handler.Clear,
	}
	d.web = p
	h.Config.Take(func(c *setting.Daemon) { p.Use(c.HTTP) })
	d.network = append(d.network, func() (host.Plane, bool) {
		st := p.Status()
		return plane("http", st.Listen, st.Pin, st.Trouble), st.Enabled
	})
	up := make(chan struct{})
	d.group.Add(life.Component{Name: "http", Ready: up, Run: func(ctx context.Context) error {
		defer handler.Close()
		return p.Run(ctx, func() { close(up) })
	}})
}

// endpoint is the URL at which others reach the HTTP plane, or "", and the file of the authority that they have to trust.
func (d *daemon) endpoint() (url, authority string) {
	if d.web == nil {
		return "", ""
	}
	url, own := d.web.URL()
	if own {
		authority = cert.Authority(d.home)
	}
	return url, authority
}

// ready says why the daemon does not do its work yet: one of its parts does not run.
func (d *daemon) ready() error {
	for _, part := range d.group.Status() {
		if !slices.Contains([]life.State{life.Running, life.Stopped}, part.State) {
			return fault.New(fault.Unavailable, "%s is %s", part.Name, part.State)
		}
	}
	return nil
}

// figures adds what the daemon knows of itself, its machine and its apps.
func (d *daemon) figures(_ context.Context, m *web.Metrics) {
	h := &d.host
	m.Gauge("build_info", "Version of the daemon.").Is(1, "version", d.version)
	m.Gauge("start_time_seconds", "When the daemon started, in Unix time.").Is(float64(h.Started.Unix()))
	apps := map[string]int{}
	for _, v := range h.Supervisor.Apps() {
		apps[string(v.State)]++
	}
	states := m.Gauge("apps", "Apps by their state.")
	for _, state := range sorted(apps) {
		states.Is(float64(apps[state]), "state", state)
	}
	sessions, calls, failed := map[string]int{}, int64(0), int64(0)
	for _, s := range h.Sessions.List() {
		sessions[s.Plane]++
		calls, failed = calls+s.InFlight, failed+s.Failed
	}
	open := m.Gauge("sessions", "Who is connected, by plane.")
	for _, plane := range sorted(sessions) {
		open.Is(float64(sessions[plane]), "plane", plane)
	}
	m.Gauge("calls", "Calls in flight.").Is(float64(calls))
	parts := m.Gauge("part_up", "Whether a part of the daemon runs.")
	for _, p := range d.group.Status() {
		up := 0.0
		if p.State == life.Running || p.State == life.Stopped {
			up = 1
		}
		parts.Is(up, "part", p.Name)
	}
	d.machine(m)
}

// machine adds samples of the host.
func (d *daemon) machine(m *web.Metrics) {
	s, err := d.host.Samples.Machine(d.home)
	if err != nil {
		d.log.Warn("the machine cannot be looked at", "err", err)
		return
	}
	m.Gauge("system_cpus", "Processors of the machine.").Is(float64(s.CPUs))
	m.Gauge("system_load", "Processes that want to run, over minutes.").Is(s.Load[0], "minutes", "1").Is(s.Load[1], "minutes", "5").Is(s.Load[2], "minutes", "15")
	m.Gauge("system_memory_bytes", "Memory of the machine.").Is(float64(s.MemTotal))
	m.Gauge("system_memory_available_bytes", "Memory that programs could still have.").Is(float64(s.MemAvailable))
	m.Gauge("system_swap_bytes", "Swap of the machine.").Is(float64(s.SwapTotal))
	m.Gauge("system_swap_free_bytes", "Swap that is free.").Is(float64(s.SwapFree))
	m.Gauge("system_disk_bytes", "Size of the disk that the home is on.").Is(float64(s.DiskTotal))
	m.Gauge("system_disk_free_bytes", "What of it programs could still have.").Is(float64(s.DiskFree))
	m.Gauge("system_threads", "Threads of all processes.").Is(float64(s.Threads))
	m.Gauge("system_uptime_seconds", "Since the machine was started.").Is(s.Uptime.Seconds())
}

func sorted(m map[string]int) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
