package session

import (
	"context"
	"encoding/json"
	"path"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// App is an app as a list shows it.
type App struct {
	Key    string    `json:"key"`
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// Apps gives every app that a scope (project, stack, all) has. Faults as of apps.list.
func (s *Session) Apps(ctx context.Context, scope map[string]any) ([]App, error) {
	in := s.Fit("apps.list", map[string]any{"limit": 1000})
	for _, k := range []string{"project", "stack", "all"} {
		if v, ok := scope[k]; ok {
			in[k] = v
		}
	}
	var apps []App
	for {
		raw, err := s.Read(ctx, "apps.list", in)
		if err != nil {
			return nil, err
		}
		var list struct {
			Items      []App  `json:"items"`
			NextCursor string `json:"next_cursor"`
			Truncated  bool   `json:"truncated"`
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, fault.New(fault.Internal, "the daemon's answer to apps.list cannot be read: %v", err).WithReason("bad_answer")
		}
		apps = append(apps, list.Items...)
		if !list.Truncated || list.NextCursor == "" || in["cursor"] == list.NextCursor {
			return apps, nil
		}
		in["cursor"] = list.NextCursor
	}
}

// Names gives the names in a call's input.
func Names(in map[string]any) (names []string) {
	for _, key := range []string{"name", "names"} {
		switch v := in[key].(type) {
		case string:
			names = append(names, v)
		case []string:
			names = append(names, v...)
		case []any:
			for _, e := range v {
				if s, ok := e.(string); ok {
					names = append(names, s)
				}
			}
		}
	}
	return names
}

// Means reports whether a name means an app: it is a suffix of the app's key, with wildcards or without. Of a part,
// app:process#n, the app is meant.
func Means(name, key string) bool {
	name, _, _ = strings.Cut(name, ":")
	for rest, more := key, true; more; _, rest, more = strings.Cut(rest, "/") {
		if ok, err := path.Match(name, rest); ok && err == nil {
			return true
		}
	}
	return false
}
