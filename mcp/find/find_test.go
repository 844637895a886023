package find_test

import (
	"slices"
	"testing"

	"github.com/omnitron-dev/omnitron/mcp/find"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// TestCatalog asks in the words that people use; the method has to be among the first five.
func TestCatalog(t *testing.T) {
	var docs []find.Doc
	for _, s := range catalog.Specs() {
		docs = append(docs, find.Doc{ID: s.ID(), Name: s.Service + " " + s.Verb, Text: s.Doc, Other: s.Keywords})
	}
	x := find.New(docs)
	for query, want := range map[string]string{
		"why is my app down":              "apps.explain",
		"restarting the web server":       "apps.restart",
		"show logs with errors":           "logs.query",
		"environment variables of an app": "apps.env",
		"scale workers":                   "apps.scale",
		"which apps depend on others":     "apps.graph",
		"delete stored logs":              "logs.purge",
		"cpu and memory of the machine":   "system.snapshot",
		"who called what":                 "audit.list",
		"connected agents":                "agents.list",
		"stop an agent from changing":     "agents.pause",
		"check the stores and the keeper": "daemon.doctor",
		"reload configuration files":      "daemon.reload",
		"send SIGHUP":                     "apps.signal",
		"past events":                     "events.list",
		"follow output of an application": "logs.follow",
	} {
		if got := x.Search(query, 5); !slices.Contains(got, want) {
			t.Errorf("%q finds %v, not %s", query, got, want)
		}
	}
	if got := x.Search("zzzz", 5); len(got) != 0 {
		t.Errorf("nothing finds %v", got)
	}
	if a, b := x.Search("show applications", 10), x.Search("show applications", 10); !slices.Equal(a, b) {
		t.Error("the order is not the same twice")
	}
}
