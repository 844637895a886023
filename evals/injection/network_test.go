package injection

import (
	"context"
	"net/http"
	"os/exec"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// process is `omnitron mcp` as a transport.
func process(cmd *exec.Cmd) sdk.Transport { return &sdk.CommandTransport{Command: cmd} }

// bearer signs every request.
type bearer struct {
	token string
	next  *http.Transport
}

// RoundTrip is for http.Client.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// session is the agent's at the moment.
func (a *agent) session() *sdk.ClientSession {
	a.smu.Lock()
	defer a.smu.Unlock()
	return a.s
}

// anew begins another session when the one before has ended with the daemon, and reports whether a call has to be made again in it.
func (a *agent) anew(was *sdk.ClientSession) bool {
	if a.again == nil {
		return false
	}
	a.smu.Lock()
	defer a.smu.Unlock()
	if a.s != was || a.off {
		return !a.off
	}
	ctx, cancel := context.WithTimeout(a.ctx, time.Second)
	defer cancel()
	if was.Ping(ctx, nil) == nil { // it was the call
		return false
	}
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); <-time.After(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
		s, err := a.again(ctx)
		cancel()
		if err == nil {
			a.s = s
			return true
		}
	}
	a.off = true
	return false
}

// connect makes a session of the official client.
func connect(t testing.TB, over sdk.Transport, name string, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := sdk.NewClient(&sdk.Implementation{Name: name, Version: "1"}, o).Connect(ctx, over, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
