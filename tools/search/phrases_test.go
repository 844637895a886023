package search_test

import (
	"slices"
	"testing"

	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/search"
)

// TestPhrases asks as people do, in a word or a few; the method has to be among the first three.
func TestPhrases(t *testing.T) {
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		t.Fatal(err)
	}
	ix := search.New(methods)
	for query, want := range map[string]string{
		"kill":                            "apps.stop",
		"kill -9 web":                     "apps.signal",
		"kill switch":                     "agents.pause",
		"bounce":                          "apps.restart",
		"bounce the api":                  "apps.restart",
		"turn it off and on again":        "apps.restart",
		"tail":                            "logs.follow",
		"tail the last 100 lines":         "logs.query",
		"crash":                           "apps.explain",
		"why":                             "apps.explain",
		"why did it die":                  "apps.explain",
		"root cause":                      "apps.explain",
		"oom":                             "apps.explain",
		"disk":                            "system.snapshot",
		"disk full":                       "system.snapshot",
		"disk space of logs":              "logs.stats",
		"memory":                          "system.processes",
		"memory leak":                     "system.processes",
		"ram":                             "system.snapshot",
		"cpu":                             "system.processes",
		"slow":                            "system.processes",
		"port":                            "apps.list",
		"which port does web use":         "apps.list",
		"port already in use":             "apps.explain",
		"who changed":                     "audit.list",
		"who changed the config":          "audit.list",
		"who restarted web":               "audit.list",
		"what changed since friday":       "apps.history",
		"undo":                            "apps.apply",
		"rollback":                        "apps.apply",
		"deploy":                          "apps.apply",
		"config":                          "daemon.config",
		"config of web":                   "apps.inspect",
		"settings":                        "daemon.config",
		"env":                             "apps.env",
		"secret":                          "secrets.get",
		"stdout":                          "logs.query",
		"stack trace":                     "logs.query",
		"errors":                          "logs.query",
		"exception in the log":            "logs.query",
		"flapping":                        "health.history",
		"is web ok":                       "health.check",
		"down":                            "apps.explain",
		"take it down":                    "apps.stop",
		"bring it back up":                "apps.start",
		"more workers":                    "apps.scale",
		"hup":                             "apps.signal",
		"pid":                             "apps.inspect",
		"autostart":                       "apps.enable",
		"on boot":                         "apps.enable",
		"truncate logs":                   "logs.purge",
		"free space":                      "logs.purge",
		"uptime":                          "daemon.status",
		"upgrade":                         "daemon.version",
		"what needs the database":         "apps.graph",
		"timeline of the outage":          "events.list",
		"notify the others":               "events.publish",
		"which agents are connected":      "agents.list",
		"kick the bot":                    "agents.disconnect",
		"permission":                      "audit.list",
		"fix it":                          "daemon.doctor",
		"stuck":                           "apps.explain",
		"exit code":                       "apps.explain",
		"which apps depend on others":     "apps.graph",
		"stop an agent from changing":     "agents.pause",
		"who called what":                 "audit.list",
		"cpu and memory of the machine":   "system.snapshot",
		"check the stores and the keeper": "daemon.doctor",
		"reload configuration files":      "daemon.reload",
		"restart count":                   "apps.reset",
	} {
		var ids []string
		for _, m := range ix.Search(query, 3) {
			ids = append(ids, m.ID())
		}
		if !slices.Contains(ids, want) {
			t.Errorf("%q finds %v, not %s", query, ids, want)
		}
	}
}
