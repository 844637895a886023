package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/itchyny/gojq"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestScripts runs the scripts of testdata/script on the built binary, each in a home and a folder of its own. Beside the
// commands of testscript there are
//
//	code N program args…       runs it; it has to exit with N
//	[!] one                    standard output is exactly one JSON document
//	[!] jq EXPR REGEX          what the expression gives of standard output, a line each, matches
//	eventually program args…   runs it until it succeeds, for 20 s at most
//	take N program args…       runs it, reads N lines of its output, presses Ctrl-C; it has to exit with 130
//	world FILE                 writes what a call could have changed: state, definitions, processes, files
//	freeport NAME              gives a variable a port that is free
//	foreign FOLDER             makes the folder somebody else's, or points to one that is
func TestScripts(t *testing.T) {
	real := rig.Binary(t)
	bin := called(t, real)
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		WorkdirRoot:        t.TempDir(), // else an empty folder is left behind
		RequireUniqueNames: true,
		Setup:              func(e *testscript.Env) error { return stage(e, bin, real) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": scriptCode, "one": scriptOne, "jq": scriptJQ, "eventually": scriptEventually, "take": scriptTake, "world": scriptWorld, "foreign": scriptForeign, "freeport": scriptFreePort,
		},
	})
}

// stage gives a script a home below a short path, and takes down what runs in it when the script is over.
func stage(e *testscript.Env, bin, real string) error {
	base, err := os.MkdirTemp("", "om")
	if err != nil {
		return err
	}
	home := filepath.Join(base, "h")
	e.Setenv("OMNITRON_HOME", home)
	e.Setenv("HOME", base)
	e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	e.Setenv("TERM", "dumb")
	e.Setenv("LANG", "C.UTF-8")
	e.Setenv("BIN", real)
	e.Defer(func() {
		if err := strike(e, bin, base); err != nil {
			e.T().Log(err)
			e.T().FailNow()
		}
	})
	return nil
}

// strike ends the daemons of a script, and says what outlives them.
func strike(e *testscript.Env, bin, base string) error {
	homes, err := filepath.Glob(filepath.Join(base, "*", "daemon.pid"))
	if err != nil {
		return err
	}
	more, _ := filepath.Glob(filepath.Join(base, ".cache", "*", "*", "daemon.pid")) // of the demo; the pattern is good
	for _, pid := range append(homes, more...) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "omnitron"), "--home", filepath.Dir(pid), "daemon", "shutdown")
		cmd.Dir, cmd.Env = base, e.Vars
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil && cmd.ProcessState.ExitCode() != 2 {
			return fmt.Errorf("cannot shut %s down: %w\n%s", filepath.Dir(pid), err, out)
		}
	}
	left := alive(base, e.WorkDir)
	for deadline := time.Now().Add(10 * time.Second); len(left) > 0 && time.Now().Before(deadline); left = alive(base, e.WorkDir) {
		<-time.After(10 * time.Millisecond)
	}
	for _, p := range left {
		_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may have ended by now
		err = errors.Join(err, fmt.Errorf("left behind: pid %d %s", p.PID, p.Args))
	}
	return errors.Join(err, os.RemoveAll(base))
}

// alive gives the processes that run in folders, or name them.
func alive(folders ...string) []rig.Process {
	return slices.DeleteFunc(rig.Processes(), func(p rig.Process) bool {
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID)) // gone, or a stranger's
		return p.State == 'Z' || p.PID == os.Getpid() || !slices.ContainsFunc(folders, func(f string) bool {
			return cwd == f || strings.HasPrefix(cwd, f+"/") || strings.Contains(p.Args, f+"/")
		})
	})
}

// exit is the code with which a command that was run ended.
func exit(ts *testscript.TestScript, err error) int {
	var x *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &x):
		return x.ExitCode()
	}
	ts.Fatalf("%v", err)
	return -1
}

func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg || len(args) < 2 {
		ts.Fatalf("usage: code N program args…")
	}
	if got := exit(ts, ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit %d, want %d", got, want)
	}
}

func scriptOne(ts *testscript.TestScript, neg bool, _ []string) {
	out := ts.ReadFile("stdout")
	if json.Valid([]byte(out)) == neg {
		ts.Fatalf("one document: %v, in %q", !neg, out)
	}
	if !neg && strings.Count(strings.TrimSpace(out), "\n") > 0 {
		ts.Fatalf("more than a line for a program: %q", out)
	}
}

func scriptJQ(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: jq EXPR REGEX")
	}
	query, err := gojq.Parse(args[0])
	ts.Check(err)
	re, err := regexp.Compile(`(?m)` + args[1])
	ts.Check(err)
	var lines []string
	for d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout"))); d.More(); {
		var v any
		ts.Check(d.Decode(&v))
		for it := query.Run(v); ; {
			got, ok := it.Next()
			if !ok {
				break
			}
			if err, failed := got.(error); failed {
				ts.Fatalf("%s: %v", args[0], err)
			}
			text, isText := got.(string)
			if !isText {
				raw, err := gojq.Marshal(got)
				ts.Check(err)
				text = string(raw)
			}
			lines = append(lines, text)
		}
	}
	if found := strings.Join(lines, "\n"); re.MatchString(found) == neg {
		ts.Fatalf("%s gives %q, match of %s: %v", args[0], found, args[1], neg)
	}
}

func scriptEventually(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("not within 20s: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// scriptTake runs a program that goes on until Ctrl-C.
func scriptTake(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	path := args[1]
	if !strings.Contains(path, "/") {
		path, err = lookPath(path, ts.Getenv("PATH"))
		ts.Check(err)
	}
	cmd := exec.CommandContext(ctx, path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = variables(ts)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	ts.Check(cmd.Start())
	var got []string
	for s := scanner(out); s.Scan(); {
		if got = append(got, s.Text()); len(got) == n {
			_ = cmd.Process.Signal(syscall.SIGINT) // it has ended: then its code says so
		}
	}
	code := exit(ts, cmd.Wait())
	_, _ = ts.Stdout().Write([]byte(strings.Join(got[:min(n, len(got))], "\n") + "\n")) // buffers
	_, _ = ts.Stderr().Write(errs.Bytes())
	if code != 130 || len(got) < n {
		ts.Fatalf("exit %d after %d lines, want 130 after %d: %s", code, len(got), n, &errs)
	}
}

func lookPath(name, path string) (string, error) {
	for dir := range strings.SplitSeq(path, ":") {
		full := filepath.Join(dir, name)
		if st, err := os.Stat(full); err == nil && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("there is no program %s in %s", name, path)
}

// variables is the environment of a script.
func variables(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "OMNITRON_HOME", "OMNITRON_OUTPUT", "OMNITRON_STACK", "TERM", "LANG", "TMPDIR", "GREETING"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// scriptWorld writes everything that a call could have changed, in a form that stays the same as long as nothing does.
func scriptWorld(ts *testscript.TestScript, _ bool, args []string) {
	home := ts.Getenv("OMNITRON_HOME")
	var b strings.Builder
	ts.Check(wishes(&b, filepath.Join(home, "state.json")))
	for _, p := range alive(home, ts.MkAbs(".")) {
		if cmd := strings.Fields(p.Args); len(cmd) > 0 && !strings.Contains(cmd[0], "omnitron") {
			fmt.Fprintf(&b, "process %d since %s\n", p.PID, p.Start) // not its words: a shell may be about to execute another program
		}
	}
	ts.Check(ts.Exec("omnitron", "ls", "-A", "--jq", `.items[] | del(.cpu_percent, .rss_bytes, .uptime_s)`))
	b.WriteString(ts.ReadFile("stdout"))
	ts.Check(ts.Exec("omnitron", "events", "list", "--limit", "3", "-o", "json"))
	b.WriteString(ts.ReadFile("stdout"))
	ts.Check(filepath.WalkDir(filepath.Join(home, "logs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Count(path, "/logs/") == 1 && strings.Contains(path, ".out.") {
			st, serr := os.Stat(path)
			fmt.Fprintf(&b, "file %s %d\n", path, st.Size())
			err = serr
		}
		return err
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// wishes writes what state.json says should be. How things are is written there a little later than they change.
func wishes(b *strings.Builder, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var state struct {
		HomeDown bool
		Apps     []struct {
			Key, Desired, DefinitionHash string
			Enabled                      bool
			Revision, Command            int64
			Scale                        map[string]int
		}
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return err
	}
	fmt.Fprintf(b, "home down: %v\n", state.HomeDown)
	for _, a := range state.Apps {
		fmt.Fprintf(b, "wish %+v\n", a)
	}
	return nil
}

func scriptFreePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(errors.Join(err, l.Close()))
	ts.Setenv(args[0], port)
}

func scriptForeign(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	if os.Geteuid() != 0 { // what is root's is not ours
		ts.Check(os.Symlink("/", dir))
		return
	}
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.Chown(dir, 65534, 65534))
}

// repo is the folder of the module.
func repo() string {
	root, err := rig.Root()
	if err != nil {
		return "."
	}
	return root
}
