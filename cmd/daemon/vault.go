package daemon

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/vault"
)

// keeping makes the vault, and what takes its secrets out of everything that is shown. A sealed one is no reason not to
// start: what needs no secret runs.
func (d *daemon) keeping() {
	h := &d.host
	h.Vault = vault.New(vault.Options{Home: d.home, Credentials: os.Getenv("CREDENTIALS_DIRECTORY"), Disk: store.OS, Log: d.log, Now: time.Now, Count: vault.CountIn(h.Store)})
	h.Redact = redact.NewLive(h.Vault.Values)
	h.Bus.Redact = h.Redact.String
	d.shown.Store(h.Redact)
	_ = h.Vault.Err() // now, so that nothing is shown before it is known what must not be; it says itself why it is sealed
	h.Vault.OnChange(func() {
		h.Redact.Stale()
		h.Supervisor.SecretsChanged()
	})
}

// noticed puts on record what was wrong with the vault's files: who put an older one in place may also be who makes the next
// change, after which the files say nothing of it.
func (d *daemon) noticed(text string) {
	args, err := json.Marshal(map[string]string{"notice": text})
	if err != nil {
		return
	}
	d.host.Ledger.Read(ledger.Entry{User: "daemon", UID: os.Getuid(), Method: "(vault)", Args: args})
}

// check asks an app how it is. What the app answers may end in state.json.
func (d *daemon) check(ctx context.Context, t probe.Target) probe.Result {
	r := probe.Check(ctx, t)
	r.Message = d.host.Redact.String(r.Message)
	return r
}

// forget has the vault forget former values that nothing can show any more: no stored line is as old as their end, and
// no program that was started with them runs.
func (d *daemon) forget(ctx context.Context) error {
	until := time.Now()
	stats, err := d.host.Journal.Stats(ctx)
	if err != nil {
		return err
	}
	for _, st := range stats {
		if !st.Oldest.IsZero() && st.Oldest.Before(until) {
			until = st.Oldest
		}
	}
	for _, p := range d.host.Keeper.Processes() {
		if p.Started().Before(until) {
			until = p.Started()
		}
	}
	_, err = d.host.Vault.Retire(until)
	return err
}
