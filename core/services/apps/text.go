package apps

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal"
)

// ready says how many instances are up, of how many.
func ready(up, all int) string { return fmt.Sprintf("%d/%d", up, all) }

// eventCursor reads a cursor of a list of events: the number of the last one that was given.
func eventCursor(c string) (uint64, error) {
	if c == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(c, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Invalid, "%q is no cursor of this list", c).WithReason("bad_cursor").WithHint("pass next_cursor of the answer before")
	}
	return n, nil
}

func limitOr(limit, other int) int { return cmp.Or(limit, other) }

// lines gives the last lines of an app's stream.
func (s *Service) lines(ctx context.Context, key, stream string, n int) []LogLine {
	out := []LogLine{}
	found, _, _, err := s.journal.Query(ctx, journal.Filter{Keys: []string{key}, Stream: stream, Limit: n})
	if err != nil {
		return out
	}
	for _, l := range found {
		if l.Kind != "" { // something is missing there; logs tell what
			continue
		}
		out = append(out, LogLine{At: l.At, Slot: fmt.Sprintf("%s:%s#%d", l.App, l.Process, l.Instance), Text: l.Text})
	}
	return out
}
