package daemon

import (
	"context"
	"net/netip"
	"time"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/life"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/transports/tcp"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// listening tells how the network planes stand that are switched on.
func (d *daemon) listening() (all []host.Plane) {
	for _, look := range d.network {
		if p, on := look(); on {
			all = append(all, p)
		}
	}
	return all
}

// plane is a network plane as status shows it.
func plane(name, listen, pin string, trouble error) host.Plane {
	p := host.Plane{Name: name, Listen: listen, Pin: pin}
	if trouble != nil {
		p.Trouble = fault.From(trouble)
	}
	return p
}

// refuse counts a stranger of a network plane.
func (d *daemon) refuse(plane string) func(from netip.Addr, why *fault.Error) {
	return func(from netip.Addr, why *fault.Error) {
		d.host.Ledger.Refuse(ledger.Stranger{Plane: plane, Address: from.String(), Code: string(why.Code), Reason: why.Reason})
	}
}

// certificates are what the network planes show.
func (d *daemon) certificates() *cert.Certificates {
	return cert.New(cert.Options{Home: d.home, Keys: d.host.Vault.Key, Disk: store.OS, Log: d.log, Now: time.Now})
}

// tcp adds the network plane for the native dialect, which follows config.yaml.
func (d *daemon) tcp(registry *tools.Registry, certs *cert.Certificates, handle wire.Handler, opts wire.Options) {
	h := &d.host
	opts.WriteTimeout = 10 * time.Second
	srv := &tcp.Server{Certificates: certs, Authority: h.Tokens, Ready: h.Tokens.Ready, Sessions: h.Sessions, Handle: handle, Options: opts, Log: d.log, Refused: d.refuse("tcp"),
		Public: func(id string) bool {
			m, ok := registry.Find(id)
			return ok && m.Role == op.Public
		}}
	h.Config.Take(func(c *setting.Daemon) { srv.Use(c.TCP) })
	d.network = append(d.network, func() (host.Plane, bool) {
		st := srv.Status()
		return plane("tcp", st.Listen, st.Pin, st.Trouble), st.Enabled
	})
	up := make(chan struct{})
	d.group.Add(life.Component{Name: "tcp", Ready: up, Run: func(ctx context.Context) error { return srv.Run(ctx, func() { close(up) }) }})
}
