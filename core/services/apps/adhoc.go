package apps

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/projects"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Addition is a program that no file declares.
type Addition struct {
	Command   []string          `json:"command" cli:"args" min:"1" jsonschema:"argv"`
	Name      string            `json:"name,omitempty" jsonschema:"default: its file's"`
	Dir       string            `json:"cwd" jsonschema:"absolute"`
	Env       map[string]string `json:"env,omitempty" secret:"true" jsonschema:"environment"`
	Instances int               `json:"instances,omitempty" cli:"short=i" min:"0" max:"1000" jsonschema:"default: 1"`
	NoWait    bool              `json:"no_wait,omitempty" jsonschema:"answer at once"`
}

// Validate demands what is needed of an addition beyond the types of its fields.
func (a Addition) Validate() error {
	bad := func(reason, format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithReason(reason)
	}
	switch {
	case len(a.Command) == 0 || a.Command[0] == "":
		return bad("bad_value", "the first word of the command is empty")
	case !filepath.IsAbs(a.Dir):
		return bad("bad_value", "cwd has to be an absolute folder, not %q", a.Dir)
	}
	for _, w := range append(slices.Clone(a.Command), a.Dir) {
		if !utf8.ValidString(w) || strings.ContainsRune(w, 0) {
			return bad("bad_value", "%q is no text", w)
		}
	}
	return nil
}

// Added is what became of an addition.
type Added struct {
	Key      string        `json:"key" table:"1" jsonschema:"project/stack/app"`
	Existing bool          `json:"existing" jsonschema:"whether there was such an app already, which was started"`
	Revision int64         `json:"revision" jsonschema:"number of the definition"`
	Results  []view.Result `json:"results" jsonschema:"how its start went"`
}

// Add supervises a program that no file declares, from now on and after each boot, and answers when it is ready or has failed. The
// same name, command and folder is the app that there is. Faults: invalid, conflict (app_exists: another program has the name;
// project_elsewhere), and those of Apply and Start.
func (s *Service) Add(ctx context.Context, in Addition) (Added, error) {
	one, err := s.declare(in)
	if err != nil {
		return Added{}, err
	}
	app := &one.Apps[0]
	out := Added{Key: app.Key, Results: []view.Result{}}
	err = s.edit(ctx, one, in.Env, func(def *config.Definition) error {
		for i := range def.Apps {
			if def.Apps[i].Key != app.Key {
				continue
			}
			if was, is := def.Apps[i].Processes[0], app.Processes[0]; !slices.Equal(was.Argv, is.Argv) || was.Dir != is.Dir || in.Instances > 0 && was.Instances != is.Instances {
				return fault.New(fault.Conflict, "%s is another program: %s in %s", app.Key, strings.Join(config.MaskWords(was.Argv), " "), was.Dir).
					WithReason("app_exists").WithHint("give another name, or:\n%s", fault.Do("apps.remove", "names", []string{app.Key}))
			}
			out.Existing = true
			return nil
		}
		def.Apps = append(def.Apps, *app)
		return nil
	}, func(rev int64, _ []view.Result) { out.Revision = rev })
	if err != nil {
		return out, err
	}
	out.Results, err = s.sup.Start(ctx, supervisor.Command{Targets: []op.Target{{Key: app.Key}}, Seq: op.SeqOf(ctx), Wait: !in.NoWait})
	return out, err
}

// PlanAdd says what would run.
func (s *Service) PlanAdd(_ context.Context, in Addition) (*op.Plan, error) {
	one, err := s.declare(in)
	if err != nil {
		return nil, err
	}
	item := op.Item{Target: one.Apps[0].Key, To: "added and started: " + strings.Join(config.MaskWords(one.Apps[0].Processes[0].Argv), " ") + " in " + in.Dir}
	if v := s.sup.App(item.Target); v != nil {
		item.From, item.To = v.Settled(), "running"
	}
	return &op.Plan{Items: []op.Item{item}}, nil
}

// declare makes the definition of one program, with everything that it does not say filled in as for a file.
func (s *Service) declare(in Addition) (*config.Definition, error) {
	words := in.Command
	name := in.Name
	if name == "" {
		name = config.Fit(filepath.Base(words[0]))
	}
	literal := func(text string) string { return strings.ReplaceAll(text, "$", "$$") }
	argv := make([]string, len(words))
	for i, w := range words {
		argv[i] = literal(w)
	}
	text, err := json.Marshal(map[string]any{"project": projects.AdHoc, "apps": []any{map[string]any{"name": literal(name), "command": argv, "cwd": literal(in.Dir), "inheritEnv": true, "instances": max(1, in.Instances)}}})
	if err != nil {
		return nil, err
	}
	def, _, err := config.Load(config.Source{Files: []config.File{{Path: filepath.Join(s.home, "adhoc", "omnitron.yaml"), Text: string(text)}}, Env: in.Env, Home: in.Env["HOME"], User: s.user})
	if wrong, ok := errors.AsType[*config.Errors](err); ok && len(wrong.Problems) > 0 { // its places are in a text that nobody wrote
		p := wrong.Problems[0]
		return nil, fault.New(fault.Invalid, "%s: %s", strings.Join(config.MaskWords(words), " "), p.Message).WithReason("bad_value").WithHint("%s", p.Hint)
	}
	return def, err
}

// edit changes the definition of the apps that no file declares, keeps it and has it followed; done hears the number of the revision and
// what was stopped. Edits come one after the other.
func (s *Service) edit(ctx context.Context, empty *config.Definition, env map[string]string, change func(*config.Definition) error, done func(int64, []view.Result)) error {
	s.editing.Lock()
	defer s.editing.Unlock()
	def := *empty
	def.Apps = []config.App{}
	switch kept, err := s.projects.Latest(ctx, projects.AdHoc, config.DefaultStack); {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return err
	case kept.Unreadable != nil:
		return kept.Unreadable
	default:
		var was config.Definition
		if err := json.Unmarshal(kept.Definition, &was); err != nil {
			return err
		}
		if was.Dir == def.Dir { // else it is of a file from before the name was ours
			def.Apps = was.Apps
		}
	}
	if err := change(&def); err != nil {
		return err
	}
	if err := s.sup.Claim(&def); err != nil {
		return err
	}
	rev, err := s.projects.Keep(ctx, &def, config.Source{Env: env})
	if err != nil {
		return err
	}
	results, err := s.sup.Apply(ctx, &def, rev, supervisor.Command{Seq: op.SeqOf(ctx), Wait: true})
	if err != nil {
		return err
	}
	s.bus.Publish(bus.Event{At: time.Now(), Topic: "apps", Type: "applied", Key: def.Project + "/" + def.Stack, Text: "the apps that no file declares changed"})
	done(rev, results)
	return nil
}

// Removal names apps that no file declares.
type Removal struct {
	op.Selection
}

// Validate demands names: none must not mean all of them.
func (r Removal) Validate() error {
	if len(r.Names) == 0 {
		return fault.New(fault.Invalid, "name what to remove").WithReason("missing_argument")
	}
	return nil
}

// Remove ends apps that were added and forgets them; what they printed stays. Faults: not_found, conflict (declared_in_file), those
// of Apply.
func (s *Service) Remove(ctx context.Context, _ Removal) (Results, error) {
	keys, err := s.added(ctx)
	if err != nil {
		return Results{}, err
	}
	empty, err := s.declare(Addition{Name: "none", Command: []string{"true"}, Dir: "/"})
	if err != nil {
		return Results{}, err
	}
	var out []view.Result
	err = s.edit(ctx, empty, nil, func(def *config.Definition) error {
		def.Apps = slices.DeleteFunc(def.Apps, func(a config.App) bool { return slices.Contains(keys, a.Key) })
		return nil
	}, func(_ int64, results []view.Result) { out = results })
	return results(out, err)
}

// PlanRemove says what a removal would end.
func (s *Service) PlanRemove(ctx context.Context, _ Removal) (*op.Plan, error) {
	keys, err := s.added(ctx)
	if err != nil {
		return nil, err
	}
	items := []op.Item{}
	for _, key := range keys {
		if v := s.sup.App(key); v != nil {
			items = append(items, op.Item{Target: key, From: v.Settled(), To: "stopped and removed"})
		}
	}
	return &op.Plan{Items: items}, nil
}

// added gives the targets of a call, all of which were added.
func (s *Service) added(ctx context.Context) ([]string, error) {
	var keys []string
	for _, t := range op.TargetsOf(ctx) {
		if naming.Project(t.Key) != projects.AdHoc {
			return nil, fault.New(fault.Conflict, "%s is declared in a file", t.Key).WithReason("declared_in_file").WithHint("take it out of its omnitron.yaml and run: omnitron up; or stop it: %s", fault.Do("apps.stop", "names", []string{t.Key}))
		}
		if t.Process != "" {
			return nil, fault.New(fault.Invalid, "%s is a part of an app: name the app", t.Key+":"+t.Process).WithReason("bad_value")
		}
		keys = append(keys, t.Key)
	}
	return keys, nil
}
