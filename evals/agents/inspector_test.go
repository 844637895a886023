package agents

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// install is what makes the inspector be there; make setup does it.
const install = "npm ci --prefix evals/agents/inspector --ignore-scripts --no-audit --no-fund"

// inspect runs the MCP inspector on omnitron mcp and gives what it prints. Its home is the rig's, so that it leaves
// nothing behind.
func (w *world) inspect(t testing.TB, era string, launch []string, args ...string) (out []byte, code int) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("the inspector needs node: %v\nto install it: apt-get install -y --no-install-recommends nodejs npm (or make setup)", err)
	}
	program, err := filepath.Abs("inspector/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js")
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		t.Fatalf("the inspector is not installed: %v\nto install it: %s (or make setup)", err, install)
	}
	line := append([]string{program, "--cli", "--transport", "stdio", "--protocol-era", map[string]string{legacy: "legacy", modern: "modern"}[era], "--format", "json", "-e", "OMNITRON_HOME=" + w.Home}, args...)
	line = append(append(line, "--", w.Bin, "mcp"), launch...)
	cmd := exec.CommandContext(within(t, time.Minute), node, line...)
	cmd.Dir, cmd.Env = w.Dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(w.Home)}
	cmd.WaitDelay = 5 * time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err = cmd.Output()
	if x, ok := errors.AsType[*exec.ExitError](err); ok {
		code = x.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("inspector %s %v %v: exit %d\n%.2000s\n%.2000s", era, args, launch, code, out, &errs)
		}
	})
	return out, code
}

// portable fails for what the inspector finds in the schemas of a list that other dialects would not understand. The one
// thing known has no better form: the arguments of a recorded call are whatever JSON they were.
func portable(t *testing.T, out []byte) {
	t.Helper()
	var list struct {
		SchemaFindings []struct {
			ToolName string
			Findings []struct{ Rule, Schema, Path, Issue string }
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	for _, of := range list.SchemaFindings {
		for _, f := range of.Findings {
			if f.Rule != "untyped-schema" || f.Schema != "outputSchema" || !strings.HasSuffix(f.Path, "properties.args") {
				t.Errorf("%s: %+v", of.ToolName, f)
			}
		}
	}
}

// TestInspector lets the inspector, the tool that the authors of the protocol test servers with, look at everything, in
// both eras. Strictly: an error in the schema of any tool would be its exit code 6, and it warns of nothing.
func TestInspector(t *testing.T) {
	w := newWorld(t, busy, generous)
	for _, era := range eras {
		t.Run(era, func(t *testing.T) {
			t.Parallel()
			for _, c := range []struct {
				launch []string
				args   string // words
				want   string // in the result
				code   int
			}{
				{nil, "--method tools/list --strict", `"apps_explain"`, 0},
				{[]string{"--profile", "full"}, "--method tools/list --strict", `"agents_pause"`, 0},
				{[]string{"--profile", "readonly"}, "--method tools/list --strict", `"audit_list"`, 0},
				{nil, "--method tools/call --tool-name apps_get --tool-arg name=web", `"structuredContent"`, 0},
				{nil, "--method tools/call --tool-name apps_explain --tool-arg name=loop", "no database", 0},
				{nil, "--method tools/call --tool-name apps_stop --tool-args-json {\"names\":[\"web\"]}", `"confirm"`, 0},
				{nil, "--method tools/call --tool-name ops_write --tool-args-json {\"method\":\"logs.purge\",\"input\":{\"names\":[\"web\"]}}", `"held"`, 0},
				{nil, "--method tools/call --tool-name logs_query --tool-args-json {\"names\":[\"evil\"],\"limit\":200}", `"truncated"`, 0},
				{nil, "--method tools/call --tool-name apps_get --tool-arg name=nope", `"not_found"`, 5},
				{nil, "--method tools/call --tool-name apps_list --load --load-requests 200 --load-concurrency 8", `"ok":200`, 0},
				{nil, "--method resources/list", `"omnitron://apps"`, 0},
				{nil, "--method resources/templates/list", `"omnitron://logs/{project}/{stack}/{app}"`, 0},
				{nil, "--method resources/read --uri omnitron://apps/web", "shop/dev/web", 0},
				{nil, "--method prompts/list", `"debug_crash_loop"`, 0},
				{nil, "--method prompts/get --prompt-name debug_crash_loop --prompt-args app=loop", "apps_explain", 0},
			} {
				out, code := w.inspect(t, era, c.launch, strings.Fields(c.args)...)
				if code != c.code || !strings.Contains(string(out), c.want) || !json.Valid(out) {
					t.Errorf("%v %s: exit %d, want %d and %s in\n%.1000s", c.launch, c.args, code, c.code, c.want, out)
				}
				if strings.Contains(c.args, "--strict") {
					portable(t, out)
				}
			}
			// What it lists is what the official client lists.
			var list struct {
				Result struct{ Tools []struct{ Name string } }
			}
			out, _ := w.inspect(t, era, nil, "--method", "tools/list")
			if err := json.Unmarshal(out, &list); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, tool := range list.Result.Tools {
				names = append(names, tool.Name)
			}
			slices.Sort(names)
			theirs := listed(t, w.stdio(t).connect(era, nil))
			if len(names) != len(theirs) || slices.ContainsFunc(names, func(n string) bool { return theirs[n] == nil }) {
				t.Errorf("the inspector lists %v, the official client %d tools", names, len(theirs))
			}
		})
	}
}
