package search_test

import (
	"slices"
	"testing"

	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/search"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func toys(t *testing.T) *search.Index {
	t.Helper()
	methods, err := tools.Describe(toolstest.Toys.Specs())
	if err != nil {
		t.Fatal(err)
	}
	return search.New(methods)
}

func TestSearchFinds(t *testing.T) {
	ix := toys(t)
	for query, want := range map[string]string{
		"list":                        "toys.list",
		"Which PLAYTHINGS are there?": "toys.list", // a keyword
		"freezing":                    "toys.stop", // a keyword in another form
		"halted":                      "toys.stop",
		"terminate something":         "toys.stop", // the thesaurus
		"break it for good":           "toys.smash",
		"how many coats":              "toys.paint", // a field
		"toys.watch":                  "toys.watch",
		"password":                    "toys.lock",
	} {
		got := ix.Search(query, 3)
		if len(got) == 0 || got[0].ID() != want {
			var ids []string
			for _, m := range got {
				ids = append(ids, m.ID())
			}
			t.Errorf("%q: got %v, want %s first", query, ids, want)
		}
	}
}

func TestSearchIsBounded(t *testing.T) {
	ix := toys(t)
	for _, limit := range []int{-1, 0, 1, 2, 1000} {
		if got := ix.Search("toys", limit); len(got) > max(0, limit) || limit == 1000 && len(got) != len(toolstest.Toys.Specs()) {
			t.Errorf("limit %d: %d methods", limit, len(got))
		}
	}
	for _, query := range []string{"", "the", "zzz", "\x00\xff", "ß∂ƒ"} {
		if got := ix.Search(query, 10); len(got) != 0 {
			t.Errorf("%q finds %d methods", query, len(got))
		}
	}
	if got := search.New(nil).Search("toys", 10); len(got) != 0 {
		t.Errorf("an empty index finds %d", len(got))
	}
}

func TestSearchIsDeterministic(t *testing.T) {
	ids := func() (out []string) {
		for _, m := range toys(t).Search("toys color stop show", 20) {
			out = append(out, m.ID())
		}
		return out
	}
	first := ids()
	for range 20 {
		if again := ids(); !slices.Equal(first, again) {
			t.Fatalf("%v, then %v", first, again)
		}
	}
}

// questions are what people and agents ask, and the methods that would answer. Only those whose method exists count.
var questions = map[string][]string{
	"which apps are running":                  {"apps.list"},
	"show all services":                       {"apps.list"},
	"restart the api":                         {"apps.restart"},
	"bounce the web server":                   {"apps.restart"},
	"launch the worker":                       {"apps.start"},
	"shut down an application":                {"apps.stop"},
	"kill a process":                          {"apps.stop", "apps.signal"},
	"why does my app keep crashing":           {"apps.explain"},
	"diagnose crash loop":                     {"apps.explain"},
	"run more instances":                      {"apps.scale"},
	"send SIGHUP":                             {"apps.signal"},
	"environment variables of an app":         {"apps.env"},
	"dependencies between apps":               {"apps.graph"},
	"details of one app":                      {"apps.get", "apps.inspect"},
	"show me the last log lines":              {"logs.query"},
	"grep for errors in the output":           {"logs.query"},
	"tail logs live":                          {"logs.follow"},
	"delete old logs":                         {"logs.purge"},
	"how much disk do logs take":              {"logs.stats"},
	"is everything healthy":                   {"health.check", "daemon.status"},
	"cpu and memory usage":                    {"system.snapshot", "system.processes"},
	"who changed something":                   {"audit.list"},
	"which agents are connected":              {"agents.list"},
	"pause the agent":                         {"agents.pause"},
	"disconnect a client":                     {"agents.disconnect"},
	"what happened recently":                  {"events.list", "apps.history"},
	"follow events":                           {"events.follow"},
	"status of the daemon":                    {"daemon.status"},
	"version":                                 {"daemon.version"},
	"stop the daemon":                         {"daemon.shutdown"},
	"check the installation for problems":     {"daemon.doctor"},
	"apply a changed omnitron.yaml":           {"apps.apply"},
	"do not start this app any more":          {"apps.disable"},
	"history of an app":                       {"apps.history"},
	"reset the restart counter":               {"apps.reset"},
	"are you there":                           {"daemon.ping", "daemon.status"},
	"reload the configuration of the project": {"daemon.reload"},
}

func TestRecallAtFive(t *testing.T) {
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		t.Fatal(err)
	}
	ix, known := search.New(methods), map[string]bool{}
	for _, m := range methods {
		known[m.ID()] = true
	}
	asked, found := 0, 0
	for query, accept := range questions {
		if !slices.ContainsFunc(accept, func(id string) bool { return known[id] }) {
			continue
		}
		asked++
		got := ix.Search(query, 5)
		if slices.ContainsFunc(got, func(m *tools.Method) bool { return slices.Contains(accept, m.ID()) }) {
			found++
			continue
		}
		var ids []string
		for _, m := range got {
			ids = append(ids, m.ID())
		}
		t.Logf("%q: want one of %v among %v", query, accept, ids)
	}
	if asked > 0 && float64(found) < 0.95*float64(asked) {
		t.Errorf("%d of %d questions are answered by the first five", found, asked)
	}
}
