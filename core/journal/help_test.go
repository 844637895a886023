package journal

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/journal/journaltest"
)

var (
	out1 = Stream{Project: "shop", Stack: "dev", App: "web", Process: "web", Instance: 1, Name: "out"}
	err1 = Stream{Project: "shop", Stack: "dev", App: "web", Process: "web", Instance: 1, Name: "err"}
	out2 = Stream{Project: "shop", Stack: "dev", App: "web", Process: "web", Instance: 2, Name: "out"}
	job1 = Stream{Project: "shop", Stack: "dev", App: "job", Process: "mail", Instance: 1, Name: "out"}
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is a moment, by milliseconds.
func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

func newJournal(t testing.TB) *Journal { return New(t.TempDir(), slog.New(slog.DiscardHandler)) }

func open(t testing.TB, j *Journal, s Stream) *journaltest.Writer {
	t.Helper()
	return journaltest.Open(t, j.Dir(), s, epoch)
}

// texts gives lines as text, missing output as <kind bytes>.
func texts(lines []Line) (list []string) {
	for _, l := range lines {
		if l.Kind != "" {
			list = append(list, fmt.Sprintf("<%s %d>", l.Kind, l.Lost))
			continue
		}
		list = append(list, l.Text)
	}
	return list
}

func ask(t testing.TB, j *Journal, f Filter) []Line {
	t.Helper()
	lines, _, _, err := j.Query(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// follow runs a Follow in the background; the lines come through the channel.
func follow(t testing.TB, j *Journal, f Filter) <-chan Line {
	ctx, cancel := context.WithCancel(t.Context())
	lines, done := make(chan Line), make(chan struct{})
	go func() {
		defer close(done)
		for l, err := range j.Follow(ctx, f) {
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			select {
			case lines <- l:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return lines
}

// take gives the next lines of a follow.
func take(t testing.TB, lines <-chan Line, n int) (got []Line) {
	t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for len(got) < n {
		select {
		case l := <-lines:
			got = append(got, l)
		case <-timeout.C:
			t.Fatalf("%d of %d lines came: %q", len(got), n, texts(got))
		}
	}
	return got
}

// run serves inotify for the length of the test.
func run(t testing.TB, j *Journal) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
