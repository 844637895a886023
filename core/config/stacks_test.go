package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const twoStacks = `
project: shop
stacks:
  prod: {apps: [web], env: {URL: "${ONLY_THERE}"}, envFile: ["${NAME}.env"]}
  test: {envFile: [test.env]}
apps:
  - {name: web, command: [web], ports: {http: 8000}, envFile: [web.env]}
  - {name: mail, command: [mail]}
`

func source(stack string) Source {
	return Source{Files: []File{{Path: "/srv/shop/omnitron.yaml", Text: twoStacks}}, EnvFiles: map[string]string{"/srv/shop/web.env": "", "/srv/shop/test.env": "", "/srv/shop/live.env": ""}, Stack: stack}
}

// TestStacks: those of the file in its order, then those that were created; of a stack that is not meant a variable may be
// unknown.
func TestStacks(t *testing.T) {
	src := source("")
	src.Created = func(project string) map[string]string {
		if project != "shop" {
			t.Errorf("asked for those of %q", project)
		}
		return map[string]string{"qa": `{"apps":["web"],"portOffset":10,"env":{"A":"$${B}"}}`, "all": "{}"}
	}
	project, stacks, err := Stacks(src)
	if got := fmt.Sprint(project, stacks); err != nil || got != "shop[{prod false [web]} {test false [web mail]} {all true [web mail]} {qa true [web]}]" {
		t.Errorf("%s %v", got, err)
	}
	src.Stack = "qa"
	d, _, err := Load(src)
	if err != nil || len(d.Apps) != 1 || d.Apps[0].Key != "shop/qa/web" || d.Apps[0].Processes[0].Ports[0].Base != 8010 || d.Apps[0].Processes[0].Env["A"] != "${B}" {
		t.Errorf("%+v %v", d, err)
	}
	src.Created = func(string) map[string]string { return map[string]string{"test": "{}"} }
	if _, _, err := Load(src); err == nil || !strings.Contains(err.Error(), `the file has the stack "test", and it was created beside the file too`) {
		t.Errorf("of one name: %v", err)
	}
	src.Created = func(string) map[string]string { return map[string]string{"qa": `{"apps":["nope"],"portOffset":-1}`} }
	if _, _, err := Load(src); err == nil || !strings.Contains(err.Error(), "stack qa:1:") {
		t.Errorf("a created one that is wrong: %v", err)
	}
	if _, stacks, err := Stacks(Source{Files: []File{{Path: "/srv/shop/omnitron.yaml", Text: "apps: []"}}}); err != nil || fmt.Sprint(stacks) != "[{dev false []}]" {
		t.Errorf("a file without: %v %v", stacks, err)
	}
}

// TestReferencesOfOneStack: the env files of other stacks are not asked for, and what only they need may be missing.
func TestReferencesOfOneStack(t *testing.T) {
	src := source("test")
	refs, err := References(src)
	if err != nil || slices.ContainsFunc(refs, func(p string) bool { return strings.Contains(p, "live") }) || !slices.Contains(refs, "/srv/shop/test.env") {
		t.Errorf("%v %v", refs, err)
	}
	if _, _, err := Load(src); err != nil {
		t.Errorf("test: %v", err)
	}
	src.Stack = "prod"
	if _, err := References(src); err == nil || !strings.Contains(err.Error(), "ONLY_THERE") {
		t.Errorf("a variable that it needs: %v", err)
	}
	src.Env = map[string]string{"ONLY_THERE": "x", "NAME": "live"}
	if refs, err = References(src); err != nil || slices.Contains(refs, "/srv/shop/test.env") || !slices.Contains(refs, "/srv/shop/live.env") {
		t.Errorf("%v %v", refs, err)
	}
}

// TestShowOfAStack: what config show prints of a stack loads as that stack again.
func TestShowOfAStack(t *testing.T) {
	d, _, err := Load(source("test"))
	if err != nil {
		t.Fatal(err)
	}
	if again := load(t, string(show(d)), nil); again.Stack != "test" || len(again.Apps) != 2 {
		t.Errorf("%s with %d apps", again.Stack, len(again.Apps))
	}
}
