// Package session is one run of the command line: where it reads and writes, the flags that every command has, the
// connection to the daemon, and how answers and failures are shown.
package session

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/spf13/cobra"
)

// Client is a connection to a daemon, safe for concurrent use: progress is followed while a call is waited for. Errors
// are faults; a cancelled context cancels the call at the daemon too.
type Client interface {
	Call(ctx context.Context, method string, params any) (json.RawMessage, error)
	Stream(ctx context.Context, method string, params any) iter.Seq2[json.RawMessage, error]
	Close() error
}

// Env is everything that the command line takes from outside. What is nil is not offered: its commands are left out.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Environ        func() []string // KEY=value of the shell that runs us, for up
	Dir            string          // working directory, absolute
	Executable     string          // absolute path of this program, for `mcp config`
	Version        Version
	Now            func() time.Time // nil: time.Now
	Terminal       *Terminal        // nil: found out by looking

	// Dial connects to the daemon of a home; "" is the usual one. Fault: unavailable.
	Dial func(ctx context.Context, home string) (Client, error)
	// EnsureDaemon starts the daemon when there is none and returns when it answers.
	EnsureDaemon func(ctx context.Context, home string) (started bool, err error)
	// Revive starts the daemon of a home where a keeper lives on without one, and reports whether there was such a keeper.
	Revive func(ctx context.Context, home string) (revived bool, err error)
	// Sweep ends what lives on of a home whose daemon and keeper were both killed, and reports whether there was anything.
	Sweep func(ctx context.Context, home string) (found bool, err error)
	// Gone returns when daemon and keeper of a home have ended.
	Gone func(ctx context.Context, home string) error
	// Held reports whether a home's keeper lives on without a daemon and was told to leave it so, as Kill does.
	Held func(ctx context.Context, home string) bool
	// Hung gives the fault of a daemon that is there and does not answer even to a ping; nil when it answers, or is not there.
	Hung func(ctx context.Context, home string) error
	// Kill ends the daemon by force, and for good: the keeper does not start it again. Apps live on.
	Kill func(ctx context.Context, home string) (Killed, error)
	// MCP speaks MCP on standard input and output until they close.
	MCP func(ctx context.Context, home string, launch Launch) error
	// Demo writes the sample project and names the home that it is to run in.
	Demo func(ctx context.Context, home string) (Demo, error)
	// Doctor looks at what can be seen when the daemon cannot be asked, and why it cannot; its answer has the form of
	// daemon.doctor's.
	Doctor func(ctx context.Context, home string, why error) (json.RawMessage, error)
	// Exec replaces this process by a program.
	Exec func(argv, env []string) error
	// Config are the operations on omnitron.yaml that need no daemon.
	Config Config
	// Remotes are the daemons of other machines.
	Remotes Remotes
	// Staying keeps this program on this machine.
	Staying Staying
	// Local are further commands that need no daemon, such as `daemon run`.
	Local []Local
}

// Terminal is what the standard streams are connected to.
type Terminal struct {
	In, Out, Err bool
	Size         func() (width, height int)
}

// Version is what `version` tells of this program.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Built   string `json:"built,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Killed says what `kill` found.
type Killed struct {
	Was bool `json:"was_running"`
	PID int  `json:"pid,omitempty"`
}

// Launch is what an MCP connection is started with.
type Launch struct {
	Role     string
	Profile  string
	Toolsets []string
	ReadOnly bool
}

// Demo is a sample project on disk.
type Demo struct {
	Home string // of the daemon that runs it
	Dir  string // folder of its omnitron.yaml
}

// Config are the operations on configuration that run in the command line's own process. Faults: invalid, with a
// problem for each fault of the files.
type Config struct {
	// References names the environment files that a configuration reads, absolute; some may not exist.
	References func(config.Source) ([]string, error)
	// Resolve gives the resolved definition with secrets masked, as JSON, and what is odd about it.
	Resolve func(config.Source) (json.RawMessage, []config.Warning, error)
	// Show writes the file as it is understood, as a file that means the same, with secrets masked.
	Show func(config.Source) ([]byte, error)
	// Schema is the JSON Schema of omnitron.yaml.
	Schema func() (json.RawMessage, error)
	// Settings is that of config.yaml.
	Settings func() (json.RawMessage, error)
}

// Local is a command that is no method.
type Local struct {
	Path    []string // where it stands, such as daemon run
	Short   string
	Long    string
	Args    string // usage of its arguments, "" for none
	Hidden  bool
	Flags   func(*cobra.Command)
	Run     func(ctx context.Context, home string, cmd *cobra.Command, args []string) error
	NoFlags bool // everything after the command's name is its own
}

// Staying is what makes the daemon come back after a reboot, and what replaces this program by another.
type Staying struct {
	Install   func(ctx context.Context, home string, o InstallOptions) (Installed, error)
	Uninstall func(ctx context.Context, home string, o InstallOptions) (Installed, error)
	Upgrade   func(ctx context.Context, home string, o UpgradeOptions) (Upgraded, error)
}

// InstallOptions say how the daemon is to be started at boot. The zero value is found out by looking.
type InstallOptions struct {
	Manager string // systemd or cron; "": systemd where it runs
	Linger  bool   // let a user's services run without anybody being logged in
	DryRun  bool   // say what would be done
	NoStart bool   // install it for the next boot only
}

// Installed is what was done, or would be.
type Installed struct {
	Manager string     `json:"manager"` // systemd or cron
	Scope   string     `json:"scope"`   // system or user
	Name    string     `json:"name"`    // of the unit; the mark of the line in the crontab
	Home    string     `json:"home"`
	Changed bool       `json:"changed"`
	DryRun  bool       `json:"dry_run,omitempty"`
	Files   []Touched  `json:"files"`
	Ran     [][]string `json:"commands"`
	Notes   []string   `json:"notes"`
}

// Touched is a file that was written, removed or found as it is wanted.
type Touched struct {
	Path string `json:"path"`
	Done string `json:"done"` // written, unchanged, removed
	Text string `json:"text,omitempty"`
}

// UpgradeOptions say what replaces this program.
type UpgradeOptions struct {
	From   string // file of the other program; "": this one, in the place of the installed one
	SHA256 string // of From, in hex; "": as From.sha256 has it
	To     string // the installed program; "": the one that runs this
	DryRun bool
}

// Upgraded is what became of it.
type Upgraded struct {
	Path    string `json:"path"`
	From    string `json:"from"` // versions
	To      string `json:"to"`
	SHA256  string `json:"sha256"`
	Changed bool   `json:"changed"`
	DryRun  bool   `json:"dry_run,omitempty"`
	Daemon  string `json:"daemon"` // replaced, unchanged, or none: no daemon runs
	PID     int    `json:"pid,omitempty"`
}
