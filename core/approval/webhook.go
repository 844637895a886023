package approval

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/op"
)

// SignatureHeader carries t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">.
const SignatureHeader = "X-Omnitron-Signature"

const (
	tries      = 5                // of one message
	firstPause = time.Second      // between two tries; doubled each time
	patience   = 10 * time.Second // of one try
	backlog    = 256              // messages that wait for a slow receiver; older ones are lost, and counted
)

// Webhook tells a receiver of calls that wait for a person. It runs beside the calls: none waits for it.
type Webhook struct {
	a      *Approvals
	log    *slog.Logger
	config func() setting.Webhook
	client http.Client
	pause  time.Duration
	sub    *bus.Sub
}

// NewWebhook listens from now on; config gives where to.
func NewWebhook(a *Approvals, log *slog.Logger, config func() setting.Webhook) *Webhook {
	return &Webhook{a: a, log: log, config: config, pause: firstPause,
		client: http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		sub:    a.bus.Subscribe(bus.Filter{Topics: []string{Topic}, Types: []string{"created"}}, backlog)}
}

// Run tells of what comes until ctx ends.
func (w *Webhook) Run(ctx context.Context) error {
	defer w.sub.Close()
	for {
		ev, lost, err := w.sub.Next(ctx)
		if err != nil {
			return nil // the end of ctx
		}
		if lost > 0 {
			w.log.Warn("the webhook of approvals is slow", "lost", lost)
		}
		c := w.config()
		if c.URL == "" {
			continue
		}
		id, _ := ev.Data["id"].(string)
		if err := w.tell(ctx, c, id); err != nil && ctx.Err() == nil {
			w.log.Error("cannot tell the webhook of an approval", "approval", id, "url", c.URL.String(), "err", err)
		}
	}
}

// Message is what the receiver gets.
type Message struct {
	Type     string   `json:"type"` // approval.created
	Approval Approval `json:"approval"`
}

// tell sends one message, again after a growing pause when that fails.
func (w *Webhook) tell(ctx context.Context, c setting.Webhook, id string) error {
	h, err := w.a.Get(op.WithCaller(ctx, op.Caller{Channel: op.Person}), id)
	if err != nil {
		return err
	}
	body, err := json.Marshal(Message{"approval.created", h})
	if err != nil {
		return fmt.Errorf("cannot write the message: %w", err)
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	wait := w.pause
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
		if err = w.post(ctx, c, body); err == nil || n == tries {
			return err
		}
		pause.Reset(wait)
		wait *= 2
	}
}

func (w *Webhook) post(ctx context.Context, c setting.Webhook, body []byte) error {
	secret, err := os.ReadFile(c.SecretFile)
	if err == nil && len(bytes.TrimSpace(secret)) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return fmt.Errorf("cannot read the secret of the webhook in %s: %w", c.SecretFile, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(c.URL), bytes.NewReader(body))
	if err != nil {
		return errors.New("the address of the webhook cannot be used") // the error would show it
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(SignatureHeader, sign(bytes.TrimSpace(secret), w.a.now(), body))
	resp, err := w.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}

// sign is the value of SignatureHeader.
func sign(secret []byte, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}
