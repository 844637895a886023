package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/boot"
	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/sockets"
)

// keeperEvents tells the world what the keeper says of log files and of itself.
func (d *daemon) keeperEvents(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-d.host.Keeper.Events():
			ev := bus.Event{Topic: "logs", Type: e.Kind, Data: map[string]any{"path": e.Path}}
			ev.Key, ev.Slot = naming.Whose(e.ID)
			switch e.Kind {
			case "rotated":
				d.tooMany.add(e.Path)
				d.plain.add(e.Path)
				ev.Text, ev.Data["archive"] = "log rotated", filepath.Base(e.Archive)
			case "log_full":
				ev.Text, ev.Data["policy"] = fmt.Sprintf("output cannot be stored: %s; policy %s", e.Error, e.Policy), e.Policy
			case "log_recovered":
				ev.Text, ev.Data["lost"] = fmt.Sprintf("output is stored again, %d bytes were lost", e.Lost), e.Lost
			case "socket_shut":
				key, process, name := sockets.Parse(e.ID)
				ev.Topic, ev.Key, ev.Data = "apps", key, map[string]any{"socket": name, "process": process, "address": e.Path, "listens": !e.Broken}
				ev.Text = fmt.Sprintf("a program of %s has called shutdown(2) on the socket %s (%s), which all instances share; ", process, name, e.Path)
				if ev.Text += "it was opened again, but what waited in it was lost: have it close the socket instead"; e.Broken {
					ev.Text = strings.Replace(ev.Text, "it was opened again, but what waited in it was lost", "nobody can connect until the app is started again", 1)
				}
			case "keeper_replaced":
				ev.Topic, ev.Text = "daemon", "the keeper died and was replaced"
			}
			d.host.Bus.Publish(ev)
		}
	}
}

// renewKeeper has a keeper of another version become the one of this daemon: same process, its children stay its children.
// One that cannot goes on serving: it does what it can.
func (d *daemon) renewKeeper(ctx context.Context) error {
	path, err := boot.Keeper(d.home)
	if err != nil {
		return err
	}
	pid := d.host.Keeper.Info().PID
	running, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	wanted, werr := filepath.EvalSymlinks(path)
	if err != nil || werr != nil || running == wanted || hashed(running) != "" && hashed(running) == hashed(wanted) {
		return nil // one that is gone is replaced by this daemon's own anyway
	}
	within, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	if err := d.host.Keeper.Upgrade(within, path); err != nil {
		d.log.Error("the keeper of another version goes on", "pid", pid, "err", err)
		return nil
	}
	d.log.Info("the keeper is that of this version", "pid", d.host.Keeper.Info().PID, "version", d.host.Keeper.Info().Version)
	return nil
}

// renewTime is how long the keeper may take to become another one.
const renewTime = 30 * time.Second

// keeper connects to the keeper that started us.
func (d *daemon) keeper(ctx context.Context) (*proc.Keeper, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find our own program: %w", err)
	}
	path, err := boot.Keeper(d.home)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return proc.Dial(within, proc.Socket(d.home), proc.Options{Home: d.home, KeeperPath: path, Daemon: exe, Version: d.version, Log: d.log})
}

// hashed gives the name of a keeper in a home, which is the hash of its bytes: the same file may have been put there anew. A
// program of another name has none.
func hashed(path string) string {
	name := filepath.Base(strings.TrimSuffix(path, " (deleted)"))
	if !strings.HasPrefix(name, "omnitron-keeper-") {
		return ""
	}
	return name
}
