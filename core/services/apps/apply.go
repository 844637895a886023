package apps

import (
	"context"
	"fmt"
	"strings"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// File is a file as the caller read it.
type File struct {
	Path string `json:"path" jsonschema:"absolute path"`
	Text string `json:"text" secret:"true" jsonschema:"its content"`
}

// Application is what is applied.
type Application struct {
	Files    []File            `json:"files" min:"1" jsonschema:"the project's YAML files, in order of merging"`
	EnvFiles []File            `json:"env_files,omitempty" secret:"true" jsonschema:"the env files that they name, and .env beside the first"`
	Env      map[string]string `json:"env,omitempty" secret:"true" jsonschema:"environment of the caller's shell"`
	Stack    string            `json:"stack,omitempty" jsonschema:"stack; default: dev, else the only one of the file"`
	NoWait   bool              `json:"no_wait,omitempty" jsonschema:"answer at once"`
	Timeout  int               `json:"timeout_s,omitempty" min:"0" max:"3600" jsonschema:"seconds to wait at most; 0: until ready or failed"`
}

// Applied is what became of it.
type Applied struct {
	Project  string        `json:"project" jsonschema:"project"`
	Stack    string        `json:"stack" jsonschema:"stack"`
	Revision int64         `json:"revision" jsonschema:"number of the definition"`
	Apps     []AppliedApp  `json:"apps" table:"1" jsonschema:"every app of the definition, and those that it has no more"`
	Warnings []string      `json:"warnings,omitempty" jsonschema:"what is allowed but perhaps not meant"`
	Results  []view.Result `json:"results,omitempty" jsonschema:"one result for each app of which something was started, restarted or stopped"`
}

// AppliedApp is what applying meant for an app.
type AppliedApp struct {
	Key     string `json:"key" table:"1" jsonschema:"project/stack/app"`
	Name    string `json:"name" jsonschema:"app name"`
	Change  string `json:"change" table:"1" enum:"added,changed,removed,unchanged" jsonschema:"what the definition changed"`
	Enabled bool   `json:"enabled" jsonschema:"whether up starts it: as the file says, until enable or disable says otherwise"`
}

func (s *Service) source(in Application) config.Source {
	src := config.Source{Env: in.Env, Stack: in.Stack, EnvFiles: map[string]string{}, Home: in.Env["HOME"], User: s.user}
	for _, f := range in.Files {
		src.Files = append(src.Files, config.File{Path: f.Path, Text: f.Text})
	}
	for _, f := range in.EnvFiles {
		src.EnvFiles[f.Path] = f.Text
	}
	return src
}

// Apply reads, checks and keeps a definition, and makes the daemon follow it: all or nothing. New apps are known, not
// started; of changed ones that run only what has become another program is restarted, and there are as many instances as
// the definition says; removed ones are stopped and forgotten. Faults: invalid (config_invalid, with every problem), conflict
// (project_elsewhere, project_renamed), failed (an app that does not come up), internal (state_not_durable).
func (s *Service) Apply(ctx context.Context, in Application) (Applied, error) {
	def, warnings, err := s.projects.Load(ctx, s.source(in))
	if err != nil {
		return Applied{}, err
	}
	out := Applied{Project: def.Project, Stack: def.Stack, Apps: []AppliedApp{}}
	for _, w := range warnings {
		out.Warnings = append(out.Warnings, w.Where+": "+w.Message)
	}
	if err := s.sup.Claim(def); err != nil {
		return Applied{}, err
	}
	changes := s.sup.Compare(def)
	rev, err := s.projects.Keep(ctx, def, s.source(in))
	if err != nil {
		return Applied{}, err
	}
	out.Revision = rev
	changed := false
	for _, c := range changes {
		changed = changed || c.What != "unchanged"
		out.Apps = append(out.Apps, AppliedApp{Key: c.Key, Name: c.Key[strings.LastIndexByte(c.Key, '/')+1:], Change: c.What, Enabled: c.Enabled})
	}
	out.Results, err = s.sup.Apply(ctx, def, rev, command(ctx, Order{NoWait: in.NoWait, Timeout: in.Timeout}))
	if changed {
		s.bus.Publish(bus.Event{Topic: "apps", Type: "applied", Key: def.Project + "/" + def.Stack, Text: fmt.Sprintf("revision %d of %s/%s applied", rev, def.Project, def.Stack)})
	}
	return out, err
}

// PlanApply says what applying would change; it reads and checks like Apply.
func (s *Service) PlanApply(ctx context.Context, in Application) (*op.Plan, error) {
	def, _, err := s.projects.Load(ctx, s.source(in))
	if err != nil {
		return nil, err
	}
	if err := s.sup.Claim(def); err != nil {
		return nil, err
	}
	items := []op.Item{}
	for _, c := range s.sup.Compare(def) {
		if c.What != "unchanged" {
			items = append(items, c.Item())
		}
	}
	return &op.Plan{Items: items}, nil
}
