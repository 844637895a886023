package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// poll looks again and again until ok says so or ctx ends.
func poll(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

func eventually(t *testing.T, what string, ok func() bool, more ...func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if poll(ctx, ok) != nil {
		for _, m := range more {
			what += "\n" + m()
		}
		t.Fatalf("waited in vain for %s", what)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kill kills a process for good and waits until it is gone.
func kill(t *testing.T, pid int) {
	t.Helper()
	id, err := ident.Of(pid)
	if err != nil {
		return // gone
	}
	_ = id.Signal(unix.SIGKILL)
	eventually(t, "a process to be gone", func() bool { return !id.Alive() })
}

func alive(pid int) bool {
	s, err := ident.Read(pid)
	return err == nil && s.State != 'Z' && s.State != 'X'
}

// reason gives the code and the reason of a fault.
func reason(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return string(e.Code) + "/" + e.Reason
}

// words carries log lines to the test's output.
type words struct{ t *testing.T }

func (w words) Write(p []byte) (int, error) {
	if testing.Verbose() {
		sc := bufio.NewScanner(bytes.NewReader(p))
		for sc.Scan() {
			fmt.Fprintln(os.Stderr, w.t.Name(), sc.Text())
		}
	}
	return len(p), nil
}

// resumed returns when every runner has come to what boot left to it.
func (w *world) resumed() {
	w.t.Helper()
	var all []op.Target
	for _, v := range w.Apps() {
		all = append(all, op.Target{Key: v.Key})
	}
	_, err := w.ask(w.ctx(), all, func(r *runner.Runner, t op.Target) <-chan view.Result { return r.Note(t, true) })
	must(w.t, err)
}
