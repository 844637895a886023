package proctest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const leaver = "PROCTEST_LEAVER"

func TestMain(m *testing.M) {
	if os.Getenv(watched) != "" || os.Getenv(leaver) != "" {
		os.Exit(Main(leave))
	}
	os.Exit(m.Run())
}

// leave is a test that leaves a program whose child has nothing of the folder in its command line.
func leave() int {
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo $!; wait", os.Getenv("TMPDIR")+"/x")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Println(err)
		return 3
	}
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		fmt.Println(err)
		return 3
	}
	fmt.Println(os.Getenv("TMPDIR"), cmd.Process.Pid, child)
	if os.Getenv(leaver) == "killed" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return 0
}

func TestNothingIsLeft(t *testing.T) {
	for _, how := range []string{"ended", "killed"} {
		t.Run(how, func(t *testing.T) {
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), leaver+"="+how)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			err = cmd.Run()
			f := strings.Fields(out.String())
			if err == nil || len(f) != 3 {
				t.Fatalf("%v: %s%s", err, &out, &errs)
			}
			if how == "ended" && (cmd.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), f[0]+"/x")) {
				t.Errorf("exit code %d, and it said %q", cmd.ProcessState.ExitCode(), &errs)
			}
			for gone, until := false, time.Now().Add(20*time.Second); !gone; time.Sleep(5 * time.Millisecond) {
				_, err := os.Stat(f[0])
				gone = os.IsNotExist(err) && !runs(f[1]) && !runs(f[2])
				if !gone && time.Now().After(until) {
					t.Fatalf("something is left of %v", f)
				}
			}
		})
	}
}

// runs reports whether a process is there and is no zombie.
func runs(pid string) bool {
	n, _ := strconv.Atoi(pid)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}
