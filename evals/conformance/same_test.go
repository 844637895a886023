package conformance

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/mcp"
	mcpweb "github.com/omnitron-dev/omnitron/mcp/web"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
	web "github.com/omnitron-dev/omnitron/transports/http"
)

// one lets one bearer in.
type one struct{}

func (one) Admit(_ context.Context, bearer string, _ netip.Addr, lower op.Channel) (*token.Identity, error) {
	if bearer != "fixture" {
		return nil, fault.New(fault.Unauthenticated, "who is that?").WithReason("bad_token")
	}
	return &token.Identity{Caller: op.Caller{User: "alice", UID: -1, Channel: lower, Ceiling: op.Admin, Role: op.Operator, Token: "t"}, Revoked: make(chan struct{})}, nil
}

type joined struct{ *mcpweb.Handler }

func (j joined) ServeMCP(w http.ResponseWriter, r *http.Request, body []byte, l web.Launch, lacks func(string)) {
	j.Handler.ServeMCP(w, r, body, mcp.Launch{Profile: l.Profile, Toolsets: l.Toolsets}, lacks)
}

// withFixtures serves what the daemon serves, by the same constructors, with the suite's own tools beside.
func withFixtures(t *testing.T) string {
	t.Helper()
	w := toolstest.New(t)
	m, err := mcp.New(w.Registry, mcp.Options{Version: "1.2.3", Sessions: w.Sessions, Extra: fixtures})
	if err != nil {
		t.Fatal(err)
	}
	handler := mcpweb.New(m, slog.New(slog.DiscardHandler))
	listening := make(chan net.Addr, 1)
	s := &web.Server{Listen: "127.0.0.1:0", Authority: one{}, Registry: w.Registry, Sessions: w.Sessions, Agents: joined{handler}, Log: slog.New(slog.DiscardHandler),
		OnListen: func(a net.Addr) { listening <- a }}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		handler.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-listening:
		return proxied(t, "http://"+a.String(), "fixture") + "/mcp/full"
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(10 * time.Second):
		t.Fatal("nobody listens")
	}
	return ""
}

// TestWithFixtures runs everything that a revision requires. What the suite runs beside and does not score is an extension that is
// not served (tasks), or asks for fixtures of features that no method of ours has (headers of arguments).
func TestWithFixtures(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a node")
	}
	for revision, least := range map[string]int{"2025-11-25": 30, "2026-07-28": 36} {
		t.Run(revision, func(t *testing.T) {
			out, err := node(t, nil, suite, "server", "--url", withFixtures(t), "--requirements", revision)
			scored, rest, _ := strings.Cut(out, "Not scored for")
			passed := strings.Count(scored, "passed, 0 failed")
			if err != nil || passed < least {
				t.Errorf("%v, %d scenarios passed, want %d\n%s", err, passed, least, last(out, 6000))
			}
			t.Logf("%d scenarios passed; not scored:%s", passed, rest)
		})
	}
}
