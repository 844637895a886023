package apps

import (
	"cmp"
	"context"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/recorded"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
)

// Planning says which definition to compare with what holds now.
type Planning struct {
	Files    []File            `json:"files,omitempty" jsonschema:"YAML files, in merge order; default: the project's, read again"`
	EnvFiles []File            `json:"env_files,omitempty" secret:"true" jsonschema:"env files that they name"`
	Env      map[string]string `json:"env,omitempty" secret:"true" jsonschema:"the shell's environment"`
	Project  op.ProjectRef     `json:"project,omitempty" complete:"projects" jsonschema:"project"`
	Stack    string            `json:"stack,omitempty" jsonschema:"stack"`
}

// Planned is what applying would change.
type Planned struct {
	Project  string       `json:"project" jsonschema:"project"`
	Stack    string       `json:"stack" jsonschema:"stack"`
	Pending  bool         `json:"pending" jsonschema:"whether applying would change anything; what a shell's value alone makes different does not count"`
	Added    int          `json:"added" jsonschema:"how many apps are new"`
	Changed  int          `json:"changed" jsonschema:"how many apps are different"`
	Removed  int          `json:"removed" jsonschema:"how many apps the files have no more"`
	Apps     []PlannedApp `json:"apps" table:"1" jsonschema:"every app of the files, and those that they have no more"`
	Shared   []PlannedKey `json:"shared,omitempty" jsonschema:"keys that hold for all apps together and would change"`
	Warnings []string     `json:"warnings,omitempty" jsonschema:"what is allowed but perhaps not meant"`
}

// PlannedApp is what applying would mean for an app.
type PlannedApp struct {
	Key      string       `json:"key" table:"1" jsonschema:"project/stack/app"`
	Name     string       `json:"name" jsonschema:"app name"`
	Change   string       `json:"change" table:"1" enum:"added,changed,removed,unchanged" jsonschema:"what the files change"`
	Effect   string       `json:"effect" table:"2" jsonschema:"what that does to it, in words"`
	Restarts int          `json:"restarts" jsonschema:"instances that run and would be started anew"`
	Starts   int          `json:"starts" jsonschema:"instances that would be started"`
	Stops    int          `json:"stops" jsonschema:"instances that would be stopped"`
	Stays    int          `json:"stays" jsonschema:"instances that run and would go on"`
	Keys     []PlannedKey `json:"keys,omitempty" jsonschema:"what is different of it, key by key"`
}

// PlannedKey is a key that is different.
type PlannedKey struct {
	Key   string `json:"key" table:"1" jsonschema:"the key's path, as omnitron.yaml has it"`
	From  string `json:"from,omitempty" table:"2" jsonschema:"its value now, secrets masked; absent: not set"`
	To    string `json:"to,omitempty" table:"2" jsonschema:"its value then, secrets masked; absent: not set"`
	Where string `json:"where,omitempty" table:"3" jsonschema:"file and line that say so; absent: a default, an env file or the shell does"`
	Takes string `json:"takes" table:"1" enum:"live,restart,next" jsonschema:"how it is taken up: live, by a restart, or by the next restart (a value of the shell that no file names, which is no reason for one)"`
}

// Plan says what Apply would do with the same files, or daemon.reload with those that the project was made of: the same code up
// to the last step. Nothing is changed. Faults: invalid (config_invalid, with every problem; ambiguous), not_found
// (project_unknown), conflict (project_elsewhere, project_renamed, file_unreadable, revision_unreadable).
func (s *Service) Plan(ctx context.Context, in Planning) (Planned, error) {
	src := s.source(Application{Files: in.Files, EnvFiles: in.EnvFiles, Env: in.Env, Stack: in.Stack})
	if len(in.Files) == 0 {
		head, err := s.head(ctx, in)
		if err != nil {
			return Planned{}, err
		}
		if src, err = recorded.Source(head, s.user); err != nil {
			return Planned{}, err
		}
	}
	def, warnings, err := s.load(src)
	if err != nil {
		return Planned{}, err
	}
	if err := reserved(def); err != nil {
		return Planned{}, err
	}
	if err := s.sup.Claim(def); err != nil {
		return Planned{}, err
	}
	return s.planned(ctx, def, warnings, config.Locate(src)), nil
}

func (s *Service) planned(ctx context.Context, def *config.Definition, warnings []config.Warning, places tree.Places) Planned {
	out := Planned{Project: def.Project, Stack: def.Stack, Apps: []PlannedApp{}}
	for _, w := range warnings {
		out.Warnings = append(out.Warnings, w.Where+": "+w.Message)
	}
	keys := map[string][]PlannedKey{}
	for _, c := range config.Diff(s.sup.Current(ctx, def.Project, def.Stack), def) {
		if c.Path != "" {
			key := PlannedKey{Key: c.Path, From: c.Old, To: c.New, Takes: c.Takes}
			if at, ok := places.Of(naming.App(c.App), c.Path); ok && c.New != "" {
				key.Where = at.String()
			}
			keys[c.App] = append(keys[c.App], key)
		}
	}
	out.Shared = keys[""]
	for _, c := range s.sup.Compare(def) {
		app := PlannedApp{Key: c.Key, Name: naming.App(c.Key), Change: c.What, Effect: c.Item().To, Restarts: c.Anew, Starts: c.Starts, Stops: c.Stops, Stays: c.Stays, Keys: keys[c.Key]}
		switch c.What {
		case "added":
			out.Added++
		case "changed":
			out.Changed++
		case "removed":
			out.Removed++
			if v := s.sup.App(c.Key); v != nil {
				for _, i := range v.Instances {
					if i.PID != 0 {
						app.Stops++
					}
				}
			}
		}
		out.Apps = append(out.Apps, app)
	}
	out.Pending = out.Added+out.Changed+out.Removed+len(out.Shared) > 0
	return out
}

// head finds the newest revision of the project that is meant.
func (s *Service) head(ctx context.Context, in Planning) (records.Revision, error) {
	project, err := s.sup.Project(ctx, in.Project)
	if err != nil {
		return records.Revision{}, err
	}
	heads, err := recorded.Heads(ctx, s.revs, s.sup.Applied)
	if err != nil {
		return records.Revision{}, err
	}
	heads = slices.DeleteFunc(heads, func(r records.Revision) bool { return r.Project != project })
	stack := in.Stack
	if stack == "" && len(heads) == 1 {
		stack = heads[0].Stack
	}
	stack = cmp.Or(stack, config.DefaultStack)
	var stacks []string
	for _, r := range heads {
		if r.Stack == stack {
			return r, nil
		}
		stacks = append(stacks, r.Stack)
	}
	if len(stacks) == 0 {
		return records.Revision{}, fault.New(fault.NotFound, "there is no project whose files could be read again").WithReason("project_unknown").
			WithHint("omnitron up in a folder with an omnitron.yaml")
	}
	return records.Revision{}, fault.New(fault.NotFound, "project %s has no stack %q", project, stack).WithReason("stack_unknown").WithCandidates(stacks...)
}
