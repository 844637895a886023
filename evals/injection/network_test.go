package injection

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/omnitron-dev/omnitron/core/op"
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

// rest is the way of an agent that makes plain requests, as one does that was given a token and curl.
type rest struct {
	client *http.Client
	at     string
	mu     sync.Mutex
	off    bool // there is no daemon any more
}

// call makes a call. A stream is read for a second.
func (r *rest) call(ctx context.Context, spec op.Spec, in map[string]any) (answer any, again bool, err error) {
	r.mu.Lock()
	off := r.off
	r.mu.Unlock()
	if off {
		return nil, false, errors.New("there is no daemon")
	}
	if spec.Stream {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, false, err
	}
	res, err := r.do(ctx, "POST", "/api/v1/"+strings.Replace(spec.ID(), ".", "/", 1), body)
	if err != nil {
		return nil, !spec.Stream && r.back(ctx), err
	}
	defer res.Body.Close()
	var all []any
	for d := json.NewDecoder(res.Body); ; {
		var v any
		if err = d.Decode(&v); err != nil {
			break
		}
		all = append(all, v)
	}
	switch {
	case spec.Stream:
		return all, false, nil
	case len(all) == 1:
		return all[0], false, nil
	}
	return nil, r.back(ctx), fmt.Errorf("%s: %w", res.Status, err)
}

func (r *rest) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.at+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/json")
	}
	return r.client.Do(req)
}

// back waits until a daemon answers again, and reports whether one does.
func (r *rest) back(ctx context.Context) bool {
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); <-time.After(100 * time.Millisecond) {
		if res, err := r.do(ctx, "GET", "/healthz", nil); err == nil {
			_ = res.Body.Close()
			return true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off = true
	return false
}

// says is what the plane says of itself.
func (r *rest) says(ctx context.Context) (string, error) {
	res, err := r.do(ctx, "GET", "/openapi.json", nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return string(raw), err
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
