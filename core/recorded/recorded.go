// Package recorded reads again the files that a kept definition was made of, at the paths where they were.
package recorded

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store/records"
)

// Heads gives of every stack the revision that is in force, in the order of their names: what applied says, which gives 0 for a stack
// of which nothing is; then the newest one counts. One that was kept and did not come to be, because the daemon died or the disk
// was full, says nothing of where a project's files are. Of what no file declares there is nothing to read again.
func Heads(ctx context.Context, revs *records.Revisions, applied func(project, stack string) int64) ([]records.Revision, error) {
	heads, err := revs.Heads(ctx)
	if err != nil {
		return nil, err
	}
	heads = slices.DeleteFunc(heads, fileless)
	for i, h := range heads {
		if n := applied(h.Project, h.Stack); n != 0 && n != h.Rev {
			if in, err := revs.Get(ctx, h.Project, h.Stack, n); err == nil { // else the newest one is all that is left
				heads[i] = in
			}
		}
	}
	return heads, nil
}

// fileless reports whether a revision was made without files.
func fileless(r records.Revision) bool { return r.Unreadable == nil && string(r.Files) == "null" }

// Source reads the files of a revision, and the env files that they name, with the environment that was captured with it; user
// is who the daemon runs as. What is wrong inside of them is no matter here: whoever loads them says it with its line.
//
// Faults: conflict (revision_unreadable; file_unreadable).
func Source(rev records.Revision, user string) (config.Source, error) {
	src := config.Source{Stack: rev.Stack, EnvFiles: map[string]string{}, Env: map[string]string{}, User: user}
	if rev.Unreadable != nil {
		return src, fault.Wrap(rev.Unreadable, fault.Conflict, "%v", rev.Unreadable).WithReason("revision_unreadable").
			WithHint("omnitron up in the project's folder reads its files and keeps them anew")
	}
	var files []config.File
	if err := json.Unmarshal(rev.Files, &files); err != nil {
		return src, fmt.Errorf("cannot read the files of %s revision %d: %w", rev.Project, rev.Rev, err)
	}
	if err := json.Unmarshal(rev.Env, &src.Env); err != nil {
		return src, fmt.Errorf("cannot read the environment of %s revision %d: %w", rev.Project, rev.Rev, err)
	}
	src.Home = src.Env["HOME"]
	for _, f := range files {
		text, err := config.ReadFile(f.Path)
		if err != nil {
			return src, fault.New(fault.Conflict, "cannot read %s of project %s: %v", f.Path, rev.Project, err).WithReason("file_unreadable").
				WithHint("omnitron up in the folder where the file is now, or name another project")
		}
		src.Files = append(src.Files, config.File{Path: f.Path, Text: text})
	}
	refs, _ := config.References(src)
	for _, path := range refs {
		if text, err := config.ReadFile(path); err == nil {
			src.EnvFiles[path] = text
		}
	}
	return src, nil
}
