// Package proctest runs tests that start programs which outlive them, so that nothing of them is left however the tests
// end: by their own word, by a panic, by go test's time limit, or by SIGKILL.
package proctest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/core/keeper/ident"
)

// watched names the folder of the tests for the process that waits for their end.
const watched = "OMNITRON_TEST_WATCHED"

// grace is how long programs have to go by themselves after tests that ended by themselves: a daemon whose keeper is gone does.
const grace = 10 * time.Second

// Main runs the tests of a package, for its TestMain, and gives the exit code; run is testing.M's Run, with what there is to
// do around it. All their temporary files are in one folder.
// When this process is gone, a process beside it ends every program that has the folder in its command line, and all that
// descend from such a one, and removes the folder. What it had to end after tests that ended by themselves makes them fail.
func Main(run func() int) int {
	if dir := os.Getenv(watched); dir != "" {
		word, _ := io.ReadAll(os.Stdin) // ends with the tests
		for until := time.Now().Add(grace); len(word) > 0 && time.Now().Before(until) && len(belonging(dir)) > 0; {
			time.Sleep(10 * time.Millisecond)
		}
		left := sweep(dir)
		_ = os.RemoveAll(dir)
		for _, p := range left {
			fmt.Println(p)
		}
		return 0
	}
	code, err := beside(run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "proctest:", err)
		return 1
	}
	return code
}

func beside(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "om")
	if err != nil {
		return 0, err
	}
	if err = os.Chmod(dir, 0o1777); err != nil { // programs of other users run here too
		return 0, err
	}
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer tell.Close()
	answer, out, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	cmd := exec.Command(exe)
	cmd.Env = []string{watched + "=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.Stdout = told, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends the tests' group does not end it
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	told.Close()
	out.Close()
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return 0, err
	}
	code = run()
	if _, err := tell.WriteString("ended"); err != nil {
		return 0, err
	}
	tell.Close()
	left, err := io.ReadAll(answer)
	if err != nil {
		return 0, err
	}
	if err := cmd.Wait(); err != nil {
		return 0, err
	}
	if len(left) > 0 {
		fmt.Fprintf(os.Stderr, "proctest: the tests have left these programs, which were ended:\n%s", left)
		code = max(code, 1)
	}
	return code, nil
}

// sweep ends what belongs to a folder, until nothing does, and gives the command lines.
func sweep(dir string) (ended []string) {
	for range 20 {
		found := belonging(dir)
		if len(found) == 0 {
			break
		}
		for pid, args := range found {
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				ended = append(ended, fmt.Sprintf("%d %s", pid, args))
			}
		}
	}
	return ended
}

// belonging gives the living processes with the folder in their command line, and their descendants.
func belonging(dir string) map[int]string {
	found, parent, args := map[int]string{}, map[int]int{}, map[int]string{}
	procs, _ := os.ReadDir("/proc")
	for _, e := range procs {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		s, err := ident.Read(pid)
		if err != nil || s.State == 'Z' {
			continue
		}
		b, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		parent[pid], args[pid] = s.PPID, strings.TrimRight(strings.ReplaceAll(string(b), "\x00", " "), " ")
		if strings.Contains(args[pid], dir+"/") {
			found[pid] = args[pid]
		}
	}
	for more := true; more; {
		more = false
		for pid, p := range parent {
			if _, ok := found[p]; ok && found[pid] == "" {
				found[pid], more = args[pid]+" ", true
			}
		}
	}
	return found
}
