package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store/records"
)

// output answers what the supervisor asks of the apps' logs.
type output struct {
	j *journal.Journal
	k *proc.Keeper
}

func (o output) Tail(ctx context.Context, slot string, since, until time.Time, n int) []string {
	for _, stream := range []string{"err", "out"} {
		found, _, _, err := o.j.Query(ctx, journal.Filter{Keys: []string{slot}, Since: since, Until: until, Stream: stream, Limit: n})
		if err != nil || len(found) == 0 {
			continue
		}
		lines := make([]string, 0, len(found))
		for _, l := range found {
			if l.Kind == "" {
				lines = append(lines, l.Text)
			}
		}
		return lines
	}
	return nil
}

func (o output) Keep(app *config.App) {
	for _, p := range app.Processes {
		o.j.SetPolicy(app.Key+":"+p.Name, journal.Policy{MaxFiles: p.Logging.MaxFiles, Compress: p.Logging.Compress})
		for _, g := range o.k.Processes() {
			if strings.HasPrefix(g.ID(), app.Key+":"+p.Name+"#") {
				g.SetMaxFiles(p.Logging.MaxFiles)
			}
		}
	}
}

// Ends names both streams, the ones that do not exist yet too: of a first start everything is new.
func (o output) Ends(s journal.Stream) map[journal.Stream]int64 {
	from := map[journal.Stream]int64{}
	for _, s.Name = range []string{"out", "err"} {
		pos, err := o.j.End(s)
		if err != nil {
			pos = 0 // rather read what is old as well than miss what is new
		}
		from[s] = pos
	}
	return from
}

func (o output) Await(ctx context.Context, from map[journal.Stream]int64, pattern string) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	_, err = o.j.Watch(ctx, from, re)
	return err
}

func (o output) AwaitSince(ctx context.Context, slot, pattern string, since time.Time) error {
	for line, err := range o.j.Follow(ctx, journal.Filter{Keys: []string{slot}, Since: since, Grep: pattern, Limit: journal.MaxLimit}) {
		if err != nil {
			return err
		}
		if line.Kind == "" {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New("the output ended")
}

// definitions finds the definitions that revisions hold.
type definitions struct{ r *records.Revisions }

func (d definitions) Definition(ctx context.Context, project, stack string, rev int64) (*config.Definition, error) {
	r, err := d.r.Get(ctx, project, stack, rev)
	if err != nil {
		return nil, err
	}
	if r.Unreadable != nil {
		return nil, r.Unreadable
	}
	def := &config.Definition{}
	if err := json.Unmarshal(r.Definition, def); err != nil {
		return nil, fmt.Errorf("cannot read revision %d of %s/%s: %w", rev, project, stack, err)
	}
	return def, nil
}

// rotator has the keeper rotate a live log file.
func rotator(k *proc.Keeper) journal.Rotate {
	return func(ctx context.Context, path string) (bool, error) {
		err := k.Rotate(ctx, path)
		if fault.Is(err, fault.NotFound) {
			return false, nil
		}
		return err == nil, err
	}
}
