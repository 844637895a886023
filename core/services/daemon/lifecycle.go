package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/recorded"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Rereading says which projects to read again.
type Rereading struct {
	Project op.ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"project; default: every one"`
}

// Reread is what became of it.
type Reread struct {
	Projects []RereadProject `json:"projects" table:"1" jsonschema:"an entry a project and stack"`
}

// RereadProject is what reading a project again changed.
type RereadProject struct {
	Project  string        `json:"project" table:"1" jsonschema:"project"`
	Stack    string        `json:"stack" table:"1" jsonschema:"stack"`
	Revision int64         `json:"revision" table:"1" jsonschema:"number of its definition now"`
	Changed  int           `json:"changed" table:"1" jsonschema:"how many apps were added, changed or removed"`
	Results  []view.Result `json:"results" jsonschema:"one result for each app of which something was started, restarted or stopped"`
}

// reread is a project that was read again, before anything is applied.
type reread struct {
	rev   records.Revision
	def   *config.Definition
	files []config.File
}

// absent is a project whose files cannot be read: it is left as it is.
type absent struct {
	stack string // project/stack
	why   *fault.Error
}

// read reads the files of the projects again: all of them, before any of it is acted upon. A project whose files are not
// there is no matter of the others, as long as there are others.
func (s *Service) read(ctx context.Context, only op.ProjectRef) ([]reread, []absent, error) {
	heads, err := recorded.Heads(ctx, s.revs, s.sup.Applied)
	if err != nil {
		return nil, nil, err
	}
	name := string(only)
	if strings.HasPrefix(name, "/") { // the folder of a project's file, as the command line says it
		if known, ok := s.sup.ProjectAt(name); ok {
			name = known
		}
	}
	var out []reread
	var missing []absent
	for _, rev := range heads {
		if name != "" && name != rev.Project {
			continue
		}
		src, err := recorded.Source(rev, s.user)
		if f, ok := errors.AsType[*fault.Error](err); ok {
			missing = append(missing, absent{rev.Project + "/" + rev.Stack, f})
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		def, _, err := s.load(ctx, src)
		if err != nil {
			return nil, nil, err
		}
		if def.Project != rev.Project {
			if slices.Contains(s.sup.Projects(), rev.Project) {
				missing = append(missing, absent{rev.Project + "/" + rev.Stack, renamed(rev, def)})
			}
			continue
		}
		out = append(out, reread{rev, def, src.Files})
	}
	switch {
	case len(out) > 0:
	case len(missing) > 0:
		return nil, nil, missing[0].why
	case name != "":
		return nil, nil, fault.New(fault.NotFound, "there is no project %q", name).WithReason("project_unknown").WithCandidates(s.sup.Projects()...)
	}
	return out, missing, nil
}

func renamed(rev records.Revision, def *config.Definition) *fault.Error {
	return fault.New(fault.Conflict, "the file of project %s calls it %s now", rev.Project, def.Project).WithReason("project_renamed").
		WithHint("omnitron down --project %s, then omnitron up in %s", rev.Project, def.Dir)
}

// Reload reads config.yaml and the files of the projects again and follows them. All are read and checked, and all are
// kept, before the first is applied; then they are applied in one step, all or none. That an app does not come up, or that a
// project's files are not there, is no reason against the others: such a project is named, and stays as it is. Where config.yaml or
// a project is not right, everything does;
// where no project's files are there, config.yaml is taken up all the same. Faults: invalid (config_invalid), conflict
// (file_unreadable: of every project), not_found, failed (with one result an app; file_unreadable: of some), internal
// (state_not_durable).
func (s *Service) Reload(ctx context.Context, in Rereading) (Reread, error) {
	out := Reread{Projects: []RereadProject{}}
	settings, err := s.settings.Read()
	if err != nil {
		return out, err
	}
	list, missing, err := s.read(ctx, in.Project)
	if fault.Is(err, fault.Conflict) { // files that are not there are no reason to keep former rules
		s.settings.Use(settings)
	}
	if err != nil {
		return out, err
	}
	var revised []supervisor.Revised
	for _, r := range list {
		p := RereadProject{Project: r.def.Project, Stack: r.def.Stack, Results: []view.Result{}}
		for _, c := range s.sup.Compare(r.def) {
			if c.What != "unchanged" {
				p.Changed++
			}
		}
		if p.Revision, err = s.keep(ctx, r); err != nil {
			return out, err
		}
		out.Projects = append(out.Projects, p)
		revised = append(revised, supervisor.Revised{Def: r.def, Rev: p.Revision})
	}
	all, first := s.sup.ApplyAll(ctx, revised, supervisor.Command{Seq: op.SeqOf(ctx), Wait: true})
	if first != nil && len(all) == 0 { // nothing was applied
		return Reread{Projects: []RereadProject{}}, first
	}
	s.settings.Use(settings)
	for _, r := range all {
		for i, p := range out.Projects {
			if naming.InStack(r.Key) == p.Project+"/"+p.Stack {
				out.Projects[i].Results = append(p.Results, r)
			}
		}
	}
	if len(missing) > 0 {
		first = someMissing(missing, list, first)
	}
	if f, ok := errors.AsType[*fault.Error](first); ok && len(list)+len(missing) > 1 && len(all) > 0 {
		first = f.WithItems(all)
	}
	return out, first
}

// someMissing is the fault of a reload that left projects as they are: it names them, what was reloaded all the same, and
// what went wrong there.
func someMissing(missing []absent, list []reread, failed error) error {
	var left, done []string
	for _, m := range missing {
		left = append(left, m.why.Message)
	}
	for _, r := range list {
		done = append(done, r.def.Project+"/"+r.def.Stack)
	}
	text := strings.Join(left, "; ") + "; reloaded: " + strings.Join(done, ", ")
	if failed != nil {
		text += "; " + failed.Error()
	}
	return fault.New(fault.Failed, "%s", text).WithReason(missing[0].why.Reason).WithHint("%s", missing[0].why.Hint)
}

// keep makes a revision of what was read, unless it says what the newest one says.
func (s *Service) keep(ctx context.Context, r reread) (int64, error) {
	text, err := json.Marshal(r.def)
	if err != nil {
		return 0, fmt.Errorf("cannot encode a definition: %w", err)
	}
	files, err := json.Marshal(r.files)
	if err != nil {
		return 0, fmt.Errorf("cannot encode the files of a definition: %w", err)
	}
	next := r.rev
	next.Created, next.By, next.Definition, next.Files = time.Now(), op.CallerOf(ctx).Principal(), text, files
	return s.revs.Add(ctx, next, s.sup.RevisionsInUse(r.def.Project, r.def.Stack)...)
}

// PlanReload says what reading the files again would change. Its digest covers what the files say, so that what a person
// agreed to is what is read.
func (s *Service) PlanReload(ctx context.Context, in Rereading) (*op.Plan, error) {
	settings, err := s.settings.Read()
	if err != nil {
		return nil, err
	}
	list, missing, err := s.read(ctx, in.Project)
	if err != nil {
		return nil, err
	}
	plan := &op.Plan{Items: changes(s.settings.Get(), settings)}
	content := sha256.New()
	says := json.NewEncoder(content)
	_ = says.Encode(settings) // plain values, as what follows
	for _, r := range list {
		_ = says.Encode(r.def)
		for _, c := range s.sup.Compare(r.def) {
			if c.What != "unchanged" {
				plan.Items = append(plan.Items, c.Item())
			}
		}
	}
	for _, m := range missing {
		plan.Items = append(plan.Items, op.Item{Target: m.stack, From: "declared", To: "left as it is: " + m.why.Message})
	}
	_ = says.Encode(plan.Items)
	plan.Digest = hex.EncodeToString(content.Sum(nil)[:16])
	return plan, nil
}

// changes are the settings that differ.
func changes(old, next *setting.Daemon) []op.Item {
	var was, is []Setting
	walk(reflect.ValueOf(*old), "", &was)
	walk(reflect.ValueOf(*next), "", &is)
	items := []op.Item{}
	value := func(all []Setting, key string) string {
		if i := slices.IndexFunc(all, func(s Setting) bool { return s.Key == key }); i >= 0 {
			return all[i].Value
		}
		return ""
	}
	for _, s := range is {
		if from := value(was, s.Key); from != s.Value {
			items = append(items, op.Item{Target: s.Key, From: from, To: s.Value})
		}
	}
	for _, s := range was {
		if !slices.ContainsFunc(is, func(n Setting) bool { return n.Key == s.Key }) {
			items = append(items, op.Item{Target: s.Key, From: s.Value, To: "removed"})
		}
	}
	if len(items) == 0 && !reflect.DeepEqual(old, next) { // the order of rules, or what is not shown in full
		items = append(items, op.Item{Target: "config.yaml", To: "changed"})
	}
	return items
}

// Ending is the answer of a daemon that is about to end.
type Ending struct {
	PID     int           `json:"pid" table:"1" jsonschema:"process id of the daemon that ends"`
	Results []view.Result `json:"results" jsonschema:"one result for each app that was stopped; none after a restart, which stops none"`
}

// Restart has the keeper start a new daemon in the place of this one; applications live on.
func (s *Service) Restart(ctx context.Context, _ Nothing) (Ending, error) {
	s.restart()
	return Ending{PID: os.Getpid(), Results: []view.Result{}}, nil
}

// PlanRestart says that the daemon is replaced.
func (s *Service) PlanRestart(context.Context, Nothing) (*op.Plan, error) {
	return &op.Plan{Items: []op.Item{{Target: "daemon", From: "this one", To: "a new one; applications live on"}}}, nil
}

// Shutdown stops every app in order, dependents first, and marks the home down: until up or start nothing is started, after
// a reboot neither. Then the daemon and its keeper end. Faults: failed (something would not stop; the daemon ends all
// the same), internal (state_not_durable; then nothing is stopped).
func (s *Service) Shutdown(ctx context.Context, _ Nothing) (Ending, error) {
	results, err := s.shutdown(ctx, true)
	if results == nil {
		results = []view.Result{}
	}
	return Ending{PID: os.Getpid(), Results: results}, err
}

// PlanShutdown names what would be stopped.
func (s *Service) PlanShutdown(context.Context, Nothing) (*op.Plan, error) {
	plan := &op.Plan{Items: []op.Item{}}
	for _, v := range s.sup.Apps() {
		if now := v.Settled(); now != string(view.Stopped) {
			plan.Items = append(plan.Items, op.Item{Target: v.Key, From: now, To: "stopped"})
		}
	}
	plan.Items = append(plan.Items, op.Item{Target: "daemon", From: "running", To: "ended"})
	return plan, nil
}
