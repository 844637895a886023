package supervisor

import (
	"strings"
	"sync"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// secrets is a vault: what is not in it is missing, unless it is sealed.
type secrets struct {
	mu     sync.Mutex
	sealed bool
	values map[string]string
}

func (s *secrets) set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string]string{}
	}
	s.values[name] = value
}

func (s *secrets) seal(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = on
}

// hide takes one word out of texts.
func (s *secrets) hide(text string) string { return strings.ReplaceAll(text, "hush-hush", "…") }

func (s *secrets) value(project, stack, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed {
		return "", fault.New(fault.Unavailable, "the vault is sealed").WithReason("vault_sealed").WithHint("put the key back")
	}
	if v, ok := s.values[project+"/"+stack+"/"+name]; ok {
		return v, nil
	}
	return "", fault.New(fault.NotFound, "there is no secret %q", name).WithReason("secret_missing").WithHint("set it")
}

// TestSecrets: what an app needs from the vault is waited for, told at once, and taken up by the next start; others run.
func TestSecrets(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: api, command: 'echo "$PASS" >> seen; exec sleep 1000', env: {PASS: {secret: db/pass}}, ready: {delay: 10ms}}
  - {name: web, command: "exec sleep 1000", dependsOn: [api], ready: {delay: 10ms}}
  - {name: other, command: "exec sleep 1000", ready: {delay: 10ms}}
`); err != nil {
		t.Fatal(err)
	}
	results, err := w.start()
	if !fault.Is(err, fault.Failed) {
		t.Fatalf("the start says %v", err)
	}
	for _, r := range results {
		switch r.Key {
		case "shop/dev/other":
			if !r.OK {
				t.Errorf("another app: %+v", r)
			}
		default:
			if r.OK || r.State != view.Waiting || !strings.Contains(r.Reason, "secret_missing") {
				t.Errorf("%s: %+v", r.Key, r)
			}
		}
	}
	if why := strings.Join(w.WaitsFor("shop/dev/api"), " "); !strings.Contains(why, "secret_missing") {
		t.Errorf("api waits for %q", why)
	}
	w.vault.set("shop/dev/db/pass", "one")
	w.SecretsChanged()
	w.is("api", view.Running)
	w.is("web", view.Running)

	w.vault.set("shop/dev/db/pass", "two")
	w.SecretsChanged()
	w.is("api", view.Running)
	if seen := w.file("seen"); strings.Join(seen, " ") != "one" {
		t.Errorf("a changed value had its effect at once: %q", seen)
	}
	if _, err := w.restart("api"); err != nil {
		t.Fatal(err)
	}
	if seen := w.file("seen"); strings.Join(seen, " ") != "one two" {
		t.Errorf("the starts have seen %q", seen)
	}

	w.vault.seal(true)
	results, err = w.restart("api")
	if err == nil || len(results) != 1 || results[0].State != view.Waiting || !strings.Contains(results[0].Reason, "vault_sealed") {
		t.Errorf("a restart with a sealed vault: %+v, %v", results, err)
	}
	w.is("other", view.Running)
	w.vault.seal(false)
	w.SecretsChanged()
	w.is("api", view.Running)
}

// TestHidden: what the keeper says of a program that it cannot start may quote the command line; it is kept without
// secrets.
func TestHidden(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply("project: shop\napps: [{name: api, command: [./no-hush-hush]}]\n"); err != nil {
		t.Fatal(err)
	}
	results, err := w.start()
	if err == nil || len(results) != 1 || strings.Contains(results[0].Reason, "hush") || !strings.Contains(results[0].Reason, "no-…") {
		t.Errorf("the start says %+v, %v", results, err)
	}
	w.saved("api", func(a store.AppState) bool {
		if a.LastError == "" {
			return false
		}
		if strings.Contains(a.LastError, "hush") {
			t.Errorf("kept: %q", a.LastError)
		}
		return true
	})
}
