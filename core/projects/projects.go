// Package projects knows where projects lie and which stacks they have: those of their files, and those that were created
// beside them. It reads files where that was asked for, and has the supervisor follow what they say.
package projects

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/recorded"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
)

// Projects is what is known of all of them.
type Projects struct {
	sup     *supervisor.Supervisor
	revs    *records.Revisions
	created *records.Stacks
	user    string // who the daemon runs as
}

// New gives the projects whose definitions are kept in revs and followed by sup.
func New(sup *supervisor.Supervisor, revs *records.Revisions, created *records.Stacks, user string) *Projects {
	return &Projects{sup, revs, created, user}
}

// AdHoc is the project of the apps that no file declares.
const AdHoc = "adhoc"

// Load is config.Load with the stacks that were created beside the file. Faults: as there, and conflict (project_reserved).
func (p *Projects) Load(ctx context.Context, src config.Source) (*config.Definition, []config.Warning, error) {
	var failed error
	src.Created = p.createdIn(ctx, &failed)
	def, warnings, err := config.Load(src)
	if failed != nil {
		return nil, nil, failed
	}
	if err == nil && def.Project == AdHoc {
		return nil, nil, fault.New(fault.Conflict, "the project %q is that of apps that no file declares", AdHoc).WithReason("project_reserved").WithHint("set another `project:` in the file")
	}
	return def, warnings, err
}

// createdIn finds created stacks for config; what keeps them from being read goes to failed.
func (p *Projects) createdIn(ctx context.Context, failed *error) func(project string) map[string]string {
	return func(project string) map[string]string {
		list, err := p.created.List(ctx, project)
		if err != nil {
			*failed = err
		}
		says := map[string]string{}
		for _, c := range list {
			says[c.Name] = c.Says
		}
		return says
	}
}

// Keep makes a revision of a definition and of what it was read from. Faults: internal (state_not_durable).
func (p *Projects) Keep(ctx context.Context, def *config.Definition, src config.Source) (int64, error) {
	text, err := json.Marshal(def)
	if err != nil {
		return 0, fmt.Errorf("cannot encode a definition: %w", err)
	}
	files, err := json.Marshal(src.Files)
	if err != nil {
		return 0, fmt.Errorf("cannot encode the files of a definition: %w", err)
	}
	env, err := json.Marshal(src.Env)
	if err != nil {
		return 0, fmt.Errorf("cannot encode the environment of a definition: %w", err)
	}
	return p.revs.Add(ctx, records.Revision{Project: def.Project, Stack: def.Stack, Created: time.Now(), By: op.CallerOf(ctx).Principal(),
		Definition: text, Files: files, Env: env}, p.sup.RevisionsInUse(def.Project, def.Stack)...)
}

// Heads gives of every stack the revision that is in force.
func (p *Projects) Heads(ctx context.Context) ([]records.Revision, error) {
	return recorded.Heads(ctx, p.revs, p.sup.Applied)
}

// Latest gives the newest revision of a stack. Faults: not_found.
func (p *Projects) Latest(ctx context.Context, project, stack string) (records.Revision, error) {
	return p.revs.Latest(ctx, project, stack)
}

// Recorded gives what the newest definition of a project was read from. Its env files are read again: they are as much the project's
// as its programs are; what runs, the file says, and that is not. Faults: not_found (project_unknown), conflict (revision_unreadable).
func (p *Projects) Recorded(ctx context.Context, project string) (config.Source, error) {
	var newest records.Revision
	for _, st := range p.sup.Stacks(ctx) {
		if st.Project != project || st.Revision == 0 {
			continue
		}
		rev, err := p.revs.Get(ctx, project, st.Name, st.Revision)
		if err != nil {
			return config.Source{}, err
		}
		if newest.Rev == 0 || rev.Created.After(newest.Created) {
			newest = rev
		}
	}
	if newest.Rev == 0 {
		return config.Source{}, p.unknown(ctx, project)
	}
	if newest.Unreadable != nil {
		return config.Source{}, fault.Wrap(newest.Unreadable, fault.Conflict, "%v", newest.Unreadable).WithReason("revision_unreadable").
			WithHint("omnitron up in the project's folder reads its files and keeps them anew")
	}
	src := config.Source{User: p.user}
	if err := json.Unmarshal(newest.Files, &src.Files); err != nil {
		return src, fmt.Errorf("cannot read the files of %s/%s revision %d: %w", project, newest.Stack, newest.Rev, err)
	}
	if err := json.Unmarshal(newest.Env, &src.Env); err != nil {
		return src, fmt.Errorf("cannot read the environment of %s/%s revision %d: %w", project, newest.Stack, newest.Rev, err)
	}
	src.Home = src.Env["HOME"]
	return src, nil
}

// Of gives a source for one of the stacks of its files, with the env files that this one names.
func (p *Projects) Of(src config.Source, stack string) config.Source {
	src.Stack, src.EnvFiles = stack, map[string]string{}
	read := func(path string) {
		if text, err := config.ReadFile(path); err == nil { // whether it has to be there Load says, with its line
			src.EnvFiles[path] = text
		}
	}
	if len(src.Files) > 0 {
		read(filepath.Join(filepath.Dir(src.Files[0].Path), ".env"))
	}
	refs, _ := config.References(src) // what is wrong with the files is said by Load, with its line
	for _, path := range refs {
		read(path)
	}
	return src
}

// The names under which a project's file is found, and what is merged behind it.
var (
	fileNames = []string{"omnitron.yaml", "omnitron.yml"}
	overrides = []string{"omnitron.override.yaml", "omnitron.override.yml"}
)

// FileIn finds a project's file in a folder, "" where there is none.
func FileIn(dir string) string {
	for _, name := range fileNames {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode().IsRegular() {
			return filepath.Join(dir, name)
		}
	}
	return ""
}

// Read reads the file of a project in a folder, or the file itself, with the environment of the daemon where env is nil.
// Faults: invalid (bad_path, config_unreadable), not_found (no_config).
func (p *Projects) Read(path string, env map[string]string) (config.Source, error) {
	src := config.Source{User: p.user, Env: env}
	if !filepath.IsAbs(path) {
		return src, fault.New(fault.Invalid, "%q is no absolute path, and the daemon is in a folder of its own", path).WithReason("bad_path").
			WithHint("begin it with /, as in $PWD/shop")
	}
	file := filepath.Clean(path)
	if st, err := os.Stat(file); err != nil || st.IsDir() {
		if file = FileIn(path); file == "" {
			return src, fault.New(fault.NotFound, "there is no omnitron.yaml in %s", filepath.Clean(path)).WithReason("no_config").WithHint("%s", fault.Do("projects.scan", "path", filepath.Clean(path)))
		}
	}
	paths := []string{file}
	for _, name := range overrides {
		if st, err := os.Stat(filepath.Join(filepath.Dir(file), name)); err == nil && st.Mode().IsRegular() {
			paths = append(paths, filepath.Join(filepath.Dir(file), name))
		}
	}
	for _, name := range paths {
		text, err := config.ReadFile(name)
		if err != nil {
			return src, fault.New(fault.Invalid, "cannot read the configuration: %v", err).WithReason("config_unreadable")
		}
		src.Files = append(src.Files, config.File{Path: name, Text: text})
	}
	return p.Environment(src), nil
}

// Environment gives a source that has no environment the daemon's own.
func (p *Projects) Environment(src config.Source) config.Source {
	if src.Env == nil {
		src.Env = map[string]string{}
		for _, e := range config.DaemonEnv(os.Environ()) {
			if name, value, _ := strings.Cut(e, "="); !strings.HasPrefix(name, "OMNITRON_") {
				src.Env[name] = value
			}
		}
	}
	src.Home, src.User = src.Env["HOME"], p.user
	return src
}

// unknown is the fault of a project that is not there.
func (p *Projects) unknown(ctx context.Context, project string) error {
	names := []string{}
	for _, st := range p.sup.Stacks(ctx) {
		if !slices.Contains(names, st.Project) {
			names = append(names, st.Project)
		}
	}
	if strings.HasPrefix(project, "/") {
		return fault.New(fault.NotFound, "the project in %s is not known to the daemon", project).WithReason("project_unknown").
			WithHint("%s", fault.Do("projects.add", "path", project)).WithCandidates(names...)
	}
	return fault.New(fault.NotFound, "there is no project %q", project).WithReason("project_unknown").WithCandidates(names...)
}
