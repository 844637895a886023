// Package short holds the short forms that are more than one method, and the commands that need no daemon.
package short

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/cmd/cli/short/project"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Usual are the short forms that people expect of methods whose rows name none.
var Usual = map[string]string{
	"apps.list": "ls", "apps.start": "start", "apps.stop": "stop", "apps.restart": "restart", "apps.reload": "reload", "apps.scale": "scale",
	"apps.inspect": "inspect", "apps.env": "env", "apps.explain": "why", "daemon.ping": "ping", "daemon.status": "status", "events.follow": "events", "events.list": "since",
}

// Commands are the short forms that are commands of their own.
func Commands(s *session.Session) []*cobra.Command {
	var all []*cobra.Command
	for _, make := range []func(*session.Session) *cobra.Command{
		project.Up, project.Plan, project.Down, project.Run, kill, wait, project.Init, project.Import, project.Config, mcp, remote, doctor, project.Demo, completion, explain, version,
	} {
		if cmd := make(s); cmd != nil {
			if instead, is := notRemote[cmd.Name()]; is {
				session.Here(cmd, instead)
			}
			all = append(all, cmd)
		}
	}
	return all
}

// notRemote says of commands that are about this machine what to do at a remote one.
var notRemote = map[string]string{
	"up":         "omnitron start --remote ALIAS        start what is declared there\na project's files and folder are those of its own machine: run omnitron up there",
	"plan":       "omnitron apps plan --project NAME --remote ALIAS        what its own files would change there",
	"down":       "omnitron stop --remote ALIAS        stop apps there\nomnitron daemon shutdown --remote ALIAS        end the daemon too; only somebody on its machine can start it again",
	"run":        "omnitron apps add --remote ALIAS --cwd FOLDER -- CMD…        a program of its machine",
	"kill":       "omnitron daemon restart --remote ALIAS        replace its daemon by a new one",
	"config":     "omnitron daemon config --remote ALIAS        the settings of its daemon\nomnitron config works without a daemon",
	"demo":       "omnitron demo        it runs here",
	"init":       "omnitron init works without a daemon, on the files of this machine",
	"import":     "omnitron import works without a daemon, on the files of this machine",
	"completion": "omnitron completion works without a daemon",
	"explain":    "omnitron explain works without a daemon",
	"version":    "omnitron daemon version --remote ALIAS        the version of its daemon",
	"remote":     "omnitron remote works on the remotes of this home",
}

// Groups are the short forms that carry a service's name; its verbs stand below them.
func Groups(s *session.Session) map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	if spec, ok := s.Spec("logs.query"); ok {
		all["logs"] = logs(s, spec)
	}
	return all
}

// Beside are the commands that stand beside a service's verbs and are no methods.
func Beside(s *session.Session) map[string][]*cobra.Command {
	all := map[string][]*cobra.Command{}
	if method.Has(s, "secrets.get") && s.Exec != nil {
		all["secrets"] = append(all["secrets"], project.RunWithSecrets(s))
	}
	if method.Has(s, "secrets.set") {
		all["secrets"] = append(all["secrets"], project.ImportSecrets(s))
	}
	if method.Has(s, "audit.list") {
		all["audit"] = append(all["audit"], exportAudit(s))
	}
	return all
}

// Before is what has to happen before a method is called: start brings a daemon up when there is none.
func Before(s *session.Session, spec op.Spec) func(context.Context) error {
	if spec.ID() != "apps.start" || s.EnsureDaemon == nil {
		return nil
	}
	return func(ctx context.Context) error { return project.Ensure(ctx, s) }
}
