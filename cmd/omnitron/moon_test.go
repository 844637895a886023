package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/docs"
)

// moonTable is the table of a service that only tests have.
var moonTable = op.Of("moons", "Moons of planets.",
	op.Unary("count", op.Viewer, op.Reads, (*moonService).Count, "Count the moons of a planet.",
		op.Shows("of Mars", `{"planet":"mars"}`), op.Fails("no such planet", `{"planet":"vulcan"}`, "not_found")))

// moons is the line of the catalog.
type moons struct{}

func (moons) Specs() []op.Spec                      { return moonTable.Specs() }
func (moons) Build(*host.Host) ([]op.Method, error) { return moonTable.Bind(&moonService{}), nil }

type moonService struct{}

type planet struct {
	Planet string `json:"planet" cli:"arg" jsonschema:"name of the planet"`
}

type moonCount struct {
	Moons int `json:"moons" table:"1" jsonschema:"how many moons it has"`
}

func (*moonService) Count(_ context.Context, in planet) (moonCount, error) {
	n, ok := map[string]int{"earth": 1, "mars": 2}[in.Planet]
	if !ok {
		return moonCount{}, fault.New(fault.NotFound, "there is no planet %q", in.Planet).WithReason("planet_unknown").WithCandidates("earth", "mars")
	}
	return moonCount{n}, nil
}

// TestOneLineIsEnough: a service that is in the catalog and nowhere else is a native method, a command, a tool, and a
// line of the reference pages. The program is this test binary under another name, with one line more in its catalog.
func TestOneLineIsEnough(t *testing.T) {
	methods, err := tools.Describe(append(catalog.Specs(), moonTable.Specs()...))
	if err != nil {
		t.Fatal(err)
	}
	m := methods[len(methods)-1]
	bin := extend(t)
	r := rig.New(t)
	r.Bin = bin
	w := &world{Rig: r, agent: newAgent(t, r)} // whose program starts the daemon
	parityOfReads(t, w, m, m.Examples[0])
	parityOfFaults(t, w, m, m.Examples[1])
	for name, wants := range map[string][]string{"tools.md": {"### moons.count", "Count the moons of a planet."}, "access.md": {"| moons.count | viewer | reads | everywhere |"}} {
		page := string(docs.Pages(methods)[name])
		for _, want := range wants {
			if !strings.Contains(page, want) {
				t.Errorf("%s says nothing of %q", name, want)
			}
		}
	}
	for _, line := range [][]string{{"--help"}, {"moons", "--help"}, {"explain", "moons.count"}, {"help", "reference"}, {"__complete", "moo"}, {"__complete", "moons", ""}} {
		if out := r.OK(line...); !strings.Contains(out, "moons") && !strings.Contains(out, "count") {
			t.Errorf("omnitron %s says nothing of moons:\n%s", strings.Join(line, " "), out)
		}
	}
	if help := r.OK("moons", "count", "--help"); !strings.Contains(help, "omnitron moons count mars") || !strings.Contains(help, "role viewer, effect reads") {
		t.Errorf("the help:\n%s", help)
	}
	if ran := r.Run("moons", "cuont"); ran.Code != 64 || !strings.Contains(ran.Err, `"count"`) {
		t.Errorf("a slip: exit %d, %s", ran.Code, ran.Err)
	}
	raw, failed := w.agent.call("tools/list", nil)
	var list struct {
		Tools []struct {
			Name, Description string
			Out               json.RawMessage `json:"outputSchema"`
		}
	}
	if err := json.Unmarshal(raw, &list); err != nil || failed != "" {
		t.Fatal(err, failed)
	}
	if len(list.Tools) != len(methods) {
		t.Errorf("%d tools for %d methods", len(list.Tools), len(methods))
	}
	for _, tool := range list.Tools {
		if tool.Name != "moons_count" {
			continue
		}
		var got, want struct {
			Properties map[string]json.RawMessage
			Required   []string
		}
		reread(t, tool.Out, &got)
		reread(t, m.OutSchema, &want)
		delete(got.Properties, "truncated") // every tool's answer may be cut
		if diff := cmp.Diff(want, got); tool.Description != m.Doc || diff != "" {
			t.Errorf("the tool is %q; its output differs from the row's: %s", tool.Description, diff)
		}
	}
}

// extend puts the test binary where it is omnitron with moons.
func extend(t *testing.T) string {
	t.Helper()
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	path := filepath.Join(t.TempDir(), extended)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
