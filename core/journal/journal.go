// Package journal is the reading side of the logs: it answers for what supervised applications have printed. The keeper
// writes the files (package segment says what they look like); this package queries and follows them, compresses and
// retires rotated ones, and deletes them when asked to.
//
// Positions, not files, are what readers hold on to: a cursor names a position in each stream, which stays true across
// rotation, compression, and restarts of the daemon and of the keeper. Whatever is missing between two lines is an item
// of its own (Line.Kind).
//
// A query goes backwards from the newest line, merges streams by arrival, and stops at its limit, at a bound on bytes, or
// when its time is up; it then says where to go on. Followers wait for inotify, of which all share one instance that Run
// serves, or look four times a second where they cannot have it. The package starts no goroutine.
//
// The last lines of each stream that was asked for stay in memory (ring.go) as long as the files do not grow. The gain is
// measured in BenchmarkTail: without it a tail costs a few system calls and stays far below a millisecond.
package journal

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal/segment"
	"github.com/omnitron-dev/omnitron/core/redact"
)

// Stream names one output of one instance.
type Stream = segment.Stream

// Path is the live log file of a stream below dir; the keeper is told to write there.
func Path(dir string, s Stream) string { return segment.Path(dir, s) }

// Policy is what is kept of the streams of an app.
type Policy struct {
	MaxFiles int    // files a stream, the live one included; 0 is DefaultPolicy's
	Compress string // zstd, gzip or none; "" is DefaultPolicy's
}

// DefaultPolicy holds for apps without one of their own.
var DefaultPolicy = Policy{MaxFiles: 10, Compress: "zstd"}

// Rotate has the writer of a live log file rotate it at once. It reports whether anybody has the file open.
type Rotate func(ctx context.Context, path string) (held bool, err error)

// Journal reads the logs below one folder. All its methods may be called at the same time.
type Journal struct {
	dir    string
	log    *slog.Logger
	budget time.Duration // of a query
	hub    hub
	ring   ring
	counts counts

	secrets *redact.Live // what no line shows

	mu       sync.Mutex
	policies map[string]Policy
	rotate   Rotate

	packing token // whoever compresses takes it, and keeps it long
	upkeep  token // whoever changes the names of archives takes it, and keeps it for a moment
}

// New makes a journal of the logs below dir. Nothing is read before it is asked.
func New(dir string, log *slog.Logger) *Journal {
	j := &Journal{dir: dir, log: log, budget: queryBudget, policies: map[string]Policy{}, packing: make(token, 1), upkeep: make(token, 1)}
	j.hub.init(log)
	j.ring.init()
	j.counts.seen = map[Stream]map[int64]known{}
	return j
}

// Dir is the folder of all logs.
func (j *Journal) Dir() string { return j.dir }

// SetPolicy says what is kept of an app (project/stack/app) or of one process of it (project/stack/app:process).
func (j *Journal) SetPolicy(key string, p Policy) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.policies[key] = p
}

// Hide takes secrets out of the lines that it gives, and that filters see. It must come before the first is asked for.
func (j *Journal) Hide(secrets *redact.Live) { j.secrets = secrets }

// SetRotate hands in how live files are rotated for Purge.
func (j *Journal) SetRotate(r Rotate) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rotate = r
}

func (j *Journal) policy(s Stream) Policy {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, ok := j.policies[s.Key()+":"+s.Process]
	if !ok {
		p = j.policies[s.Key()]
	}
	if p.MaxFiles <= 0 {
		p.MaxFiles = DefaultPolicy.MaxFiles
	}
	if p.Compress == "" {
		p.Compress = DefaultPolicy.Compress
	}
	return p
}

// selector is one key of a filter, taken apart.
type selector struct {
	project, stack, app, process string
	instance                     int // 0: any
}

func (s selector) matches(st Stream) bool {
	return s.project == st.Project && s.stack == st.Stack && s.app == st.App &&
		(s.process == "" || s.process == st.Process) && (s.instance == 0 || s.instance == st.Instance)
}

// parseKey reads project/stack/app, project/stack/app:process and project/stack/app:process#2.
func parseKey(key string) (s selector, err error) {
	bad := fault.New(fault.Invalid, "%q is no key of an app: expected project/stack/app, …:process or …:process#2", key)
	rest, inst, numbered := strings.Cut(key, "#")
	rest, s.process, _ = strings.Cut(rest, ":")
	parts := strings.Split(rest, "/")
	if len(parts) != 3 || s.process != "" && !isName(s.process) || slices.ContainsFunc(parts, func(p string) bool { return !isName(p) }) {
		return s, bad
	}
	s.project, s.stack, s.app = parts[0], parts[1], parts[2]
	if numbered {
		for _, c := range inst {
			if c < '0' || c > '9' || s.instance > 1e6 {
				return s, bad
			}
			s.instance = s.instance*10 + int(c-'0')
		}
		if s.instance == 0 {
			return s, bad
		}
	}
	return s, nil
}

// isName reports whether a part of a key can be a file's name.
func isName(p string) bool {
	return p != "" && p != "." && p != ".." && len(p) <= 200 && !strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == '/' || r == 0x7f })
}

// Streams lists the streams of apps that have anything stored, in the order of their names; without keys, all.
func (j *Journal) Streams(keys ...string) ([]Stream, error) {
	f := Filter{Keys: keys}
	q, err := f.compile()
	if err != nil {
		return nil, err
	}
	list, _, err := j.streams(q)
	return list, err
}

// streams lists what a query asks for, and the folders in which more may appear.
func (j *Journal) streams(q *query) (list []Stream, folders []string, err error) {
	folders = append(folders, j.dir)
	for _, app := range j.apps(q, &folders) {
		found, err := segment.Streams(j.dir, app[0], app[1], app[2])
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		folders = append(folders, filepath.Join(j.dir, app[0], app[1], app[2]))
		for _, s := range found {
			if q.wants(s) {
				list = append(list, s)
			}
		}
	}
	return list, folders, nil
}

// apps lists the apps' folders that a query may need, and adds those above them to folders.
func (j *Journal) apps(q *query, folders *[]string) (apps [][3]string) {
	if len(q.keys) > 0 {
		for _, k := range q.keys {
			app := [3]string{k.project, k.stack, k.app}
			if !slices.Contains(apps, app) {
				apps = append(apps, app)
			}
			for _, d := range []string{filepath.Join(j.dir, k.project), filepath.Join(j.dir, k.project, k.stack)} {
				if !slices.Contains(*folders, d) && isDir(d) {
					*folders = append(*folders, d)
				}
			}
		}
		return apps
	}
	for _, project := range subfolders(j.dir) {
		*folders = append(*folders, filepath.Join(j.dir, project))
		for _, stack := range subfolders(filepath.Join(j.dir, project)) {
			*folders = append(*folders, filepath.Join(j.dir, project, stack))
			for _, app := range subfolders(filepath.Join(j.dir, project, stack)) {
				apps = append(apps, [3]string{project, stack, app})
			}
		}
	}
	return apps
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// subfolders lists the folders in dir; one that cannot be read, or is gone by now, has none.
func subfolders(dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
