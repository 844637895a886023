package daemon

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestShed(t *testing.T) {
	before := filePages(t)
	shed()
	if after := filePages(t); after >= before {
		t.Errorf("%d kB of the program's file were mapped, and then %d", before, after)
	}
}

// filePages is how much of files is mapped, in kB.
func filePages(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss_File:" {
			kb, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Fatal("smaps_rollup has no Pss_File")
	return 0
}
