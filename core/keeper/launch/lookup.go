package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// defaultPath is where programs are looked for when their environment has no PATH.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// refusal makes an error that the caller of a spawn can act on.
func refusal(code, reason, format string, args ...any) *protocol.Error {
	return &protocol.Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Find gives the path of the program that name means, as a shell with this environment in this directory would.
func (p Program) find() (string, *protocol.Error) {
	name := p.Argv[0]
	if name == "" {
		return "", refusal("invalid", "exec_not_found", "the command is empty")
	}
	if strings.Contains(name, "/") {
		return name, nil // the kernel resolves it after the change of directory
	}
	path, set := defaultPath, false
	for _, v := range p.Env {
		if rest, ok := strings.CutPrefix(v, "PATH="); ok {
			path, set = rest, true
		}
	}
	denied := ""
	for dir := range strings.SplitSeq(path, ":") {
		file := filepath.Join(dir, name)
		abs := file
		if !filepath.IsAbs(file) {
			abs, file = filepath.Join(p.Dir, file), "./"+file
		}
		var st unix.Stat_t
		if unix.Stat(abs, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if p.mayExec(st) {
			return file, nil
		}
		denied = abs
	}
	if denied != "" {
		return "", refusal("invalid", "not_executable", "%s may not be executed by this user", denied)
	}
	where := "PATH is " + path
	if !set {
		where = "PATH is not set, so " + path + " was searched"
	}
	return "", refusal("invalid", "exec_not_found", "%s was not found: %s", name, where)
}

// mayExec looks at the mode bits as the kernel will for the program's user.
func (p Program) mayExec(st unix.Stat_t) bool {
	uid, gid := p.UID, p.GID
	if uid < 0 {
		uid = os.Geteuid()
	}
	if gid < 0 {
		gid = os.Getegid()
	}
	groups := append([]int{gid}, p.Groups...)
	if p.UID < 0 {
		if more, err := unix.Getgroups(); err == nil {
			groups = append(groups, more...)
		}
	}
	switch {
	case uid == 0:
		return st.Mode&0o111 != 0
	case uid == int(st.Uid):
		return st.Mode&0o100 != 0
	}
	for _, g := range groups {
		if g == int(st.Gid) {
			return st.Mode&0o010 != 0
		}
	}
	return st.Mode&0o001 != 0
}

// The steps of a start, as Explain names the one that failed.
const (
	StepGroup = "cgroup"
	StepUser  = "user"
	StepDir   = "dir"
	StepExec  = "exec"

	StepNoFile   = "nofile"
	StepNice     = "nice"
	StepOOMScore = "oom_score"
)

// Explain says in words what a failed step means.
func (p Program) Explain(step string, errno unix.Errno) *protocol.Error {
	switch step {
	case StepGroup:
		return refusal("internal", "cgroup_unavailable", "cannot put %s into its control group: %v", path(p.Argv[0]), errno)
	case StepUser:
		return refusal("denied", "not_permitted", "cannot run %s as uid %d, gid %d: %v; only root can change the user", path(p.Argv[0]), p.UID, p.GID, errno)
	case StepNoFile:
		return refusal("denied", "limit_unavailable", "cannot let %s open %d descriptors (limits.nofile): %v; more than the keeper itself may needs root, and nobody gets more than fs.nr_open", path(p.Argv[0]), p.Limits.NoFile, errno)
	case StepNice:
		return refusal("denied", "limit_unavailable", "cannot give %s the priority %d (nice): %v; a higher priority needs root", path(p.Argv[0]), *p.Limits.Nice, errno)
	case StepOOMScore:
		return refusal("denied", "limit_unavailable", "cannot set the OOM score of %s to %d (oomScore): %v; less than the keeper's own needs root", path(p.Argv[0]), *p.Limits.OOMScore, errno)
	case StepDir:
		what := errno.Error()
		switch errno {
		case unix.ENOENT:
			what = "it does not exist"
		case unix.ENOTDIR:
			what = "it is not a directory"
		case unix.EACCES:
			what = "this user may not enter it"
		}
		return refusal("invalid", "cwd_missing", "cannot start %s in %s: %s", path(p.Argv[0]), path(p.Dir), what)
	}
	return p.explainExec(errno)
}

func (p Program) explainExec(errno unix.Errno) *protocol.Error {
	file := p.Path
	if !filepath.IsAbs(file) {
		file = filepath.Join(p.Dir, file)
	}
	interp := interpreter(file)
	var st unix.Stat_t
	there := unix.Stat(file, &st) == nil
	name := path(file)
	switch {
	case errno == unix.E2BIG:
		return refusal("invalid", "too_large", "the arguments and the environment of %s are larger than the system allows", path(p.Argv[0]))
	case errno == unix.ENOEXEC:
		return refusal("invalid", "not_executable", "%s is no program for this machine, and a script needs a first line such as #!/bin/sh", name)
	case errno == unix.ETXTBSY:
		return refusal("conflict", "text_busy", "%s is being written to", name)
	case (errno == unix.ENOENT || errno == unix.ENOTDIR || errno == unix.ELOOP) && there:
		if interp == "" {
			return refusal("invalid", "bad_interpreter", "%s is there, but the loader that it asks for is not", name)
		}
		return refusal("invalid", "bad_interpreter", "%s asks for the interpreter %s, which is not there", name, interp)
	case errno == unix.ENOENT || errno == unix.ENOTDIR || errno == unix.ELOOP || errno == unix.ENAMETOOLONG:
		return refusal("invalid", "exec_not_found", "%s does not exist", name)
	case errno == unix.EACCES && there && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return refusal("invalid", "not_executable", "%s is a directory", name)
	case errno == unix.EACCES && there && interp != "" && p.mayExec(st):
		return refusal("invalid", "bad_interpreter", "%s asks for the interpreter %s, which may not be executed", name, interp)
	case errno == unix.EACCES || errno == unix.EPERM:
		return refusal("invalid", "not_executable", "%s may not be executed by this user", name)
	case errno == unix.EAGAIN || errno == unix.ENOMEM || errno == unix.EMFILE || errno == unix.ENFILE:
		return refusal("limited", "no_resources", "cannot start %s now: %v", path(p.Argv[0]), errno)
	}
	return refusal("internal", "spawn_failed", "cannot start %s: %v", name, errno)
}

// path is a file in a sentence: within quotes, where it has anything in it that could be taken for a word of the sentence.
func path(file string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@%:,=~", r)
	}
	if strings.ContainsFunc(file, func(r rune) bool { return !plain(r) }) {
		return strconv.Quote(file)
	}
	return file
}

// interpreter gives what the first line of a script asks for.
func interpreter(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 256)
	n, _ := f.Read(b) // an empty head is no script
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return ""
	}
	if words := strings.Fields(rest); len(words) > 0 {
		return path(words[0])
	}
	return "of an empty name"
}
