package apps

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
)

// said is a plan in words.
func said(p Planned) string {
	out := []string{fmt.Sprintf("pending %v: %d %d %d", p.Pending, p.Added, p.Changed, p.Removed)}
	keys := func(ks []PlannedKey) {
		for _, k := range ks {
			out = append(out, fmt.Sprintf(". %s: %s → %s (%s)", k.Key, k.From, k.To, k.Takes))
		}
	}
	for _, a := range p.Apps {
		if a.Change != "unchanged" || len(a.Keys) > 0 {
			out = append(out, a.Name+" "+a.Effect)
			keys(a.Keys)
		}
	}
	if len(p.Shared) > 0 {
		out = append(out, "all")
		keys(p.Shared)
	}
	return strings.Join(out, "\n")
}

// TestPlanTellsKeys: every key that differs is told with its values and with how it is taken up; an env file's content counts, a
// shell's value only where the file names it; secrets are masked wherever they stand.
func TestPlanTellsKeys(t *testing.T) {
	h, s := service(t, "")
	ctx := op.WithCaller(t.Context(), person)
	yaml := filepath.Join(h.Home, "omnitron.yaml")
	const before = `
project: shop
apps:
  - {name: api, command: [./api], env: {TOKEN: hunter2hunter2, LOG: debug}, ports: {http: 8080}, sockets: {front: 127.0.0.1:8081}, reload: {signal: HUP}, stop: {timeout: 5s}}
  - {name: mail, command: [./mail], envFile: [mail.env]}
  - {name: asks, command: [./asks], inheritEnv: [AWS]}
  - {name: idle, command: [./idle]}
  - {name: gone, command: [./gone]}
`
	input := func(text, mail, aws, path string) Application {
		return Application{Files: []File{{Path: yaml, Text: text}}, EnvFiles: []File{{Path: filepath.Join(h.Home, "mail.env"), Text: mail}}, Env: map[string]string{"PATH": path, "AWS": aws}}
	}
	plan := func(a Application) string {
		t.Helper()
		p, err := s.Plan(op.WithCaller(t.Context(), viewer), Planning{Files: a.Files, EnvFiles: a.EnvFiles, Env: a.Env})
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := json.Marshal(p); strings.Contains(string(text), "hunter2") {
			t.Errorf("a secret is shown: %s", text)
		}
		return strings.ReplaceAll(said(p), h.Home+"/", "./")
	}
	was := input(before, "FROM=a@b", "one", "/usr/bin")
	if got := plan(was); !strings.HasPrefix(got, "pending true: 5 0 0\napi added\nasks added") || h.Supervisor.App("shop/dev/api") != nil {
		t.Errorf("of a project that is new: %s", got)
	}
	if _, err := s.Apply(ctx, was); err != nil {
		t.Fatal(err)
	}
	if got := plan(was); got != "pending false: 0 0 0" {
		t.Errorf("of what is in force: %s", got)
	}
	if got := plan(input(before, "FROM=a@b", "one", "/bin")); got != "pending false: 0 0 0\n"+strings.Join([]string{
		"api unchanged", ". env.PATH: /usr/bin → /bin (next)", "asks unchanged", ". env.PATH: /usr/bin → /bin (next)", "gone unchanged", ". env.PATH: /usr/bin → /bin (next)",
		"idle unchanged", ". env.PATH: /usr/bin → /bin (next)", "mail unchanged", ". env.PATH: /usr/bin → /bin (next)"}, "\n") {
		t.Errorf("of another shell: %s", got)
	}
	after := strings.NewReplacer("[./api]", "[./api, hunter2hunter2]", "8080", "auto", "8081", "8082", "{signal: HUP}", "{command: [./again, hunter2hunter2]}", "timeout: 5s", "timeout: 7s", "  - {name: gone, command: [./gone]}\n", "  - {name: new, command: [./new]}\n",
		"project: shop\n", "project: shop\nsupervision: {strategy: one_for_all}\n").Replace(before)
	want := `pending true: 1 3 1
api changed
. command: ["./api"] → ["./api","••••••"] (restart)
. ports.http: 8080 → auto (restart)
. reload.command:  → ["./again","••••••"] (live)
. reload.signal: HUP →  (live)
. sockets.front: 127.0.0.1:8081 → 127.0.0.1:8082 (restart)
. stop.timeout: 5s → 7s (live)
asks changed
. env.AWS: one → two (restart)
gone stopped and removed
mail changed
. env.FROM: a@b → c@d (restart)
new added
all
. supervision.strategy: one_for_one → one_for_all (live)`
	if got := plan(input(after, "FROM=c@d", "two", "/usr/bin")); got != want {
		t.Errorf("%s\nwant:\n%s", got, want)
	}
	if d := h.Supervisor.Current(t.Context(), "shop", "dev"); d == nil || len(d.Apps) != 5 || d.Supervision.Strategy != "one_for_one" {
		t.Errorf("a plan changed something: %+v", d)
	}
}

// TestPlanReadsAgain: without files the plan is that of a reload: of the files where they were.
func TestPlanReadsAgain(t *testing.T) {
	h, s := service(t, "")
	ctx := op.WithCaller(t.Context(), person)
	if _, err := s.Plan(ctx, Planning{}); reason(err) != "not_found/project_unknown" {
		t.Errorf("with no project at all: %v", err)
	}
	yaml := filepath.Join(h.Home, "omnitron.yaml")
	text := "project: shop\napps:\n  - {name: api, command: [./api], envFile: [.env]}\n"
	if _, err := s.Apply(ctx, Application{Files: []File{{Path: yaml, Text: text}}, EnvFiles: []File{{Path: filepath.Join(h.Home, ".env"), Text: "A=1"}}, Env: map[string]string{"PATH": "/bin"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Plan(ctx, Planning{}); reason(err) != "conflict/file_unreadable" {
		t.Errorf("without the file: %v", err)
	}
	for name, text := range map[string]string{"omnitron.yaml": text, ".env": "A=2"} {
		if err := os.WriteFile(filepath.Join(h.Home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range []Planning{{}, {Project: "shop"}, {Project: op.ProjectRef(h.Home), Stack: config.DefaultStack}} {
		p, err := s.Plan(ctx, in)
		if got := said(p); err != nil || got != "pending true: 0 1 0\napi changed\n. env.A: 1 → 2 (restart)" {
			t.Errorf("%+v: %s %v", in, got, err)
		}
	}
	if _, err := s.Plan(ctx, Planning{Project: "shop", Stack: "prod"}); reason(err) != "not_found/stack_unknown" {
		t.Errorf("a stack that is not there: %v", err)
	}
	if _, err := s.Plan(ctx, Planning{Project: "nope"}); reason(err) != "not_found/project_unknown" {
		t.Errorf("a project that is not there: %v", err)
	}
}
