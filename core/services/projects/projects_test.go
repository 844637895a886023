package projects

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
)

func reason(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return string(e.Code) + "/" + e.Reason
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const shop = `
project: shop
stacks: {dev: {}, prod: {apps: [web], envFile: [.env.prod]}, test: {}}
apps:
  - {name: web, command: [sleep, "1"], enabled: false}
  - {name: pool, command: [sleep, "1"], enabled: false}
`

func world(t *testing.T) (*hosttest.Host, *Service, string) {
	t.Helper()
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "shop")
	write(t, filepath.Join(dir, "omnitron.yaml"), shop)
	return h, s, dir
}

// stacks gives what is known of a project: name, state, origin.
func stacks(t *testing.T, s *Service, project string) string {
	t.Helper()
	d, err := s.Get(t.Context(), Question{op.ProjectRef(project)})
	if err != nil {
		return reason(err)
	}
	var all []string
	for _, st := range d.Items {
		all = append(all, st.Name+" "+st.State+" "+st.Origin)
	}
	return strings.Join(all, ", ")
}

// TestLife: a project is added, read again, moved and removed; nothing is started meanwhile.
func TestLife(t *testing.T) {
	h, s, dir := world(t)
	ctx := t.Context()
	plan, err := s.PlanAdd(ctx, Addition{Path: dir})
	if err != nil || len(plan.Items) != 4 || len(h.Supervisor.Apps()) != 0 {
		t.Fatalf("%+v %v", plan, err)
	}
	out, err := s.Add(ctx, Addition{Path: dir})
	if err != nil || out.Project != "shop" || len(out.Items) != 2 || len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "stack prod") {
		t.Fatalf("%+v %v", out, err)
	}
	if got, want := stacks(t, s, "shop"), "dev stopped file, prod declared file, test stopped file"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := s.Add(ctx, Addition{Path: dir}); reason(err) != "conflict/project_exists" {
		t.Errorf("twice: %v", err)
	}
	list, err := s.List(ctx, Listing{})
	if err != nil || len(list.Items) != 1 || list.Items[0] != (Row{Name: "shop", Dir: dir, Stacks: 3, Running: 0, Up: "0/4"}) {
		t.Errorf("%+v %v", list, err)
	}

	write(t, filepath.Join(dir, ".env.prod"), "A=1\n")
	write(t, filepath.Join(dir, "omnitron.yaml"), strings.Replace(shop, ", test: {}", "", 1))
	if out, err = s.Update(ctx, Renewal{Question: Question{"shop"}}); err != nil || len(out.Items) != 2 || out.Items[1].Changed != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if got, want := stacks(t, s, "shop"), "dev stopped file, prod stopped file, test stopped former"; got != want {
		t.Errorf("%s, want %s", got, want)
	}

	moved := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Update(ctx, Renewal{Question: Question{"shop"}}); reason(err) != "not_found/no_config" {
		t.Errorf("it is not there: %v", err)
	}
	if _, err = s.Update(ctx, Renewal{Question: Question{"shop"}, Path: moved}); err != nil {
		t.Errorf("moved: %v", err)
	}
	if d, err := s.Get(ctx, Question{op.ProjectRef(moved)}); err != nil || d.Dir != moved || d.Files[0] != filepath.Join(moved, "omnitron.yaml") {
		t.Errorf("%+v %v", d, err)
	}

	if plan, err := s.PlanRemove(ctx, Question{"shop"}); err != nil || len(plan.Items) != 6 {
		t.Errorf("%+v %v", plan, err)
	}
	if out, err := s.Remove(ctx, Question{"shop"}); err != nil || fmt.Sprint(out) != "{shop [dev prod test] []}" {
		t.Errorf("%+v %v", out, err)
	}
	if got := stacks(t, s, "shop"); got != "not_found/project_unknown" || len(h.Supervisor.Apps()) != 0 {
		t.Errorf("%s, %d apps", got, len(h.Supervisor.Apps()))
	}
	if heads, err := h.Revisions.Heads(ctx); err != nil || len(heads) != 0 {
		t.Errorf("%d revisions are left, %v", len(heads), err)
	}
}

// TestRefused: what is no project is refused with what to do, and nothing is kept.
func TestRefused(t *testing.T) {
	h, s, dir := world(t)
	ctx := t.Context()
	write(t, filepath.Join(dir, "bad", "omnitron.yaml"), "apps: [{nam: a}]")
	write(t, filepath.Join(dir, "other", "omnitron.yaml"), "project: other\napps: []\n")
	for _, c := range []struct {
		path, want string
	}{{"shop", "invalid/bad_path"}, {filepath.Join(dir, "nope"), "not_found/no_config"}, {filepath.Join(dir, "bad"), "invalid/config_invalid"}} {
		_, err := s.Add(ctx, Addition{Path: c.path})
		if f := fault.From(err); f == nil || string(f.Code)+"/"+f.Reason != c.want {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
	}
	for _, in := range []Addition{{}, {Path: "/x", Files: []File{{Path: "/y"}}}} {
		if reason(in.Validate()) != "invalid/missing_argument" {
			t.Errorf("%+v is taken", in)
		}
	}
	if n := len(h.Supervisor.Stacks(ctx)); n != 0 {
		t.Errorf("%d stacks are known", n)
	}
	if _, err := s.Add(ctx, Addition{Path: filepath.Join(dir, "omnitron.yaml")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(ctx, Renewal{Question: Question{"shop"}, Path: filepath.Join(dir, "other")}); reason(err) != "conflict/project_renamed" {
		t.Errorf("another project's folder: %v", err)
	}
	for _, fn := range []func() error{
		func() error { _, err := s.Get(ctx, Question{"nope"}); return err },
		func() error { _, err := s.Update(ctx, Renewal{Question: Question{"nope"}}); return err },
		func() error { _, err := s.Remove(ctx, Question{"nope"}); return err },
	} {
		if err := fn(); reason(err) != "not_found/project_unknown" {
			t.Errorf("%v", err)
		}
	}
}

// TestScan: every project in and below a folder, those that are not right too; none in hidden folders and in those of
// dependencies.
func TestScan(t *testing.T) {
	_, s, dir := world(t)
	ctx := t.Context()
	for _, at := range []string{"a/b/c", ".git", "node_modules/x", "1/2/3/4/5"} {
		write(t, filepath.Join(dir, at, "omnitron.yaml"), "project: p\napps: [{name: one, command: [a]}]\n")
	}
	write(t, filepath.Join(dir, "bad", "omnitron.yaml"), "apps: [{nam: a}]")
	scan := func(path string) string {
		t.Helper()
		list, err := s.Scan(ctx, Place{path})
		if err != nil {
			return reason(err)
		}
		var all []string
		for _, f := range list.Items {
			rel, _ := filepath.Rel(dir, f.File)
			all = append(all, fmt.Sprintf("%s %s %v %v %v %v", rel, f.Project, f.Known, f.Stacks, f.Apps, f.Problem != ""))
		}
		return strings.Join(all, "\n")
	}
	want := "a/b/c/omnitron.yaml p false [dev] [one] false\nbad/omnitron.yaml  false [] [] true\nomnitron.yaml shop false [dev prod test] [web pool] false"
	if got := scan(dir); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := scan(""); got != "" {
		t.Errorf("nothing is known: %s", got)
	}
	if _, err := s.Add(ctx, Addition{Path: dir}); err != nil {
		t.Fatal(err)
	}
	if got := scan(""); got != strings.Replace(want, "shop false", "shop true", 1) {
		t.Errorf("%s", got)
	}
	for path, want := range map[string]string{"shop": "invalid/bad_path", dir + "/nope": "not_found/no_folder"} {
		if got := scan(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}
