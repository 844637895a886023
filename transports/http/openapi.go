package http

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
)

// object is a JSON object that is being made.
type object = map[string]any

// OpenAPI describes /api/v1 as an OpenAPI 3.1 document. It is made of the same rows as everything else.
func OpenAPI(methods []*tools.Method, version string) ([]byte, error) {
	if version == "" {
		version = "dev"
	}
	paths, tags := object{}, []object{}
	for _, m := range methods {
		if m.Local {
			continue
		}
		if !slices.ContainsFunc(tags, func(t object) bool { return t["name"] == m.Service }) {
			tags = append(tags, object{"name": m.Service})
		}
		item := object{"post": operation(m, true)}
		if m.Effect == op.Reads && flat(m) {
			item["get"] = operation(m, false)
		}
		paths[apiRoot+m.Service+"/"+m.Verb] = item
	}
	doc := object{
		"openapi": "3.1.0",
		"info": object{"title": "Omnitron", "version": version, "license": object{"name": "see LICENSE"},
			"description": "Every method of the daemon. Effects: reads, adds, sets, interrupts, destroys. A changing call answers with an outcome: done (200), or running, confirm or held (202)."},
		"servers":  []object{{"url": "/"}},
		"security": []object{{"bearer": []string{}}},
		"tags":     tags, "paths": paths,
		"components": object{
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer", "description": "An access token or a named token."}},
			"schemas":         object{"Error": failureSchema()},
			"responses": object{"fault": object{"description": "What went wrong, why, and what to do.",
				"content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}}}},
		},
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("cannot write the OpenAPI document: %w", err)
	}
	return raw, nil
}

// operation describes a method called by POST or by GET.
func operation(m *tools.Method, post bool) object {
	id := m.Service + "_" + m.Verb
	if !post {
		id += "_get"
	}
	o := object{"operationId": id, "summary": strings.TrimSuffix(m.Doc, "."), "tags": []string{m.Service}, "responses": responses(m),
		"x-omnitron-role": m.Role.String(), "x-omnitron-effect": m.Effect.String()}
	if m.Role == op.Public {
		o["security"] = []object{}
	}
	if post {
		content := object{"schema": m.InSchema}
		if len(m.Examples) > 0 && m.Examples[0].Fails == "" && m.Examples[0].In != "" {
			content["example"] = json.RawMessage(m.Examples[0].In)
		}
		o["requestBody"] = object{"required": len(required(m)) > 0, "content": object{"application/json": content}}
		if m.Controlled() {
			o["parameters"] = []object{{"name": keyOf, "in": "header", "required": false, "schema": object{"type": "string", "minLength": 1, "maxLength": 128},
				"description": "the same key and input within 24 hours have one effect"}}
		}
		return o
	}
	if ps := parameters(m); len(ps) > 0 {
		o["parameters"] = ps
	}
	return o
}

func required(m *tools.Method) []string {
	var in struct {
		Required []string `json:"required"`
	}
	_ = json.Unmarshal(m.InSchema, &in) // it is one of ours
	return in.Required
}

// parameters are the members of a flat input as those of a query.
func parameters(m *tools.Method) (ps []object) {
	var in struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	_ = json.Unmarshal(m.InSchema, &in) // it is one of ours
	must := required(m)
	for name, schema := range in.Properties {
		var doc struct {
			Description string `json:"description"`
		}
		_ = json.Unmarshal(schema, &doc)
		p := object{"name": name, "in": "query", "required": slices.Contains(must, name), "schema": schema}
		if doc.Description != "" {
			p["description"] = doc.Description
		}
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b object) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
	return ps
}

// responses are what a call may answer.
func responses(m *tools.Method) object {
	kind, schema, about := "application/json", m.OutSchema, "The answer."
	if m.Stream {
		kind, about = ndjson, "One JSON object a line: {\"item\"} for each item, then {\"end\"}, or {\"error\"}."
		schema = json.RawMessage(`{"type":"object","properties":{"item":` + string(m.OutSchema) +
			`,"end":{"type":"object","properties":{"count":{"type":"integer"},"dropped":{"type":"integer"}},"required":["count","dropped"]},"error":{"$ref":"#/components/schemas/Error/properties/error"}}}`)
	}
	r := object{"200": object{"description": about, "content": object{kind: object{"schema": schema}}}, "default": object{"$ref": "#/components/responses/fault"}}
	switch {
	case m.Controlled():
		r["202"] = object{"description": "Not done yet: running as a job, waiting for a confirmation, or for a person.", "content": object{kind: object{"schema": schema}}}
	case !m.Stream && m.Effect == op.Reads:
		r["202"] = object{"description": "A person has to decide first: fault held, reason awaiting_approval.",
			"content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}}}
	}
	return r
}

// failureSchema is that of a fault as a body.
func failureSchema() object {
	text, words := object{"type": "string"}, object{"type": "array", "items": object{"type": "string"}}
	return object{"type": "object", "required": []string{"error"}, "properties": object{"error": object{
		"type": "object", "required": []string{"code", "message"},
		"properties": object{
			"code": object{"type": "string", "enum": fault.Codes}, "reason": object{"type": "string", "description": "an open snake_case word"},
			"message": text, "hint": object{"type": "string", "description": "what to do next"}, "call": object{"type": "string", "description": "id of the call"},
			"candidates": words, "retry_after_s": object{"type": "number"},
			"problems": object{"type": "array", "items": object{"type": "object", "required": []string{"path", "message"},
				"properties": object{"path": text, "message": text, "allowed": words, "near": text}}},
			"items": object{"description": "results of each target"}, "approval": object{"description": "the decision that is waited for"},
		}}}}
}
