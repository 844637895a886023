// Package measure reads what processes use, from /proc.
package measure

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is the processor time of a process with all its threads, in nanoseconds' resolution.
func cpu(pid int) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &ts) != nil { // clock_getcpuclockid(3)
		return 0
	}
	return time.Duration(ts.Nano())
}

// CPU is what processes have used together.
func CPU(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		sum += cpu(pid)
	}
	return sum
}

// Memory sums up what smaps_rollup says, in bytes.
func Memory(pids []int) (rss, pss int64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			n, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "Rss:":
				rss += n << 10
			case "Pss:":
				pss += n << 10
			}
		}
	}
	return rss, pss
}

// Resident sums up the resident pages; it is cheap enough to be looked at often.
func Resident(pids []int) (sum int64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		if f := strings.Fields(string(text)); len(f) > 1 {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			sum += n * int64(os.Getpagesize())
		}
	}
	return sum
}

// Descriptors is how many descriptors processes have open together.
func Descriptors(pids []int) (sum int) {
	for _, pid := range pids {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err == nil {
			sum += len(fds)
		}
	}
	return sum
}

// Peak watches resident memory until stop is called, which gives how far it rose above what it was, and that.
func Peak(pids []int) (stop func() (growth, start int64)) {
	start := Resident(pids)
	most := start
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				most = max(most, Resident(pids))
			}
		}
	}()
	return func() (int64, int64) {
		close(end)
		<-ended
		return max(most, Resident(pids)) - start, start
	}
}
