package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestSettingsThatKeepItDown: a daemon that its config.yaml keeps from coming up names the command that says what is wrong with
// it, and that command does.
func TestSettingsThatKeepItDown(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a daemon")
	}
	r := rig.New(t)
	path := filepath.Join(r.Home, "config.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nope: 1\n")
	if got := r.Run("start"); got.Code != 2 || !strings.Contains(got.Err, `no key "nope"`) || !strings.Contains(got.Err, "omnitron config check") {
		t.Errorf("exit %d\n%s%s", got.Code, got.Out, got.Err)
	}
	for _, args := range [][]string{{"config", "check"}, {"config", "check", path}} {
		if got := r.Run(args...); got.Code != 64 || !strings.Contains(got.Err, `no key "nope"`) {
			t.Errorf("%v: exit %d\n%s%s", args, got.Code, got.Out, got.Err)
		}
	}
	write("limits: {agentCalls: 7}\n")
	for _, args := range [][]string{{"config", "check"}, {"config", "check", path}} {
		if got := r.Run(args...); got.Code != 0 || !strings.Contains(got.Out, "config.yaml is right") {
			t.Errorf("%v: exit %d\n%s%s", args, got.Code, got.Out, got.Err)
		}
	}
	r.Write("omnitron.yaml", "project: shop\napps: [{name: web, command: [sleep, \"1\"]}]\n")
	if got := r.Run("config", "check"); got.Code != 0 || !strings.Contains(got.Out, "omnitron.yaml is right") {
		t.Errorf("with a project: exit %d\n%s%s", got.Code, got.Out, got.Err)
	}
	r.OK("up", "--no-wait")
	said, err := os.ReadFile(filepath.Join(r.Home, "logs", "keeper.log"))
	version := strings.Fields(r.OK("version", "-q", "--jq", ".version"))
	if err != nil || len(version) != 1 || version[0] == "" || !strings.Contains(string(said), `"version":"`+strings.Trim(version[0], `"`)+`"`) {
		t.Errorf("the keeper is of another version than %v: %v\n%s", version, err, said)
	}
}
