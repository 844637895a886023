package projects

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/projects"
)

// Place says where to look.
type Place struct {
	Path string `json:"path,omitempty" cli:"arg" jsonschema:"absolute path; default: the folders of known projects"`
}

// Found is a project that was found.
type Found struct {
	Project string   `json:"project,omitempty" table:"1" jsonschema:"name of the project; absent: its file is not right"`
	File    string   `json:"file" table:"1" jsonschema:"path of its file"`
	Known   bool     `json:"known" table:"2" jsonschema:"whether the daemon knows it"`
	Stacks  []string `json:"stacks" table:"2" jsonschema:"names of its stacks"`
	Apps    []string `json:"apps" table:"3" jsonschema:"names of its apps"`
	Problem string   `json:"problem,omitempty" table:"1" jsonschema:"what is wrong with its file"`
}

// How far a scan goes: deeper, or beyond so many folders, it would be a walk over the whole disk.
const (
	scanDepth   = 4
	scanFolders = 20_000
)

// skipped are folders in which nobody keeps a project of his own.
var skipped = []string{"node_modules", "vendor", "target", "dist", "build", "proc", "sys", "dev"}

// Scan looks for projects in a folder, up to four folders below it. Hidden folders and those of dependencies are left out. Faults:
// invalid (bad_path), not_found (no_folder).
func (s *Service) Scan(ctx context.Context, in Place) (op.List[Found], error) {
	var roots []string
	if in.Path == "" {
		for _, st := range s.sup.Stacks(ctx) {
			if st.Dir != "" && !slices.Contains(roots, st.Dir) {
				roots = append(roots, st.Dir)
			}
		}
	} else if !filepath.IsAbs(in.Path) {
		return op.List[Found]{}, fault.New(fault.Invalid, "%q is no absolute path, and the daemon is in a folder of its own", in.Path).WithReason("bad_path").
			WithHint("begin it with /, as in $PWD/shop")
	} else {
		roots = []string{filepath.Clean(in.Path)}
	}
	out := op.List[Found]{Items: []Found{}}
	seen, left := map[string]bool{}, scanFolders
	for _, root := range roots {
		if st, err := os.Stat(root); in.Path != "" && (err != nil || !st.IsDir()) {
			return out, fault.New(fault.NotFound, "there is no folder %s", root).WithReason("no_folder")
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil || !d.IsDir():
				return nil //nolint:nilerr // what we may not look into has nothing for us
			case path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains(skipped, d.Name())):
				return fs.SkipDir
			}
			if left--; left < 0 {
				out.Truncated = true
				return fs.SkipAll
			}
			if file := projects.FileIn(path); file != "" && !seen[file] {
				seen[file] = true
				out.Items = append(out.Items, s.found(ctx, file))
			}
			if rel, _ := filepath.Rel(root, path); strings.Count(rel, "/") >= scanDepth-1 && rel != "." {
				return fs.SkipDir
			}
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	slices.SortFunc(out.Items, func(a, b Found) int { return strings.Compare(a.File, b.File) })
	out.Total = len(out.Items)
	return out, nil
}

// found says what a file would be.
func (s *Service) found(ctx context.Context, file string) Found {
	f := Found{File: file, Stacks: []string{}, Apps: []string{}}
	src, err := s.projects.Read(file, nil)
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	project, stacks, err := config.Stacks(s.projects.Of(src, ""))
	if err != nil {
		f.Problem, _, _ = strings.Cut(err.Error(), "\n")
		return f
	}
	f.Project = project
	for _, st := range stacks {
		f.Stacks = append(f.Stacks, st.Name)
		for _, name := range st.Apps {
			if !slices.Contains(f.Apps, name) {
				f.Apps = append(f.Apps, name)
			}
		}
	}
	at, known := s.sup.ProjectAt(filepath.Dir(file))
	f.Known = known && at == project
	return f
}

// File is a file as the caller read it.
type File struct {
	Path string `json:"path" jsonschema:"absolute path"`
	Text string `json:"text" secret:"true" jsonschema:"its content"`
}

// Addition says where a project is, or what its files say.
type Addition struct {
	Path  string `json:"path,omitempty" cli:"arg" jsonschema:"absolute path of its folder; or else files"`
	Files []File `json:"files,omitempty" jsonschema:"its YAML files"`
}

// Validate demands the one or the other.
func (in Addition) Validate() error {
	if (in.Path == "") == (len(in.Files) == 0) {
		return fault.New(fault.Invalid, "either a path or files have to be given").WithReason("missing_argument").WithHint("%s", fault.Do("projects.add", "path", "/srv/shop"))
	}
	return nil
}

// Taken is what a project has become.
type Taken struct {
	Project  string       `json:"project" jsonschema:"project"`
	Items    []TakenStack `json:"items" table:"1" jsonschema:"its stacks"`
	Warnings []string     `json:"warnings,omitempty" jsonschema:"what is allowed but perhaps not meant, and stacks that cannot be used here, with the reason"`
}

// TakenStack is a stack whose definition the daemon follows now.
type TakenStack struct {
	Stack   string   `json:"stack" table:"1" jsonschema:"stack"`
	Apps    []string `json:"apps" table:"1" jsonschema:"names of its apps"`
	Changed int      `json:"changed" table:"2" jsonschema:"how many apps are new, changed or gone"`
}

// Add reads the file of a project and has the daemon know its stacks; nothing is started. A stack that cannot be used here, because
// an env file of it is missing, is named in a warning. Faults: not_found (no_config), invalid (bad_path, config_invalid),
// conflict (project_exists, project_elsewhere, project_renamed), internal (state_not_durable).
func (s *Service) Add(ctx context.Context, in Addition) (Taken, error) {
	list, warnings, err := s.additions(ctx, in)
	if err != nil {
		return Taken{}, err
	}
	return s.take(ctx, list, warnings, "added")
}

func (s *Service) additions(ctx context.Context, in Addition) ([]reading, []string, error) {
	src := config.Source{}
	for _, f := range in.Files {
		src.Files = append(src.Files, config.File{Path: f.Path, Text: f.Text})
	}
	if in.Path != "" {
		var err error
		if src, err = s.projects.Read(in.Path, nil); err != nil {
			return nil, nil, err
		}
	} else {
		src = s.projects.Environment(src)
	}
	list, warnings, err := s.readings(ctx, src)
	if err != nil {
		return nil, nil, err
	}
	if project := list[0].def.Project; slices.Contains(s.sup.Projects(), project) {
		return nil, nil, fault.New(fault.Conflict, "there is a project %s already", project).WithReason("project_exists").
			WithHint("%s", fault.Do("projects.update", "name", project))
	}
	return list, warnings, nil
}

// PlanAdd says what the daemon would know then.
func (s *Service) PlanAdd(ctx context.Context, in Addition) (*op.Plan, error) {
	list, _, err := s.additions(ctx, in)
	if err != nil {
		return nil, err
	}
	return s.plan(list), nil
}

// Renewal names a project and, if it has moved, its folder.
type Renewal struct {
	Question
	Path string `json:"path,omitempty" jsonschema:"absolute path of its folder; default: as before"`
}

// Update reads the file of a project again, takes up what is new, and stops nothing: where apps run that would have to be restarted
// or stopped it refuses, and up or a reload is the way. Faults: as of Add, and not_found (project_unknown), conflict (would_interrupt).
func (s *Service) Update(ctx context.Context, in Renewal) (Taken, error) {
	list, warnings, err := s.renewals(ctx, in)
	if err != nil {
		return Taken{}, err
	}
	return s.take(ctx, list, warnings, "updated")
}

func (s *Service) renewals(ctx context.Context, in Renewal) ([]reading, []string, error) {
	project, err := s.projects.Project(ctx, in.Name)
	if err != nil {
		return nil, nil, err
	}
	src, err := s.projects.Recorded(ctx, project)
	if err != nil {
		return nil, nil, err
	}
	path := in.Path
	if path == "" && len(src.Files) > 0 {
		path = src.Files[0].Path
	}
	if src, err = s.projects.Read(path, src.Env); err != nil {
		return nil, nil, err
	}
	list, warnings, err := s.readings(ctx, src)
	if err != nil {
		return nil, nil, err
	}
	if now := list[0].def.Project; now != project {
		return nil, nil, fault.New(fault.Conflict, "the file in %s is of the project %s, not of %s", filepath.Dir(path), now, project).WithReason("project_renamed").
			WithHint("%s", fault.Do("projects.add", "path", path))
	}
	for _, r := range list {
		for _, c := range s.sup.Compare(r.def) {
			runs := c.What == "removed" && s.sup.App(c.Key) != nil && s.sup.App(c.Key).Alive()
			if c.Anew+c.Stops > 0 || runs {
				return nil, nil, fault.New(fault.Conflict, "%s runs, and would be %s", c.Key, c.Item().To).WithReason("would_interrupt").
					WithHint("%s        takes it up all the same", fault.Do("daemon.reload", "project", project))
			}
		}
	}
	return list, warnings, nil
}

// PlanUpdate says what would be taken up.
func (s *Service) PlanUpdate(ctx context.Context, in Renewal) (*op.Plan, error) {
	list, _, err := s.renewals(ctx, in)
	if err != nil {
		return nil, err
	}
	return s.plan(list), nil
}

// reading is a stack as the files say it.
type reading struct {
	src config.Source
	def *config.Definition
}

// readings makes the definitions of all stacks of files; of none is an error, the first one's.
func (s *Service) readings(ctx context.Context, src config.Source) (list []reading, warnings []string, err error) {
	_, stacks, err := config.Stacks(s.projects.Of(src, ""))
	if err != nil {
		return nil, nil, err
	}
	var first error
	for _, st := range stacks {
		src := s.projects.Of(src, st.Name)
		def, odd, err := s.projects.Load(ctx, src)
		if err == nil {
			err = s.sup.Claim(def)
		}
		if err != nil {
			if first == nil {
				first = err
			}
			warnings = append(warnings, "stack "+st.Name+": "+fault.From(err).Message)
			continue
		}
		for _, w := range odd {
			if text := w.Where + ": " + w.Message; !slices.Contains(warnings, text) {
				warnings = append(warnings, text)
			}
		}
		list = append(list, reading{src, def})
	}
	if len(list) == 0 {
		return nil, nil, first
	}
	return list, warnings, nil
}

func (s *Service) plan(list []reading) *op.Plan {
	plan := &op.Plan{Items: []op.Item{}}
	for _, r := range list {
		for _, c := range s.sup.Compare(r.def) {
			if c.What != "unchanged" {
				plan.Items = append(plan.Items, c.Item())
			}
		}
	}
	return plan
}

// take has the supervisor follow what was read.
func (s *Service) take(ctx context.Context, list []reading, warnings []string, what string) (Taken, error) {
	out := Taken{Project: list[0].def.Project, Items: []TakenStack{}, Warnings: warnings}
	for _, r := range list {
		t := TakenStack{Stack: r.def.Stack, Apps: []string{}}
		for _, a := range r.def.Apps {
			t.Apps = append(t.Apps, a.Name)
		}
		for _, c := range s.sup.Compare(r.def) {
			if c.What != "unchanged" {
				t.Changed++
			}
		}
		if err := s.projects.Follow(ctx, r.def, r.src); err != nil {
			return out, err
		}
		out.Items = append(out.Items, t)
	}
	s.bus.Publish(bus.Event{Topic: "projects", Type: what, Key: out.Project, Text: "the project " + out.Project + " was " + what})
	return out, nil
}
