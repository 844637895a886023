package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// sdkClient connects the official client, which shares no code with us.
func (b *testbed) sdkClient(t *testing.T, version string, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	c := b.dial(t)
	client := sdk.NewClient(&sdk.Implementation{Name: "sdk", Version: "1"}, o)
	s, err := client.Connect(t.Context(), &sdk.IOTransport{Reader: c, Writer: c}, &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestOfficialClient does everything with the official client, in both eras.
func TestOfficialClient(t *testing.T) {
	for _, version := range []string{"2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			b := newBed(t)
			updated := make(chan string, 16)
			var mu sync.Mutex
			progressed, asked := 0, 0
			o := &sdk.ClientOptions{
				ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
				ProgressNotificationHandler: func(context.Context, *sdk.ProgressNotificationClientRequest) {
					mu.Lock()
					defer mu.Unlock()
					progressed++
				},
				ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
					mu.Lock()
					defer mu.Unlock()
					asked++
					return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"confirm": true}}, nil
				},
			}
			s := b.sdkClient(t, version, o)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if got := s.InitializeResult(); got.ServerInfo.Name != "omnitron" || got.Instructions == "" {
				t.Errorf("initialize: %+v", got)
			}

			names := map[string]bool{}
			for tool, err := range s.Tools(ctx, nil) {
				if err != nil {
					t.Fatal(err)
				}
				names[tool.Name] = true
			}
			if !names["apps_list"] || !names["ops_search"] || names["apps_big"] {
				t.Errorf("tools: %v", names)
			}

			res, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "apps_get", Arguments: map[string]any{"name": "web"}})
			if err != nil || res.IsError {
				t.Fatalf("call: %v %+v", err, res)
			}
			if rich := version >= "2025-06-18"; rich != (res.StructuredContent != nil) {
				t.Errorf("structured content: %v", res.StructuredContent)
			}
			res, err = s.CallTool(ctx, &sdk.CallToolParams{Name: "apps_get", Arguments: map[string]any{"name": "nope"}})
			if err != nil || !res.IsError || !strings.HasPrefix(res.Content[0].(*sdk.TextContent).Text, "not_found: ") {
				t.Errorf("fault: %v %+v", err, res)
			}
			if _, err = s.CallTool(ctx, &sdk.CallToolParams{Name: "nope"}); err == nil {
				t.Error("an unknown tool can be called")
			}

			p := &sdk.CallToolParams{Name: "apps_follow", Arguments: map[string]any{"count": 20}}
			p.SetProgressToken("p")
			if res, err = s.CallTool(ctx, p); err != nil || res.IsError {
				t.Errorf("stream: %v %+v", err, res)
			}

			res, err = s.CallTool(ctx, &sdk.CallToolParams{Name: "apps_stop", Arguments: map[string]any{"names": []string{"web"}}})
			asks := version >= "2025-06-18"
			text, _ := json.Marshal(res)
			if err != nil || res.IsError || strings.Contains(string(text), "done") != asks || (b.stopped.Load() == 1) != asks {
				t.Errorf("confirmation: %v %s", err, text)
			}
			// The client hands notifications to their handler beside the answer.
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for n := 0; n < 20; {
				mu.Lock()
				n = progressed
				if (asked == 1) != asks {
					t.Errorf("asked %d", asked)
				}
				mu.Unlock()
				select {
				case <-tick.C:
				case <-ctx.Done():
					t.Fatalf("progress %d", n)
				}
			}

			if r, err := s.ListResources(ctx, nil); err != nil || len(r.Resources) != 1 {
				t.Errorf("resources: %v %+v", err, r)
			}
			if r, err := s.ListResourceTemplates(ctx, nil); err != nil || len(r.ResourceTemplates) != 3 {
				t.Errorf("templates: %v %+v", err, r)
			}
			if r, err := s.ReadResource(ctx, &sdk.ReadResourceParams{URI: "omnitron://apps/shop/dev/web"}); err != nil || len(r.Contents) != 1 {
				t.Errorf("read: %v %+v", err, r)
			}
			if _, err := s.ReadResource(ctx, &sdk.ReadResourceParams{URI: "omnitron://nope"}); err == nil {
				t.Error("an unknown resource can be read")
			}
			if r, err := s.GetPrompt(ctx, &sdk.GetPromptParams{Name: "debug_crash_loop", Arguments: map[string]string{"app": "web"}}); err != nil || len(r.Messages) != 1 {
				t.Errorf("prompt: %v %+v", err, r)
			}
			cr, err := s.Complete(ctx, &sdk.CompleteParams{Ref: &sdk.CompleteReference{Type: "ref/prompt", Name: "debug_crash_loop"}, Argument: sdk.CompleteParamsArgument{Name: "app", Value: "blog"}})
			if err != nil || len(cr.Completion.Values) != 1 {
				t.Errorf("completion: %v %+v", err, cr)
			}

			if err := s.Subscribe(ctx, &sdk.SubscribeParams{URI: "omnitron://apps"}); err != nil {
				t.Fatalf("subscribe: %v", err)
			}
			// The modern client does not wait for the acknowledgement.
			tick.Reset(20 * time.Millisecond)
			for heard := false; !heard; {
				b.bus.Publish(appEvent("shop/dev/web"))
				select {
				case uri := <-updated:
					if heard = true; uri != "omnitron://apps" {
						t.Errorf("updated: %s", uri)
					}
				case <-tick.C:
				case <-ctx.Done():
					t.Fatal("no notification")
				}
			}

			cctx, stop := context.WithCancel(ctx)
			b.began, b.ended = make(chan string, 1), make(chan string, 1)
			go func() {
				<-b.began
				stop()
			}()
			if _, err := s.CallTool(cctx, &sdk.CallToolParams{Name: "apps_wait"}); err == nil {
				t.Error("a cancelled call has an answer")
			}
			select {
			case <-b.ended:
			case <-ctx.Done():
				t.Error("a cancelled call goes on")
			}
		})
	}
}

// TestConcurrent: a hundred calls at once on each of two connections, each with its own answer.
func TestConcurrent(t *testing.T) {
	b := newBed(t)
	var wg sync.WaitGroup
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		s := b.sdkClient(t, version, nil)
		for i := range 100 {
			wg.Go(func() {
				name := fmt.Sprintf("app-%d", i)
				res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "apps_get", Arguments: map[string]any{"name": name}})
				if err != nil || res.IsError {
					t.Errorf("%s: %v %+v", name, err, res)
					return
				}
				if got := res.StructuredContent.(map[string]any)["name"]; got != name {
					t.Errorf("%s got the answer of %v", name, got)
				}
			})
		}
	}
	wg.Wait()
}
