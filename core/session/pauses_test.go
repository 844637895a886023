package session_test

import (
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// TestPausesOutlive: a principal that was paused is paused in the next daemon, until it is resumed; a session is not kept.
func TestPausesOutlive(t *testing.T) {
	db := storetest.New(t)
	next := func() (*session.Sessions, *session.Pauses) {
		t.Helper()
		s := session.New(time.Now)
		p, err := session.OpenPauses(t.Context(), db, s)
		if err != nil {
			t.Fatal(err)
		}
		return s, p
	}
	paused := func(s *session.Sessions, user string) bool {
		t.Helper()
		err := s.Admit(op.Caller{User: user, Channel: op.Agent}, op.Spec{})
		if err != nil && !fault.Is(err, fault.Denied) {
			t.Fatal(err)
		}
		return err != nil
	}
	s, p := next()
	for _, name := range []string{"ann/agent", "bob/agent", "bob/agent", "somesession"} {
		if err := p.Keep(t.Context(), name, true); err != nil {
			t.Fatal(err)
		}
	}
	if paused(s, "ann") {
		t.Error("to keep a pause is not to pause")
	}
	s, p = next()
	if !paused(s, "ann") || !paused(s, "bob") || paused(s, "eve") {
		t.Error("the next daemon has other pauses")
	}
	if err := p.Keep(t.Context(), "ann/agent", false); err != nil {
		t.Fatal(err)
	}
	if s, _ = next(); paused(s, "ann") || !paused(s, "bob") {
		t.Error("a pause that was lifted is there, or one that was not is gone")
	}
}
