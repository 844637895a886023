package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// overHTTP is a person who has signed in over HTTP.
type overHTTP struct {
	url, bearer string
	client      *http.Client
}

// switchOn has the daemon of a world take up its HTTP plane while it runs, and signs an admin in.
func (w *world) switchOn(t *testing.T) *overHTTP {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	settings := "limits: {agentChanges: 1000}\nhttp: {enabled: true, listen: \"" + addr + "\"}\n"
	if err := os.WriteFile(filepath.Join(w.Home, "config.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Call("daemon.reload", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	const password = "correct horse battery staple"
	if err := w.Call("users.create", map[string]any{"name": "ann", "role": "admin", "password": password}, nil); err != nil && !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	h := &overHTTP{url: "http://" + addr, client: &http.Client{Transport: transport, Timeout: time.Minute}}
	w.Until(10*time.Second, "the HTTP plane listens", func() bool {
		res, err := h.client.Get(h.url + "/healthz")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
	_, a := h.ask(t, "auth.signin", fmt.Sprintf(`{"name":"ann","password":%q}`, password))
	var in struct {
		Result struct {
			Access string `json:"access_token"`
		}
	}
	if err := json.Unmarshal(a.value, &in); err != nil || in.Result.Access == "" {
		t.Fatalf("signing in: %v %+v", err, a)
	}
	h.bearer = in.Result.Access
	return h
}

// ask calls a method by POST.
func (h *overHTTP) ask(t *testing.T, method, in string) (status int, a answer) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/api/v1/"+strings.ReplaceAll(method, ".", "/"), strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if h.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+h.bearer)
	}
	res, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var failed struct{ Error *fault.Error }
	if json.Unmarshal(raw, &failed) == nil && failed.Error != nil && failed.Error.Code != "" {
		return res.StatusCode, answer{fault: failed.Error}
	}
	return res.StatusCode, answer{value: bytes.TrimSpace(raw)}
}

// TestParityOverHTTP makes the examples that change nothing over HTTP, as a person with the rights of the socket's owner: the
// value is the one of the native plane and fits its schema, and so is the fault.
func TestParityOverHTTP(t *testing.T) {
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	h := w.switchOn(t)
	made := 0
	for _, m := range methods {
		if m.Local || m.Stream || m.Service == "auth" || m.Service == "users" { // who asks is the answer, or one of those who are asked for
			continue
		}
		for i, e := range m.Examples {
			if e.Fails == "" && (m.Effect != op.Reads || m.Service == "approvals") {
				continue
			}
			made++
			t.Run(fmt.Sprintf("%s/%d", m.ID(), i), func(t *testing.T) {
				native := w.native(t, m, e.In, 0)
				status, got := h.ask(t, m.ID(), w.real(t, e.In))
				if got.code() != native.code() || got.code() != e.Fails {
					t.Fatalf("HTTP %d %q: %+v; native %q", status, got.code(), got.fault, native.code())
				}
				if e.Fails != "" {
					if got.fault.Reason != native.fault.Reason || m.Effect == op.Reads && got.fault.Message != native.fault.Message {
						t.Errorf("HTTP: %s %q, native %s %q", got.fault.Reason, got.fault.Message, native.fault.Reason, native.fault.Message)
					}
					return
				}
				if status != http.StatusOK {
					t.Errorf("status %d", status)
				}
				if ps := m.Fits(got.value); len(ps) > 0 {
					t.Errorf("it does not fit its schema: %v", ps)
				}
			})
		}
	}
	if made < 50 {
		t.Errorf("only %d examples were made", made)
	}
}

// TestThePlaneFollowsItsSettings is switched off and on again while the daemon runs, and a stream ends with a word.
func TestThePlaneFollowsItsSettings(t *testing.T) {
	w := newWorld(t)
	h := w.switchOn(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/api/v1/events/follow", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+h.bearer)
	res, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := os.WriteFile(filepath.Join(w.Home, "config.yaml"), []byte("http: {enabled: false}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Call("daemon.reload", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(res.Body); err != nil || !bytes.Contains(raw, []byte(`"reason":"draining"`)) {
		t.Errorf("the stream ended with %v %s", err, raw)
	}
	w.Until(10*time.Second, "nobody listens", func() bool {
		res, err := h.client.Get(h.url + "/healthz")
		if err == nil {
			_ = res.Body.Close()
		}
		return err != nil
	})
	again := w.switchOn(t)
	if status, a := again.ask(t, "apps.list", "{}"); status != http.StatusOK {
		t.Errorf("on again: %d %+v", status, a.fault)
	}
}
