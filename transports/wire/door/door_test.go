package door

import (
	"log/slog"
	"strings"
	"testing"
)

func TestQuietLog(t *testing.T) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	var q Quiet
	for range 1000 {
		q.Log(log, "again")
	}
	q.last = q.last.Add(-For)
	q.Log(log, "again")
	if text := b.String(); strings.Count(text, "again") != 2 || !strings.Contains(text, "more=999") {
		t.Errorf("log: %s", text)
	}
}
