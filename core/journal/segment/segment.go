// Package segment reads what the keeper has written of one stream of output: the live file, its rotated predecessors
// (plain or compressed) and the time index beside each. It finds bytes by their position in the stream's whole life,
// cuts them into lines, and hands them out in bounded chunks, forwards or backwards.
//
// On disk a stream is
//
//	<project>/<stack>/<app>/<process>.<n>.out.log                          the live file, written by the keeper
//	<project>/<stack>/<app>/<process>.<n>.out.log.<20 digits>              rotated; the digits are the position of its first byte
//	<project>/<stack>/<app>/<process>.<n>.out.log.<20 digits>.zst or .gz   the same, compressed by Compress
//	<any of the first two>.idx                                             its index; compressing leaves it where it is
//
// Positions are the only state a reader keeps between two chunks. No file stays open, so a reader that stalls holds
// neither descriptors nor deleted files, and rotation, compression and retention need no word with the readers.
package segment

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Stream names one output of one instance.
type Stream struct {
	Project, Stack, App, Process string
	Instance                     int    // from 1
	Name                         string // out or err
}

// Key is the app's key, project/stack/app.
func (s Stream) Key() string { return s.Project + "/" + s.Stack + "/" + s.App }

func (s Stream) String() string {
	return fmt.Sprintf("%s:%s#%d %s", s.Key(), s.Process, s.Instance, s.Name)
}

// Folder is where the streams of the app lie below dir.
func (s Stream) Folder(dir string) string { return filepath.Join(dir, s.Project, s.Stack, s.App) }

// Path is the live file of s below dir, the folder of all logs.
func Path(dir string, s Stream) string { return filepath.Join(s.Folder(dir), s.file()) }

func (s Stream) file() string {
	return s.Process + "." + strconv.Itoa(s.Instance) + "." + s.Name + ".log"
}

// Parse gives the stream that a live file below dir belongs to.
func Parse(dir, path string) (Stream, bool) {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return Stream{}, false
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if len(parts) != 4 || parts[0] == ".." {
		return Stream{}, false
	}
	n, ok := parseName(parts[3])
	if !ok || n.kind != live {
		return Stream{}, false
	}
	n.stream.Project, n.stream.Stack, n.stream.App = parts[0], parts[1], parts[2]
	return n.stream, true
}

// Format is how the bytes of a file are stored.
type Format uint8

// The formats, in the order of preference where a crash has left two of a file.
const (
	Plain Format = iota
	Zstd
	Gzip
)

var suffixes = [...]string{"", ".zst", ".gz"}

// Temporary ends the name of a file that is not finished; nobody reads it.
const Temporary = ".tmp"

const digits = 20 // of an archive's position

type kind uint8

const (
	live kind = iota
	liveIndex
	archive
	archiveIndex
	temporary
)

// name is what a file name says.
type name struct {
	stream Stream // without project, stack, app
	kind   kind
	base   int64
	format Format
}

func parseName(file string) (n name, ok bool) {
	log := strings.LastIndex(file, ".log")
	if log < 0 {
		return n, false
	}
	head, tail := file[:log], file[log+len(".log"):]
	if head, ok = strings.CutSuffix(head, ".out"); ok {
		n.stream.Name = "out"
	} else if head, ok = strings.CutSuffix(head, ".err"); ok {
		n.stream.Name = "err"
	} else {
		return n, false
	}
	dot := strings.LastIndexByte(head, '.')
	if dot <= 0 {
		return n, false
	}
	inst := head[dot+1:]
	i, err := strconv.Atoi(inst)
	if err != nil || i < 1 || strconv.Itoa(i) != inst {
		return n, false
	}
	n.stream.Process, n.stream.Instance = head[:dot], i
	if strings.HasSuffix(tail, Temporary) {
		n.kind = temporary
		return n, true
	}
	switch tail {
	case "":
		n.kind = live
		return n, true
	case ".idx":
		n.kind = liveIndex
		return n, true
	}
	if len(tail) < 1+digits || tail[0] != '.' {
		return n, false
	}
	u, err := strconv.ParseInt(tail[1:1+digits], 10, 64)
	if err != nil || u < 0 {
		return n, false
	}
	n.base, n.kind = u, archive
	switch tail[1+digits:] {
	case "":
	case ".zst":
		n.format = Zstd
	case ".gz":
		n.format = Gzip
	case ".idx":
		n.kind = archiveIndex
	default:
		return n, false
	}
	return n, true
}

// Archive is the name of the archive of a live file whose first byte is at base.
func Archive(livePath string, base int64) string {
	return fmt.Sprintf("%s.%0*d", livePath, digits, base)
}

// Streams lists the streams of an app's folder that have anything on disk, in the order of their names.
func Streams(dir, project, stack, app string) ([]Stream, error) {
	entries, err := os.ReadDir(filepath.Join(dir, project, stack, app))
	if err != nil {
		return nil, err
	}
	var list []Stream
	seen := map[Stream]bool{}
	for _, e := range entries {
		n, ok := parseName(e.Name())
		if !ok || n.kind == temporary || seen[n.stream] {
			continue
		}
		seen[n.stream] = true
		n.stream.Project, n.stream.Stack, n.stream.App = project, stack, app
		list = append(list, n.stream)
	}
	return list, nil
}
