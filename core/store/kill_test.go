package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/omnitron-dev/omnitron/core/store"
)

// TestMain lets the test binary be the program that gets killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_TEST_PUT"); path != "" {
		putForEver(path)
	}
	goleak.VerifyTestMain(m)
}

// putForEver counts up in state.json and says each number once it is acknowledged.
func putForEver(path string) {
	f, err := store.OpenState(path, store.OS, quiet)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for n := numberOf(f.View()) + 1; ; n++ {
		if err := f.Put(context.Background(), func(s *store.State) error { s.Set(number(n)); return nil }); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

func TestKillWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	last := 0
	for round := range 100 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TEST_PUT="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(random.IntN(10_000)) * time.Microsecond
		acked := last
		lines := bufio.NewScanner(out)
		for first := true; lines.Scan(); first = false {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			acked = n
			if first {
				time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
		f := openState(t, path, store.OS)
		last = numberOf(f.View())
		if last != acked && last != acked+1 || len(f.Warnings()) > 0 {
			t.Fatalf("round %d: found %d, acknowledged was %d, %q", round, last, acked, f.Warnings())
		}
	}
	if last < 200 {
		t.Errorf("only %d writes in 100 rounds", last)
	}
}
