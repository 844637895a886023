package conformance

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	ours "github.com/omnitron-dev/omnitron/mcp"
)

const (
	dot   = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==" // a picture of one point
	still = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="                                     // a sound of no length
)

type request = mcp.CallToolRequest
type result = mcp.CallToolResult

func text(s string) (*result, error) { return mcp.NewToolResultText(s), nil }

func contents(c ...mcp.Content) (*result, error) { return &result{Content: c}, nil }

// fixtures adds what the suite asks a server to have.
func fixtures(s *server.MCPServer) {
	server.WithLogging()(s)
	s.EnableSampling()
	tool := func(name string, handle func(context.Context, request) (*result, error), o ...mcp.ToolOption) {
		s.AddTool(mcp.NewTool(name, append([]mcp.ToolOption{mcp.WithDescription("A fixture of the suite.")}, o...)...), handle)
	}
	plain(tool)
	asking(s, tool)
	rounds(s, tool)
	resources(s)
	prompts(s)
}

type adder func(name string, handle func(context.Context, request) (*result, error), o ...mcp.ToolOption)

func plain(tool adder) {
	tool("test_simple_text", func(context.Context, request) (*result, error) {
		return text("This is a simple text response for testing.")
	})
	tool("test_image_content", func(context.Context, request) (*result, error) {
		return contents(mcp.NewImageContent(dot, "image/png"))
	})
	tool("test_audio_content", func(context.Context, request) (*result, error) {
		return contents(mcp.NewAudioContent(still, "audio/wav"))
	})
	tool("test_embedded_resource", func(context.Context, request) (*result, error) {
		return contents(mcp.NewEmbeddedResource(mcp.TextResourceContents{URI: "test://embedded-resource", MIMEType: "text/plain", Text: "This is an embedded resource content."}))
	})
	tool("test_multiple_content_types", func(context.Context, request) (*result, error) {
		return contents(mcp.NewTextContent("Multiple content types test:"), mcp.NewImageContent(dot, "image/png"),
			mcp.NewEmbeddedResource(mcp.TextResourceContents{URI: "test://mixed-content-resource", MIMEType: "application/json", Text: `{"test":"data","value":123}`}))
	})
	tool("test_error_handling", func(context.Context, request) (*result, error) {
		return mcp.NewToolResultError("This tool intentionally returns an error for testing"), nil
	})
	tool("test_logging_tool", func(context.Context, request) (*result, error) { return text("nothing was logged") })
	tool("test_missing_capability", func(ctx context.Context, _ request) (*result, error) {
		return nil, ours.Fail(ctx, mcp.MISSING_REQUIRED_CLIENT_CAPABILITY, "this needs a client that samples", map[string]any{"requiredCapabilities": map[string]any{"sampling": map[string]any{}}})
	})
}

func asking(s *server.MCPServer, tool adder) {
	say := func(ctx context.Context, method string, params map[string]any) error {
		return s.SendNotificationToClient(ctx, method, params)
	}
	tool("test_tool_with_logging", func(ctx context.Context, _ request) (*result, error) {
		for _, line := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			if err := say(ctx, "notifications/message", map[string]any{"level": "info", "logger": "fixture", "data": line}); err != nil {
				return nil, err
			}
		}
		return text("it was logged")
	})
	tool("test_tool_with_progress", func(ctx context.Context, r request) (*result, error) {
		for _, at := range []int{0, 50, 100} {
			if r.Params.Meta == nil || r.Params.Meta.ProgressToken == nil {
				break
			}
			if err := say(ctx, "notifications/progress", map[string]any{"progressToken": r.Params.Meta.ProgressToken, "progress": at, "total": 100}); err != nil {
				return nil, err
			}
		}
		return text("it went on")
	})
	tool("test_sampling", func(ctx context.Context, r request) (*result, error) {
		a, err := s.RequestSampling(ctx, mcp.CreateMessageRequest{CreateMessageParams: sample(r.GetString("prompt", ""))})
		if err != nil {
			return mcp.NewToolResultError(err.Error()), nil
		}
		words, _ := a.Content.(mcp.TextContent)
		return text("LLM response: " + words.Text)
	}, mcp.WithString("prompt", mcp.Required()))
	elicit := func(name string, props map[string]any, required []string, more ...mcp.ToolOption) {
		tool(name, func(ctx context.Context, r request) (*result, error) {
			schema := map[string]any{"type": "object", "properties": props}
			if required != nil {
				schema["required"] = required
			}
			a, err := s.RequestElicitation(ctx, mcp.ElicitationRequest{Params: mcp.ElicitationParams{Message: r.GetString("message", "Please say"), RequestedSchema: schema}})
			if err != nil {
				return mcp.NewToolResultError(err.Error()), nil
			}
			return text(fmt.Sprintf("Elicitation completed: action=%s, content=%v", a.Action, a.Content))
		}, more...)
	}
	word := map[string]any{"type": "string"}
	elicit("test_elicitation", map[string]any{"username": word, "email": word}, []string{"username", "email"}, mcp.WithString("message", mcp.Required()))
	elicit("test_elicitation_sep1034_defaults", map[string]any{"name": with(word, "default", "John Doe"), "age": map[string]any{"type": "integer", "default": 30},
		"score": map[string]any{"type": "number", "default": 95.5}, "status": with(word, "enum", []string{"active", "inactive", "pending"}, "default", "active"),
		"verified": map[string]any{"type": "boolean", "default": true}}, nil)
	titled := []any{map[string]any{"const": "value1", "title": "One"}, map[string]any{"const": "value2", "title": "Two"}}
	elicit("test_elicitation_sep1330_enums", map[string]any{"untitledSingle": with(word, "enum", []string{"option1", "option2"}), "titledSingle": with(word, "oneOf", titled),
		"legacyEnum":    with(word, "enum", []string{"opt1", "opt2"}, "enumNames", []string{"Option One", "Option Two"}),
		"untitledMulti": map[string]any{"type": "array", "items": with(word, "enum", []string{"option1", "option2"})},
		"titledMulti":   map[string]any{"type": "array", "items": map[string]any{"anyOf": titled}}}, nil)
}

func with(m map[string]any, pairs ...any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i].(string)] = pairs[i+1]
	}
	return out
}

func sample(prompt string) mcp.CreateMessageParams {
	return mcp.CreateMessageParams{Messages: []mcp.SamplingMessage{{Role: mcp.RoleUser, Content: mcp.NewTextContent(prompt)}}, MaxTokens: 100}
}

func form(message, field, kind string) mcp.ElicitationParams {
	return mcp.ElicitationParams{Message: message, RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{field: map[string]any{"type": kind}}, "required": []string{field}}}
}

// sealed is a state that nobody else can make.
func sealed(text string) string {
	m := hmac.New(sha256.New, []byte("fixture"))
	m.Write([]byte(text))
	return text + "." + hex.EncodeToString(m.Sum(nil))
}

func opened(state string) (string, bool) {
	text, _, _ := strings.Cut(state, ".")
	return text, hmac.Equal([]byte(state), []byte(sealed(text)))
}

// rounds are the tools of the era without a handshake that need several.
func rounds(_ *server.MCPServer, tool adder) {
	name := form("What is your name?", "name", "string")
	answered := func(r request, id string) (string, bool) {
		a := server.ElicitationResponse(r.Params.InputResponses, id)
		if a == nil {
			return "", false
		}
		content, _ := a.Content.(map[string]any)
		for _, v := range content {
			return fmt.Sprint(v), a.Action == "accept"
		}
		return "", a.Action == "accept"
	}
	ask := server.NewInputRequestBuilder
	hello := func(_ context.Context, r request) (*result, error) {
		who, ok := answered(r, "user_name")
		if !ok || who == "" {
			return ask("").Elicit("user_name", name).ToolResult(), nil
		}
		return text("Hello, " + who + "!")
	}
	tool("test_input_required_result_elicitation", hello)
	tool("test_streaming_elicitation", hello)
	tool("test_input_required_result_sampling", func(_ context.Context, r request) (*result, error) {
		if a := server.SamplingResponse(r.Params.InputResponses, "capital_question"); a != nil {
			return text("The model said so.")
		}
		return ask("").Sample("capital_question", sample("What is the capital of France?")).ToolResult(), nil
	})
	tool("test_input_required_result_list_roots", func(_ context.Context, r request) (*result, error) {
		if a := server.RootsResponse(r.Params.InputResponses, "client_roots"); a != nil {
			return text(fmt.Sprintf("%d roots", len(a.Roots)))
		}
		return ask("").Roots("client_roots").ToolResult(), nil
	})
	confirm := form("Please confirm", "ok", "boolean")
	stateful := func(_ context.Context, r request) (*result, error) {
		if r.Params.RequestState == "" {
			return ask(sealed("one")).Elicit("confirm", confirm).ToolResult(), nil
		}
		if _, ok := opened(r.Params.RequestState); !ok {
			return nil, fmt.Errorf("the state was changed")
		}
		return text("state-ok")
	}
	tool("test_input_required_result_request_state", stateful)
	tool("test_input_required_result_tampered_state", func(ctx context.Context, r request) (*result, error) {
		if _, ok := opened(r.Params.RequestState); !ok && r.Params.RequestState != "" {
			return nil, ours.Fail(ctx, mcp.INVALID_PARAMS, "the requestState was changed", nil)
		}
		return stateful(ctx, r)
	})
	tool("test_input_required_result_multiple_inputs", func(_ context.Context, r request) (*result, error) {
		if len(r.Params.InputResponses) >= 3 {
			return text("all is said")
		}
		return ask(sealed("many")).Elicit("user_name", name).Sample("greeting", sample("Generate a greeting")).Roots("client_roots").ToolResult(), nil
	})
	tool("test_input_required_result_multi_round", func(_ context.Context, r request) (*result, error) {
		switch state, _ := opened(r.Params.RequestState); {
		case r.Params.RequestState == "":
			return ask(sealed("round1")).Elicit("step1", form("Step 1: What is your name?", "name", "string")).ToolResult(), nil
		case state == "round1":
			return ask(sealed("round2")).Elicit("step2", form("Step 2: What is your favorite color?", "color", "string")).ToolResult(), nil
		}
		return text("both rounds are over")
	})
	tool("test_input_required_result_capabilities", func(ctx context.Context, _ request) (*result, error) {
		b := ask("")
		caps := mcp.ClientCapabilities{}
		if info := server.RequestProtocolInfoFromContext(ctx); info.ClientCapabilities != nil {
			caps = *info.ClientCapabilities
		}
		if caps.Elicitation != nil {
			b.Elicit("user_name", name)
		}
		if caps.Sampling != nil {
			b.Sample("greeting", sample("Generate a greeting"))
		}
		return b.ToolResult(), nil
	})
}

func resources(s *server.MCPServer) {
	add := func(uri, kind string, c mcp.ResourceContents) {
		s.AddResource(mcp.NewResource(uri, strings.TrimPrefix(uri, "test://"), mcp.WithMIMEType(kind), mcp.WithResourceDescription("A fixture of the suite.")),
			func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
				return []mcp.ResourceContents{c}, nil
			})
	}
	add("test://static-text", "text/plain", mcp.TextResourceContents{URI: "test://static-text", MIMEType: "text/plain", Text: "This is the content of the static text resource."})
	add("test://static-binary", "image/png", mcp.BlobResourceContents{URI: "test://static-binary", MIMEType: "image/png", Blob: dot})
	s.AddResourceTemplate(mcp.NewResourceTemplate("test://template/{id}/data", "template", mcp.WithTemplateMIMEType("application/json")),
		func(_ context.Context, r mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			id := strings.TrimSuffix(strings.TrimPrefix(r.Params.URI, "test://template/"), "/data")
			return []mcp.ResourceContents{mcp.TextResourceContents{URI: r.Params.URI, MIMEType: "application/json", Text: fmt.Sprintf(`{"id":%q,"templateTest":true,"data":%q}`, id, "Data for ID: "+id)}}, nil
		})
}

func prompts(s *server.MCPServer) {
	says := func(c ...mcp.Content) *mcp.GetPromptResult {
		out := &mcp.GetPromptResult{}
		for _, one := range c {
			out.Messages = append(out.Messages, mcp.PromptMessage{Role: mcp.RoleUser, Content: one})
		}
		return out
	}
	add := func(name string, handle func(mcp.GetPromptRequest) *mcp.GetPromptResult, args ...string) {
		o := []mcp.PromptOption{mcp.WithPromptDescription("A fixture of the suite.")}
		for _, a := range args {
			o = append(o, mcp.WithArgument(a, mcp.RequiredArgument(), mcp.ArgumentDescription(a)))
		}
		s.AddPrompt(mcp.NewPrompt(name, o...), func(_ context.Context, r mcp.GetPromptRequest) (*mcp.GetPromptResult, error) { return handle(r), nil })
	}
	add("test_simple_prompt", func(mcp.GetPromptRequest) *mcp.GetPromptResult {
		return says(mcp.NewTextContent("This is a simple prompt for testing."))
	})
	add("test_prompt_with_arguments", func(r mcp.GetPromptRequest) *mcp.GetPromptResult {
		return says(mcp.NewTextContent(fmt.Sprintf("Prompt with arguments: arg1='%s', arg2='%s'", r.Params.Arguments["arg1"], r.Params.Arguments["arg2"])))
	}, "arg1", "arg2")
	add("test_prompt_with_embedded_resource", func(r mcp.GetPromptRequest) *mcp.GetPromptResult {
		return says(mcp.NewEmbeddedResource(mcp.TextResourceContents{URI: r.Params.Arguments["resourceUri"], MIMEType: "text/plain", Text: "Embedded resource content for testing."}), mcp.NewTextContent("Please process the embedded resource above."))
	}, "resourceUri")
	add("test_prompt_with_image", func(mcp.GetPromptRequest) *mcp.GetPromptResult {
		return says(mcp.NewImageContent(dot, "image/png"), mcp.NewTextContent("Please analyze the image above."))
	})
	add("test_input_required_result_prompt", func(r mcp.GetPromptRequest) *mcp.GetPromptResult {
		if server.ElicitationResponse(r.Params.InputResponses, "user_context") != nil {
			return says(mcp.NewTextContent("the context is known"))
		}
		return server.NewInputRequestBuilder("").Elicit("user_context", form("What context should the prompt use?", "context", "string")).PromptResult()
	})
}
