package rig

import (
	"context"
	"path/filepath"
	"time"

	"github.com/omnitron-dev/omnitron/transports/wire"
)

// Client is a connection to the daemon, made when it is needed first or when the one before has ended.
func (r *Rig) Client() *wire.Client {
	r.T.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		select {
		case <-r.client.Done():
			r.client.Close()
		default:
			return r.client
		}
	}
	var c *wire.Client
	r.Until(20*time.Second, "the daemon can be reached", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		var err error
		c, err = wire.Dial(ctx, "unix", filepath.Join(r.Home, "daemon.sock"))
		return err == nil
	})
	r.client = c
	return c
}

// Disconnect drops the connection to the daemon.
func (r *Rig) Disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
}

// Call calls a method and decodes its answer into out.
func (r *Rig) Call(method string, in, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return r.Client().Call(ctx, method, in, out)
}

// App is what scenarios look at of an app.
type App struct {
	Key, Name, State, Health, Reason string
	Restarts                         int
	Instances                        []struct {
		Slot, State, Reason string
		PID                 int
		Generation          uint64
		StartedAt           time.Time      `json:"started_at"`
		Ports               map[string]int `json:"ports"`
		LastExit            *struct {
			Code    int
			Signal  string
			Known   bool
			Message string
			Reason  string
		} `json:"last_exit"`
	}
}

// App gives an app as it is now. A daemon that is away is waited for.
func (r *Rig) App(name string) App {
	r.T.Helper()
	var a App
	r.Until(20*time.Second, "apps.get answers", func() bool {
		return r.Call("apps.get", map[string]any{"name": name}, &a) == nil
	})
	return a
}

// PID is the main process of an app's first instance, or 0.
func (r *Rig) PID(name string) int {
	a := r.App(name)
	if len(a.Instances) == 0 {
		return 0
	}
	return a.Instances[0].PID
}

// WaitState waits until an app is in a state.
func (r *Rig) WaitState(name, state string, within time.Duration) App {
	r.T.Helper()
	var a App
	r.Until(within, name+" is "+state, func() bool {
		a = r.App(name)
		return a.State == state
	})
	return a
}
