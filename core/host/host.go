// Package host gathers the parts of the kernel that services are built on. A service copies the fields it needs in its
// constructor and does not keep the host.
package host

import (
	"context"
	"log/slog"
	"time"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/life"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/sched"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/core/vault"
)

// Host is the kernel of one daemon.
type Host struct {
	Log        *slog.Logger
	Home       string
	User       string // who owns the home
	Version    string
	Started    time.Time
	Supervisor *supervisor.Supervisor
	Keeper     *proc.Keeper
	Journal    *journal.Journal
	Vault      *vault.Vault
	Redact     *redact.Live // what nobody is shown
	Bus        *bus.Bus
	Store      *store.Store
	State      *store.StateFile
	Revisions  *records.Revisions
	Events     *records.Events
	Ledger     *ledger.Ledger
	Sessions   *session.Sessions
	Sched      *sched.Scheduler
	Samples    *sample.Sampler
	Tokens     *token.Tokens // accounts, sessions and tokens: who comes over the network
	// Endpoint is the URL of the HTTP plane, "" while there is none, and the file with the authority that its clients have to
	// trust, "" where the daemon's own is not the one. It may be nil.
	Endpoint  func() (url, authority string)
	Config    *setting.Current
	Policy    *policy.Engine
	Approvals *approval.Approvals
	Specs     []op.Spec // of every method
	Parts     func() []life.Status
	Planes    func() []Plane                                              // the network planes that are switched on
	Shutdown  func(ctx context.Context, down bool) ([]view.Result, error) // stops every app in order, then ends the daemon
	Restart   func()                                                      // replaces the daemon; apps live on
}

// Plane is how a network plane stands.
type Plane struct {
	Name    string       // tcp or http
	Listen  string       // where it listens; "" while it does not
	Pin     string       // of the key that it shows; "" without TLS
	Trouble *fault.Error // what keeps it from being as config.yaml says; nil: nothing
}
