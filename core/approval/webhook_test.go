package approval

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/setting"
)

// receiver answers with the statuses, in their order, and then with 200.
type receiver struct {
	mu       sync.Mutex
	statuses []int
	got      chan *http.Request
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	r.mu.Lock()
	status := http.StatusOK
	if len(r.statuses) > 0 {
		status, r.statuses = r.statuses[0], r.statuses[1:]
	}
	r.mu.Unlock()
	if status == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(status)
	r.got <- req
}

func (w *world) hook(r *receiver) (log *bytes.Buffer, stop func()) {
	w.t.Helper()
	srv := httptest.NewServer(r)
	key := filepath.Join(w.t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("sesame\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	log = &bytes.Buffer{}
	hook := NewWebhook(w.Approvals, slog.New(slog.NewTextHandler(log, nil)), func() setting.Webhook {
		return setting.Webhook{URL: setting.Address(srv.URL + "/T0K3N"), SecretFile: key}
	})
	hook.pause = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := hook.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); done.Wait(); srv.Close() })
	w.t.Cleanup(stop)
	return log, stop
}

// TestWebhook: the receiver gets a signed message, again while it fails, and a redirect is not followed.
func TestWebhook(t *testing.T) {
	w := newWorld(t)
	r := &receiver{statuses: []int{500, 302, 429}, got: make(chan *http.Request, 100)}
	_, stop := w.hook(r)
	ref := w.held(call())
	w.held(call()) // is no news
	for n := range 4 {
		req := <-r.got
		body, err := io.ReadAll(req.Body)
		if err != nil || req.URL.Path != "/T0K3N" || req.Method != http.MethodPost {
			t.Fatalf("try %d: %s %s %v", n, req.Method, req.URL, err)
		}
		mac := hmac.New(sha256.New, []byte("sesame"))
		fmt.Fprintf(mac, "%d.%s", w.time.Unix(), body)
		if want := fmt.Sprintf("t=%d,v1=%s", w.time.Unix(), hex.EncodeToString(mac.Sum(nil))); req.Header.Get(SignatureHeader) != want {
			t.Errorf("signed %q, want %q", req.Header.Get(SignatureHeader), want)
		}
		var m Message
		if err := json.Unmarshal(body, &m); err != nil || m.Type != "approval.created" || m.Approval.ID != ref.ID || m.Approval.Plan[0].To != "nothing" {
			t.Errorf("%s: %v", body, err)
		}
	}
	stop()
	if len(r.got) > 0 {
		t.Errorf("%d more messages", len(r.got))
	}
}

// TestWebhookGivesUp: after five tries the next approval has its turn, and no call waited for any of it.
func TestWebhookGivesUp(t *testing.T) {
	w := newWorld(t)
	r := &receiver{statuses: []int{500, 500, 500, 500, 500}, got: make(chan *http.Request, 100)}
	log, stop := w.hook(r)
	w.held(call())
	second := call()
	second.Method = "apps.remove"
	ref := w.held(second)
	var last Message
	for range tries + 1 {
		body, _ := io.ReadAll((<-r.got).Body)
		if err := json.Unmarshal(body, &last); err != nil {
			t.Fatal(err)
		}
	}
	if last.Approval.ID != ref.ID {
		t.Errorf("the last one told of %s", last.Approval.ID)
	}
	stop()
	if text := log.String(); !strings.Contains(text, "500") || strings.Contains(text, "T0K3N") || strings.Contains(text, "sesame") {
		t.Errorf("the log: %s", text)
	}
}
