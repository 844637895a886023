package session

import "context"

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
